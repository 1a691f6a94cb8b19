"""Ground truth and detections as columns of numbers.

Axis letters: c classes, m ground-truth instances ("truths"), n detections, k thresholds of temporal IoU. Rows are
referred to by index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from training.evaluation.metrics import Ranking

Array = np.ndarray


@dataclass(frozen=True)
class Columns:
    """The ground truth of a subset, and the detections of its classes: class by class, the best first."""

    ranking: Ranking
    durations: Float[Array, " m"]
    """Duration of each instance's video; NaN where the annotations have none, or one of no length."""
    unit: float = 1.0
    """Seconds of one unit of all times."""

    @classmethod
    def of(cls, ranking: Ranking, durations: Mapping[str, float | None], *, unit: float = 1.0) -> Columns:
        """`durations` by video id, in the unit of the ground truth."""
        of_video = np.array([durations.get(video) or np.nan for video in ranking.truth.numbers], dtype=np.float64)
        return cls(ranking, of_video[ranking.truth.videos], unit)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the ground truth, in alphabetical order; each has an instance."""
        return self.ranking.truth.classes

    @property
    def truth(self) -> Float[Array, "m 2"]:
        """[start, end] of the ground-truth instances."""
        return self.ranking.truth.segments

    @property
    def truth_class(self) -> Int[Array, " m"]:
        """Index into `classes` of each instance."""
        return self.ranking.truth.labels

    @property
    def truth_video(self) -> Int[Array, " m"]:
        """Number of the video of each instance."""
        return self.ranking.truth.videos

    @property
    def found(self) -> Float[Array, "n 2"]:
        """[start, end] of the detections."""
        return self.ranking.segments

    @property
    def found_class(self) -> Int[Array, " n"]:
        """Index into `classes` of each detection, ascending."""
        return self.ranking.labels

    @property
    def found_video(self) -> Int[Array, " n"]:
        """Number of the video of each detection; negative for one that is not evaluated."""
        return self.ranking.videos

    @property
    def truths(self) -> Int[Array, " c"]:
        """Number of ground-truth instances of each class: the G of DETAD."""
        return self.ranking.truth.counts

    @property
    def mean_truths(self) -> float:
        """Mean number of instances per class: the N of the normalised precision."""
        return len(self.truth) / len(self.classes)

    @property
    def rank(self) -> Int[Array, " n"]:
        """Rank of each detection in its class, 0 for the best."""
        return np.arange(len(self.found)) - np.searchsorted(self.found_class, self.found_class)

    def by_class(self) -> Iterator[slice]:
        """The detections of each class."""
        return map(slice, *self.ranking.bounds)


def pairs(left: Int[Array, " n"], right: Int[Array, " m"]) -> tuple[Int[Array, " p"], Int[Array, " p"]]:
    """Rows of `left` and `right` that hold the same number, every combination once.

    In the order of `left`, and for one row of it in that of `right`.
    """
    order = np.argsort(right, kind="stable")
    low = np.searchsorted(right[order], left, side="left")
    count = np.searchsorted(right[order], left, side="right") - low
    before = np.cumsum(count) - count
    inside = np.arange(count.sum()) - np.repeat(before, count)
    return np.repeat(np.arange(len(left)), count), order[inside + np.repeat(low, count)]
