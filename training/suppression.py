"""What to do with overlapping candidates: hard and Gaussian suppression, and weighted fusion; per class (numpy only).

Candidates of different classes never touch each other. Lengths are end - start: the public code's "+ 1", which makes
the overlap of short segments too large, is left out. Each function is greedy from the highest score; equal scores
keep the order given.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from training.metrics import temporal_iou
from training.proposals import Candidates

Array = np.ndarray


def hard_nms(candidates: Candidates, *, tiou: float) -> Candidates:
    """Drop what overlaps a better candidate of its class by more than `tiou`; the rest, best first."""
    ranked = _ranked(candidates)
    overlap = _overlap_in_class(ranked)
    alive = np.ones(len(ranked), dtype=bool)
    for best in range(len(ranked)):
        if alive[best]:
            alive[best + 1 :] &= overlap[best, best + 1 :] <= tiou
    return ranked.take(alive)


def soft_nms(candidates: Candidates, *, sigma: float, min_score: float = 0.0) -> Candidates:
    """Multiply the score of whatever overlaps a better one by exp(-tIoU^2 / sigma) (Bodla et al. 2017), best first.

    Those whose score falls below `min_score` are dropped.
    """
    ranked = _ranked(candidates)
    decay = np.exp(-np.square(_overlap_in_class(ranked)) / sigma)
    scores = ranked.scores.copy()
    waiting = np.ones(len(ranked), dtype=bool)
    order = np.empty(len(ranked), dtype=np.int64)
    for turn in range(len(ranked)):
        best = int(np.argmax(np.where(waiting, scores, -np.inf)))
        order[turn], waiting[best] = best, False
        # a decay of a negative score would raise it
        np.multiply(scores, decay[best], out=scores, where=waiting & (scores > 0))
    kept = order[scores[order] >= min_score]
    return Candidates(ranked.segments[kept], ranked.labels[kept], scores[kept])


def fuse(candidates: Candidates, *, tiou: float, temperature: float) -> Candidates:
    """Join each best candidate with the waiting ones of its class that overlap it by more than `tiou`; best first.

    Bounds are the averages of the group with weights exp(score / temperature), after the Gaussian weighted fusion of
    Zhou et al. (CVPR 2023); the score is the best one's.
    """
    ranked = _ranked(candidates)
    overlap = _overlap_in_class(ranked)
    waiting = np.ones(len(ranked), dtype=bool)
    heads: list[int] = []
    segments: list[Float[Array, " 2"]] = []
    for best in range(len(ranked)):
        if waiting[best]:
            group = waiting & (overlap[best] > tiou)
            group[best] = True
            weights = np.exp((ranked.scores[group] - ranked.scores[best]) / temperature)
            segments.append(weights @ ranked.segments[group] / weights.sum())
            heads.append(best)
            waiting &= ~group
    index = np.array(heads, dtype=np.int64)
    return Candidates(np.array(segments).reshape(-1, 2), ranked.labels[index], ranked.scores[index])


def _ranked(candidates: Candidates) -> Candidates:
    return candidates.take(np.argsort(-candidates.scores, kind="stable"))


def _overlap_in_class(candidates: Candidates) -> Float[Array, "n n"]:
    """Temporal IoU of all pairs, 0 between classes."""
    overlap = temporal_iou(candidates.segments[:, None], candidates.segments[None])
    return np.where(candidates.labels[:, None] == candidates.labels[None], overlap, 0.0)
