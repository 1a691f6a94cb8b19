"""Suppression and fusion, against loops written from the definitions and against the public code."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.proposals import Candidates
from training.suppression import fuse, hard_nms, rank, soft_nms

GOLDENS = Path(__file__).parents[2] / "shared" / "goldens"


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Temporal IoU from its definition."""
    shared = max(0.0, min(first[1], second[1]) - max(first[0], second[0]))
    union = first[1] - first[0] + second[1] - second[0] - shared
    return shared / union if union > 0 else 0.0


@st.composite
def candidates(draw: st.DrawFn) -> Candidates:
    """Up to 14 segments of two classes, with different scores (ties are tested by hand)."""
    rows = draw(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8), st.integers(0, 1)), max_size=14))
    order = draw(st.permutations(range(len(rows))))
    segments = np.array([(start, start + length) for start, length, _ in rows], dtype=float).reshape(-1, 2)
    labels = np.array([label for _, _, label in rows], dtype=np.int64)
    return Candidates(segments, labels, (np.array(order, dtype=float) + 1) / 20)


def rows_of(found: Candidates) -> list[tuple[float, float, int, float]]:
    """(start, end, label, score), rounded, sorted: the order between classes is not the matter here."""
    columns = zip(found.segments.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    return sorted((round(start, 9), round(end, 9), label, round(score, 9)) for (start, end), label, score in columns)


def plain_soft(found: Candidates, sigma: float, min_score: float) -> list[tuple[float, float, int, float]]:
    """Take the best, decay the rest of its class, repeat."""
    waiting = [
        [*row, label, score] for row, label, score in zip(found.segments, found.labels, found.scores, strict=True)
    ]
    kept = []
    while waiting:
        best = max(waiting, key=lambda row: row[3])
        waiting.remove(best)
        if best[3] >= min_score:
            kept.append(tuple(best))
        for row in waiting:
            if row[2] == best[2]:
                row[3] *= np.exp(-(iou(np.array(row[:2]), np.array(best[:2])) ** 2) / sigma)
    return sorted((round(s, 9), round(e, 9), int(c), round(x, 9)) for s, e, c, x in kept)


@settings(max_examples=100, deadline=None)
@given(candidates(), st.sampled_from([0.1, 0.3, 0.5]), st.sampled_from([0.0, 0.2]))
def test_soft_nms_is_its_definition(found: Candidates, sigma: float, min_score: float) -> None:
    """Scores decay by exp(-IoU^2 / sigma), class by class; what falls below the least score is dropped."""
    kept = soft_nms(found, sigma=sigma, min_score=min_score)
    assert rows_of(kept) == plain_soft(found, sigma, min_score)
    assert (np.diff(kept.scores) <= 0).all()


@settings(max_examples=100, deadline=None)
@given(candidates(), st.sampled_from([0.0, 0.3, 0.6]))
def test_hard_nms_is_its_definition(found: Candidates, tiou: float) -> None:
    """Best first, whatever overlaps no survivor of its class too much survives."""
    kept = hard_nms(found, tiou=tiou)
    expected: list[int] = []
    for i in np.argsort(-found.scores, kind="stable"):
        rivals = [j for j in expected if found.labels[j] == found.labels[i]]
        if all(iou(found.segments[i], found.segments[j]) <= tiou for j in rivals):
            expected.append(i)
    assert rows_of(kept) == rows_of(found.take(np.array(expected, dtype=np.int64)))


@settings(max_examples=100, deadline=None)
@given(candidates(), st.sampled_from([0.0, 0.3, 0.6]))
def test_fusion_keeps_the_heads_of_hard_nms_in_their_hull(found: Candidates, tiou: float) -> None:
    """Groups have the scores of a best-first partition, and averaged bounds stay within the bounds of their class."""
    joined = fuse(found, tiou=tiou, temperature=0.1)
    assert len(joined) <= len(found)
    for label in np.unique(found.labels):
        mine, whole = joined.segments[joined.labels == label], found.segments[found.labels == label]
        assert mine.min() >= whole.min() - 1e-9
        assert mine.max() <= whole.max() + 1e-9
        assert joined.scores[joined.labels == label].max() == found.scores[found.labels == label].max()


def test_fusion_by_hand() -> None:
    """Two overlapping segments with scores 0.9 and 0.8 at temperature 0.1 have weights 1 and 1/e; a third is far."""
    found = Candidates(
        np.array([[0, 10], [2, 12], [40, 44]], dtype=float), np.zeros(3, dtype=int), np.array([0.9, 0.8, 0.5])
    )
    joined = fuse(found, tiou=0.3, temperature=0.1)
    shift = 2 / np.e / (1 + 1 / np.e)
    np.testing.assert_allclose(joined.segments, [[shift, 10 + shift], [40, 44]])
    np.testing.assert_allclose(joined.scores, [0.9, 0.5])


@pytest.mark.parametrize(
    "suppress",
    [
        lambda c: hard_nms(c, tiou=0.5),
        lambda c: soft_nms(c, sigma=0.3, min_score=0.1),
        lambda c: fuse(c, tiou=0.5, temperature=1.0),
        rank,
    ],
)
def test_nothing_and_ties(suppress: Callable[[Candidates], Candidates]) -> None:
    """No candidates give none; of equal scores the first given stands first; classes do not touch each other."""
    assert len(suppress(Candidates.none())) == 0
    twins = Candidates(
        np.array([[0, 4], [20, 24], [0, 4]], dtype=float), np.array([0, 0, 1]), np.array([0.5, 0.5, 0.5])
    )
    kept = suppress(twins)
    assert kept.segments.tolist() == [[0, 4], [20, 24], [0, 4]]
    assert kept.scores.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.skipif(not GOLDENS.exists(), reason=f"{GOLDENS} is not there")
def test_public_figures() -> None:
    """The public code measures [start, end + 1]; on such segments hard and soft suppression give its numbers."""
    co2, um = np.load(GOLDENS / "post_co2.npz"), np.load(GOLDENS / "post_um.npz")

    def read(rows: np.ndarray) -> Candidates:
        return Candidates(rows[:, 2:] + np.array([0, 1]), rows[:, 0].astype(np.int64), rows[:, 1])

    soft = soft_nms(read(co2["softnms/in_label_score_start_end"]), sigma=0.3)
    theirs = read(co2["softnms/out_gaussian"])
    assert rows_of(soft) == rows_of(theirs.take(theirs.scores >= 0))
    for golden, key, tiou in ((co2, "nms/out_0.5", 0.5), (um, "nms/out_0.6", 0.6)):
        source = (
            "nms/in_label_score_start_end"
            if "nms/in_label_score_start_end" in golden
            else "softnms/in_label_score_start_end"
        )
        assert rows_of(hard_nms(read(golden[source]), tiou=tiou)) == rows_of(read(golden[key]))
