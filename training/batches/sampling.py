"""Sampling of a fixed number of snippets from a video that is longer or shorter."""

import numpy as np
from jaxtyping import Int64


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


def copy_rows(features: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    """Copy `features[places]` into `out`, in a single copy if the types agree; `places` never decrease."""
    if features.dtype == out.dtype:
        np.take(features, places, axis=0, out=out, mode="clip")  # the default mode would fill a buffer first
    else:
        out[:] = features[places]
