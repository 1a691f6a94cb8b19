"""Segments out of one-dimensional curves: grouping at several thresholds, and the outer-inner score (numpy only).

Positions are in snippet units: snippet i covers [i, i + 1), and a segment is [start, end).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


@dataclass(frozen=True)
class Candidates:
    """Scored segments of one video before suppression, in snippet units."""

    segments: Float[Array, "n 2"]
    """[start, end)."""
    labels: Int[Array, " n"]
    """Class index of each."""
    scores: Float[Array, " n"]

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: Array | slice) -> Candidates:
        """Those at `index` (integers, a boolean mask or a slice)."""
        return Candidates(self.segments[index], self.labels[index], self.scores[index])

    @classmethod
    def none(cls) -> Candidates:
        """No candidate."""
        return cls(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), np.zeros(0))

    @classmethod
    def concatenate(cls, parts: Sequence[Candidates]) -> Candidates:
        """All candidates of `parts`, in order."""
        if not parts:
            return cls.none()
        return cls(
            np.concatenate([part.segments for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.scores for part in parts]),
        )


def stretch(curve: Float[Array, " t"]) -> Float[Array, " t"]:
    """The curve between 0 (its minimum) and 1 (its maximum); a flat curve becomes 1 everywhere."""
    if not curve.size:
        return curve
    low, high = curve.min(), curve.max()
    return (curve - low) / (high - low) if high > low else np.ones_like(curve)


def group_segments(curve: Float[Array, " t"], thresholds: Sequence[float]) -> Float[Array, "n 2"]:
    """The runs in which the curve reaches a threshold, over all thresholds, each run once, sorted by start and end.

    A run that neighbouring thresholds cut alike is one segment (duplicates would survive soft suppression).
    """
    above = np.zeros((len(thresholds), len(curve) + 2), dtype=np.int8)
    above[:, 1:-1] = curve[None] >= np.asarray(thresholds, dtype=np.float64)[:, None]
    step = np.diff(above, axis=1)
    # both lists run over thresholds, then time: the n-th rise belongs to the n-th fall
    starts, ends = np.nonzero(step == 1)[1], np.nonzero(step == -1)[1]
    # one integer per pair: np.unique over rows sorts structured bytes, many times slower
    pairs = np.unique(starts * (len(curve) + 1) + ends)
    return np.stack(np.divmod(pairs, len(curve) + 1), axis=1).astype(np.float64)


def mean_inside(curve: Float[Array, " t"], segments: Float[Array, "n 2"]) -> Float[Array, " n"]:
    """Mean of the curve over each segment, whose bounds may lie inside snippets; 0 for one of length zero."""
    total, length = _integral(curve, segments)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0)


def outer_inner(
    curve: Float[Array, " t"], segments: Float[Array, "n 2"], *, margin: float = 0.25
) -> Float[Array, " n"]:
    """Mean of the curve inside each segment minus its mean in the margins of `margin` times the length on either side.

    The margins end at the ends of the video; a segment that fills the video has no outside, which then counts as 0.
    Margins are exact, not cut to whole snippets as in the public code, where a segment shorter than 1 / margin
    snippets has (nearly) no outside and so no contrast.
    """
    width = margin * (segments[:, 1] - segments[:, 0])
    outer = np.stack([segments[:, 0] - width, segments[:, 1] + width], axis=1).clip(0, len(curve))
    outer_total, outer_length = _integral(curve, outer)
    inner_total, inner_length = _integral(curve, segments)
    outside, room = outer_total - inner_total, outer_length - inner_length
    mean_outside = np.divide(outside, room, out=np.zeros_like(outside), where=room > 1e-9)
    return mean_inside(curve, segments) - mean_outside


def _integral(curve: Float[Array, " t"], segments: Float[Array, "n 2"]) -> tuple[Array, Array]:
    """Integral of the step function `curve` over each segment cut to [0, t), and the length of what remains."""
    knots = np.concatenate([[0.0], np.cumsum(curve, dtype=np.float64)])
    cut = segments.clip(0, len(curve))
    at = np.interp(cut, np.arange(len(knots)), knots)
    return at[:, 1] - at[:, 0], cut[:, 1] - cut[:, 0]
