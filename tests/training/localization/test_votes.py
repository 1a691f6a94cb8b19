"""Support by all thresholds and votes of Ricker wavelets, against plain loops and hand-computed numbers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.localization.proposals import Candidates, find_runs, propose
from training.localization.votes import ricker, support

levels = st.lists(st.integers(0, 8).map(lambda k: k / 8), min_size=6, max_size=6)


def tiou(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Shared over joint length."""
    inner = max(0.0, min(first[1], second[1]) - max(first[0], second[0]))
    return inner / (first[1] - first[0] + second[1] - second[0] - inner)


@settings(max_examples=60, deadline=None)
@given(st.lists(levels, min_size=1, max_size=3), levels, st.lists(st.sampled_from([0.1, 0.3, 0.6, 0.9]), max_size=3))
def test_support_is_the_best_overlap_with_each_threshold(
    own: list[list[float]], shared: list[float], thresholds: list[float]
) -> None:
    """Plain restatement over all pairs of segments and runs; with curves of the rows and one curve for all rows."""
    votes = [(np.array(own), thresholds), (np.array([shared]), (0.5,))]
    row, segments = propose(votes, rows=len(own))
    expected = []
    for r, segment in zip(row, segments, strict=True):
        columns = []
        for curves, cuts in votes:
            curve = curves[r] if len(curves) > 1 else curves[0]
            for cut in cuts:
                _, _, start, end = find_runs(curve[None], np.array([cut]))
                columns.append(max((tiou(segment, run) for run in zip(start, end, strict=True)), default=0.0))
        expected.append(columns)
    found = support(row, segments, votes)
    assert found.shape == (len(segments), len(thresholds) + 1)
    np.testing.assert_allclose(found, np.array(expected).reshape(found.shape))


def test_support_by_hand() -> None:
    """A plateau on a slope: the low threshold proposes [1, 7), the two high ones [3, 5)."""
    curve = np.array([[0.0, 0.3, 0.3, 0.9, 0.9, 0.3, 0.3, 0.0]])
    found = support(np.zeros(2, int), np.array([[1.0, 7], [3, 5]]), [(curve, (0.2, 0.5, 0.8))])
    np.testing.assert_allclose(found, [[1, 1 / 3, 1 / 3], [1 / 3, 1, 1]])


def candidates(*rows: tuple[float, float, int, float]) -> Candidates:
    """(start, end, label, score)."""
    start, end, label, score = np.array(rows, dtype=float).reshape(-1, 4).T
    return Candidates(np.stack([start, end], axis=1), label.astype(np.int64), score)


@pytest.mark.parametrize("segment", [(5.0, 9.0), (7.25, 8.5), (0.0, 3.0), (17.0, 20.0), (0.0, 20.0)])
def test_one_vote_is_its_own_segment(segment: tuple[float, float]) -> None:
    """A wavelet is positive just between the bounds of its candidate; its mean there is exp(-1/2)."""
    found = ricker(candidates((*segment, 3, 2.0)), length=20)
    np.testing.assert_allclose(found.segments, [segment], atol=0.02)
    assert found.labels.tolist() == [3]
    assert found.scores[0] == pytest.approx(2 * math.exp(-0.5), rel=0.06)


def test_votes_restated() -> None:
    """Each sampled point lies in a segment of a class exactly where the sum over its candidates is positive."""
    rng = np.random.default_rng(0)
    length = 60
    for _ in range(20):
        start = rng.uniform(0, length - 20, 9)
        rows = candidates(
            *zip(start, start + rng.uniform(0.5, 20, 9), rng.integers(0, 2, 9), rng.uniform(0, 1, 9), strict=True)
        )
        found = ricker(rows, length=length)
        assert (np.diff(found.labels) >= 0).all()
        for label in (0, 1):
            mine, kept = rows.take(rows.labels == label), found.take(found.labels == label)
            for point in np.arange(0, length + 0.25, 0.25):
                u = (point - mine.segments.mean(axis=1)) / (np.diff(mine.segments, axis=1)[:, 0] / 2)
                total = float((mine.scores * (1 - u**2) * np.exp(-(u**2) / 2)).sum())
                inside = bool(((kept.segments[:, 0] < point) & (point < kept.segments[:, 1])).any())
                at_the_end = bool(np.isin(point, kept.segments).any()) and point in (0, length)
                if abs(total) > 1e-3:  # wavelets are left out where they are flatter
                    assert (inside or at_the_end) == (total > 0)


def test_votes_settle_between_and_against() -> None:
    """Two nested proposals settle in between; one over two neighbours does not join them while they outvote it."""
    (inner, outer) = (8.0, 12.0), (4.0, 16.0)
    (start, end) = ricker(candidates((*inner, 0, 1.0), (*outer, 0, 1.0)), length=20).segments[0]
    assert outer[0] < start < inner[0]
    assert inner[1] < end < outer[1]
    apart = ricker(candidates((2, 8, 0, 1.0), (12, 18, 0, 1.0), (2, 18, 0, 0.5)), length=20)
    assert len(apart) == 2
    assert len(ricker(candidates((2, 8, 0, 0.1), (12, 18, 0, 0.1), (2, 18, 0, 1.0)), length=20)) == 1


def test_nobody_votes() -> None:
    """No candidate, one of length zero, one without weight: no segment."""
    assert len(ricker(Candidates.none(), length=8)) == 0
    assert len(ricker(candidates((3, 3, 0, 1.0)), length=8)) == 0
    assert len(ricker(candidates((3, 5, 0, 0.0)), length=8)) == 0
    assert support(np.zeros(0, int), np.zeros((0, 2)), [(np.zeros((1, 4)), (0.5,))]).shape == (0, 1)
