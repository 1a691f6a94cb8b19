"""Which detections and videos the pages show, and which detections are true positives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import Detection, DetectionTable
from training.evaluation.evaluate import counted, protocol_videos
from training.evaluation.metrics import temporal_iou
from training.evaluation.protocol import Protocol

T = TypeVar("T")
RIGHT = 0.5
"""Temporal IoU from which a drawn detection is a true positive."""


_FURTHER = 12
"""Maximum number of detections per video that are kept below the score thresholds."""


@dataclass(frozen=True)
class Judged:
    """A detection with its best temporal IoU in the video, and whether it is a true positive."""

    detection: Detection
    tiou: float | None
    """None without ground truth; `right` has no meaning then."""
    right: bool
    truth: int | None = None
    """Index of the segment of the video that it matches."""


@dataclass(frozen=True)
class JudgedVideo:
    """The detections of one video, compared with its ground truth."""

    entry: VideoEntry
    drawn: tuple[Judged, ...]
    """Detections above the score threshold of their class, highest score first."""
    further: tuple[Judged, ...] = ()
    """The best of the other detections; they are neither true nor false positives."""

    @property
    def hit(self) -> frozenset[int]:
        """Indices of the segments that are detected (true positives)."""
        return frozenset(item.truth for item in self.drawn if item.truth is not None)

    @property
    def false(self) -> int:
        """Number of drawn detections without a match (false positives)."""
        return sum(not item.right for item in self.drawn)

    @property
    def missed(self) -> int:
        """Number of segments without a matching drawn detection (false negatives)."""
        return len(self.entry.segments) - len(self.hit)

    @property
    def quality(self) -> float:
        """F1, from 0 (no true positive) to 1 (no false positive and no false negative)."""
        both = len(self.drawn) + len(self.entry.segments)
        return 2 * len(self.hit) / both if both else 1.0


def judge_counted(dataset: Dataset, detections: DetectionTable, protocol: Protocol) -> dict[str, JudgedVideo]:
    """As `judge_subset`, for the videos and detections that count under a protocol; always in seconds.

    Raises CacheError as `counted` does.
    """
    what = counted(dataset, detections, protocol.model_copy(update={"units": "seconds"}))
    return judge_subset(what.detections.rows(), protocol_videos(dataset, protocol))


def judge_subset(detections: Sequence[Detection], entries: Sequence[VideoEntry]) -> dict[str, JudgedVideo]:
    """Id -> video of the subset with its detections above the score thresholds, and the best of the others."""
    floors = cutoffs(detections, {entry.video_id: entry.segments for entry in entries})
    scored = any(entry.segments for entry in entries)
    drawn: dict[str, list[Detection]] = {entry.video_id: [] for entry in entries}
    further: dict[str, list[Detection]] = {entry.video_id: [] for entry in entries}
    for found in sorted(detections, key=lambda d: -d.score):
        kept = drawn if found.score >= floors[found.label] else further
        if found.video_id in kept:
            kept[found.video_id].append(found)
    judged = {}
    for entry in entries:
        above, below = drawn[entry.video_id], further[entry.video_id][:_FURTHER]
        if scored:
            rest = [Judged(item, float(_overlaps(item, entry.segments)[1].max(initial=0.0)), False) for item in below]
            judged[entry.video_id] = JudgedVideo(entry, tuple(judge(above, entry.segments)), tuple(rest))
        else:
            unjudged = ([Judged(item, None, True) for item in items] for items in (above, below))
            judged[entry.video_id] = JudgedVideo(entry, *map(tuple, unjudged))
    return judged


def cutoffs(detections: Sequence[Detection], truth: Mapping[str, Sequence[Segment]]) -> dict[str, float]:
    """Class -> score of its N-th best detection over all videos, N = number of its ground-truth instances.

    With N detections precision equals recall. A class without ground truth keeps no detection; without any ground truth
    at all, every class keeps the detections with at least half of its highest score.
    """
    wanted = Counter(segment.label for segments in truth.values() for segment in segments)
    scores: dict[str, list[float]] = {}
    for detection in detections:
        scores.setdefault(detection.label, []).append(detection.score)
    if not wanted:
        return {label: max(found) / 2 for label, found in scores.items()}
    return {
        label: sorted(found, reverse=True)[min(wanted[label], len(found)) - 1] if wanted[label] else float("inf")
        for label, found in scores.items()
    }


def judge(detections: Sequence[Detection], segments: Sequence[Segment]) -> list[Judged]:
    """The detections of one video, highest score first. Each is a true positive if it overlaps an instance that no
    detection before it matches."""
    taken: set[int] = set()
    judged = []
    for detection in sorted(detections, key=lambda d: -d.score):
        mine, overlap = _overlaps(detection, segments)
        free = np.where(np.isin(mine, list(taken)), 0.0, overlap)
        right = bool(len(free) and free.max() >= RIGHT)
        truth = int(mine[free.argmax()]) if right else None
        if truth is not None:
            taken.add(truth)
        judged.append(Judged(detection, float(overlap.max(initial=0.0)), right, truth))
    return judged


def _overlaps(detection: Detection, segments: Sequence[Segment]) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the segments of the detection's class, and its temporal IoU with each."""
    mine = np.array([index for index, s in enumerate(segments) if s.label == detection.label], dtype=np.int64)
    spans = np.array([(segments[i].start, segments[i].end) for i in mine], dtype=np.float64).reshape(-1, 2)
    return mine, temporal_iou(np.array([[detection.start, detection.end]]), spans)


def spread(items: Sequence[T], count: int) -> list[T]:
    """`count` items at equal steps, including the first and the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(k)] for k in np.linspace(0, len(items) - 1, count)]
