"""Detection average precision, exactly as ActivityNet's official evaluator counts it (numpy only).

Per class, predictions are sorted by score. Each is matched with the ground-truth instance of highest temporal IoU in
its video that reaches the threshold and is not matched yet (if the best one is taken, the next best). Every threshold
has its own matching, and the precision-recall curve is interpolated as in VOC 2011. mAP is the mean over the classes of
the ground truth.

Matching is independent for each class in each video (a "group"), so the r-th detections of all groups are matched
together, at all thresholds. Letters: n detections, m ground-truth instances, c classes, k thresholds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from cache.annotations import Segment
from cache.detections import Detection, DetectionTable

Array = np.ndarray
Ties = Literal["given", "numpy"]
"""Order of detections with equal score, and of ground-truth instances with equal overlap.

given: the order given. numpy: the order of `argsort()[::-1]`, as in the official script; that sort is not stable, so
the figure then depends on numpy's version and on the processor.
"""
_CELLS = 1 << 21
"""Pairs of a detection and a ground-truth instance whose overlap is computed at once: 16 MiB."""


@dataclass(frozen=True)
class Scores:
    """Result of `mean_average_precision`.

    `ap[c, k]` is the average precision of `classes[c]` at temporal IoU `tious[k]`; `map[k]` its mean over the classes;
    `average` the mean of `map`. `unscored` counts, by label, the detections of known classes without ground truth: they
    enter no average, but are reported.
    """

    tious: tuple[float, ...]
    classes: tuple[str, ...]
    ap: Float[Array, "c k"]
    map: Float[Array, " k"]
    average: float
    unscored: dict[str, int] = field(default_factory=dict)

    def at(self, tiou: float) -> float:
        """mAP at one of the thresholds; KeyError if it was not computed there."""
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
    detections: DetectionTable | Iterable[Detection],
    truth: Mapping[str, Sequence[Segment]],
    *,
    tious: Sequence[float],
    classes: Collection[str] | None = None,
    ties: Ties = "given",
) -> Scores:
    """mAP of detections against the ground truth {video_id: segments}, both in seconds.

    Classes of the ground truth are averaged, in alphabetical order. A detection in a video without an entry in `truth`
    is a false positive, as in the official script (to evaluate fewer videos, drop their detections first). `classes`
    are the labels that exist: a detection of one of them without ground truth is counted in `Scores.unscored`. By
    default they are the labels of the ground truth. Duplicate instances count twice. An instance of length zero has IoU
    0 with everything (the official script gets NaN between two of them, which it counts as a hit).

    Raises ValueError for a label outside `classes`, for ground truth without any segment, for scores or times that are
    not finite, for a segment that ends before it starts, and for a threshold that is not above 0.
    """
    rows = TruthRows.of(truth)
    table = detections if isinstance(detections, DetectionTable) else DetectionTable.of(detections)
    counts = np.bincount(table.label, minlength=len(table.labels)).tolist()
    present = {label: count for label, count in zip(table.labels, counts, strict=True) if count}
    _refuse_unknown(table, present, set(rows.classes) | set(classes or ()))
    if not min(tious) > 0:
        raise ValueError(f"tious: found {min(tious)}, expected thresholds above 0")
    _refuse_impossible(table.segments, "detections")
    if not np.isfinite(table.score).all():
        raise ValueError("detections: a score is not finite")
    ranking = Ranking.of(table, rows, ties)
    hits = ranking.matched(np.asarray(tious, dtype=np.float64)) >= 0
    ap = np.stack([_interpolated(hits[a:b], m) for a, b, m in zip(*ranking.bounds, rows.counts.tolist(), strict=True)])
    mean = ap.mean(axis=0)
    unscored = {label: count for label, count in present.items() if label not in rows.classes}
    return Scores(tuple(map(float, tious)), rows.classes, ap, mean, float(mean.mean()), unscored)


def _by_class_and_score(
    classes: Int[Array, " n"], scores: Float[Array, " n"], count: int, ties: Ties
) -> Int[Array, " scored"]:
    """Rows of the detections that have a class, class after class, in each the best score first."""
    by_class = np.argsort(classes, kind="stable")
    by_class = by_class[classes[by_class] >= 0]
    if ties == "given":
        return by_class[np.lexsort((-scores[by_class], classes[by_class]))]
    rows = np.split(by_class, np.searchsorted(classes[by_class], np.arange(1, count)))
    return np.concatenate([row[scores[row].argsort()[::-1]] for row in rows])


def _interpolated(hits: Bool[Array, "n k"], positives: int) -> Float[Array, " k"]:
    """Average precision of one class from the hits of its sorted detections, at every threshold."""
    if not len(hits) or not positives:
        return np.zeros(hits.shape[1])
    true_positives = np.cumsum(hits, axis=0)
    precision = true_positives / np.arange(1, len(hits) + 1)[:, None]
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    # recall rises by 1 / positives at each hit, and only there
    return (envelope * hits).sum(axis=0) / positives


def _match(
    segments: Float[Array, "n 2"],
    groups: Int[Array, " n"],
    truth: Float[Array, "m 2"],
    truth_groups: Int[Array, " m"],
    tious: Float[Array, " k"],
    ties: Ties,
) -> Int[Array, "n k"]:
    """The ground-truth row that each of the sorted detections is matched with at each threshold; -1 for a false
    positive, such as any detection whose group has no ground truth."""
    matches = np.full((len(segments), len(tious)), -1)
    numbers, group_of_truth, sizes = np.unique(truth_groups, return_inverse=True, return_counts=True)
    if not len(numbers):
        return matches
    place = _rank_in_group(group_of_truth)
    padded = np.zeros((len(numbers), sizes.max(), 2))  # padding has no length, so its IoU is 0
    padded[group_of_truth, place] = truth
    row_of = np.full(padded.shape[:2], -1)
    row_of[group_of_truth, place] = np.arange(len(truth))
    group = np.searchsorted(numbers, groups).clip(max=len(numbers) - 1)
    near = np.flatnonzero(numbers[group] == groups)
    near = near[_reaches(segments[near], padded, group[near], tious.min())]
    if not len(near):
        return matches
    locked = np.zeros((len(numbers), len(tious), sizes.max()), dtype=bool)
    turn = _rank_in_group(group[near])
    by_turn = near[np.argsort(turn, kind="stable")]
    for now in np.split(by_turn, np.cumsum(np.bincount(turn))[:-1]):
        here = group[now]
        overlap = temporal_iou(segments[now, None], padded[here])
        taken = locked[here]
        order = _unstable_order(overlap, sizes[here]) if ties == "numpy" else None
        if order is not None:
            overlap, taken = np.take_along_axis(overlap, order, 1), np.take_along_axis(taken, order[:, None], 2)
        free = np.where(taken, -1.0, overlap[:, None])
        best = free.argmax(axis=2)  # the first of equal ones
        reached = np.take_along_axis(free, best[..., None], axis=2)[..., 0] >= tious
        row, threshold = np.nonzero(reached)
        if order is not None:
            best = np.take_along_axis(order, best, 1)
        locked[here[row], threshold, best[row, threshold]] = True
        matches[now] = np.where(reached, row_of[here[:, None], best], -1)
    return matches


def _reaches(
    segments: Float[Array, "n 2"], padded: Float[Array, "g m 2"], group: Int[Array, " n"], tiou: float
) -> Bool[Array, " n"]:
    """Which detections overlap an instance of their group by at least `tiou`; the others are false positives at every
    threshold and need no matching."""
    steps = range(0, len(segments), max(1, _CELLS // padded.shape[1]))
    parts = [slice(start, start + steps.step) for start in steps]
    best = [temporal_iou(segments[part, None], padded[group[part]]).max(axis=1) for part in parts]
    return np.concatenate([np.zeros(0), *best]) >= tiou


def _unstable_order(overlap: Float[Array, "n m"], sizes: Int[Array, " n"]) -> Int[Array, "n m"]:
    """The instances of each detection's group, best overlap first, equal ones as numpy's sort leaves them; padding
    last."""
    order = np.tile(np.arange(overlap.shape[1]), (len(overlap), 1))
    for row, size in enumerate(sizes):
        order[row, :size] = overlap[row, :size].argsort()[::-1]
    return order


def _rank_in_group(group: Int[Array, " n"]) -> Int[Array, " n"]:
    """0 for the first element of each group, 1 for its second, and so on."""
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], group[order], side="left")
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - first
    return rank


@dataclass(frozen=True)
class Ranking:
    """The ground truth, and the detections of its classes: class after class, in each the best score first."""

    truth: TruthRows
    segments: Float[Array, "n 2"]
    labels: Int[Array, " n"]
    videos: Int[Array, " n"]
    """Videos without ground truth have negative numbers, each its own."""
    ties: Ties

    @classmethod
    def of(cls, table: DetectionTable, truth: TruthRows, ties: Ties) -> Ranking:
        """Detections of other classes are left out."""
        number = {label: index for index, label in enumerate(truth.classes)}
        labels = np.array([number.get(label, -1) for label in table.labels], dtype=np.int64)[table.label]
        known = [truth.numbers.get(video, -1 - place) for place, video in enumerate(table.videos)]
        videos = np.array(known, dtype=np.int64)[table.video]
        order = _by_class_and_score(labels, table.score, len(truth.classes), ties)
        return cls(truth, table.segments[order], labels[order], videos[order], ties)

    @property
    def bounds(self) -> tuple[list[int], list[int]]:
        """First row of each class, and the row after its last."""
        bounds = np.searchsorted(self.labels, np.arange(len(self.truth.classes) + 1)).tolist()
        return bounds[:-1], bounds[1:]

    def matched(self, tious: Float[Array, " k"]) -> Int[Array, "n k"]:
        """The ground-truth row that each detection is matched with at each threshold; -1 for a false positive."""
        videos = len(self.truth.numbers)
        groups = np.where(self.videos < 0, -1, self.labels * videos + self.videos)
        truth_groups = self.truth.labels * videos + self.truth.videos
        return _match(self.segments, groups, self.truth.segments, truth_groups, tious, self.ties)


@dataclass(frozen=True)
class TruthRows:
    """The ground truth as columns: index of the label, number of the video, [start, end]."""

    classes: tuple[str, ...]
    numbers: dict[str, int]
    labels: Int[Array, " m"]
    videos: Int[Array, " m"]
    segments: Float[Array, "m 2"]

    @property
    def counts(self) -> Int[Array, " c"]:
        """Number of instances of each class."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @classmethod
    def of(cls, truth: Mapping[str, Sequence[Segment]]) -> TruthRows:
        """Classes in alphabetical order, videos in the order given. Raises ValueError as `mean_average_precision`."""
        numbers = {video_id: number for number, video_id in enumerate(truth)}
        rows = [(numbers[video_id], segment) for video_id, segments in truth.items() for segment in segments]
        if not rows:
            raise ValueError(f"ground truth: found no segment in {len(truth)} videos; there is nothing to compare with")
        segments = np.array([(segment.start, segment.end) for _, segment in rows], dtype=np.float64)
        _refuse_impossible(segments, "ground truth")
        classes, labels = np.unique([segment.label for _, segment in rows], return_inverse=True)
        return cls(tuple(classes.tolist()), numbers, labels, np.array([number for number, _ in rows]), segments)


def _refuse_unknown(table: DetectionTable, present: Collection[str], known: set[str]) -> None:
    """ValueError for the first detection whose label does not exist."""
    for label in present:
        if label not in known:
            first = np.flatnonzero(table.label == table.labels.index(label))[0]
            raise ValueError(
                f"detections: label {label!r} (video {table.videos[table.video[first]]!r}) is unknown; "
                f"expected one of {sorted(known)}"
            )


def _refuse_impossible(segments: Float[Array, "n 2"], where: str) -> None:
    """ValueError for times that are not finite, or an end before its start."""
    bad = ~np.isfinite(segments).all(axis=1) | (segments[:, 1] < segments[:, 0])
    if bad.any():
        start, end = segments[np.flatnonzero(bad)[0]]
        raise ValueError(f"{where}: segment [{start}, {end}] s; expected finite start <= end")
