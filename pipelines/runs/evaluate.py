"""Localize actions in the videos of a subset with a trained model, and compute the mAP as ActivityNet's evaluator."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from statistics import median_low
from typing import Literal

from cache.annotations import Dataset, VideoEntry
from cache.detections import Detection, DetectionTable, write_detections
from cache.errors import CacheError
from cache.features import FeatureStore
from cache.recipe import differences
from cache.wording import amount
from pipelines.console import note, progress, say, table
from pipelines.run_folder.files import (
    CURVES_FILE,
    DETECTIONS_FILE,
    DIAGNOSIS_FILE,
    METRICS_FILE,
    RECIPE_FILE,
    REPORT_FILE,
    refuse_unfinished,
    warnings_of,
)
from pipelines.run_folder.metrics import Metrics
from pipelines.run_folder.recipe import TrainRun
from pipelines.run_folder.tuned import setting_text
from pipelines.run_folder.without_features import WithoutFeatures, having_features
from training.checkpoints.checkpoint import Trained
from training.checkpoints.folder import Best, best_checkpoint
from training.checkpoints.footprint import Footprint, footprint
from training.compat.localize import PublicMethod, official_recipe
from training.evaluation.evaluate import Evaluation, evaluate_detections, protocol_videos
from training.evaluation.protocol import Protocol, ProtocolChoice, tiou_key
from training.inference import detect, from_what_it_has, load_run
from training.localization.curves import Curves, save_curves
from training.localization.localize import LocalizeRecipe
from training.nn.devices import DeviceName


class EvalRun(ProtocolChoice):
    """Which run is evaluated, on which data, under which protocol."""

    run: Path
    """Folder of the run: holds the checkpoint, receives detections.json, metrics.json and curves.npz."""
    dataset: Path | None = None
    """Folder of the dataset; the one that the run was trained on when not given."""
    features: Path | None = None
    """Folder of snippet features; when not given, features/ in the dataset's folder, or those of the training."""
    without_features: WithoutFeatures | None = None
    """Videos of the subset without a feature file. stop: list them, and localize none; drop: localize the others; an
    mAP still counts the ground truth of all. As in the training when not given."""
    output: Path | None = None
    """Folder that receives the results; the run's own when not given."""
    all_videos: bool = False
    """Localize the videos of every subset, as where all were trained on. There is no score then: detections in videos
    that a model was trained on say nothing of others."""
    checkpoint: Literal["last", "best"] = "last"
    """last: checkpoint of the last step. best: checkpoint with the best validation score (needs training with
    validation.every)."""
    unfinished: bool = False
    """Evaluate a training that is not finished, at its last checkpoint."""
    localize: LocalizeRecipe = LocalizeRecipe()
    """Post-processing: from the model's outputs to detections."""
    curves: bool = True
    """Write curves.npz, which the report needs: T-CAM and attention of every video."""
    csr_curves: bool = False
    """Also write the attention of CSR (A_CSR), for the report's timelines. Localization does not need CSR, so it is
    neither loaded nor run by default."""
    official: PublicMethod | None = None
    """Use the post-processing of this method's public code for THUMOS14; overrides --localize.*."""
    device: DeviceName | None = None
    """Device of the model; loop.device of the training when not given."""

    def as_tuned(self, fields: Set[str]) -> EvalRun:
        """The same with the post-processing that goes with the run's training, but for the fields that options set."""
        if not (self.run / RECIPE_FILE).exists() or self.official is not None:
            return self
        trained = TrainRun.load(self.run / RECIPE_FILE)
        asked = self.changed(trained.localize_changes(but=fields))
        if changed := differences(self.localize, asked.localize):
            told = ", ".join(f"{name} {setting_text(now)}" for name, (_, now) in changed.items())
            note(f"post-processing of {trained.tuned or self.run / RECIPE_FILE}: {told}")
        return asked


def main(recipe: EvalRun) -> None:
    """Localize, write the results, print the mAP."""
    metrics = evaluate(recipe)
    if metrics is not None:
        print_map([metrics])
        print_footprint(metrics)
    for warning in warnings_of(recipe.run):
        say(f"warning: {warning}")


def evaluate(recipe: EvalRun) -> Metrics | None:
    """Localize the subset and write curves.npz, detections.json and, last, metrics.json.

    Returns None, and writes no metrics.json, if the annotations hold no segments of the subset, or all videos are
    localized. Raises CacheError, before localization starts, if the annotations do not fit the protocol.
    """
    if not (recipe.run / RECIPE_FILE).exists():
        raise CacheError(f"{recipe.run / RECIPE_FILE}: no such file, so nothing was trained here; run `make train`")
    refuse_unfinished([recipe.run], asked=recipe.unfinished)
    trained_on = TrainRun.load(recipe.run / RECIPE_FILE)
    home = recipe.dataset or trained_on.dataset
    annotations = home / "annotations.json"
    dataset, protocol = Dataset.load(annotations), recipe.chosen()
    videos = dataset.videos if recipe.all_videos else _videos_of(dataset, protocol, annotations)
    own = home / "features" if recipe.dataset else trained_on.features_folder
    store = FeatureStore.open(recipe.features or own).select(trained_on.train.data.streams)
    readable = _readable(videos, store, recipe.without_features or trained_on.without_features)
    device = recipe.device or trained_on.train.loop.device
    csr_attention = recipe.curves and recipe.csr_curves
    best = _best(recipe.run) if recipe.checkpoint == "best" else None
    folder = None if best is None else best.folder
    trained = load_run(recipe.run, dataset, store, csr_attention=csr_attention, device=device, checkpoint=folder)
    localize = recipe.localize if recipe.official is None else official_recipe(recipe.official)
    asked, localize = localize, from_what_it_has(trained, localize)
    if localize != asked:
        say(f"{recipe.run.name} has no localization head: its detections come from the T-CAM")
    found: list[Detection] = []
    snippets: list[int] = []

    def localized() -> Iterator[Curves]:
        with progress(f"localizing {recipe.run.name}") as report:
            for done, (drawn, detections) in enumerate(detect(trained, store, readable, recipe=localize), start=1):
                found.extend(detections)
                snippets.append(len(drawn.cas))
                report(done, len(readable))
                yield drawn

    output = recipe.output or recipe.run
    if recipe.curves:
        save_curves(output / CURVES_FILE, localized())
    else:
        deque(localized(), maxlen=0)
        (output / CURVES_FILE).unlink(missing_ok=True)  # they belong to an earlier evaluation
    for name in (METRICS_FILE, DIAGNOSIS_FILE, REPORT_FILE):  # they belong to earlier detections
        (output / name).unlink(missing_ok=True)
    external = {"run": recipe.run.name} | ({} if recipe.all_videos else {"subset": protocol.subset})
    write_detections(output / DETECTIONS_FILE, found, external_data=external)
    say(f"{amount(len(found), 'detection')} in {amount(len(readable), 'video')}: {output / DETECTIONS_FILE}")
    if recipe.all_videos or not any(video.segments for video in videos):
        say("no score: " + (_LEARNED if recipe.all_videos else _lacking(dataset, protocol.subset, annotations)))
        return None
    evaluation = evaluate_detections(dataset, DetectionTable.of(found), protocol)
    cost = footprint(trained, snippets=median_low(snippets))
    metrics = _metrics(evaluation, recipe.run.name, localize, cost)
    if best is not None:
        metrics = metrics.model_copy(update={"checkpoint": _say_best(best, trained, protocol.subset)})
    metrics.save(output / METRICS_FILE)
    return metrics


_LEARNED = "all videos were localized (--all-videos), those that the run was trained on among them"


def _videos_of(dataset: Dataset, protocol: Protocol, annotations: Path) -> Sequence[VideoEntry]:
    """The videos of a protocol. Raises CacheError as `protocol_videos`, and for a subset that there is not with what
    there is."""
    subsets = Counter(video.subset for video in dataset.videos)
    if protocol.subset in subsets:
        return protocol_videos(dataset, protocol)
    there = ", ".join(f"{name} ({amount(count, 'video')})" for name, count in subsets.items()) or "none"
    raise CacheError(
        f"{annotations}: subset: found no video of {protocol.subset!r}, expected one of {there}; choose it with "
        "--subset, or localize all videos with --all-videos"
    )


def _readable(videos: Sequence[VideoEntry], store: FeatureStore, choice: WithoutFeatures) -> Sequence[VideoEntry]:
    readable, left_out = having_features(videos, store, choice)
    if left_out is not None:
        note(left_out)
    return readable


def _lacking(dataset: Dataset, subset: str, annotations: Path) -> str:
    """What a score of a subset needs, and the annotations do not have."""
    elsewhere = Counter(video.subset for video in dataset.videos if video.segments)
    there = ", ".join(f"{amount(count, 'video')} of {name}" for name, count in elsewhere.items())
    others = f"; there are segments in {there} (--subset)" if elsewhere else ""
    videos = amount(len(dataset.split(subset)), "video of subset", "videos of subset")
    return (
        f"{annotations}: found no segment in the {videos} {subset!r}, expected when actions begin and end in some of "
        f'them ("annotations": [{{"label": CLASS, "segment": [START, END]}}] in seconds, as `make import-dataset` '
        f"takes them from annotation tools){others}"
    )


def _best(run: Path) -> Best:
    found = best_checkpoint(run)
    if found is None:
        raise CacheError(
            f"{run}: found no best checkpoint; train with validation (--validation.every STEPS), or evaluate the last "
            "one (--checkpoint last)"
        )
    return found


def _say_best(found: Best, trained: Trained, subset: str) -> str:
    """Print which checkpoint this is, with a warning if it was selected on the evaluated subset itself."""
    told = f"best by {found.criterion} ({100 * found.score:.1f}), step {trained.state.step}"
    chosen_here = found.criterion.rpartition(".")[0] == subset
    say(f"checkpoint: {told}{'; selected on this subset, so the scores are optimistic' if chosen_here else ''}")
    return told


def print_map(results: Sequence[Metrics], *, names: Sequence[str] = ()) -> None:
    """Print one row per run: mAP at each tIoU and their mean, in percent."""
    first = results[0]
    header = [f"mAP [%] on {first.subset}", *(f"@{tiou_key(tiou)}" for tiou in first.tious), "average"]
    rows = [
        [name, *(f"{100 * value:.1f}" for value in (*one.map, one.average))]
        for name, one in zip(names or [one.run for one in results], results, strict=True)
    ]
    scored = f"{amount(first.videos, 'video')}, {amount(len(first.classes), 'class', 'classes')}"
    table(f"{scored}; {first.protocol.describe()}", header, rows)


def print_footprint(metrics: Metrics) -> None:
    """Print parameters and FLOPs of inference, compared with the host alone."""
    cost = metrics.footprint
    if cost is None:
        return
    rows = [
        ["host alone", f"{cost.host_parameters:,}", f"{cost.host_flops / 1e9:.3f}", "1"],
        ["+ class queries", f"{cost.query_parameters:,}", "", ""],
        ["+ localization head", f"{cost.head_parameters:,}", "", ""],
        ["inference", f"{cost.parameters:,}", f"{cost.flops / 1e9:.3f}", f"{cost.flops / max(cost.host_flops, 1):.3f}"],
    ]
    header = ["", "parameters", "GFLOP", "x host"]
    table(f"Inference on a video of {amount(cost.snippets, 'snippet')} (the median)", header, rows)
    say(f"not loaded: {cost.unread_parameters:,} parameters used in training only (text tower, CSR, word vectors)")


def _metrics(evaluation: Evaluation, run: str, localize: LocalizeRecipe, cost: Footprint) -> Metrics:
    scores = evaluation.scores
    return Metrics(
        run=run,
        protocol=evaluation.protocol,
        subset=evaluation.protocol.subset,
        videos=evaluation.videos,
        detections=evaluation.detections,
        tious=scores.tious,
        map=tuple(scores.map.tolist()),
        average=scores.average,
        classes=scores.classes,
        ap=tuple(map(tuple, scores.ap.tolist())),
        unscored=scores.unscored,
        left_out=evaluation.left_out,
        localize=localize,
        footprint=cost,
    )
