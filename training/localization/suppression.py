"""What to do with overlapping candidates: hard and Gaussian suppression, and weighted fusion; per class (numpy only).

Candidates of different classes never touch each other. Lengths are end - start: the public code's "+ 1", which makes
the overlap of short segments too large, is left out (`training.compat.localize` has it). Each function is greedy from
the highest score, gives back the best first, and keeps the order given among equal scores. NaN among bounds or scores
is a ValueError.

Each step picks the best candidate of a class that is left, and compares it at once with all others that are left: one
row of overlaps, never a table of all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from training.localization.proposals import Candidates

Array = np.ndarray

Overlap = Literal["iou", "lower"]
"""Shared length over the union, or over the length of the lower-ranked of the two."""


def hard_nms(candidates: Candidates, *, tiou: float, overlap: Overlap = "iou") -> Candidates:
    """Drop what overlaps a better candidate of its class by more than `tiou`."""
    ranked = rank(candidates)
    return ranked.take(leaders(ranked, tiou=tiou, overlap=overlap) == np.arange(len(ranked)))


def fuse(
    candidates: Candidates,
    *,
    tiou: float,
    temperature: float,
    overlap: Overlap = "iou",
    weigh_by: Float[Array, " n"] | None = None,
    mean_score: bool = False,
) -> Candidates:
    """Join each best candidate with the waiting ones of its class that overlap it by more than `tiou`.

    Bounds are the averages of the group with weights exp(w / temperature), after the Gaussian weighted fusion of Zhou
    et al. (CVPR 2023); w is the score, or `weigh_by` (there: the mean inside the segment). The score is the best one's,
    or with `mean_score` (as there) the average, too; groups keep the order of their best.
    """
    order = _order(candidates)
    ranked = candidates.take(order)
    leader = leaders(ranked, tiou=tiou, overlap=overlap)
    weights = ranked.scores if weigh_by is None else weigh_by[order]
    fused = average_groups(ranked, leader, weigh_by=weights, temperature=temperature)
    best = leader == np.arange(len(ranked))
    return Candidates(fused.segments, fused.labels, fused.scores if mean_score else ranked.scores[best])


def soft_nms(candidates: Candidates, *, sigma: float, min_score: float = 0.0) -> Candidates:
    """Multiply the score of whatever overlaps a better one by exp(-tIoU^2 / sigma) (Bodla et al. 2017).

    Those whose score falls below `min_score` are dropped. Negative scores stay as they are.
    """
    ranked = rank(candidates)
    positive = int((ranked.scores > 0).sum())  # the others neither fall nor make others fall
    fallen = soft_scores(ranked.take(slice(positive)), sigma=sigma, until=min_score)
    scores = np.concatenate([fallen, ranked.scores[positive:]])
    order = np.argsort(-scores, kind="stable")
    order = order[: np.count_nonzero(scores >= min_score)]
    return Candidates(ranked.segments[order], ranked.labels[order], scores[order])


def soft_scores(ranked: Candidates, *, sigma: float, until: float = -np.inf) -> Float[Array, " n"]:
    """The scores that soft suppression leaves to ranked candidates. Negative ones rise towards zero, as in public code.

    A class ends where the best of those left is below `until`; what has fallen by then has fallen.
    """
    scores = ranked.scores.copy()
    for members in _classes(ranked):
        start, end, own = ranked.segments[members, 0], ranked.segments[members, 1], scores[members]
        left = np.ones(len(members), dtype=bool)
        for _ in members:
            best = int(np.where(left, own, -np.inf).argmax())  # of equal scores the first
            if own[best] < until:
                break
            left[best] = False
            near, overlap = overlaps_of(best, start, end, left)
            own[near] *= np.exp(-np.square(overlap) / sigma)
        scores[members] = own
    return scores


def drop_ambiguous(
    segments: Float[Array, "n 2"], stretches: Float[Array, "m 2"], *, whole: bool = False
) -> Bool[Array, " n"]:
    """Which segments stay: those that share no time with an ambiguous stretch of their video (touching is not sharing).

    Both in the same unit. With `whole` (and snippet units) they must share a whole snippet, as in the public code: it
    cuts the bounds of segments down to whole numbers and rounds those of stretches (halves to even).
    """
    if whole:
        segments, stretches = np.trunc(segments), np.rint(stretches)
    start, end = segments[:, None].transpose(2, 0, 1)
    shared = np.minimum(end, stretches[:, 1]) - np.maximum(start, stretches[:, 0])
    return np.logical_and.reduce(shared <= 0, axis=1)


def rank(candidates: Candidates) -> Candidates:
    """Best first; equal scores keep their order."""
    return candidates.take(_order(candidates))


def leaders(ranked: Candidates, *, tiou: float, overlap: Overlap) -> Int[Array, " n"]:
    """Place of the candidate that each one yields to: the best survivor that it overlaps too much, or itself."""
    leader = np.arange(len(ranked))
    for members in _classes(ranked):
        start, end = ranked.segments[members, 0], ranked.segments[members, 1]
        left = np.ones(len(members), dtype=bool)
        for best in range(len(members)):
            if left[best]:
                left[best] = False
                near, share = overlaps_of(best, start, end, left, measure=overlap)
                rivals = near[share > tiou]
                left[rivals] = False
                leader[members[rivals]] = members[best]
    return leader


def average_groups(
    ranked: Candidates, leader: Int[Array, " n"], *, weigh_by: Float[Array, " n"], temperature: float
) -> Candidates:
    """One candidate for each group that `leader` makes, in the order of its best: bounds and score are averages with
    weights exp(weigh_by / temperature)."""
    if not len(ranked):
        return ranked
    count = len(ranked)
    largest = np.full(count, -np.inf)
    np.maximum.at(largest, leader, weigh_by)
    weights = np.exp((weigh_by - largest[leader]) / temperature)
    shares = weights / np.bincount(leader, weights, minlength=count)[leader]
    best = leader == np.arange(count)
    columns = (*ranked.segments.T, ranked.scores)
    start, end, scores = (np.bincount(leader, shares * values, minlength=count)[best] for values in columns)
    return Candidates(np.stack([start, end], axis=1), ranked.labels[best], scores)


def overlaps_of(
    best: int, start: Float[Array, " n"], end: Float[Array, " n"], left: Bool[Array, " n"], *, measure: Overlap = "iou"
) -> tuple[Int[Array, " m"], Float[Array, " m"]]:
    """Places of the segments that are `left` and reach into segment `best`, and their overlaps with it, 0 to 1."""
    first, last = start[best], end[best]
    near = np.flatnonzero(left & (start < last) & (end > first))
    begin, stop = start[near], end[near]
    inner = np.minimum(last, stop) - np.maximum(first, begin)
    match measure:
        case "iou":
            return near, inner / ((last - first) + (stop - begin) - inner)
        case "lower":
            return near, np.divide(inner, stop - begin, out=np.zeros_like(inner), where=stop > begin)


def _order(candidates: Candidates) -> Int[Array, " n"]:
    if np.isnan(candidates.scores).any() or np.isnan(candidates.segments).any():
        raise ValueError(f"{len(candidates)} candidates: a score or a bound is not a number")
    return np.argsort(-candidates.scores, kind="stable")


def _classes(ranked: Candidates) -> Iterator[Int[Array, " m"]]:
    """Places of each class's candidates, best first."""
    for label in np.unique(ranked.labels):
        yield np.flatnonzero(ranked.labels == label)
