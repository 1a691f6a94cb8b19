"""Precision over recall of one class: average precision, plain and normalised, and compact curves.

Axis letters: n detections, the best first; k thresholds of temporal IoU; r recalls. `right` and `wrong` mark true and
false positives; a row that is neither is ignored.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

Array = np.ndarray


def precisions(
    right: Bool[Array, "n k"], wrong: Bool[Array, "n k"], *, truths: int, size: float
) -> Float[Array, "n k"]:
    """Precision at every rank, as if the class had `size` ground-truth instances and the same recall.

    With recall R and F false positives it is R size / (R size + F): the normalised precision of Hoiem et al. (ECCV
    2012) that DETAD uses, which makes classes and bins of different size comparable. With `size = truths` it is the
    plain precision. 0 before the first true or false positive.
    """
    true_positives = np.cumsum(right, axis=0) * (size / truths)
    total = true_positives + np.cumsum(wrong, axis=0)
    return np.divide(true_positives, total, out=np.zeros_like(true_positives), where=total > 0)


def average_precision(
    right: Bool[Array, "n k"], wrong: Bool[Array, "n k"], *, truths: int, size: float | None = None
) -> Float[Array, " k"]:
    """Area under the interpolated curve (VOC 2011), plain or, where `size` is given, normalised (see `precisions`)."""
    envelope = _envelope(precisions(right, wrong, truths=truths, size=truths if size is None else size))
    return (envelope * right).sum(axis=0) / truths


def curves(
    right: Bool[Array, "n k"], wrong: Bool[Array, "n k"], *, truths: int, recalls: Float[Array, " r"]
) -> Float[Array, "k r"]:
    """The highest precision at each recall or above; 0 where the recall is never reached."""
    envelope = _envelope(precisions(right, wrong, truths=truths, size=truths))
    true_positives = np.cumsum(right, axis=0)
    needed = np.ceil(recalls * truths - 1e-9)  # a recall such as 0.15 of 20 truths is 3 of them, not 3.0000000000000004
    curve = np.zeros((right.shape[1], len(recalls)))
    for threshold in range(right.shape[1]):
        first = np.searchsorted(true_positives[:, threshold], needed)
        reached = first < len(true_positives)
        curve[threshold, reached] = envelope[first[reached], threshold]
    return curve


def _envelope(values: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """The maximum from each rank on."""
    return np.maximum.accumulate(values[::-1], axis=0)[::-1]
