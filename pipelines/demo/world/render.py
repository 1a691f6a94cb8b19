"""Render the demo's videos and annotations.

Deterministic from the seeds: the same machine writes the same bytes again. Existing videos are kept, and
the annotations are written last, so an interrupted run resumes.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt

from cache.annotations import Dataset, VideoEntry
from cache.files.atomic import atomic_path
from cache.recipe import Recipe
from pipelines.console import progress, say
from pipelines.demo.world.draw import draw_frames, frame_times
from pipelines.demo.world.script import CLASSES, FPS, SIDE, Script, video_script

FIRST_SEED = {"training": 1_000_000, "validation": 2_000_000, "testing": 3_000_000}


class RenderRecipe(Recipe):
    """How many videos are rendered."""

    folder: Path = Path("cache/data/demo")
    """Folder that receives annotations.json and videos/."""
    training: PositiveInt = 120
    """Videos of the training subset; training uses their labels, but never their segments."""
    validation: NonNegativeInt = 32
    """Videos of the validation subset, for choosing settings by their score."""
    testing: PositiveInt = 80
    """Videos of the testing subset, for reported scores only."""
    workers: PositiveInt = 2
    """Number of processes that render."""


def scripts(recipe: RenderRecipe) -> list[tuple[str, str, Script]]:
    """(video_id, subset, script) of every video; the first class cycles, so that all are equally frequent."""
    return [
        (f"{subset}_{index:04d}", subset, video_script(first + index, CLASSES[index % len(CLASSES)]))
        for subset, first in FIRST_SEED.items()
        for index in range(getattr(recipe, subset))
    ]


def write_video(path: Path, script: Script) -> None:
    """Draw a script and encode it as H.264 in mp4, atomically."""
    import av

    with atomic_path(path) as unfinished, av.open(str(unfinished), "w", format="mp4") as container:
        options = {"crf": "23", "preset": "ultrafast", "threads": "1"}  # one thread: the bytes depend on their number
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for picture in draw_frames(script, frame_times(script)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def render(recipe: RenderRecipe) -> Dataset:
    """Render what is missing and write the annotations. Raises CacheError if the folder cannot be written."""
    videos = recipe.folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    entries, missing = [], []
    for video_id, subset, script in scripts(recipe):
        path = videos / f"{video_id}.mp4"
        labels = tuple(sorted(script.styles))
        duration = len(frame_times(script)) / FPS
        entries.append(VideoEntry(video_id, subset, duration, labels, script.segments, path))
        if not path.exists():
            missing.append((path, script))
    _render_all(missing, recipe.workers)
    dataset = Dataset(name=recipe.folder.name, classes=CLASSES, videos=tuple(entries))
    dataset.save(recipe.folder / "annotations.json")
    return dataset


def _render_all(missing: Sequence[tuple[Path, Script]], workers: int) -> None:
    with ProcessPoolExecutor(workers) as pool, progress("rendering") as report:
        for done, job in enumerate(as_completed([pool.submit(write_video, *job) for job in missing]), start=1):
            job.result()
            report(done, len(missing))


def main(recipe: RenderRecipe) -> None:
    """Render the demo world."""
    dataset = render(recipe)
    hours = sum(video.duration or 0.0 for video in dataset.videos) / 3600
    instances = sum(len(video.segments) for video in dataset.videos)
    say(
        f"{len(dataset.videos)} videos, {hours:.1f} h, {instances} instances of {len(CLASSES)} classes: {recipe.folder}"
    )
