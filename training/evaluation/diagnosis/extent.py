"""Incompleteness and over-completeness: the share of an instance that is missed, and of a detection that is outside.

These are the two problems of localization by video labels: a classifier responds to the discriminative core of an
action, so that what surrounds the core is missed, or to its scene, so that detections extend into the context.

*Detections.* Of every class the top `kept` x G are kept, G being the number of its ground-truth instances in the
subset. With as many detections as instances precision equals recall, and a detector can neither hide an incomplete
detection behind a weaker, longer one nor be penalised for the long tail that hardly affects mAP.

*Pairs.* An instance is paired with the kept detection of its class in its video that has the highest temporal IoU (the
better-scored of equal ones), if that is at least `paired` = 0.1: DETAD's border between localization error and
background error. One detection may be paired with several instances: one that covers two of them is over-complete for
both. There is one threshold, and no mean over several: with a higher one only detections would be left that are neither
incomplete nor over-complete.

*Measures*, for an instance T and its pair D, on the time axis:

    missed  = 1 - |T and D| / |T|      incompleteness
    outside = 1 - |T and D| / |D|      over-completeness

A detection of only the core has outside = 0 and a large missed; one that covers the instance and as much again has
missed = 0 and outside = 0.5. Both shares are split by where they lie (see `Extent`): with K the union of all kept
detections of the class in the video, the part of T that D misses is before K, in a gap of K, after K, or in K; the part
of D outside of T is before T or after it in no instance of the class, or in another instance.

Instances without a pair have no shares; `paired` counts those with one. `time_missed` and `time_outside` include all:
the share of all ground-truth time outside of K, and the share of K outside of all instances of the class. Instances of
length zero have no shares and are left out everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from training.evaluation.diagnosis.characteristics import Binned
from training.evaluation.diagnosis.columns import Columns, pairs
from training.evaluation.diagnosis.cover import Axis, Cover
from training.evaluation.diagnosis.schema import Completeness, DiagnosisRecipe, Distribution, Extent
from training.evaluation.metrics import temporal_iou

Array = np.ndarray
_HISTOGRAM_BINS = 10


@dataclass(frozen=True)
class _Measured:
    """Measures of every instance; p of the m instances have a pair."""

    lengths: Float[Array, " m"]
    lost: Float[Array, " m"]
    """Time of each instance in no kept detection."""
    pair: Int[Array, " m"]
    """Row of the paired detection; -1 where there is none."""
    shares: Mapping[str, Float[Array, " m"]]
    """NaN where there is no pair."""


def completeness(columns: Columns, lengths: Binned, recipe: DiagnosisRecipe) -> Completeness:
    """Completeness over all instances, by class, and by `lengths`."""
    kept = np.flatnonzero(columns.rank < recipe.kept * columns.truths[columns.found_class])
    truth_groups, kept_groups = _groups(columns, kept)
    axis = Axis.of([columns.truth, columns.found[kept]])
    truth, found = axis.lay(columns.truth, truth_groups), axis.lay(columns.found[kept], kept_groups)
    pair = _pair(columns.truth, truth_groups, columns.found[kept], kept_groups, tiou=recipe.paired)
    measured = _measure(truth, found, pair)
    kept_class = columns.found_class[kept]

    def outside(chosen: Bool[Array, " n"]) -> float | None:
        cover = Cover.of(found[chosen])
        return 1 - float(everything.inside(cover.spans).sum()) / cover.length if cover.length else None

    everything = Cover.of(truth)
    return Completeness(
        overall=_extent("all", measured, np.ones(len(truth), dtype=bool), outside(np.ones(len(found), dtype=bool))),
        classes=tuple(
            _extent(label, measured, columns.truth_class == number, outside(kept_class == number))
            for number, label in enumerate(columns.classes)
        ),
        lengths=tuple(
            _extent(label, measured, lengths.place == number, None) for number, label in enumerate(lengths.labels)
        ),
    )


def _groups(columns: Columns, kept: Int[Array, " n"]) -> tuple[Int[Array, " m"], Int[Array, " n"]]:
    """A number for each class in each video, of the instances and of the kept detections."""
    truth = np.stack([columns.truth_class, columns.truth_video])
    found = np.stack([columns.found_class[kept], columns.found_video[kept]])
    _, place = np.unique(np.concatenate([truth, found], axis=1), axis=1, return_inverse=True)
    place = place.ravel()
    return place[: truth.shape[1]], place[truth.shape[1] :]


def _pair(
    truth: Float[Array, "m 2"],
    truth_groups: Int[Array, " m"],
    found: Float[Array, "n 2"],
    found_groups: Int[Array, " n"],
    *,
    tiou: float,
) -> Int[Array, " m"]:
    """For each instance the detection of its group with the highest overlap of at least `tiou`; -1 where there is
    none."""
    row, other = pairs(truth_groups, found_groups)
    overlap = temporal_iou(truth[row], found[other])
    order = np.lexsort((-overlap, row))  # stable: among equal ones the better-scored comes first
    row, other, overlap = row[order], other[order], overlap[order]
    best = np.append(True, row[1:] != row[:-1])[: len(row)] & (overlap >= tiou)
    pair = np.full(len(truth), -1)
    pair[row[best]] = other[best]
    return pair


def _measure(truth: Float[Array, "m 2"], found: Float[Array, "n 2"], pair: Int[Array, " m"]) -> _Measured:
    """Measure all instances on one axis (see `Axis`)."""
    kept, truths = Cover.of(found), Cover.of(truth)
    lengths = truth[:, 1] - truth[:, 0]
    lost = lengths - kept.inside(truth)
    before, after = kept.gaps(truth)
    has = pair >= 0
    t, d = truth[has], found[pair[has]]
    inner = np.minimum(t[:, 1], d[:, 1]) - np.maximum(t[:, 0], d[:, 0])
    # extent of the detection on either side of its instance, and how much of that is in other instances
    left, right = np.stack([d[:, 0], t[:, 0]], axis=1), np.stack([t[:, 1], d[:, 1]], axis=1)
    early, late = (np.maximum(side[:, 1] - side[:, 0], 0.0) for side in (left, right))
    early_true = np.where(early > 0, truths.inside(left), 0.0)
    late_true = np.where(late > 0, truths.inside(right), 0.0)
    true_length, found_length = t[:, 1] - t[:, 0], d[:, 1] - d[:, 0]
    parts = {
        "missed": (true_length - inner) / true_length,
        "missed_start": before[has] / true_length,
        "missed_inside": (lost - before - after)[has] / true_length,
        "missed_end": after[has] / true_length,
        "missed_fragments": (true_length - inner - lost[has]) / true_length,
        "outside": (found_length - inner) / found_length,
        "outside_before": (early - early_true) / found_length,
        "outside_after": (late - late_true) / found_length,
        "outside_neighbours": (early_true + late_true) / found_length,
    }
    shares = {name: np.full(len(truth), np.nan) for name in parts}
    for name, part in parts.items():
        # Rounding on the long axis leaves some 1e-10 where there is nothing.
        shares[name][has] = part.clip(0.0, 1.0)
    return _Measured(lengths, lost, pair, shares)


def _extent(label: str, measured: _Measured, chosen: Bool[Array, " m"], time_outside: float | None) -> Extent:
    chosen = chosen & (measured.lengths > 0)
    with_pair = chosen & (measured.pair >= 0)
    shares = {name: values[with_pair] for name, values in measured.shares.items()}
    true_time = float(measured.lengths[chosen].sum())
    means = {
        name: float(values.mean()) if len(values) else None
        for name, values in shares.items()
        if name not in ("missed", "outside")
    }
    return Extent(
        label=label,
        truths=int(chosen.sum()),
        paired=int(with_pair.sum()),
        missed=_distribution(shares["missed"]),
        outside=_distribution(shares["outside"]),
        time_missed=float(measured.lost[chosen].sum()) / true_time if true_time else None,
        time_outside=time_outside,
        **means,
    )


def _distribution(values: Float[Array, " p"]) -> Distribution | None:
    if not len(values):
        return None
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    counts, _ = np.histogram(values, bins=_HISTOGRAM_BINS, range=(0.0, 1.0))
    return Distribution(
        count=len(values),
        mean=float(values.mean()),
        low=low,
        median=median,
        high=high,
        histogram=tuple(counts.tolist()),
    )
