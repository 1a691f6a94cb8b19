"""Suppression and fusion, against their plain form, by hand, and against the figures of the public code."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.evaluation import plain_postprocessing as plain
from tests.support.paths import GOLDENS
from training.evaluation.metrics import temporal_iou
from training.localization.proposals import Candidates
from training.localization.suppression import (
    drop_ambiguous,
    fuse,
    hard_nms,
    overlaps_of,
    rank,
    soft_nms,
    soft_scores,
)

PUBLIC = np.load(GOLDENS / "postprocessing.npz")
TABLE = list[tuple[float, ...]]


@st.composite
def candidates(draw: st.DrawFn, *, ties: bool = True) -> Candidates:
    """Up to 16 segments of three classes, some of length zero or the same; scores of both signs."""
    rows = draw(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8), st.integers(0, 2)), max_size=16))
    if ties:
        scores = draw(st.lists(st.integers(-3, 9), min_size=len(rows), max_size=len(rows)))
    else:
        scores = [place - 3 for place in draw(st.permutations(range(len(rows))))]
    segments = np.array([(start, start + length) for start, length, _ in rows], dtype=float).reshape(-1, 2)
    labels = np.array([label for _, _, label in rows], dtype=np.int64)
    return Candidates(segments, labels, np.array(scores, dtype=float) / 7)


def of_class(found: Candidates, function: Callable[..., list[plain.Row]], **options: float | bool) -> TABLE:
    """The plain function on each class, as sorted rows."""
    rows = []
    for label in np.unique(found.labels):
        mine = found.take(found.labels == label)
        rows += function(np.column_stack([mine.labels, mine.scores, mine.segments]).tolist(), **options)
    return sorted(tuple(round(value, 9) + 0.0 for value in row) for row in rows)


def table_of(found: Candidates) -> TABLE:
    """The same of candidates."""
    rows = np.column_stack([found.labels, found.scores, found.segments]).tolist()
    return sorted(tuple(round(value, 9) + 0.0 for value in row) for row in rows)


def test_soft_nms_is_its_definition() -> None:
    """Scores decay by exp(-IoU^2 / sigma), class by class; those not above 0 stay; what falls too low is dropped."""

    @settings(max_examples=60, deadline=None)
    @given(candidates(ties=False), st.sampled_from([0.1, 0.3, 0.5]), st.sampled_from([-1.0, 0.0, 0.2]))
    def check(found: Candidates, sigma: float, min_score: float) -> None:
        kept = soft_nms(found, sigma=sigma, min_score=min_score)
        assert table_of(kept) == [row for row in of_class(found, plain.soft_nms, sigma=sigma) if row[1] >= min_score]
        assert (np.diff(kept.scores) <= 0).all()

    check()


def test_soft_nms_of_the_public_code_is_its_definition() -> None:
    """Negative scores rise, and lengths are one longer."""

    @settings(max_examples=60, deadline=None)
    @given(candidates(ties=False))
    def check(found: Candidates) -> None:
        ranked = rank(found)
        longer = Candidates(ranked.segments + np.array([0, 1]), ranked.labels, ranked.scores)
        kept = Candidates(ranked.segments, ranked.labels, soft_scores(longer, sigma=0.3))
        assert table_of(kept) == of_class(found, plain.soft_nms, sigma=0.3, extra=1.0)

    check()


@pytest.mark.parametrize("overlap", ["iou", "lower"])
def test_hard_nms_and_fusion_are_their_definitions(overlap: str) -> None:
    """Best first, whatever overlaps no survivor of its class too much survives, or is averaged; ties as given."""

    @settings(max_examples=60, deadline=None)
    @given(candidates(), st.sampled_from([0.0, 0.25, 0.5, 0.6]))
    def check(found: Candidates, tiou: float) -> None:
        lower = overlap == "lower"
        kept = hard_nms(found, tiou=tiou, overlap=overlap)  # pyright: ignore[reportArgumentType]
        assert table_of(kept) == of_class(found, plain.hard_nms, tiou=tiou, lower=lower)
        joined = fuse(found, tiou=tiou, temperature=0.3, overlap=overlap)  # pyright: ignore[reportArgumentType]
        assert table_of(joined) == of_class(found, plain.fuse, tiou=tiou, temperature=0.3, lower=lower)
        assert (np.diff(kept.scores) <= 0).all()
        assert joined.scores.tolist() == kept.scores.tolist()

    check()


def test_fusion_by_hand() -> None:
    """Two overlapping segments with scores 0.9 and 0.8 at temperature 0.1 have weights 1 and 1/e; a third is far."""
    found = Candidates(
        np.array([[0, 10], [2, 12], [40, 44]], dtype=float), np.zeros(3, dtype=int), np.array([0.9, 0.8, 0.5])
    )
    joined = fuse(found, tiou=0.3, temperature=0.1)
    shift = 2 / np.e / (1 + 1 / np.e)
    np.testing.assert_allclose(joined.segments, [[shift, 10 + shift], [40, 44]])
    np.testing.assert_allclose(joined.scores, [0.9, 0.5])


def test_fusion_weighs_by_what_it_is_told() -> None:
    """Weights of e^1 for the lower-scored one; and no overflow, however cold it is: the larger weight wins."""
    found = Candidates(np.array([[0, 10], [2, 12]], dtype=float), np.zeros(2, dtype=int), np.array([0.9, 0.8]))
    inside = np.array([0.3, 0.5])
    share = np.e / (1 + np.e)
    joined = fuse(found, tiou=0.3, temperature=0.2, weigh_by=inside)
    np.testing.assert_allclose(joined.segments, [[2 * share, 10 + 2 * share]])
    assert joined.scores.tolist() == [0.9]
    assert fuse(found, tiou=0.3, temperature=1e-6, weigh_by=inside).segments.tolist() == [[2, 12]]


def test_overlap_of_the_lower_one() -> None:
    """A short segment inside a long one: all of it is shared, though the union is long. Only the lower one counts."""
    long, short = [0.0, 100.0], [40.0, 44.0]
    for segments, survivors in (([long, short], 1), ([short, long], 2)):
        found = Candidates(np.array(segments), np.zeros(2, dtype=int), np.array([0.9, 0.8]))
        assert len(hard_nms(found, tiou=0.25)) == 2
        assert len(hard_nms(found, tiou=0.25, overlap="lower")) == survivors


@pytest.mark.parametrize(
    "suppress",
    [
        lambda c: hard_nms(c, tiou=0.5),
        lambda c: soft_nms(c, sigma=0.3, min_score=0.1),
        lambda c: fuse(c, tiou=0.5, temperature=1.0),
        rank,
    ],
)
def test_nothing_and_ties_and_nan(suppress: Callable[[Candidates], Candidates]) -> None:
    """No candidates give none; of equal scores the first given stands first; what is no number is refused."""
    assert len(suppress(Candidates.none())) == 0
    twins = Candidates(
        np.array([[0, 4], [20, 24], [0, 4]], dtype=float), np.array([0, 0, 1]), np.array([0.5, 0.5, 0.5])
    )
    kept = suppress(twins)
    assert kept.segments.tolist() == [[0, 4], [20, 24], [0, 4]]
    assert kept.scores.tolist() == [0.5, 0.5, 0.5]
    for broken in (
        Candidates(twins.segments, twins.labels, np.array([0.5, np.nan, 0.5])),
        Candidates(twins.segments * [1, np.nan], twins.labels, twins.scores),
    ):
        with pytest.raises(ValueError, match="3 candidates: a score or a bound is not a number"):
            suppress(broken)


def test_soft_ties_go_to_the_first_given() -> None:
    """Of two equal, overlapping candidates the first keeps its score."""
    twins = Candidates(np.array([[2, 6], [0, 4]], dtype=float), np.zeros(2, dtype=int), np.array([0.5, 0.5]))
    kept = soft_nms(twins, sigma=0.3)
    assert kept.segments.tolist() == [[2, 6], [0, 4]]
    assert kept.scores[1] == pytest.approx(0.5 * np.exp(-((1 / 3) ** 2) / 0.3))
    assert soft_scores(twins, sigma=0.3).tolist() == kept.scores.tolist()


@pytest.mark.parametrize(
    "suppress",
    [
        lambda c: hard_nms(c, tiou=0.6),
        lambda c: fuse(c, tiou=0.3, temperature=0.1),
        lambda c: soft_nms(c, sigma=0.3, min_score=0.3),
    ],
    ids=["hard", "fuse", "soft"],
)
def test_many_crowded_candidates_need_little_memory(suppress: Callable[[Candidates], Candidates]) -> None:
    """20,000 of one class among 254 snippets: a table of all pairs would be 3 GB."""
    rng = np.random.default_rng(0)
    centre, half = rng.uniform(0, 254, 20_000), np.exp(rng.normal(1.5, 0.8, 20_000))
    segments = np.stack([centre - half, centre + half], axis=1)
    found = Candidates(segments, np.zeros(20_000, dtype=np.int64), rng.uniform(0, 1, 20_000))
    tracemalloc.start()
    try:
        assert len(suppress(found))
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 8)), max_size=6),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 16)), max_size=4),
)
def test_ambiguous_stretches(segments: list[tuple[float, float]], stretches: list[tuple[int, int]]) -> None:
    """With whole snippets as sets of integers; without, as overlaps of real length."""
    rows = np.array([(start, start + length) for start, length in segments]).reshape(-1, 2)
    halves = np.array([(start / 2, (start + length) / 2) for start, length in stretches]).reshape(-1, 2)
    taken = set().union(*(range(round(start), round(end)) for start, end in halves.tolist()))
    expected = [not taken.intersection(range(int(start), int(end))) for start, end in rows.tolist()]
    assert drop_ambiguous(rows, halves, whole=True).tolist() == expected
    shares = [max((min(end, e) - max(start, s) for s, e in halves), default=0) for start, end in rows]
    assert drop_ambiguous(rows, halves).tolist() == [share <= 0 for share in shares]


def test_public_figures() -> None:
    """The public code measures [start, end + 1]; on such segments hard and soft suppression give its numbers."""

    def read(key: str) -> Candidates:
        rows = PUBLIC[key]
        return Candidates(rows[:, 2:] + np.array([0, 1]), rows[:, 0].astype(np.int64), rows[:, 1])

    rows = PUBLIC["co2net/softnms/in_label_score_start_end"].tolist()
    for method in ("gaussian", "linear", "hard"):
        plainly = np.array(plain.soft_nms(rows, extra=1.0, method=method))
        np.testing.assert_allclose(plainly, PUBLIC[f"co2net/softnms/out_{method}"], rtol=0, atol=1e-9)
    source = rank(read("co2net/softnms/in_label_score_start_end"))
    softened = Candidates(source.segments, source.labels, soft_scores(source, sigma=0.3))
    assert table_of(softened) == table_of(read("co2net/softnms/out_gaussian"))
    ours, theirs = soft_nms(source, sigma=0.3), read("co2net/softnms/out_gaussian")
    assert table_of(ours) == table_of(theirs.take(theirs.scores >= 0))
    assert table_of(hard_nms(source, tiou=0.5)) == table_of(read("co2net/nms/out_0.5"))
    in_seconds = read("um/nms/in_label_score_start_end")
    assert table_of(hard_nms(in_seconds, tiou=0.6)) == table_of(read("um/nms/out_0.6"))


def test_what_fell_before_the_end_has_fallen() -> None:
    """Soft suppression stops at `until`; those left have their fallen scores, not those they came with."""
    segments, scores = np.array([[0.0, 10.0], [0.0, 10.0], [20.0, 30.0]]), np.array([0.9, 0.5, 0.005])
    found = soft_scores(Candidates(segments, np.zeros(3, dtype=np.int64), scores), sigma=0.1, until=0.01)
    np.testing.assert_allclose(found, [0.9, 0.5 * np.exp(-1 / 0.1), 0.005])


def test_scores_that_fall_to_zero() -> None:
    """A narrow decay that is 0 in float64 leaves scores of 0, which are numbers, however many fall on one candidate."""
    segments = np.tile([[0.0, 10.0]], (4, 1))
    found = Candidates(segments, np.zeros(4, dtype=np.int64), np.array([0.9, 0.8, 0.7, 0.6]))
    assert soft_scores(found, sigma=1e-3).tolist() == [0.9, 0, 0, 0]


@settings(max_examples=200, deadline=None)
@given(candidates(), st.integers(0, 15))
def test_a_row_of_overlaps(found: Candidates, best: int) -> None:
    """All that overlap a segment are there, each once, with its tIoU; others may come along, with an overlap of 0."""
    if best >= len(found):
        return
    start, end = found.segments.T
    left = np.arange(len(found)) != best
    near, overlap = overlaps_of(best, start, end, left)
    expected = temporal_iou(np.repeat(found.segments[best : best + 1], len(found), axis=0), found.segments) * left
    row = np.zeros(len(found))
    row[near] = overlap
    assert row.tolist() == expected.tolist()
    assert len(near) == len(set(near.tolist()))


def test_shares() -> None:
    """[0, 10) and [8, 12): two of twelve, or two of the four of the lower one; none of one without length."""
    start, end, left = np.array([0.0, 8.0, 9.0]), np.array([10.0, 12.0, 9.0]), np.array([False, True, True])
    assert overlaps_of(0, start, end, left)[1].tolist() == pytest.approx([2 / 12, 0])
    assert overlaps_of(0, start, end, left, measure="lower")[1].tolist() == [0.5, 0]
