"""Write report.html of an evaluated run: scores, classes, diagnosis, training curves, and a page for each video."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from cache.annotations import Dataset, VideoEntry
from cache.detections import DetectionTable
from cache.errors import CacheError
from cache.features import FeatureGrid, FeatureStore
from cache.files.atomic import atomic_path
from cache.recipe import Recipe
from cache.tables.folders import embeddings_of, only_fingerprint
from pipelines.console import progress, say
from pipelines.pages.marked_texts import PriorsShown, priors_of
from pipelines.pages.page import picture_uri
from pipelines.pages.report.content import ReportContent, RunResult, VideoView
from pipelines.pages.report.page import report
from pipelines.pages.report.videos import JudgedVideo, judge_counted, judge_subset, spread
from pipelines.run_folder.files import (
    CURVES_FILE,
    DETECTIONS_FILE,
    METRICS_FILE,
    RECIPE_FILE,
    REPORT_FILE,
    refuse_unfinished,
    warnings_of,
)
from pipelines.run_folder.metrics import Metrics
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs.compare import refuse_mixture
from priors.video.frames import VideoError
from priors.video.thumbnails import thumbnails
from training.evaluation.diagnosis.diagnose import diagnose
from training.evaluation.diagnosis.schema import Diagnosis, DiagnosisRecipe
from training.evaluation.evaluate import counted
from training.logs.logs import FILE as HISTORY_FILE

_CLASSES = 8
"""Classes per video whose T-CAM is kept: its labels, its detected classes, and those with the highest T-CAM."""


class ReportRun(Recipe):
    """Which run is reported, and which one it is compared with."""

    run: Path
    """Folder of the evaluated run; receives report.html."""
    compare: Path | None = None
    """Folder of an evaluated run to compare with, such as the host alone (baseline)."""
    dataset: Path | None = None
    """Folder of the dataset; the one that the run was trained on when not given."""
    subset: str | None = None
    """Show the videos of this subset alone, if the run has no metrics.json; all that it localized when not given. With
    metrics.json those of its protocol are shown."""
    descriptions: Path | None = None
    """Folder descriptions/<config hash> to quote from; needed only if there are several."""
    embeddings: Path | None = None
    """Folder embeddings/<config hash>, for marking action words; the newest of those descriptions when not given."""
    videos: NonNegativeInt = 100
    """Number of videos with a strip of frames above the timeline, evenly spaced from the worst to the best F1. All
    videos have a timeline."""
    frames: PositiveInt = 10
    """Number of frames above each of these timelines."""
    unfinished: bool = False
    """Accept runs whose training is not finished."""
    player: bool = False
    """Show a video player on the page of each video. The page links to the files, so it must stay where it
    is written."""
    diagnosis: DiagnosisRecipe = DiagnosisRecipe()
    """Definitions of the error types, and which detections are used for completeness."""


def main(recipe: ReportRun) -> None:
    """Write the report."""
    path = recipe.run / REPORT_FILE
    text = report(gather(recipe))
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    say(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")


def gather(recipe: ReportRun) -> ReportContent:
    """Read everything on the page. Raises CacheError naming the missing file and the command that makes it."""
    refuse_unfinished([recipe.run, *([recipe.compare] if recipe.compare else [])], asked=recipe.unfinished)
    run = read_run(recipe.run)
    if not (recipe.run / CURVES_FILE).exists():
        raise CacheError(f"{recipe.run / CURVES_FILE}: no such file; run `make eval` without --no-curves")
    other = None if recipe.compare is None else read_run(recipe.compare)
    if recipe.compare and other and other.metrics and run.metrics:
        refuse_mixture((recipe.run, recipe.compare), (run.metrics, other.metrics))
    folder = recipe.dataset or run.recipe.dataset
    dataset = Dataset.load(folder / "annotations.json")
    home = folder / "features" if recipe.dataset else run.recipe.features_folder
    grid = FeatureStore.open(home).select(run.recipe.train.data.streams).grid
    detections = DetectionTable.read(recipe.run / DETECTIONS_FILE)
    if run.metrics is None:
        with np.load(recipe.run / CURVES_FILE, allow_pickle=False) as curves:
            localized = {name.rpartition("/")[0] for name in curves.files}
        videos = dataset.videos if recipe.subset is None else dataset.split(recipe.subset)
        judged = judge_subset(detections.rows(), [video for video in videos if video.video_id in localized])
    else:
        judged = judge_counted(dataset, detections, run.metrics.protocol)
    return ReportContent(
        dataset=dataset.name,
        classes=dataset.classes,
        run=run,
        other=other,
        grid=grid,
        videos=tuple(_views(recipe, dataset.classes, grid, list(judged.values()))),
        priors=_priors(recipe, run, dataset, list(judged)),
        diagnosis=_diagnosis(recipe, run, dataset, detections),
    )


def read_run(folder: Path) -> RunResult:
    """Contents of a run folder. Raises CacheError if the run is not evaluated."""
    if not (folder / DETECTIONS_FILE).exists():
        raise CacheError(f"{folder / DETECTIONS_FILE}: no such file, so the run is not evaluated; run `make eval`")
    metrics = Metrics.load(folder / METRICS_FILE) if (folder / METRICS_FILE).exists() else None
    history = folder / HISTORY_FILE
    lines = history.read_text(encoding="utf-8").splitlines() if history.exists() else []
    recipe, warnings = TrainRun.load(folder / RECIPE_FILE), warnings_of(folder)
    return RunResult(folder.name, recipe, metrics, tuple(map(json.loads, lines)), warnings)


def _diagnosis(recipe: ReportRun, run: RunResult, dataset: Dataset, detections: DetectionTable) -> Diagnosis | None:
    """Diagnosis of these very detections, computed here; None without ground truth."""
    if run.metrics is None:
        return None
    what = counted(dataset, detections, run.metrics.protocol)
    return diagnose(what, recipe=recipe.diagnosis, name=run.name, classes=dataset.classes)


def _views(
    recipe: ReportRun, classes: Sequence[str], grid: FeatureGrid, judged: Sequence[JudgedVideo]
) -> list[VideoView]:
    """All videos, from the lowest to the highest F1."""
    ranked = sorted(judged, key=lambda video: (video.quality, video.entry.video_id))
    with_frames = {video.entry.video_id for video in spread(ranked, recipe.videos)}
    views = []
    with (
        np.load(recipe.run / CURVES_FILE, allow_pickle=False) as curves,
        progress("reading the videos' frames") as tell,
    ):
        for video in ranked:
            entry = video.entry
            wanted = entry.video_id in with_frames
            pictures, problem, seconds = _pictures(entry, recipe.frames) if wanted else ((), "", 0.0)
            player = _player(entry, recipe.run) if recipe.player else ""
            cas = _array(curves, entry, "cas")
            length = 0 if cas is None or not len(cas) else grid.end_seconds(len(cas) - 1)
            view = VideoView(
                judged=video,
                duration=entry.duration or seconds or length,
                cas={} if cas is None else _chosen(dict(zip(classes, cas.T, strict=True)), video),
                attention=_array(curves, entry, "attention"),
                attention_csr=_array(curves, entry, "attention_csr"),
                pictures=pictures,
                player=player,
                problem=problem,
            )
            views.append(view)
            if wanted:
                tell(sum(view.judged.entry.video_id in with_frames for view in views), len(with_frames))
    return views


def _array(curves: Mapping[str, np.ndarray], entry: VideoEntry, name: str) -> np.ndarray | None:
    return curves.get(f"{entry.video_id}/{name}")


def _chosen(cas: Mapping[str, np.ndarray], video: JudgedVideo) -> dict[str, np.ndarray]:
    """The T-CAM of at most _CLASSES classes: labels, detected classes, then those with the highest T-CAM."""
    own = [*video.entry.labels, *(item.detection.label for item in video.drawn)]
    highest = sorted(cas, key=lambda label: -float(cas[label].max(initial=0.0)))
    wanted = [label for label in dict.fromkeys([*own, *highest]) if label in cas]
    return {label: cas[label] for label in wanted[:_CLASSES]}


def _pictures(entry: VideoEntry, count: int) -> tuple[tuple[str, ...], str, float]:
    """Frames as data URIs, why there are none, and the duration of the file (0 if unknown)."""
    if entry.path is None:
        return (), "No frames: the annotations name no file for this video", 0.0
    try:
        found = thumbnails(entry.path, count=count)
    except VideoError as error:
        return (), f"No frames: {error}", 0.0
    return tuple(map(picture_uri, found.jpegs)), "", found.duration


def _player(entry: VideoEntry, page: Path) -> str:
    """URL of the video's file relative to the folder of the page; empty if there is no file."""
    if entry.path is None or not entry.path.exists():
        return ""
    return quote(Path(os.path.relpath(entry.path.resolve(), page.resolve())).as_posix())


def _priors(recipe: ReportRun, run: RunResult, dataset: Dataset, videos: Sequence[str]) -> PriorsShown:
    """Descriptions of these videos, if any, and of a few training videos per class; empty without a cache."""
    folder = recipe.dataset or run.recipe.dataset
    if not run.recipe.train.model.needs_texts:
        return PriorsShown({}, {})
    home, embeddings = recipe.descriptions, recipe.embeddings
    if home is None:
        if not (folder / "descriptions").is_dir():
            return PriorsShown({}, {})
        home = only_fingerprint(folder / "descriptions", made_by="make priors", chosen_by="--descriptions")
    if embeddings is None:
        fitting = embeddings_of(folder / "embeddings", home.name)
        embeddings = fitting[0].path if fitting else None
    return priors_of(dataset, home, embeddings, videos=videos)
