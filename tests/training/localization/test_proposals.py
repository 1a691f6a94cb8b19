"""Grouping of curves into segments and the outer-inner score, against plain loops and hand-computed numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.evaluation import plain_postprocessing as plain
from tests.support.paths import GOLDENS
from training.localization.proposals import (
    Candidates,
    group_segments,
    mean_inside,
    outer_inner,
    propose,
    refine,
    stretch,
)

PUBLIC = np.load(GOLDENS / "postprocessing.npz")

curves = st.lists(st.integers(0, 8).map(lambda k: k / 8), max_size=24).map(np.array)


def plain_runs(curve: np.ndarray, threshold: float) -> set[tuple[int, int]]:
    """Runs of snippets at or above the threshold, one snippet at a time."""
    runs, start = set(), None
    for t, value in enumerate([*curve, -np.inf]):
        if value >= threshold and start is None:
            start = t
        if value < threshold and start is not None:
            runs.add((start, t))
            start = None
    return runs


@settings(max_examples=100, deadline=None)
@given(curves, st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.9, 2.0]), min_size=1, max_size=4))
def test_groups_are_the_runs_of_all_thresholds(curve: np.ndarray, thresholds: list[float]) -> None:
    """Every run of every threshold once, sorted; also one that is snippet 0 alone, and none for an empty curve."""
    expected = sorted(set().union(*(plain_runs(curve, threshold) for threshold in thresholds)))
    assert [tuple(row) for row in group_segments(curve.astype(float), thresholds)] == expected


@settings(max_examples=100, deadline=None)
@given(curves.filter(len), st.integers(0, 24000).map(lambda k: k / 1000), st.integers(0, 24000).map(lambda k: k / 1000))
def test_mean_inside_is_the_mean_of_a_fine_sampling(curve: np.ndarray, one: float, other: float) -> None:
    """Bounds may lie inside snippets: the mean equals that of a thousand samples of the step function."""
    start, end = min(one, other) % len(curve), len(curve) * max(one, other) / 24
    start, end = min(start, end), max(start, end)
    samples = start + (np.arange(1000) + 0.5) / 1000 * (end - start)
    expected = curve[np.minimum(samples.astype(int), len(curve) - 1)].mean() if end > start else 0.0
    assert mean_inside(curve, np.array([[start, end]]))[0] == pytest.approx(expected, abs=0.03)


def test_outer_inner_by_hand() -> None:
    """[4, 8) of mean 1 with margins [3, 4) of 0.2 and [8, 9) of 0.4: 1 - 0.3."""
    curve = np.array([0, 0, 0, 0.2, 1, 1, 1, 1, 0.4, 0, 0])
    assert outer_inner(curve, np.array([[4.0, 8.0]]), margin=0.25)[0] == pytest.approx(0.7)


def test_margin_of_a_short_segment_counts() -> None:
    """One snippet has a quarter of a snippet on either side; whole-snippet margins would leave it without contrast."""
    curve = np.array([0.5, 1.0, 0.3])
    assert outer_inner(curve, np.array([[1.0, 2.0]]))[0] == pytest.approx(1.0 - 0.4)


def test_margins_end_with_the_video() -> None:
    """At an end only the other side counts; a segment that fills the video has an outside of 0."""
    curve = np.array([1.0, 1.0, 1.0, 1.0, 0.5, 0.0])
    np.testing.assert_allclose(outer_inner(curve, np.array([[0.0, 4.0], [0.0, 6.0]])), [1.0 - 0.5, 0.75])


def test_stretch() -> None:
    """Minimum 0, maximum 1; a flat curve is all 1, so that it is one segment and not none."""
    np.testing.assert_allclose(stretch(np.array([2.0, 4.0, 3.0])), [0, 1, 0.5])
    np.testing.assert_array_equal(stretch(np.array([0.3])), [1.0])
    assert len(stretch(np.zeros(0))) == 0


def test_candidates_concatenate() -> None:
    """Parts keep their order, and no part is no candidate."""
    one = Candidates(np.array([[0.0, 1.0]]), np.array([3]), np.array([0.5]))
    both = Candidates.concatenate([one, Candidates.none(), one])
    assert len(both) == 2
    assert both.labels.tolist() == [3, 3]
    assert len(Candidates.concatenate([])) == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 24), st.integers(1, 4), st.sampled_from([0.25, 0.5, 0.3]), st.booleans(), st.integers(0, 2**32 - 1)
)
def test_all_curves_at_once_are_as_each_alone(length: int, rows: int, margin: float, shared: bool, seed: int) -> None:
    """Segments and scores of every row are those of the plain form; votes of the same segment are one."""
    rng = np.random.default_rng(seed)
    scored = rng.integers(0, 9, (rows, length)) / 8
    curves = rng.integers(0, 9, (1 if shared else rows, length)) / 8
    thresholds = [0.1, 0.25, 0.5, 0.9]
    row, segments = propose([(curves, thresholds), (scored, [0.5])], rows=rows)
    scores = outer_inner(scored, segments, row=row, margin=margin)
    found = [(int(r), *span, round(score, 9)) for r, span, score in zip(row, segments.tolist(), scores, strict=True)]
    expected = set()
    for r in range(rows):
        options = {"label": r, "bonus": 0.0, "margin": margin}
        for curve, cuts in ((curves[0 if shared else r], thresholds), (scored[r], [0.5])):
            own = plain.propose(curve, scored[r], cuts, **options)
            expected |= {(r, start, end, round(score, 9)) for _, score, start, end in own}
    assert found == sorted(expected)
    inside = mean_inside(scored, segments, row=row)
    means = [scored[r, int(start) : int(end)].mean() for r, (start, end) in zip(row, segments, strict=True)]
    np.testing.assert_allclose(inside, means)


def test_refined_curves() -> None:
    """Straight lines between the middles of snippets; level in the first and the last half snippet; the mean stays."""
    (fine,) = refine(np.array([[0.0, 1.0, 3.0]]), 4)
    expected = [0, 0, 0.125, 0.375, 0.625, 0.875, 1.25, 1.75, 2.25, 2.75, 3, 3]
    np.testing.assert_allclose(fine, expected)
    np.testing.assert_allclose(refine(np.array([[0.0, 1.0]]), 2), [[0, 0.25, 0.75, 1]])
    np.testing.assert_array_equal(refine(np.array([[0.5]]), 3), [[0.5] * 3])
    assert refine(np.zeros((2, 0)), 3).shape == (2, 0)


@pytest.mark.parametrize("video", ["v0", "v1", "v3"])
def test_same_segments_as_the_public_code(video: str) -> None:
    """CO2-Net's segments of its attention at ten thresholds, each once."""
    theirs = {(start, end) for start, end, _, _ in PUBLIC[f"co2net/{video}/found"]}
    attention = PUBLIC[f"co2net/{video}/attn"].astype(float)
    assert {tuple(row) for row in group_segments(attention, np.linspace(0.1, 0.9, 10).tolist())} == theirs
