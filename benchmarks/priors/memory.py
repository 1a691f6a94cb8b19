"""Peak memory of the main process by the number of videos: it must not grow with them, the annotations aside.

`python -m benchmarks memory [--sizes 1000 10000]` runs the whole stage (describe, embed, audit) in a fresh process for
each size, with a describer that answers without a model; prints a table and exits with 1 if the memory grows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

import priors.stage
from cache.annotations import Dataset, VideoEntry
from priors.describers.canned import CannedDescriber
from priors.describers.protocol import Request
from priors.describers.recipe import DescriberRecipe, describer_identity
from priors.run.recipe import DataRecipe, PriorsRecipe, RunRecipe
from priors.video.decode_pool import DecodeRecipe
from priors.video.frames import FramesRecipe
from priors.words.glove import GloveRecipe
from tests.support.videos.videos import write_video

STEPS = ("generate", "embed", "audit")
"""Of `priors.stage.make_priors`."""
WANTED_MIB = 10.0
WANTED_SHARE = 0.05
DEMO = Path("pipelines/demo/checkpoints")
CLASSES = tuple(f"Class {number}" for number in range(20))
TEXT = "the person runs to the left and jumps over a high bar while the red ball rolls down the grey hill"
WORDS = tuple(TEXT.split(" "))


def make_dataset(folder: Path, videos: int) -> None:
    """A few short clips under many names."""
    clips = [write_video(folder / f"clip{number}.mp4", 8 + number) for number in range(4)]
    entries = []
    for number in range(videos):
        path = folder / "videos" / f"v{number:06d}.mp4"
        path.parent.mkdir(exist_ok=True)
        os.link(clips[number % 4], path)
        entries.append(VideoEntry(path.stem, "training", None, (CLASSES[number % 20],), (), path))
    Dataset("pool", CLASSES, tuple(entries)).save(folder / "annotations.json")


def answer(request: Request) -> str:
    """Some 40 words that differ from video to video, and change their order."""
    start = int(request.frames.rgb.astype(int).sum()) + len(request.prompt)
    return " ".join(WORDS[(start + step * (1 + start % 7)) % len(WORDS)] for step in range(40))


def peak() -> float:
    """Most memory that this process has held so far, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def watched(step: Callable[..., Any], peaks: list[float]) -> Callable[..., Any]:
    """The step, noting the peak at its end."""

    def run(*arguments: Any, **options: Any) -> Any:
        result = step(*arguments, **options)
        peaks.append(peak())
        return result

    return run


def measure(folder: Path) -> dict[str, Any]:
    """MiB of this process with the annotations alone, and the peaks at the end of each step."""
    describer = DescriberRecipe(model=str(DEMO / "describer"), batch_size=16, device_map="cpu")
    recipe = PriorsRecipe(
        data=DataRecipe(folder=folder),
        describer=describer,
        frames=FramesRecipe(count=4, max_side=64),
        glove=GloveRecipe(path=DEMO / "words.txt"),
        run=RunRecipe(decode=DecodeRecipe(workers=2), write_seconds=2.0),
    )
    model, revision = describer_identity(describer)
    priors.stage.make_describer = lambda _: CannedDescriber(answer, model_id=model, model_revision=revision)
    process = psutil.Process()
    before = process.memory_info().rss
    annotations = recipe.data.dataset()
    held = process.memory_info().rss - before
    del annotations
    peaks: list[float] = []
    for step in STEPS:
        setattr(priors.stage, step, watched(getattr(priors.stage, step), peaks))
    done = priors.stage.make_priors(recipe)
    assert not done.audit.failed
    assert not done.audit.missing
    return {"annotations": held / 2**20, "peaks": peaks}


def main() -> int:
    """Print the figures; 1 if the largest size needs more than the smallest, the annotations aside."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--one", type=Path, metavar="FOLDER", help="measure one dataset, in this process")
    choice = parser.parse_args()
    if choice.one:
        print(json.dumps(measure(choice.one)))
        return 0
    heads = ("videos", "annotations", *STEPS, "beyond annotations")
    print("".join(f"{head:>20}" for head in heads), " (peaks in MiB)")
    beyond = []
    for size in choice.sizes:
        with tempfile.TemporaryDirectory(prefix="memory-") as name:
            make_dataset(Path(name), size)
            command = [sys.executable, "-m", "benchmarks.priors.memory", "--one", name]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        beyond.append(found["peaks"][-1] - found["annotations"])
        figures = (found["annotations"], *found["peaks"], beyond[-1])
        print(f"{size:>20}" + "".join(f"{figure:>20.1f}" for figure in figures), flush=True)
    growth = beyond[-1] - beyond[0]
    limit = max(WANTED_MIB, WANTED_SHARE * beyond[0])
    verdict = "ok" if growth <= limit else "missed"
    print(f"growth beyond the annotations: {growth:.1f} MiB, wanted at most {limit:.1f} MiB: {verdict}")
    return 0 if growth <= limit else 1


if __name__ == "__main__":
    sys.exit(main())
