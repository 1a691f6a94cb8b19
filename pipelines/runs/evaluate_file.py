"""Score any file of detections against any annotations, without run, features or model.

`python -m pipelines evaluate-file --detections D.json --annotations A.json --subset validation --tious 0.5:0.05:0.95`
prints a table; with `--json`, one JSON object on stdout and everything else on stderr.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from cache.annotations import Dataset
from cache.detections import DetectionTable
from cache.errors import CacheError
from cache.wording import amount
from pipelines.console import note, say, table
from training.evaluation.evaluate import Evaluation, UnknownLabels, evaluate_detections
from training.evaluation.protocol import Protocol, ProtocolChoice, tiou_key


class EvaluateFileRun(ProtocolChoice):
    """Which detections are scored against which annotations, under which protocol.

    Without `--subset`, the protocol `seconds` uses the subset of the videos that have detections.
    """

    detections: Path
    """Results JSON: {results: {video_id: [{label, score, segment: [start, end] in seconds}]}}."""
    annotations: Path
    """Annotation JSON: {database: {video_id: {subset, annotations: [{label, segment: [start, end] in seconds}]}}}."""
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print one JSON object {mAP, average, per_class, protocol} on stdout, and nothing else there."""
    unknown_labels: UnknownLabels = "error"
    """Detections of a class that is not in the annotations. error: stop. ignore: leave them out and count them."""


def main(recipe: EvaluateFileRun) -> None:
    """Print the scores on stdout, and the detections that do not count on stderr."""
    dataset = Dataset.load(recipe.annotations)
    found, renamed = DetectionTable.read(recipe.detections).named_as({video.video_id for video in dataset.videos})
    if renamed:
        note(f"{amount(renamed, 'video')} matched by adding or removing the prefix 'v_' of the id")
    protocol = _protocol(recipe, dataset, found)
    evaluation = evaluate_detections(dataset, found, protocol, unknown_labels=recipe.unknown_labels)
    for line in uncounted(evaluation):
        note(line)
    if recipe.as_json:
        print(json.dumps(document(evaluation), ensure_ascii=False))
    else:
        scored = f"{amount(evaluation.detections, 'detection')} in {amount(evaluation.videos, 'video')}"
        say(f"{scored}; {protocol.describe()}")
        _print_table(evaluation)


def document(evaluation: Evaluation) -> dict[str, object]:
    """The scores as plain data: mAP by threshold, its mean, AP by class and threshold, and the whole protocol."""
    scores = evaluation.scores
    keys = [tiou_key(tiou) for tiou in scores.tious]
    return {
        "mAP": dict(zip(keys, scores.map.tolist(), strict=True)),
        "average": scores.average,
        "per_class": {
            label: dict(zip(keys, row, strict=True))
            for label, row in zip(scores.classes, scores.ap.tolist(), strict=True)
        },
        "protocol": evaluation.protocol.model_dump(mode="json"),
    }


def uncounted(evaluation: Evaluation) -> list[str]:
    """Notes on detections that do not count or have no ground truth, one line each."""
    left_out, scores = evaluation.left_out, evaluation.scores
    lines = []
    if evaluation.outside:
        fate = "are left out" if "outside" in left_out else "count as false positives (--outside leave-out drops them)"
        lines.append(f"{evaluation.outside} detections in videos that the protocol does not hold {fate}")
    if "ambiguous" in left_out:
        lines.append(f"{left_out['ambiguous']} detections that overlap an ambiguous segment are left out")
    if "unknown label" in left_out:
        lines.append(f"{left_out['unknown label']} detections of labels that the annotations do not have are left out")
    if scores.unscored:
        lines.append(
            f"{sum(scores.unscored.values())} detections are of classes without ground truth in these videos "
            f"(not in the mean): {', '.join(sorted(scores.unscored))}"
        )
    return lines


def _protocol(recipe: EvaluateFileRun, dataset: Dataset, found: DetectionTable) -> Protocol:
    protocol = recipe.chosen()
    if recipe.subset is not None or recipe.protocol != "seconds":
        return protocol
    named = set(found.videos)
    subsets = sorted({video.subset for video in dataset.videos if video.video_id in named})
    if len(subsets) != 1:
        there = f"lie in subsets {subsets}" if subsets else "lie in none of the annotated videos"
        raise CacheError(
            f"{recipe.detections}: the detections {there}; say with --subset which of "
            f"{sorted({video.subset for video in dataset.videos})} is scored"
        )
    note(f"subset {subsets[0]!r}, in whose videos the detections lie")
    return protocol.model_copy(update={"subset": subsets[0]})


def _print_table(evaluation: Evaluation) -> None:
    scores = evaluation.scores
    rows = [
        [label, *(f"{100 * value:.1f}" for value in (*row, row.mean()))]
        for label, row in zip(scores.classes, scores.ap, strict=True)
    ]
    rows.append(["mAP", *(f"{100 * value:.1f}" for value in (*scores.map, scores.average))])
    table("AP [%]", ["", *(f"@{tiou_key(tiou)}" for tiou in scores.tious), "average"], rows)
