"""Which candidates overlap, as a list of pairs, and what follows from it for all of them at once (numpy only).

Candidates come as columns in rank order, best first: start, end, label. Sorting finds the pairs, so that the work grows
with their number and not with n x n; where they are too many for memory they come in portions.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray

Overlap = Literal["iou", "lower"]
"""Shared length over the union, or over the length of the lower-ranked of the two."""

MOST_PAIRS = 2**20
"""Pairs that are held at once (about 100 bytes each)."""


class Pairs:
    """The pairs of candidates of one class that share some length.

    Sorted by class and start, those that overlap a candidate and start no earlier follow it without a gap.
    """

    def __init__(self, start: Float[Array, " n"], end: Float[Array, " n"], labels: Int[Array, " n"]) -> None:
        self.start, self.end = start, end
        self.order = np.lexsort((start, labels))
        begin, stop, label = start[self.order], end[self.order], labels[self.order]
        reach = np.empty(len(begin), dtype=np.int64)
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(label)) + 1, [len(begin)]])
        for low, high in pairwise(bounds.tolist()):  # classes, not candidates
            reach[low:high] = low + np.searchsorted(begin[low:high], stop[low:high])
        self.followers: Int[Array, " n"] = np.maximum(reach - np.arange(len(begin)) - 1, 0)

    def __len__(self) -> int:
        """How many they are at most: one of length zero inside another counts, but shares nothing."""
        return int(self.followers.sum())

    def portions(self, most: int = MOST_PAIRS) -> Iterator[tuple[Int[Array, " e"], Int[Array, " e"]]]:
        """(better, worse) of every pair: places in the columns, the lower place first. At least one portion."""
        if len(self) <= most:
            yield self._between(0, len(self.order))
            return
        total = np.cumsum(self.followers)
        first = 0
        while first < len(total):
            gone = total[first - 1] if first else 0
            last = max(int(np.searchsorted(total, gone + most, side="right")), first + 1)
            yield self._between(first, last)
            first = last

    def _between(self, first: int, last: int) -> tuple[Int[Array, " e"], Int[Array, " e"]]:
        count = self.followers[first:last]
        one = np.repeat(np.arange(first, first + len(count)), count)
        step = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
        left, right = self.order[one], self.order[one + step + 1]
        return np.minimum(left, right), np.maximum(left, right)

    def overlap(
        self, better: Int[Array, " e"], worse: Int[Array, " e"], *, measure: Overlap = "iou"
    ) -> Float[Array, " e"]:
        """0 to 1; 0 where the pair shares nothing."""
        first, last, begin, stop = self.start[better], self.end[better], self.start[worse], self.end[worse]
        inner = np.maximum(np.minimum(last, stop) - np.maximum(first, begin), 0.0)
        match measure:
            case "iou":
                whole = (last - first) + (stop - begin) - inner
            case "lower":
                whole = stop - begin
        return np.divide(inner, whole, out=np.zeros_like(inner), where=whole > 0)
