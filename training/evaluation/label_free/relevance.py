"""Relevance maps: for each snippet and class the score of the best detection there, and how alike two of them are.

Axes: t snippets, c classes, n detections, k shifts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


def relevance_map(
    segments: Float[Array, "n 2"], labels: Int[Array, " n"], scores: Float[Array, " n"], *, length: int, classes: int
) -> Float[Array, "t c"]:
    """The score of the best detection that covers the middle of each snippet, for each class; 0 where there is none.

    Segments are in snippet units. Scores below 0 count as 0.
    """
    relevance = np.zeros((length, classes))
    bounds = np.clip(np.ceil(segments - 0.5), 0, length).astype(np.int64)  # snippets whose middle is in [start, end)
    for place in np.argsort(scores, kind="stable"):
        start, end = bounds[place]
        relevance[start:end, labels[place]] = max(scores[place], 0.0)
    return relevance


def correlation(one: Float[Array, "t c"], other: Float[Array, "t c"]) -> Float[Array, " c"]:
    """Pearson's correlation over time, for each class; 0 where either is constant, which localizes nothing."""
    one, other = one - one.mean(0), other - other.mean(0)
    product = (one * other).sum(0)
    size = np.sqrt((one**2).sum(0) * (other**2).sum(0))
    return np.divide(product, size, out=np.zeros_like(product), where=size > 1e-12)


def mean_agreement(
    ones: Sequence[Float[Array, "t c"]], others: Sequence[Float[Array, "t c"]], labels: Sequence[Int[Array, " m"]]
) -> float:
    """Mean correlation of two maps of the same videos, over the videos and their labelled classes.

    Unlike an overlap it is 0, not 1, for two models that both mark whole videos, and 0 on average for maps that have
    nothing to do with each other, however much time they mark.
    """
    values = [correlation(a, b)[own] for a, b, own in zip(ones, others, labels, strict=True)]
    return float(np.mean(np.concatenate(values)))


def inside(relevance: Float[Array, "t c"], *, share: float = 0.5) -> Array:
    """Where a class's relevance reaches this share of its maximum; nowhere for a class without detections."""
    return (relevance >= share * relevance.max(0, keepdims=True)) & (relevance > 0)
