"""Which detections and which videos the report shows, and how the detections are judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from cache.annotations import Segment
from cache.detections import Detection
from training.metrics import temporal_iou

T = TypeVar("T")
RIGHT = 0.5
"""Temporal IoU from which a drawn detection counts as right."""


@dataclass(frozen=True)
class Judged:
    """A detection with its best temporal IoU in the video, and whether it found a truth of its own."""

    detection: Detection
    tiou: float | None
    """None where there is no truth to compare with; `right` then says nothing."""
    right: bool


def cutoffs(detections: Sequence[Detection], truth: Mapping[str, Sequence[Segment]]) -> dict[str, float]:
    """By class, the score of its n-th best detection over all videos, n being the number of its true segments.

    With as many detections as there are truths, precision equals recall: no class is drawn too generously. A class
    without truth keeps none; but without any truth at all, every class keeps what reaches half of its best score.
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
    """The detections of one video, best first: right if a truth that no better one took overlaps enough."""
    taken: set[int] = set()
    judged = []
    for detection in sorted(detections, key=lambda d: -d.score):
        mine = np.array([index for index, s in enumerate(segments) if s.label == detection.label], dtype=np.int64)
        spans = np.array([(segments[i].start, segments[i].end) for i in mine], dtype=np.float64).reshape(-1, 2)
        overlap = temporal_iou(np.array([[detection.start, detection.end]]), spans)
        free = np.where(np.isin(mine, list(taken)), 0.0, overlap)
        right = bool(len(free) and free.max() >= RIGHT)
        if right:
            taken.add(int(mine[free.argmax()]))
        judged.append(Judged(detection, float(overlap.max(initial=0.0)), right))
    return judged


def quality(judged: Sequence[Judged], segments: Sequence[Segment]) -> float:
    """F1 of one video: 1 where every truth is found and nothing else is; 0 where nothing is right."""
    right = sum(item.right for item in judged)
    return 2 * right / (len(judged) + len(segments)) if judged or segments else 1.0


def spread(items: Sequence[T], count: int) -> list[T]:
    """`count` items at equal steps, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(k)] for k in np.linspace(0, len(items) - 1, count)]
