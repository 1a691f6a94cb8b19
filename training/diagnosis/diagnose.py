"""The whole diagnosis of detections against the truth of a subset."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Int

from cache.annotations import VideoEntry
from cache.detections import Detection
from training.diagnosis.characteristics import binned, characteristics, found_truths
from training.diagnosis.columns import Columns
from training.diagnosis.errors import breakdown
from training.diagnosis.extent import completeness
from training.diagnosis.precision import average_precision, curves
from training.diagnosis.schema import ClassDiagnosis, Diagnosis, DiagnosisRecipe
from training.metrics import Scores, mean_average_precision

Array = np.ndarray


def diagnose(
    detections: Sequence[Detection],
    videos: Sequence[VideoEntry],
    *,
    tious: Sequence[float],
    recipe: DiagnosisRecipe,
    name: str,
    subset: str,
    classes: Collection[str] | None = None,
) -> Diagnosis:
    """Diagnose detections in the videos of a subset.

    `classes` are the labels that exist, as for `mean_average_precision`; `name` is what the diagnosis goes by. Raises
    ValueError for whatever that function refuses.
    """
    truth = {video.video_id: video.segments for video in videos}
    scores = mean_average_precision(detections, truth, tious=tious, classes=classes)
    columns = Columns.of(detections, videos)
    thresholds = np.asarray(tious, dtype=np.float64)
    matched = columns.matched(thresholds)
    bins = binned(columns, recipe.borders)
    recalls = np.linspace(0.0, 1.0, recipe.recalls)
    by_class = tuple(_classes(columns, matched, scores, recalls))
    return Diagnosis(
        name=name,
        subset=subset,
        recipe=recipe,
        videos=len(videos),
        truths=len(columns.truth),
        detections=len(columns.found),
        strays=int((columns.found_video < 0).sum()),
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
    found = []
    for number, (rows, truths) in enumerate(zip(columns.by_class(), columns.truths.tolist(), strict=True)):
        right = matched[rows] >= 0
        normalized = average_precision(right, ~right, truths=truths, size=columns.mean_truths)
        found.append(
            ClassDiagnosis(
                label=columns.classes[number],
                truths=truths,
                detections=len(right),
                ap=tuple(scores.ap[number].tolist()),
                ap_normalized=tuple(normalized.tolist()),
                precision=_rows(curves(right, ~right, truths=truths, recalls=recalls)),
            )
        )
    return found


def _rows(values: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values.tolist()))
