"""False negatives and mAP by characteristics of ground-truth instances: length, coverage, instances per video.

As in DETAD (Alwassel et al., ECCV 2018, sections 5 and 6): length is end - start in seconds, coverage the length over
the duration of the video, instances the number of instances of the same class in the video. Bins are open below and
closed above; the lowest also holds what lies below it, and the highest what lies above (annotations that run beyond
their video). Distance and size of context are left out: they need annotations of their own.

Axis letters: m ground-truth instances ("truths"), n detections, k thresholds, b bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from training.evaluation.diagnosis.columns import Columns
from training.evaluation.diagnosis.precision import average_precision, precisions
from training.evaluation.diagnosis.schema import Bin, Borders, Characteristic, CharacteristicName, DiagnosisRecipe

Array = np.ndarray
LABELS: Mapping[int, tuple[str, ...]] = {
    1: ("M",),
    2: ("S", "L"),
    3: ("S", "M", "L"),
    4: ("XS", "S", "M", "L"),
    5: ("XS", "S", "M", "L", "XL"),
}
"""Names of the bins, by their number. DETAD names its four bins of instances XS to L."""
FIXED: Mapping[Borders, Mapping[CharacteristicName, tuple[float, ...]]] = {
    "activitynet": {"length": (30, 60, 120, 180), "coverage": (0.2, 0.4, 0.6, 0.8), "instances": (1, 4, 8)},
    "thumos14": {"length": (3, 6, 12, 18), "coverage": (0.02, 0.04, 0.06, 0.08), "instances": (1, 40, 80)},
}
"""Inner borders of DETAD's public code, in seconds, shares of the video and instances."""


@dataclass(frozen=True)
class Binned:
    """Ground-truth instances in bins: `place` (m) is the bin of each, -1 where the characteristic is not known."""

    name: CharacteristicName
    inner: tuple[float, ...]
    place: Int[Array, " m"]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the bins, from the lowest."""
        return LABELS[len(self.inner) + 1]


def values(columns: Columns) -> dict[CharacteristicName, Float[Array, " m"]]:
    """Every characteristic of every ground-truth instance; NaN where it is not known."""
    length = columns.truth[:, 1] - columns.truth[:, 0]
    group = np.stack([columns.truth_class, columns.truth_video])
    _, place, count = np.unique(group, axis=1, return_inverse=True, return_counts=True)
    instances = count[place.ravel()].astype(np.float64)
    return {"length": length * columns.unit, "coverage": length / columns.durations, "instances": instances}


def binned(columns: Columns, borders: Borders) -> tuple[Binned, ...]:
    """All characteristics in bins. Quantiles are fifths of the instances, fewer where many instances are alike."""
    characteristics_in_bins = []
    for name, numbers in values(columns).items():
        known = np.isfinite(numbers)
        inner = _fifths(numbers[known]) if borders == "quantiles" else FIXED[borders][name]
        place = np.where(known, np.searchsorted(inner, numbers, side="left"), -1)
        characteristics_in_bins.append(Binned(name, inner, place))
    return tuple(characteristics_in_bins)


def characteristics(
    columns: Columns, matched: Int[Array, "n k"], bins: Sequence[Binned], recipe: DiagnosisRecipe
) -> tuple[Characteristic, ...]:
    """False negatives and mAP in every bin."""
    detected = found_truths(columns, matched, min_precision=recipe.min_precision)
    return tuple(
        Characteristic(
            name=one.name,
            unknown=int((one.place < 0).sum()),
            bins=tuple(_bin(columns, matched, detected, one, place) for place in range(len(one.labels))),
        )
        for one in bins
    )


def found_truths(columns: Columns, matched: Int[Array, "n k"], *, min_precision: float) -> Bool[Array, "m k"]:
    """Which ground-truth instances are detected at which threshold.

    As in DETAD, an instance whose true positive has a rank at which the normalised precision is not above
    `min_precision` counts as missed: so low in the ranking it is of no use.
    """
    detected = np.zeros((len(columns.truth), matched.shape[1]), dtype=bool)
    for rows, truths in zip(columns.by_class(), columns.truths.tolist(), strict=True):
        of_class = matched[rows]
        precise = precisions(of_class >= 0, of_class < 0, truths=truths, size=columns.mean_truths) > min_precision
        row, threshold = np.nonzero((of_class >= 0) & precise)
        detected[of_class[row, threshold], threshold] = True
    return detected


def _fifths(numbers: Float[Array, " m"]) -> tuple[float, ...]:
    if not len(numbers):
        return ()
    borders = np.unique(np.quantile(numbers, (0.2, 0.4, 0.6, 0.8), method="inverted_cdf"))
    return tuple(borders[borders < numbers.max()].tolist())


def _bin(columns: Columns, matched: Int[Array, "n k"], detected: Bool[Array, "m k"], bins: Binned, place: int) -> Bin:
    inside = bins.place == place
    edges = (0.0, *bins.inner, None)
    truths = int(inside.sum())
    return Bin(
        label=bins.labels[place],
        low=edges[place] or 0.0,
        high=edges[place + 1],
        truths=truths,
        missed=tuple((1 - detected[inside].mean(axis=0)).tolist()) if truths else None,
        map=_map_of(columns, matched, inside, normalized=False) if truths else None,
        map_normalized=_map_of(columns, matched, inside, normalized=True) if truths else None,
    )


def _map_of(
    columns: Columns, matched: Int[Array, "n k"], inside: Bool[Array, " m"], *, normalized: bool
) -> tuple[float, ...]:
    """mAP of the instances `inside`, over their classes; true positives of other instances are left out."""
    counts = np.bincount(columns.truth_class[inside], minlength=len(columns.classes)).tolist()
    size = columns.mean_truths if normalized else None
    aps = []
    for rows, truths in zip(columns.by_class(), counts, strict=True):
        if truths:
            of_class = matched[rows]
            right = (of_class >= 0) & inside[of_class]
            aps.append(average_precision(right, of_class < 0, truths=truths, size=size))
    return tuple(np.mean(aps, axis=0).tolist())
