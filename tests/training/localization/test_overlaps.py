"""Pairs of overlapping candidates, against looking at all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.metrics import temporal_iou
from training.localization.overlaps import Pairs

Rows = list[tuple[int, int, int]]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(0, 2)), max_size=14), st.integers(1, 8))
def test_every_overlapping_pair_is_there_once(rows: Rows, most: int) -> None:
    """In portions of any size; pairs that share nothing may come along, but with an overlap of 0."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    segments, labels = np.stack([table[:, 0], table[:, 0] + table[:, 1]], axis=1), table[:, 2].astype(np.int64)
    pairs = Pairs(segments[:, 0], segments[:, 1], labels)
    portions = list(pairs.portions(most))
    better, worse = (np.concatenate(columns) for columns in zip(*portions, strict=True))
    assert len(better) == len(pairs)
    assert all(len(one) <= max(most, len(rows)) for one, _ in portions)
    assert (better < worse).all()
    assert (labels[better] == labels[worse]).all()
    overlap = pairs.overlap(better, worse)
    assert overlap.tolist() == temporal_iou(segments[better], segments[worse]).tolist()
    ours = sorted((one, other) for one, other, share in zip(better, worse, overlap, strict=True) if share > 0)
    expected = [
        (one, other)
        for one in range(len(rows))
        for other in range(one + 1, len(rows))
        if labels[one] == labels[other] and temporal_iou(segments[one], segments[other]) > 0
    ]
    assert ours == expected


def test_shares() -> None:
    """[0, 10) and [8, 12): two of twelve, or two of the four of the lower one; none of one without length."""
    pairs = Pairs(np.array([0.0, 8.0, 9.0]), np.array([10.0, 12.0, 9.0]), np.zeros(3, dtype=np.int64))
    better, worse = np.array([0, 0]), np.array([1, 2])
    assert pairs.overlap(better, worse).tolist() == pytest.approx([2 / 12, 0])
    assert pairs.overlap(better, worse, measure="lower").tolist() == [0.5, 0]
