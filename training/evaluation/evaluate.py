"""Detections scored under a protocol: which videos and detections count, and in which units."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import DetectionTable
from cache.errors import CacheError
from training.evaluation.metrics import Scores, mean_average_precision
from training.evaluation.protocol import Protocol
from training.localization.suppression import drop_ambiguous

UnknownLabels = Literal["error", "ignore"]
"""Detections of a class that the annotations do not have: raise an error, or leave them out and count them."""


@dataclass(frozen=True)
class Evaluation:
    """Scores, and what they were computed from."""

    protocol: Protocol
    scores: Scores
    videos: int
    """Videos that are evaluated."""
    detections: int
    """Detections that were scored."""
    outside: int
    """Detections in videos outside the evaluated split: left out or false positives, as the protocol says."""
    left_out: dict[str, int]
    """Detections that were not scored, by reason: `outside`, `ambiguous`, `unknown label`. Reasons without any are
    absent."""


@dataclass(frozen=True)
class Counted:
    """Detections and ground truth that count under a protocol, in its units."""

    protocol: Protocol
    detections: DetectionTable
    truth: dict[str, Sequence[Segment]]
    """Ground-truth segments by video; videos without any are included."""
    durations: dict[str, float | None]
    """Durations of these videos."""
    outside: int
    """As in `Evaluation`."""
    left_out: dict[str, int]
    """As in `Evaluation`."""


def evaluate_detections(
    dataset: Dataset, detections: DetectionTable, protocol: Protocol, *, unknown_labels: UnknownLabels = "error"
) -> Evaluation:
    """Score detections (in seconds) on the videos of a protocol. Raises CacheError as `counted` does."""
    selected = counted(dataset, detections, protocol, unknown_labels=unknown_labels)
    scores = mean_average_precision(
        selected.detections, selected.truth, tious=protocol.tious, classes=dataset.classes, ties=protocol.ties
    )
    return Evaluation(
        protocol, scores, len(selected.truth), len(selected.detections), selected.outside, selected.left_out
    )


def counted(
    dataset: Dataset, detections: DetectionTable, protocol: Protocol, *, unknown_labels: UnknownLabels = "error"
) -> Counted:
    """The detections (in seconds) and the ground truth that count under a protocol.

    Raises CacheError if the annotations are not those of the protocol or have no segments, or a label is unknown.
    """
    videos = protocol_videos(dataset, protocol)
    if not any(video.segments for video in videos):
        raise CacheError(
            f"dataset {dataset.name}: none of the {len(videos)} videos of {protocol.subset!r} has a segment; "
            "there is nothing to compare with"
        )
    left_out: dict[str, int] = {}

    def leave(reason: str, rows: Bool[np.ndarray, " n"]) -> None:
        nonlocal detections
        if rows.any():
            left_out[reason] = int(rows.sum())
            detections = detections.take(~rows)

    leave("unknown label", _unknown(dataset, detections, unknown_labels))
    numbers = {video.video_id: number for number, video in enumerate(videos)}
    elsewhere = np.array([video not in numbers for video in detections.videos], dtype=bool)[detections.video]
    outside = int(elsewhere.sum())
    if protocol.outside == "leave-out":
        leave("outside", elsewhere)
    if protocol.ambiguous == "drop":
        leave("ambiguous", _ambiguous(detections, videos, protocol))
    return Counted(
        protocol,
        replace(detections, segments=_detected(detections, protocol)),
        {video.video_id: _truth(video, protocol) for video in videos},
        {video.video_id: _duration(video, protocol) for video in videos},
        outside,
        left_out,
    )


def protocol_videos(dataset: Dataset, protocol: Protocol) -> list[VideoEntry]:
    """The videos that are evaluated, in file order.

    Raises CacheError if the subset lacks a video that the protocol requires or has another number of videos, or if
    detections in ambiguous segments are to be left out and it has no such segments.
    """
    videos = [video for video in dataset.split(protocol.subset) if video.video_id not in protocol.left_out]
    present = {video.video_id for video in videos}
    missing = [video for video in protocol.required if video not in present]
    counted = len(videos) == protocol.videos or protocol.videos is None
    if missing or not counted:
        lacking = f", without {', '.join(missing)}" if missing else ""
        raise CacheError(
            f"dataset {dataset.name}: subset {protocol.subset!r}: found {len(videos)} videos{lacking}; protocol "
            f"{protocol.name} expects {protocol.videos}. Choose another with --protocol ('seconds' takes any videos)"
        )
    if protocol.ambiguous == "drop" and not any(video.ambiguous for video in videos):
        raise CacheError(
            f"dataset {dataset.name}: subset {protocol.subset!r}: found no field 'ambiguous', but the protocol leaves "
            "out detections in ambiguous segments; import the annotations with them, or pass --ambiguous keep"
        )
    return videos


def _unknown(dataset: Dataset, detections: DetectionTable, action: UnknownLabels) -> Bool[np.ndarray, " n"]:
    unknown = np.array([label not in dataset.classes for label in detections.labels], dtype=bool)
    rows = unknown[detections.label]
    if rows.any() and action == "error":
        first = np.flatnonzero(rows)[0]
        label, video = detections.labels[detections.label[first]], detections.videos[detections.video[first]]
        near = difflib.get_close_matches(label, dataset.classes, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise CacheError(
            f"detections: label {label!r} (video {video!r}) is no class of dataset {dataset.name}{hint}; "
            f"{int(rows.sum())} detections have unknown labels; --unknown-labels ignore leaves "
            "them out"
        )
    return rows


def _in_units(seconds: Float[np.ndarray, "n 2"], protocol: Protocol) -> Float[np.ndarray, "n 2"]:
    if protocol.units == "seconds":
        return seconds
    return seconds * protocol.fps / protocol.snippet_stride


def _detected(detections: DetectionTable, protocol: Protocol) -> Float[np.ndarray, "n 2"]:
    """Detections in the protocol's units. In snippets they are rounded to 9 digits, so that a snippet border that was
    converted to seconds is whole again and an overlap of exactly 1/2 stays one."""
    segments = _in_units(detections.segments, protocol)
    return segments if protocol.units == "seconds" else segments.round(9)


def _duration(video: VideoEntry, protocol: Protocol) -> float | None:
    return None if video.duration is None else float(_in_units(np.array([[0.0, video.duration]]), protocol)[0, 1])


def _truth(video: VideoEntry, protocol: Protocol) -> Sequence[Segment]:
    if protocol.units == "seconds" or not video.segments:
        return video.segments
    times = np.rint(_in_units(np.array([(s.start, s.end) for s in video.segments]), protocol)).tolist()
    return [replace(s, start=start, end=end) for s, (start, end) in zip(video.segments, times, strict=True)]


def _ambiguous(detections: DetectionTable, videos: Sequence[VideoEntry], protocol: Protocol) -> Bool[np.ndarray, " n"]:
    """Detections that overlap an ambiguous segment of their video. With units=snippets they have to share a whole
    snippet: the times of detections are truncated, those of ambiguous segments rounded."""
    segments = _detected(detections, protocol)
    touches = np.zeros(len(detections), dtype=bool)
    numbers = {video: number for number, video in enumerate(detections.videos)}
    for video in videos:
        if not video.ambiguous or video.video_id not in numbers:
            continue
        rows = np.flatnonzero(detections.video == numbers[video.video_id])
        stretches = _in_units(np.array(video.ambiguous), protocol)
        touches[rows] = ~drop_ambiguous(segments[rows], stretches, whole=protocol.units == "snippets")
    return touches
