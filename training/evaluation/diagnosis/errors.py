"""Kinds of error among the best detections, and what each costs, in the manner of DETAD.

Alwassel et al., Diagnosing Error in Temporal Action Detectors, ECCV 2018, section 4. A detection that finds no truth at
the threshold alpha is compared with the truth that it overlaps most, of whatever class, at temporal IoU t:

    double         t >= alpha, its own class: the truth is taken by a better one
    wrong_label    t >= alpha, another class
    localization   0.1 <= t < alpha, its own class
    confusion      0.1 <= t < alpha, another class
    background     t < 0.1

Of truths that are overlapped alike, one of the own class counts: where every instance of one class is one of another,
too (THUMOS14's CliffDiving and Diving), DETAD's public code lets their order decide.

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
"""The number of a detection that is no error; an error has the place of its kind in KINDS."""
_AT_ONCE = 50_000
"""Detections that are compared with the truths of their videos at a time."""


def nearest_truth(columns: Columns) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Highest temporal IoU of each detection with a truth of its video, and whether one of its own class has it."""
    best, own = np.zeros(len(columns.found)), np.zeros(len(columns.found), dtype=bool)
    for begin in range(0, len(columns.found), _AT_ONCE):
        row, truth = pairs(columns.found_video[begin : begin + _AT_ONCE], columns.truth_video)
        row = row + begin
        overlap = temporal_iou(columns.found[row], columns.truth[truth])
        np.maximum.at(best, row, overlap)
        mine = (columns.found_class[row] == columns.truth_class[truth]) & (overlap == best[row])
        own[row[mine]] = True
    return best, own


def kinds(
    columns: Columns, matched: Int[Array, "n k"], tious: Float[Array, " k"], *, foreground: float
) -> Int[Array, "n k"]:
    """For each detection and threshold a place in KINDS, or RIGHT."""
    best, own = nearest_truth(columns)
    near = best[:, None] >= tious
    touching = np.broadcast_to(best[:, None] >= foreground, near.shape)
    mine = np.broadcast_to(own[:, None], near.shape)
    conditions = [matched >= 0, near & mine, near, touching & mine, touching]
    return np.select(conditions, [RIGHT, *range(RIGHT - 1)], default=RIGHT - 1)


def breakdown(
    columns: Columns, matched: Int[Array, "n k"], tious: Float[Array, " k"], recipe: DiagnosisRecipe
) -> tuple[ErrorBreakdown, ...]:
    """The breakdown at every threshold.

    The gain of a kind is the rise of the mAP when its detections are taken away. That frees no truth, so who finds what
    stays as it is.
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
        mine = kind[rows][counted[rows]]
        right, wrong = mine == RIGHT, mine != RIGHT
        base = average_precision(right, wrong, truths=truths, size=size)
        for place in range(len(KINDS)):
            gains[place] += average_precision(right, wrong & (mine != place), truths=truths, size=size) - base
    return gains / len(columns.classes)
