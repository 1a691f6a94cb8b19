"""What to do with overlapping candidates: hard and Gaussian suppression, and weighted fusion; per class (numpy only).

Candidates of different classes never touch each other. Lengths are end - start: the public code's "+ 1", which makes
the overlap of short segments too large, is left out (`training.compat.localize` has it). Each function is greedy from
the highest score, gives back the best first, and keeps the order given among equal scores. NaN among bounds or scores
is a ValueError.

None of them goes through the candidates one by one: whoever is better than all that it overlaps is decided, and with it
all others like it, whatever their classes. A few rounds decide all.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from training.localization.overlaps import MOST_PAIRS, Overlap, Pairs
from training.localization.proposals import Candidates

Array = np.ndarray

BLOCK = 2048
"""Candidates that are compared with each other at once where all pairs are too many."""
CROWDED = 16
"""Overlaps a candidate beyond which soft suppression goes one by one after all: rounds would be too many."""


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
    if not len(candidates):
        return candidates
    order = _order(candidates)
    ranked = candidates.take(order)
    leader = leaders(ranked, tiou=tiou, overlap=overlap)
    shares = group_shares(ranked.scores if weigh_by is None else weigh_by[order], leader, temperature=temperature)
    columns = (*ranked.segments.T, ranked.scores)
    start, end, scores = (np.bincount(leader, shares * values, minlength=len(ranked)) for values in columns)
    best = leader == np.arange(len(ranked))
    kept = scores if mean_score else ranked.scores
    return Candidates(np.stack([start, end], axis=1)[best], ranked.labels[best], kept[best])


def soft_nms(candidates: Candidates, *, sigma: float, min_score: float = 0.0) -> Candidates:
    """Multiply the score of whatever overlaps a better one by exp(-tIoU^2 / sigma) (Bodla et al. 2017).

    Those whose score falls below `min_score` are dropped. Negative scores stay as they are.
    """
    ranked = rank(candidates)
    positive = int((ranked.scores > 0).sum())  # the others neither fall nor make others fall
    fallen = _soften(ranked.take(slice(positive)), sigma, min_score)
    scores = np.concatenate([fallen, ranked.scores[positive:]])
    order = np.argsort(-scores, kind="stable")
    order = order[: np.count_nonzero(scores >= min_score)]
    return Candidates(ranked.segments[order], ranked.labels[order], scores[order])


def soft_scores_of_all(ranked: Candidates, *, sigma: float) -> Float[Array, " n"]:
    """Scores after soft suppression that multiplies negative ones, too: they rise towards zero, as in public code.

    All that are positive go first, so they do not notice; then the others, one by one: a rising score overtakes others.
    """
    positive = int((ranked.scores > 0).sum())
    pairs = _pairs(ranked)
    fall = np.zeros(len(ranked))
    for better, worse in pairs.portions():
        across = (better < positive) & (worse >= positive)
        better, worse = better[across], worse[across]
        fall += np.bincount(worse, np.square(pairs.overlap(better, worse)) / sigma, minlength=len(ranked))
    scores = ranked.scores * np.exp(-fall)
    scores[:positive] = _soften(ranked.take(slice(positive)), sigma, -np.inf)
    for label in np.unique(ranked.labels[positive:]):
        mine = np.flatnonzero(ranked.labels[positive:] == label) + positive
        scores[mine] = soft_one_by_one(ranked.segments[mine], scores[mine], sigma=sigma)
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
    everyone = np.arange(len(ranked))
    pairs = _pairs(ranked)
    if len(pairs) <= MOST_PAIRS:
        return _yield(pairs, tiou, overlap)
    leader, survivors = everyone.copy(), everyone[:0]
    for first in range(0, len(ranked), BLOCK):
        places = np.concatenate([survivors, everyone[first : first + BLOCK]])
        leader[places] = places[_yield(_pairs(ranked.take(places)), tiou, overlap)]
        survivors = places[leader[places] == places]
    return leader


def group_shares(weigh_by: Float[Array, " n"], leader: Int[Array, " n"], *, temperature: float) -> Float[Array, " n"]:
    """Share of each candidate in the group that `leader` puts it in: the softmax of weigh_by / temperature."""
    largest = np.full(len(leader), -np.inf)
    np.maximum.at(largest, leader, weigh_by)
    weights = np.exp((weigh_by - largest[leader]) / temperature)
    return weights / np.bincount(leader, weights, minlength=len(leader))[leader]


def soft_one_by_one(
    segments: Float[Array, "n 2"], scores: Float[Array, " n"], *, sigma: float, until: float = -np.inf
) -> Float[Array, " n"]:
    """The scores that soft suppression leaves to the candidates of one class; negative ones rise towards zero.

    It ends where the best of those left is below `until`.
    """
    start, end = segments[:, 0], segments[:, 1]
    pairs = Pairs(start, end, np.zeros(len(segments), dtype=np.int64))
    table = _decay_table(pairs, sigma) if len(segments) <= BLOCK else None
    waiting, final = scores.copy(), scores.copy()
    for _ in range(len(scores)):
        best = int(waiting.argmax())
        if waiting[best] < until:
            break
        final[best], waiting[best] = waiting[best], -np.inf
        if table is not None:
            waiting *= table[best]
        else:
            near = np.flatnonzero((start < end[best]) & (end > start[best]))
            waiting[near] *= _decay(pairs.overlap(np.full_like(near, best), near), sigma)
    left = waiting > -np.inf
    final[left] = waiting[left]
    return final


def _order(candidates: Candidates) -> Int[Array, " n"]:
    if np.isnan(candidates.scores).any() or np.isnan(candidates.segments).any():
        raise ValueError(f"{len(candidates)} candidates: a score or a bound is not a number")
    return np.argsort(-candidates.scores, kind="stable")


def _pairs(ranked: Candidates) -> Pairs:
    return Pairs(ranked.segments[:, 0], ranked.segments[:, 1], ranked.labels)


def _yield(pairs: Pairs, tiou: float, overlap: Overlap) -> Int[Array, " n"]:
    """`leaders` of candidates whose pairs fit into memory once those that overlap little are left out."""
    found = []
    for better, worse in pairs.portions():
        rivals = pairs.overlap(better, worse, measure=overlap) > tiou
        found.append((better[rivals], worse[rivals]))
    better, worse = map(np.concatenate, zip(*found, strict=True))
    survives = _elect(len(pairs.start), better, worse)
    yields = survives[better] & ~survives[worse]
    leader = np.arange(len(survives))
    np.minimum.at(leader, worse[yields], better[yields])
    return leader


def _elect(count: int, better: Int[Array, " e"], worse: Int[Array, " e"]) -> Bool[Array, " n"]:
    """Who survives when, best first, each survivor drops its worse rivals."""
    survives = np.ones(count, dtype=bool)
    while len(better):
        safe = np.ones(count, dtype=bool)
        safe[worse] = False
        dropped = worse[safe[better]]
        survives[dropped] = False
        still = survives[better] & survives[worse]
        better, worse = better[still], worse[still]
    return survives


def _soften(ranked: Candidates, sigma: float, min_score: float) -> Float[Array, " n"]:
    """Suppressed scores of ranked candidates, all positive; those below `min_score` may be too high."""
    pairs = _pairs(ranked)
    if len(pairs) <= min(CROWDED * len(ranked), MOST_PAIRS):
        return _soft_in_rounds(pairs, ranked.scores, sigma)
    scores = ranked.scores.copy()
    for label in np.unique(ranked.labels):
        mine = ranked.labels == label
        scores[mine] = soft_one_by_one(ranked.segments[mine], scores[mine], sigma=sigma, until=min_score)
    return scores


def _soft_in_rounds(pairs: Pairs, scores: Float[Array, " n"], sigma: float) -> Float[Array, " n"]:
    """What one by one leaves to candidates that are all positive.

    A round takes all that are better than whatever they overlap and is not taken yet: scores only fall, so each of them
    would be taken before its neighbours, and until then nothing changes it.
    """
    (first, second), *_ = pairs.portions()
    exponent = np.square(pairs.overlap(first, second)) / sigma
    fall, now = np.zeros(len(scores)), scores
    while len(first):
        lower = np.where(now[first] >= now[second], second, first)
        taken = np.ones(len(scores), dtype=bool)
        taken[lower] = False
        decided = taken[first] | taken[second]
        fall += np.bincount(lower[decided], exponent[decided], minlength=len(scores))
        now = scores * np.exp(-fall)
        still = ~decided
        first, second, exponent = first[still], second[still], exponent[still]
    return now


def _decay(overlap: Float[Array, "*n"], sigma: float) -> Float[Array, "*n"]:
    """exp(-overlap^2 / sigma), never quite zero: what is out of the race has score -inf and must keep it."""
    return np.maximum(np.exp(-np.square(overlap) / sigma), np.finfo(np.float64).tiny)


def _decay_table(pairs: Pairs, sigma: float) -> Float[Array, "n n"]:
    table = np.ones((len(pairs.start), len(pairs.start)))
    for better, worse in pairs.portions():
        decay = _decay(pairs.overlap(better, worse), sigma)
        table[better, worse], table[worse, better] = decay, decay
    return table
