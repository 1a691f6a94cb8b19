"""What the proposals of a class say together: how well the votes support each of them, and the segments that they vote
for (numpy only).

A vote is a set of curves with its thresholds, as in `proposals.propose`. Positions are in snippet units. Axes: n
segments, v thresholds of all votes, r curves, t snippets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from training.localization.proposals import Candidates, find_runs

Array = np.ndarray

SAMPLES = 4
"""Points per snippet at which wavelets are summed."""
_SUPPORT = 5.0
"""A wavelet is left out where it is flatter than 1e-4 of its height: further than this many half lengths away."""


def support(
    row: Int[Array, " n"], segments: Float[Array, "n 2"], votes: Sequence[tuple[Float[Array, "_ t"], Sequence[float]]]
) -> Float[Array, "n v"]:
    """tIoU of each segment with the run of its row that it overlaps most, for every threshold of every vote.

    It is 1 at the thresholds that propose just this segment, and 0 at those that propose nothing there. A vote has one
    curve for each row, or one for all.
    """
    columns = [np.zeros((len(segments), 0))]
    for curves, thresholds in votes:
        line = (row if len(curves) > 1 else np.zeros_like(row)) * (curves.shape[1] + 1)  # all rows one after the other
        for threshold in thresholds:
            run_row, _, start, end = find_runs(curves, np.array([threshold]))
            runs = np.stack([start, end], axis=1) + (run_row * (curves.shape[1] + 1))[:, None]
            columns.append(_best_overlap(segments + line[:, None], runs)[:, None])
    return np.concatenate(columns, axis=1)


def _best_overlap(segments: Float[Array, "n 2"], runs: Int[Array, "m 2"]) -> Float[Array, " n"]:
    """The highest tIoU of each segment with any of the runs, which are sorted and apart."""
    first = np.searchsorted(runs[:, 1], segments[:, 0], side="right")
    count = np.maximum(np.searchsorted(runs[:, 0], segments[:, 1], side="left") - first, 0)
    owner = np.repeat(np.arange(len(segments)), count)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    mine, other = segments[owner], runs[first[owner] + nth]
    inner = np.minimum(mine[:, 1], other[:, 1]) - np.maximum(mine[:, 0], other[:, 0])
    union = np.maximum(mine[:, 1], other[:, 1]) - np.minimum(mine[:, 0], other[:, 0])  # they overlap
    best = np.zeros(len(segments))
    np.maximum.at(best, owner, inner / union)
    return best


def ricker(candidates: Candidates, *, length: int) -> Candidates:
    """The segments that candidates vote for: of each class those in which the sum of their wavelets is positive.

    Each candidate adds its score times the Ricker wavelet psi(u) = (1 - u^2) exp(-u^2 / 2), u the distance from its
    centre in half lengths: positive inside, 0 at its bounds, negative around, so that it speaks for its own extent and
    against longer ones. The score of a segment is the mean of the sum inside. Ordered by class, then by time; the video
    has `length` snippets.
    """
    parts = []
    for label in np.unique(candidates.labels):
        members = candidates.take(candidates.labels == label)
        segments, scores = _positive_runs(_wavelets(members, length))
        parts.append(Candidates(segments / SAMPLES, np.full(len(scores), label), scores))
    return Candidates.concatenate(parts)


def _wavelets(members: Candidates, length: int) -> Float[Array, " points"]:
    """The sum of the members' wavelets at every 1 / SAMPLES of a snippet, both ends of the video included."""
    total = np.zeros(length * SAMPLES + 1)
    for (start, end), score in zip((members.segments * SAMPLES).tolist(), members.scores.tolist(), strict=True):
        centre, half = (start + end) / 2, (end - start) / 2
        if half <= 0:
            continue
        near = slice(max(int(centre - _SUPPORT * half), 0), min(int(centre + _SUPPORT * half) + 2, len(total)))
        square = ((np.arange(near.start, near.stop) - centre) / half) ** 2
        total[near] += score * (1 - square) * np.exp(-square / 2)
    return total


def _positive_runs(values: Float[Array, " points"]) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
    """Where the line through `values` is above 0: the bounds (positions on the line, interpolated) and the mean of the
    values inside."""
    _, _, first, stop = find_runs((values > 0)[None].astype(np.float64), np.ones(1))
    last = stop - 1
    start = _crossing(values, np.maximum(first - 1, 0), first)
    end = _crossing(values, np.minimum(stop, len(values) - 1), last)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    # trapezoids between points inside, and on either side a triangle from the crossing to the first of them
    area = sums[stop] - sums[first] - (values[first] * (1 - first + start) + values[last] * (1 - end + last)) / 2
    long_enough = end > start
    segments = np.stack([start, end], axis=1)[long_enough]
    return segments, area[long_enough] / (segments[:, 1] - segments[:, 0])


def _crossing(values: Float[Array, " points"], low: Int[Array, " n"], high: Int[Array, " n"]) -> Float[Array, " n"]:
    """Where the line between neighbours `low` (not above 0) and `high` (above it) is 0; where they are one point (an
    end of the video) that point."""
    rise = values[high] - values[low]
    share = np.divide(-values[low], rise, out=np.ones_like(rise), where=rise > 0)
    return low + (high - low) * share
