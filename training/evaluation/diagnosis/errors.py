"""Error types among the top detections, and the mAP that each costs, as in DETAD.

Alwassel et al., Diagnosing Error in Temporal Action Detectors, ECCV 2018, section 4. A false positive at the threshold
alpha is compared with the ground-truth instance of any class that it overlaps most, at temporal IoU t:

    double         t >= alpha, its own class: a duplicate, the instance is matched with a better detection
    wrong_label    t >= alpha, another class
    localization   0.1 <= t < alpha, its own class
    confusion      0.1 <= t < alpha, another class
    background     t < 0.1

Among instances of equal overlap, one of the detection's own class is preferred. In DETAD's public code their order
decides, which matters where every instance of one class is one of another, too (THUMOS14's CliffDiving and Diving).

Axis letters: n detections, k thresholds.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from training.evaluation.diagnosis.columns import Columns, pairs
from training.evaluation.diagnosis.precision import average_precision
from training.evaluation.diagnosis.schema import DiagnosisRecipe, ErrorBreakdown, ErrorKind, TopCounts
from training.evaluation.metrics import temporal_iou

Array = np.ndarray
KINDS: tuple[ErrorKind, ...] = ("double", "wrong_label", "localization", "confusion", "background")
RIGHT = len(KINDS)
"""The number of a true positive; an error has the index of its kind in KINDS."""
_AT_ONCE = 50_000
"""Detections that are compared with the ground truth of their videos at a time."""


def nearest_truth(columns: Columns) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Highest temporal IoU of each detection with an instance of its video, and whether one of its own class has it."""
    best, own_class = np.zeros(len(columns.found)), np.zeros(len(columns.found), dtype=bool)
    for begin in range(0, len(columns.found), _AT_ONCE):
        row, truth = pairs(columns.found_video[begin : begin + _AT_ONCE], columns.truth_video)
        row = row + begin
        overlap = temporal_iou(columns.found[row], columns.truth[truth])
        np.maximum.at(best, row, overlap)
        same_class = (columns.found_class[row] == columns.truth_class[truth]) & (overlap == best[row])
        own_class[row[same_class]] = True
    return best, own_class


def kinds(
    columns: Columns, matched: Int[Array, "n k"], tious: Float[Array, " k"], *, foreground: float
) -> Int[Array, "n k"]:
    """For each detection and threshold an index into KINDS, or RIGHT."""
    best, own_class = nearest_truth(columns)
    near = best[:, None] >= tious
    touching = np.broadcast_to(best[:, None] >= foreground, near.shape)
    same_class = np.broadcast_to(own_class[:, None], near.shape)
    conditions = [matched >= 0, near & same_class, near, touching & same_class, touching]
    return np.select(conditions, [RIGHT, *range(RIGHT - 1)], default=RIGHT - 1)


def breakdown(
    columns: Columns, matched: Int[Array, "n k"], tious: Float[Array, " k"], recipe: DiagnosisRecipe
) -> tuple[ErrorBreakdown, ...]:
    """The breakdown at every threshold.

    The gain of a kind is the rise of the mAP when its detections are removed. They are matched with no instance, so all
    matches stay the same.
    """
    kind = kinds(columns, matched, tious, foreground=recipe.foreground)
    multiple = columns.rank // columns.truths[columns.found_class] + 1
    tops = [multiple <= factor for factor in range(1, recipe.multiples + 1)]
    plain = _gains(columns, kind, np.ones_like(multiple, dtype=bool), size=None)
    normalized = _gains(columns, kind, tops[-1], size=columns.mean_truths)
    return tuple(
        ErrorBreakdown(
            tiou=tiou,
            top=tuple(_counts(factor, kind[top, place]) for factor, top in enumerate(tops, start=1)),
            gain=dict(zip(KINDS, plain[:, place].tolist(), strict=True)),
            gain_normalized=dict(zip(KINDS, normalized[:, place].tolist(), strict=True)),
        )
        for place, tiou in enumerate(tious.tolist())
    )


def _counts(multiple: int, kind: Int[Array, " n"]) -> TopCounts:
    counts = np.bincount(kind, minlength=RIGHT + 1).tolist()
    errors = dict(zip(KINDS, counts[:RIGHT], strict=True))
    return TopCounts(multiple=multiple, detections=len(kind), right=counts[RIGHT], errors=errors)


def _gains(
    columns: Columns, kind: Int[Array, "n k"], counted: Bool[Array, " n"], *, size: float | None
) -> Float[Array, "e k"]:
    """Rise of the mAP of the `counted` detections without each kind of error."""
    gains = np.zeros((len(KINDS), kind.shape[1]))
    for rows, truths in zip(columns.by_class(), columns.truths.tolist(), strict=True):
        of_class = kind[rows][counted[rows]]
        right, wrong = of_class == RIGHT, of_class != RIGHT
        base = average_precision(right, wrong, truths=truths, size=size)
        for place in range(len(KINDS)):
            gains[place] += average_precision(right, wrong & (of_class != place), truths=truths, size=size) - base
    return gains / len(columns.classes)
