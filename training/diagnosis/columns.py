"""Truth and detections as columns of numbers, and which detection finds which truth.

Axis letters: c classes, m truths, n detections, k thresholds of temporal IoU. Rows are known by their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cache.annotations import VideoEntry
from cache.detections import Detection
from training.metrics import match

Array = np.ndarray


@dataclass(frozen=True)
class Columns:
    """The truth of a subset, and the detections of its classes: class by class, the best first."""

    classes: tuple[str, ...]
    """Those of the truth, in alphabetical order; there is a truth of each."""
    truth: Float[Array, "m 2"]
    truth_class: Int[Array, " m"]
    truth_video: Int[Array, " m"]
    durations: Float[Array, " m"]
    """Of the truth's video; NaN where the annotations have none, or one of no length."""
    found: Float[Array, "n 2"]
    found_class: Int[Array, " n"]
    found_video: Int[Array, " n"]
    """-1 in a video that the subset does not have."""

    @classmethod
    def of(cls, detections: Sequence[Detection], videos: Sequence[VideoEntry]) -> Columns:
        """Equal scores keep the order given, as in `mean_average_precision`, which checks what comes in here.

        Detections of classes without truth are left out.
        """
        numbers = {video.video_id: number for number, video in enumerate(videos)}
        rows = [(number, segment) for number, video in enumerate(videos) for segment in video.segments]
        classes = tuple(sorted({segment.label for _, segment in rows}))
        index = {label: number for number, label in enumerate(classes)}
        video_of = np.array([number for number, _ in rows], dtype=np.int64)
        durations = np.array([video.duration or np.nan for video in videos])
        mine = [found for found in detections if found.label in index]
        class_of = np.array([index[found.label] for found in mine], dtype=np.int64)
        order = np.lexsort((-np.array([found.score for found in mine], dtype=np.float64), class_of))
        return cls(
            classes,
            np.array([(segment.start, segment.end) for _, segment in rows], dtype=np.float64),
            np.array([index[segment.label] for _, segment in rows], dtype=np.int64),
            video_of,
            durations[video_of],
            np.array([(found.start, found.end) for found in mine], dtype=np.float64).reshape(-1, 2)[order],
            class_of[order],
            np.array([numbers.get(found.video_id, -1) for found in mine], dtype=np.int64)[order],
        )

    @property
    def truths(self) -> Int[Array, " c"]:
        """How many truths each class has: the G of DETAD."""
        return np.bincount(self.truth_class, minlength=len(self.classes))

    @property
    def mean_truths(self) -> float:
        """Truths of the mean class: the N of the normalised precision."""
        return len(self.truth) / len(self.classes)

    @property
    def rank(self) -> Int[Array, " n"]:
        """Place of each detection in its class, 0 for the best."""
        return np.arange(len(self.found)) - np.searchsorted(self.found_class, self.found_class)

    def by_class(self) -> Iterator[slice]:
        """The detections of each class."""
        borders = np.searchsorted(self.found_class, np.arange(len(self.classes) + 1)).tolist()
        return map(slice, borders, borders[1:])

    def matched(self, tious: Float[Array, " k"]) -> Int[Array, "n k"]:
        """The truth that each detection finds at each threshold, as the evaluator counts it; -1 where none."""
        matched = np.full((len(self.found), len(tious)), -1)
        for number, rows in enumerate(self.by_class()):
            mine = np.flatnonzero(self.truth_class == number)
            places = match(self.found[rows], self.found_video[rows], self.truth[mine], self.truth_video[mine], tious)
            matched[rows] = np.where(places >= 0, mine[places], -1)
        return matched


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
