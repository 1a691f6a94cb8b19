"""Detection average precision, exactly as ActivityNet's official evaluator counts it (numpy only).

Per class: predictions sorted by score, each goes to the unlocked truth of highest temporal IoU in its video that
reaches the threshold (so it falls through to the next best where the best is taken), every threshold has its own
locks, and the precision-recall curve is interpolated as in VOC 2011. mAP is the mean over the classes of the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from cache.annotations import Segment
from cache.detections import Detection

Array = np.ndarray


@dataclass(frozen=True)
class Scores:
    """What mean_average_precision found.

    `ap[c, k]` is the average precision of `classes[c]` at temporal IoU `tious[k]`; `map[k]` its mean over the classes;
    `average` the mean of `map`. `unscored` counts, by label, the detections of known classes of which the truth has no
    segment: they belong to no average, and are shown so that they do not vanish.
    """

    tious: tuple[float, ...]
    classes: tuple[str, ...]
    ap: Float[Array, "c k"]
    map: Float[Array, " k"]
    average: float
    unscored: dict[str, int] = field(default_factory=dict)

    def at(self, tiou: float) -> float:
        """mAP at one of the thresholds; KeyError where it was not asked for."""
        for threshold, value in zip(self.tious, self.map, strict=True):
            if abs(threshold - tiou) < 1e-9:
                return float(value)
        raise KeyError(f"tIoU {tiou} is not among {self.tious}")


def temporal_iou(first: Float[Array, "*#n 2"], second: Float[Array, "*#n 2"]) -> Float[Array, "*n"]:
    """Intersection over union of [start, end] pairs, broadcast over the leading axes.

    For all pairs of (n, 2) and (m, 2) pass `first[:, None]` and `second[None]`. Lengths are end - start, with nothing
    added (several public copies add one). Where both are of length zero the result is 0.
    """
    inner = np.minimum(first[..., 1], second[..., 1]) - np.maximum(first[..., 0], second[..., 0])
    inner = np.maximum(inner, 0.0)
    union = (first[..., 1] - first[..., 0]) + (second[..., 1] - second[..., 0]) - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)


def mean_average_precision(
    detections: Iterable[Detection],
    truth: Mapping[str, Sequence[Segment]],
    *,
    tious: Sequence[float],
    classes: Collection[str] | None = None,
) -> Scores:
    """mAP of detections against the truth {video_id: segments}, both in seconds.

    Classes present in the truth are averaged, in alphabetical order. A detection in a video that the truth does not
    hold is a false positive, as in the official script (to evaluate fewer videos, drop their detections first).
    Detections of equal score keep the order in which they were given (the official script leaves it undefined).
    `classes` are the labels that exist: a detection of one of them without any truth is counted in `Scores.unscored`.
    By default they are the labels of the truth.

    Raises ValueError for a label outside `classes`, for truth without any segment, for scores or times that are not
    finite, and for a segment that ends before it starts.
    """
    rows = _TruthRows.of(truth)
    known = set(rows.classes) | set(classes or ())
    by_label: dict[str, list[Detection]] = {label: [] for label in rows.classes}
    unscored: Counter[str] = Counter()
    for detection in detections:
        if detection.label not in known:
            raise ValueError(
                f"detections: label {detection.label!r} (video {detection.video_id!r}) is unknown; "
                f"expected one of {sorted(known)}"
            )
        if detection.label in by_label:
            by_label[detection.label].append(detection)
        else:
            unscored[detection.label] += 1
    ap = np.stack([_class_ap(by_label[label], rows.of_class(label), tious) for label in rows.classes])
    mean = ap.mean(axis=0)
    return Scores(tuple(map(float, tious)), rows.classes, ap, mean, float(mean.mean()), dict(unscored))


@dataclass(frozen=True)
class ClassHits:
    """The detections of one class, best first, and which of them are right: all that its average precision needs.

    Axes: n detections, m true segments, k thresholds. Videos are numbered in the order of the truth.
    """

    label: str
    videos: Int[Array, " n"]
    """-1 where the truth does not hold the video."""
    hits: Bool[Array, "n k"]
    truth_videos: Int[Array, " m"]


def class_hits(
    detections: Iterable[Detection], truth: Mapping[str, Sequence[Segment]], *, tious: Sequence[float]
) -> list[ClassHits]:
    """What `mean_average_precision` counts, before it is counted: one entry for each class of the truth.

    Detections of other labels are passed over; errors are those of `mean_average_precision`.
    """
    rows = _TruthRows.of(truth)
    by_label: dict[str, list[Detection]] = {label: [] for label in rows.classes}
    for detection in detections:
        by_label.get(detection.label, []).append(detection)
    found = []
    for label, own in by_label.items():
        mine = rows.of_class(label)
        segments, scores, videos = _columns(own, mine)
        order = np.argsort(-scores, kind="stable")
        hits = _match(segments[order], videos[order], mine.segments, mine.videos, np.asarray(tious, dtype=np.float64))
        found.append(ClassHits(label, videos[order], hits, mine.videos))
    return found


def average_precision(
    segments: Float[Array, "n 2"],
    scores: Float[Array, " n"],
    videos: Int[Array, " n"],
    *,
    truth: Float[Array, "m 2"],
    truth_videos: Int[Array, " m"],
    tious: Float[Array, " k"],
) -> Float[Array, " k"]:
    """Average precision of one class at every threshold.

    `videos` and `truth_videos` are the same numbering of videos; detections whose number no truth has are false
    positives. Equal scores keep the order given. Without truth the result is 0.
    """
    order = np.argsort(-scores, kind="stable")
    hits = _match(segments[order], videos[order], truth, truth_videos, tious)
    if not len(hits) or not len(truth):
        return np.zeros(len(tious))
    found = np.cumsum(hits, axis=0)
    precision = found / np.arange(1, len(hits) + 1)[:, None]
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    # recall rises by 1 / m at each hit, and only there
    return (envelope * hits).sum(axis=0) / len(truth)


def _match(
    segments: Float[Array, "n 2"],
    videos: Int[Array, " n"],
    truth: Float[Array, "m 2"],
    truth_videos: Int[Array, " m"],
    tious: Float[Array, " k"],
) -> Bool[Array, "n k"]:
    """Which of the sorted detections are true positives at which threshold.

    Locks concern one video only, so the r-th detections of all videos are matched together, for all thresholds.
    """
    hits = np.zeros((len(segments), len(tious)), dtype=bool)
    numbers, group_of_truth = np.unique(truth_videos, return_inverse=True)
    if not len(numbers):
        return hits
    place = _rank_in_group(group_of_truth)
    padded = np.full((len(numbers), place.max() + 1, 2), np.nan)
    padded[group_of_truth, place] = truth
    locked = np.repeat(np.isnan(padded[:, None, :, 0]), len(tious), axis=1)  # group, threshold, truth
    group = np.searchsorted(numbers, videos).clip(max=len(numbers) - 1)
    reachable = np.flatnonzero(numbers[group] == videos)
    if not len(reachable):
        return hits
    turn = _rank_in_group(group[reachable])
    by_turn = reachable[np.argsort(turn, kind="stable")]
    for now in np.split(by_turn, np.cumsum(np.bincount(turn))[:-1]):
        here = group[now]
        overlap = temporal_iou(segments[now, None], np.nan_to_num(padded[here]))[:, None]
        overlap = np.where(locked[here], -1.0, overlap)
        best = overlap.argmax(axis=2)
        reached = np.take_along_axis(overlap, best[..., None], axis=2)[..., 0] >= tious
        hits[now] = reached
        row, threshold = np.nonzero(reached)
        locked[here[row], threshold, best[row, threshold]] = True
    return hits


def _rank_in_group(group: Int[Array, " n"]) -> Int[Array, " n"]:
    """0 for the first element of each group, 1 for its second, and so on."""
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], group[order], side="left")
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - first
    return rank


@dataclass(frozen=True)
class _TruthRows:
    """The truth as columns: label, number of the video, [start, end]."""

    classes: tuple[str, ...]
    numbers: dict[str, int]
    labels: Array
    videos: Int[Array, " m"]
    segments: Float[Array, "m 2"]

    @classmethod
    def of(cls, truth: Mapping[str, Sequence[Segment]]) -> _TruthRows:
        numbers = {video_id: number for number, video_id in enumerate(truth)}
        rows = [(numbers[video_id], segment) for video_id, segments in truth.items() for segment in segments]
        if not rows:
            raise ValueError(f"the truth has no segment in {len(truth)} videos; there is nothing to compare with")
        labels = np.array([segment.label for _, segment in rows])
        segments = np.array([(segment.start, segment.end) for _, segment in rows], dtype=np.float64)
        _refuse_impossible(segments, "the truth")
        return cls(tuple(sorted(set(labels.tolist()))), numbers, labels, np.array([n for n, _ in rows]), segments)

    def of_class(self, label: str) -> _TruthRows:
        mine = self.labels == label
        return _TruthRows((label,), self.numbers, self.labels[mine], self.videos[mine], self.segments[mine])


def _class_ap(detections: list[Detection], truth: _TruthRows, tious: Sequence[float]) -> Float[Array, " k"]:
    segments, scores, videos = _columns(detections, truth)
    thresholds = np.asarray(tious, dtype=np.float64)
    return average_precision(
        segments, scores, videos, truth=truth.segments, truth_videos=truth.videos, tious=thresholds
    )


def _columns(
    detections: list[Detection], truth: _TruthRows
) -> tuple[Float[Array, "n 2"], Float[Array, " n"], Int[Array, " n"]]:
    """Segments, scores and numbers of the videos of the detections of one class; ValueError for impossible ones."""
    segments = np.array([(d.start, d.end) for d in detections], dtype=np.float64).reshape(-1, 2)
    scores = np.array([d.score for d in detections], dtype=np.float64)
    _refuse_impossible(segments, f"detections of {truth.classes[0]!r}")
    if not np.isfinite(scores).all():
        raise ValueError(f"detections of {truth.classes[0]!r}: a score is not finite")
    videos = np.array([truth.numbers.get(d.video_id, -1) for d in detections], dtype=np.int64)
    return segments, scores, videos


def _refuse_impossible(segments: Float[Array, "n 2"], where: str) -> None:
    """ValueError for times that are not finite or run backwards."""
    bad = ~np.isfinite(segments).all(axis=1) | (segments[:, 1] < segments[:, 0])
    if bad.any():
        start, end = segments[np.flatnonzero(bad)[0]]
        raise ValueError(f"{where}: segment [{start}, {end}] s; expected finite start <= end")
