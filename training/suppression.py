"""What to do with overlapping candidates: hard and Gaussian suppression, and weighted fusion; per class (numpy only).

Candidates of different classes never touch each other. Lengths are end - start: the public code's "+ 1", which makes
the overlap of short segments too large, is left out. Each function is greedy from the highest score, gives back the
best first, and keeps the order given among equal scores.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from training.metrics import temporal_iou
from training.proposals import Candidates

Array = np.ndarray


def hard_nms(candidates: Candidates, *, tiou: float) -> Candidates:
    """Drop what overlaps a better candidate of its class by more than `tiou`."""

    def of_class(ranked: Candidates, overlap: Float[Array, "n n"]) -> Candidates:
        alive = np.ones(len(ranked), dtype=bool)
        for best in range(len(ranked)):
            if alive[best]:
                alive[best + 1 :] &= overlap[best, best + 1 :] <= tiou
        return ranked.take(alive)

    return _class_by_class(candidates, of_class)


def soft_nms(candidates: Candidates, *, sigma: float, min_score: float = 0.0) -> Candidates:
    """Multiply the score of whatever overlaps a better one by exp(-tIoU^2 / sigma) (Bodla et al. 2017).

    Those whose score falls below `min_score` are dropped. Negative scores stay as they are.
    """

    def of_class(ranked: Candidates, overlap: Float[Array, "n n"]) -> Candidates:
        decay = np.exp(-np.square(overlap) / sigma)
        scores, waiting = ranked.scores.copy(), ranked.scores.copy()
        order: list[int] = []
        for _ in range(len(ranked)):
            best = int(waiting.argmax())
            if waiting[best] < min_score:
                break
            order.append(best)
            scores[best], waiting[best] = waiting[best], -np.inf
            np.multiply(waiting, decay[best], out=waiting, where=waiting > 0)
        index = np.array(order, dtype=np.int64)
        return Candidates(ranked.segments[index], ranked.labels[index], scores[index])

    return _class_by_class(candidates, of_class)


def fuse(candidates: Candidates, *, tiou: float, temperature: float) -> Candidates:
    """Join each best candidate with the waiting ones of its class that overlap it by more than `tiou`.

    Bounds are the averages of the group with weights exp(score / temperature), after the Gaussian weighted fusion of
    Zhou et al. (CVPR 2023); the score is the best one's.
    """

    def of_class(ranked: Candidates, overlap: Float[Array, "n n"]) -> Candidates:
        waiting = np.ones(len(ranked), dtype=bool)
        heads: list[int] = []
        segments = ranked.segments.copy()
        for best in range(len(ranked)):
            if waiting[best]:
                group = waiting & (overlap[best] > tiou)
                group[best] = True
                weights = np.exp((ranked.scores[group] - ranked.scores[best]) / temperature)
                segments[best] = weights @ ranked.segments[group] / weights.sum()
                heads.append(best)
                waiting &= ~group
        return Candidates(segments, ranked.labels, ranked.scores).take(np.array(heads, dtype=np.int64))

    return _class_by_class(candidates, of_class)


def rank(candidates: Candidates) -> Candidates:
    """Best first; equal scores keep their order."""
    return candidates.take(np.argsort(-candidates.scores, kind="stable"))


def _class_by_class(
    candidates: Candidates, function: Callable[[Candidates, Float[Array, "n n"]], Candidates]
) -> Candidates:
    """`function(ranked, overlap)` of each class alone, with the temporal IoU of all its pairs."""
    parts = []
    for label in np.unique(candidates.labels):
        ranked = rank(candidates.take(candidates.labels == label))
        parts.append(function(ranked, temporal_iou(ranked.segments[:, None], ranked.segments[None])))
    return rank(Candidates.concatenate(parts))
