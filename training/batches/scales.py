"""Scales of feature streams: factors that bring features of any encoder to the size that weights start for."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from cache.features import FeatureGrid, FeatureStore
from training.errors import TrainingError


def stream_scales(store: FeatureStore, video_ids: Sequence[str], *, rms: float | None) -> tuple[float, ...]:
    """Factor of each stream that makes the root mean square of its features over these videos `rms`; empty without one.

    Raises `TrainingError` for a stream that is zero everywhere.
    """
    if rms is None:
        return ()
    streams = store.grid.streams
    ends = np.cumsum([0, *streams.values()])
    sums, snippets = np.zeros(len(streams)), 0
    for video_id in video_ids:
        features = store.load(video_id)
        sums += np.add.reduceat(np.square(features, dtype=np.float64).sum(0), ends[:-1])
        snippets += len(features)
    if empty := [name for name, total in zip(streams, sums, strict=True) if total == 0]:
        raise TrainingError(
            f"{store.folder}: found nothing but zeros in the stream {empty[0]} of the training videos, expected "
            "features; run `make features`, or leave the stream out"
        )
    return tuple((rms / np.sqrt(sums / (snippets * np.diff(ends)))).tolist())


def column_factors(scales: Sequence[float], grid: FeatureGrid) -> Float[np.ndarray, " d"] | None:
    """The factor of each column; None for no scales."""
    if not scales:
        return None
    return np.repeat(np.asarray(scales, np.float32), list(grid.streams.values()))
