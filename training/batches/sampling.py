"""Sampling of a fixed number of snippets from a video that is longer or shorter."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64, Shaped


def stratified(length: int, count: int, rng: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """`count` positions in a video of `length` snippets: one uniform draw from each of `count` equal bins.

    Bin i holds floor(i T / N) to floor((i + 1) T / N) - 1, or its first snippet alone where that is empty (a video
    shorter than `count`: its snippets repeat). The positions never decrease.
    """
    edges = np.arange(count + 1, dtype=np.int64) * length // count
    sizes = np.maximum(np.diff(edges), 1)
    return edges[:-1] + (rng.random(count) * sizes).astype(np.int64)


def uniform(length: int, count: int) -> Int64[np.ndarray, " n"]:
    """`count` evenly spread positions in a video of `length` snippets, floor(i T / N); a shorter video's repeat."""
    return np.arange(count, dtype=np.int64) * length // count


def copy_rows(
    parts: Sequence[Shaped[np.ndarray, "t _"]],
    places: Int64[np.ndarray, " n"],
    out: Float32[np.ndarray, "n d"],
    *,
    factors: Float32[np.ndarray, " d"] | None,
) -> None:
    """Copy the rows `places`, which never decrease, of features whose columns come in `parts`; times `factors`."""
    start = 0
    for part in parts:
        columns = out[:, start : start + part.shape[1]]
        if part.dtype == out.dtype:  # in a single copy
            np.take(part, places, axis=0, out=columns, mode="clip")  # the default mode would fill a buffer first
        else:
            columns[:] = part[places]
        start += part.shape[1]
    if factors is not None:
        out *= factors
