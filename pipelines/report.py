"""Write report.html of an evaluated run: scores, classes, training curves, and the timelines of a dozen videos."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import PositiveInt

from cache.annotations import Dataset, VideoEntry
from cache.atomic import atomic_path
from cache.detections import Detection, read_detections
from cache.features import FeatureStore
from cache.folders import only_fingerprint
from cache.recipe import Recipe
from cache.schema import DESCRIPTION_KEY, DESCRIPTIONS, CacheError
from cache.store import PartStore
from pipelines.compare import refuse_mixture
from pipelines.console import launch, say
from pipelines.evaluate import CURVES_FILE, DETECTIONS_FILE, METRICS_FILE, Metrics
from pipelines.page import picture_uri
from pipelines.report_page import ReportContent, RunResult, Said, VideoView, report
from pipelines.report_videos import Judged, cutoffs, judge, quality, spread
from pipelines.train import RECIPE_FILE, TrainRun
from priors.frames import VideoError
from priors.thumbnails import thumbnails
from training.logs import FILE as HISTORY_FILE

REPORT_FILE = "report.html"


class ReportRun(Recipe):
    """Which run is reported, beside which other."""

    run: Path
    """Folder of the evaluated run; receives report.html."""
    compare: Path | None = None
    """Folder of an evaluated run that stands beside it, such as the host alone."""
    dataset: Path | None = None
    """Folder of the dataset; the one that the run was trained on when not given."""
    subset: str = "testing"
    """Subset whose videos are shown; where the run has a metrics.json, that one's subset."""
    descriptions: Path | None = None
    """Folder descriptions/<fingerprint> to quote from; needed only where there are several."""
    videos: PositiveInt = 12
    """Videos with a timeline."""
    frames: PositiveInt = 10
    """Frames above each timeline."""


def main(recipe: ReportRun) -> None:
    """Write the page."""
    path = recipe.run / REPORT_FILE
    with atomic_path(path) as unfinished:
        unfinished.write_text(report(gather(recipe)), encoding="utf-8")
    say(f"report: {path}")


def gather(recipe: ReportRun) -> ReportContent:
    """Read what the page shows. Raises CacheError naming the missing file and the command that makes it."""
    run = _result(recipe.run)
    other = None if recipe.compare is None else _result(recipe.compare)
    if recipe.compare and other and other.metrics and run.metrics:
        refuse_mixture((recipe.run, recipe.compare), (run.metrics, other.metrics))
    folder = recipe.dataset or run.recipe.dataset
    dataset = Dataset.load(folder / "annotations.json")
    store = FeatureStore.open(folder / "features" if recipe.dataset else run.recipe.features_folder)
    entries = dataset.split(run.metrics.subset if run.metrics else recipe.subset)
    needs_texts = run.recipe.train.model.needs_texts
    return ReportContent(
        dataset=dataset.name,
        run=run,
        other=other,
        grid=store.grid,
        videos=tuple(_views(recipe, dataset, store, entries)),
        said=_said(recipe.descriptions, folder, dataset) if needs_texts else {},
    )


def _result(folder: Path) -> RunResult:
    if not (folder / DETECTIONS_FILE).exists():
        raise CacheError(f"{folder / DETECTIONS_FILE}: no such file, so the run is not evaluated; run `make eval`")
    metrics = Metrics.load(folder / METRICS_FILE) if (folder / METRICS_FILE).exists() else None
    history = folder / HISTORY_FILE
    lines = history.read_text(encoding="utf-8").splitlines() if history.exists() else []
    return RunResult(folder.name, TrainRun.load(folder / RECIPE_FILE), metrics, tuple(map(json.loads, lines)))


def _views(recipe: ReportRun, dataset: Dataset, store: FeatureStore, entries: Sequence[VideoEntry]) -> list[VideoView]:
    """The videos shown, from the best to the worst."""
    detections = read_detections(recipe.run / DETECTIONS_FILE)
    floors = cutoffs(detections, {entry.video_id: entry.segments for entry in entries})
    drawn: dict[str, list[Detection]] = {}
    for detection in detections:
        if detection.score >= floors[detection.label]:
            drawn.setdefault(detection.video_id, []).append(detection)
    judged = {entry.video_id: judge(drawn.get(entry.video_id, []), entry.segments) for entry in entries}
    if not any(entry.segments for entry in entries):
        judged = {video: [Judged(item.detection, None, True) for item in items] for video, items in judged.items()}
    ranked = sorted(entries, key=lambda entry: -quality(judged[entry.video_id], entry.segments))
    views = []
    with np.load(recipe.run / CURVES_FILE, allow_pickle=False) as curves:
        for entry in spread(ranked, recipe.videos):
            pictures, problem, seconds = _pictures(entry, recipe.frames)
            cas = _array(curves, entry, "cas")
            length = 0 if cas is None else store.grid.end_seconds(len(cas) - 1)
            view = VideoView(
                entry=entry,
                duration=entry.duration or seconds or length,
                judged=tuple(judged[entry.video_id]),
                cas={} if cas is None else dict(zip(dataset.classes, cas.T, strict=True)),
                attention=_array(curves, entry, "attention"),
                attention_csr=_array(curves, entry, "attention_csr"),
                pictures=pictures,
                problem=problem,
            )
            views.append(view)
    return views


def _array(curves: Mapping[str, np.ndarray], entry: VideoEntry, name: str) -> np.ndarray | None:
    return curves.get(f"{entry.video_id}/{name}")


def _pictures(entry: VideoEntry, count: int) -> tuple[tuple[str, ...], str, float]:
    """Frames as data URIs, why there are none, and the duration of the file (0 if unknown)."""
    if entry.path is None:
        return (), "the annotations know no file of this video", 0.0
    try:
        found = thumbnails(entry.path, count=count)
    except VideoError as error:
        return (), str(error), 0.0
    return tuple(map(picture_uri, found.jpegs)), "", found.duration


def _said(folder: Path | None, data: Path, dataset: Dataset) -> dict[str, Said]:
    """By class, the two descriptions of its first training video that has both; none where there is no cache."""
    if folder is None and not (data / "descriptions").is_dir():
        return {}
    home = folder or only_fingerprint(data / "descriptions", made_by="make priors", chosen_by="--descriptions")
    table = PartStore.open(home, DESCRIPTIONS, key=DESCRIPTION_KEY).table([*DESCRIPTION_KEY, "description", "status"])
    texts: dict[str, dict[str, dict[str, str]]] = {}
    for row in table.to_pylist():
        if row["status"] == "ok":
            texts.setdefault(row["action_class"], {}).setdefault(row["video_id"], {})[row["kind"]] = row["description"]
    said: dict[str, Said] = {}
    for label in dataset.classes:
        both = ((video, kinds) for video, kinds in texts.get(label, {}).items() if len(kinds) == 2)
        for video, kinds in both:
            said.setdefault(label, Said(video, kinds["key"], kinds["complete"]))
    return said


if __name__ == "__main__":
    from pipelines import presets
    from pipelines import report as command

    launch("report", presets.choices(lambda preset: preset.report()), command.main)
