"""Proposals from curves over time: segments above several thresholds, and the outer-inner score (numpy only).

Positions are in snippet units: snippet i covers [i, i + 1), and a segment is [start, end). All curves of a video (one
per class), all thresholds and all segments are processed at once. Axes: r curves, t snippets, n segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


@dataclass(frozen=True)
class Candidates:
    """Scored proposals of one video before suppression, in snippet units."""

    segments: Float[Array, "n 2"]
    """[start, end)."""
    labels: Int[Array, " n"]
    """Class index of each segment."""
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


def best_points(
    segments: Float[Array, "p 2"], scores: Float[Array, "p c"], *, min_score: float, top: int
) -> Candidates:
    """Proposals of a localization head: every point and class whose score reaches `min_score`, at most the best `top`,
    in float64."""
    point, label = np.nonzero(scores >= min_score)
    order = np.argsort(-scores[point, label], kind="stable")[:top]
    point, label = point[order], label[order]
    return Candidates(segments[point].astype(np.float64), label, scores[point, label].astype(np.float64))


def stretch(curves: Float[Array, "*r t"]) -> Float[Array, "*r t"]:
    """Min-max normalisation of each curve to [0, 1]; a flat curve becomes 1 everywhere."""
    if not curves.size:
        return curves
    low, high = curves.min(axis=-1, keepdims=True), curves.max(axis=-1, keepdims=True)
    return np.divide(curves - low, high - low, out=np.ones_like(curves), where=high > low)


def refine(curves: Float[Array, "r t"], times: int) -> Float[Array, "r t_fine"]:
    """Curves with `times` values per snippet: linear interpolation between the centres of snippets, constant at both
    ends."""
    length = curves.shape[1]
    if times == 1 or not length:
        return curves
    middle = (np.arange(length * times) + 0.5) / times - 0.5
    left = np.floor(middle).astype(np.int64)
    share = middle - left
    left, right = np.clip((left, left + 1), 0, length - 1)
    return curves[:, left] * (1 - share) + curves[:, right] * share


def group_segments(curve: Float[Array, " t"], thresholds: Sequence[float]) -> Float[Array, "n 2"]:
    """The runs in which the curve reaches a threshold, over all thresholds, without duplicates, sorted by start and
    end.

    A run that several thresholds have in common is one segment (duplicates would survive soft-NMS).
    """
    return propose([(curve[None], thresholds)], rows=1)[1]


def propose(
    votes: Sequence[tuple[Float[Array, "_ t"], Sequence[float]]], *, rows: int
) -> tuple[Int[Array, " n"], Float[Array, "n 2"]]:
    """The segments of every row, over all votes, without duplicates, sorted by row, start and end: (row, segment).

    A vote is a set of curves, one for each row or one for all rows, with its thresholds. A segment is a run of snippets
    in which a curve reaches a threshold; one that several thresholds or votes have in common is returned once.
    """
    size = votes[0][0].shape[1] + 1
    keys_of_votes = []
    for curves, thresholds in votes:
        row, _, start, end = find_runs(curves, np.asarray(thresholds, dtype=np.float64))
        keys = _distinct((row * size + start) * size + end)  # one integer per run
        if len(curves) != rows:  # one curve for all rows
            keys = (np.arange(rows)[:, None] * size**2 + keys).ravel()
        keys_of_votes.append(keys)
    keys = keys_of_votes[0] if len(keys_of_votes) == 1 else _distinct(np.concatenate(keys_of_votes))
    row_and_start, end = np.divmod(keys, size)
    row, start = np.divmod(row_and_start, size)
    return row, np.stack([start, end], axis=1).astype(np.float64)


def _distinct(keys: Int[Array, " n"]) -> Int[Array, " m"]:
    """Sorted, each once: np.unique, but faster for few."""
    keys = np.sort(keys)
    return keys[np.concatenate([keys[:1] >= 0, keys[1:] != keys[:-1]])]


def find_runs(
    curves: Float[Array, "r t"], thresholds: Float[Array, " k"]
) -> tuple[Int[Array, " n"], Int[Array, " n"], Int[Array, " n"], Int[Array, " n"]]:
    """(row, index of the threshold, start, end) of the runs in which a curve reaches a threshold, sorted by the first
    three."""
    width = curves.shape[1] + 2  # nothing is above before the first snippet and after the last one
    above = np.zeros((len(curves), len(thresholds), width), dtype=bool)
    above[..., 1:-1] = curves[:, None] >= thresholds[:, None]
    flat = above.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1])  # rises and falls alternate
    line, start = np.divmod(changes[::2], width)
    row, place = np.divmod(line, max(len(thresholds), 1))
    return row, place, start, changes[1::2] - line * width


def mean_inside(
    curves: Float[Array, "*r t"], segments: Float[Array, "n 2"], *, row: Int[Array, " n"] | None = None
) -> Float[Array, " n"]:
    """Mean of the curve over each segment, whose bounds may be fractional; 0 for one of length zero.

    Where there are several curves, `row` says which one is meant by each segment.
    """
    total, length = _integral(curves, segments, row)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0)


def outer_inner(
    curves: Float[Array, "*r t"],
    segments: Float[Array, "n 2"],
    *,
    row: Int[Array, " n"] | None = None,
    margin: float | Float[Array, " n"] = 0.25,
) -> Float[Array, " n"]:
    """Mean of the curve inside each segment minus its mean in the margins of `margin` times the length on either side.

    `margin` is that of all segments, or one for each. Where there are several curves, `row` says which one is meant by
    each segment. The margins end at the ends of the video; a segment that fills the video has no outside, which then
    counts as 0. Margins are exact, not cut to whole snippets as in the public code, where a segment shorter than
    1 / margin snippets has (nearly) no outside and so no contrast.
    """
    width = margin * (segments[:, 1] - segments[:, 0])
    outer = np.stack([segments[:, 0] - width, segments[:, 1] + width], axis=1).clip(0, curves.shape[-1])
    both = np.concatenate([outer, segments])
    total, length = _integral(curves, both, None if row is None else np.concatenate([row, row]))
    count = len(segments)
    outer_total, inner_total, outer_length, inner_length = total[:count], total[count:], length[:count], length[count:]
    outside, room = outer_total - inner_total, outer_length - inner_length
    mean_outside = np.divide(outside, room, out=np.zeros_like(outside), where=room > 1e-9)
    mean = np.divide(inner_total, inner_length, out=np.zeros_like(inner_total), where=inner_length > 0)
    return mean - mean_outside


def _integral(
    curves: Float[Array, "*r t"], segments: Float[Array, "n 2"], row: Int[Array, " n"] | None
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Integral of each segment's curve, a step function, over the segment clipped to [0, t), and the clipped length."""
    curves = np.atleast_2d(curves)
    length = curves.shape[1]
    knots = np.zeros((len(curves), length + 2))  # knots[r, i]: integral from 0 to i; the last one is only stepped to
    np.cumsum(curves, axis=1, dtype=np.float64, out=knots[:, 1:-1])
    knots[:, -1] = knots[:, -2]
    cut = segments.clip(0, length)
    whole = np.floor(cut).astype(np.int64)
    place = whole if row is None else whole + row[:, None] * knots.shape[1]
    flat = knots.ravel()
    at = flat[place] + (flat[place + 1] - flat[place]) * (cut - whole)
    return at[:, 1] - at[:, 0], cut[:, 1] - cut[:, 0]
