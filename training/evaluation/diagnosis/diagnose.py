"""The whole diagnosis of detections under a protocol."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from jaxtyping import Int

from training.evaluation.diagnosis.characteristics import binned, characteristics, found_truths
from training.evaluation.diagnosis.columns import Columns
from training.evaluation.diagnosis.errors import breakdown
from training.evaluation.diagnosis.extent import completeness
from training.evaluation.diagnosis.precision import average_precision, curves
from training.evaluation.diagnosis.schema import ClassDiagnosis, Diagnosis, DiagnosisRecipe
from training.evaluation.evaluate import Counted
from training.evaluation.metrics import Ranking, Scores, TruthRows, mean_average_precision

Array = np.ndarray


def diagnose(counted: Counted, *, recipe: DiagnosisRecipe, name: str, classes: Collection[str]) -> Diagnosis:
    """Diagnose the detections and ground truth that count under a protocol.

    `classes` are the labels that exist, as for `mean_average_precision`; `name` names the diagnosis. Raises ValueError
    like that function.
    """
    protocol = counted.protocol
    scores = mean_average_precision(
        counted.detections, counted.truth, tious=protocol.tious, classes=classes, ties=protocol.ties
    )
    ranking = Ranking.of(counted.detections, TruthRows.of(counted.truth), protocol.ties)
    columns = Columns.of(ranking, counted.durations, unit=protocol.unit)
    thresholds = np.asarray(protocol.tious, dtype=np.float64)
    matched = ranking.matched(thresholds)
    bins = binned(columns, recipe.borders)
    recalls = np.linspace(0.0, 1.0, recipe.recalls)
    by_class = tuple(_classes(columns, matched, scores, recalls))
    return Diagnosis(
        name=name,
        protocol=protocol,
        recipe=recipe,
        videos=len(counted.truth),
        truths=len(columns.truth),
        detections=len(columns.found),
        outside=int((columns.found_video < 0).sum()),
        left_out=counted.left_out,
        unscored=scores.unscored,
        tious=scores.tious,
        recalls=tuple(recalls.tolist()),
        map=tuple(scores.map.tolist()),
        average=scores.average,
        map_normalized=tuple(np.mean([one.ap_normalized for one in by_class], axis=0).tolist()),
        missed=tuple((1 - found_truths(columns, matched, min_precision=recipe.min_precision).mean(axis=0)).tolist()),
        precision=_rows(np.mean([one.precision for one in by_class], axis=0)),
        classes=by_class,
        errors=breakdown(columns, matched, thresholds, recipe),
        characteristics=characteristics(columns, matched, bins, recipe),
        completeness=completeness(columns, next(one for one in bins if one.name == "length"), recipe),
    )


def _classes(columns: Columns, matched: Int[Array, "n k"], scores: Scores, recalls: Array) -> list[ClassDiagnosis]:
    diagnoses = []
    for number, (rows, truths) in enumerate(zip(columns.by_class(), columns.truths.tolist(), strict=True)):
        right = matched[rows] >= 0
        normalized = average_precision(right, ~right, truths=truths, size=columns.mean_truths)
        diagnoses.append(
            ClassDiagnosis(
                label=columns.classes[number],
                truths=truths,
                detections=len(right),
                ap=tuple(scores.ap[number].tolist()),
                ap_normalized=tuple(normalized.tolist()),
                precision=_rows(curves(right, ~right, truths=truths, recalls=recalls)),
            )
        )
    return diagnoses


def _rows(values: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values.tolist()))
