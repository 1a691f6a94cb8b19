"""Evidence of the labelled classes: in whole videos, in the detections alone, and in what the detections leave out.

Axes: v videos, c classes, t snippets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from training.evaluation.label_free.relevance import inside, mean_agreement

Array = np.ndarray
_SHIFTS = 8
"""Random placements of the same segments that erasing is compared with."""


def video_map(scores: Float[Array, "v c"], labels: Float[Array, "v c"] | Bool[Array, "v c"]) -> float:
    """Video-level mAP: average precision of ranking the videos by score, as a mean over the classes that any video has.

    Average precision is the mean of the precisions at the videos of the class; among equal scores, videos without the
    class come first.
    """
    precisions = []
    for score, label in zip(scores.T, labels.T, strict=True):
        if label.any():
            hits = label[np.lexsort((label, -score))]
            precisions.append((hits.cumsum() / np.arange(1, len(hits) + 1))[hits > 0].mean())
    return float(np.mean(precisions))


def log_likelihood(probabilities: Float[Array, "v c"], labels: Bool[Array, "v c"]) -> float:
    """Mean log probability of a video's labels, each as likely as the others: minus the usual MIL loss."""
    share = labels / labels.sum(1, keepdims=True)
    return float((share * np.log(probabilities.clip(1e-6))).sum(1).mean())


def pooled(curves: Float[Array, "t c"], *, where: Bool[Array, " t"], share: float) -> Float[Array, " c"]:
    """Mean of each class's highest values among the snippets `where`, as many as this share of all snippets; absent
    snippets count as the curve's minimum."""
    count = max(1, round(share * len(curves)))
    kept = np.where(where[:, None], curves, curves.min(0, keepdims=True))
    return np.sort(kept, axis=0)[-count:].mean(0)


def erasing(
    judges: Sequence[Float[Array, "t c"]],
    maps: Sequence[Float[Array, "t c"]],
    labels: Bool[Array, "v c"],
    *,
    share: float = 0.05,
    seed: int = 0,
) -> float:
    """How much a judge's video-level mAP falls when the detections of the labelled classes are erased, compared with
    erasing the same segments at random places. 0 for detections that say nothing, or that fill the videos.

    `judges` are T-CAMs, best of another model.
    """
    rng = np.random.default_rng(seed)
    hidden = [np.asarray(inside(one)[:, own].any(1)) for one, own in zip(maps, labels, strict=True)]
    erased = np.stack([pooled(j, where=~h, share=share) for j, h in zip(judges, hidden, strict=True)])
    falls = []
    for _ in range(_SHIFTS):
        moved = [np.roll(h, int(rng.integers(len(h)))) for h in hidden]
        beside = np.stack([pooled(j, where=~h, share=share) for j, h in zip(judges, moved, strict=True)])
        falls.append(video_map(beside, labels))
    return float(np.mean(falls)) - video_map(erased, labels)


def label_contrast(
    judges: Sequence[Float[Array, "t c"]], maps: Sequence[Float[Array, "t c"]], labels: Bool[Array, "v c"]
) -> float:
    """A judge's T-CAM inside minus outside the detections of the labelled classes, minus the same contrast of the
    classes that the video does not have; in standard deviations of the curve over all videos."""
    scale = np.concatenate(list(judges)).std(0) + 1e-9
    values = []
    for judge, one, own in zip(judges, maps, labels, strict=True):
        for label in np.flatnonzero(own):
            where = inside(one)[:, label]
            if not where.any() or where.all():
                values.append(0.0)
                continue
            contrast = (judge[where].mean(0) - judge[~where].mean(0)) / scale
            values.append(float(contrast[label] - contrast[~own].mean()))
    return float(np.mean(values))


def predictability(
    features: Sequence[Float[Array, "t d"]],
    maps: Sequence[Float[Array, "t c"]],
    labels: Sequence[Int[Array, " m"]],
    *,
    ridge: float = 1.0,
) -> float:
    """How well detections follow from features by one linear map: a ridge regression from snippets to relevance, fitted
    on every second video, is correlated with the relevance in the others, and the reverse.

    Segments that hold the same movement in every video can be predicted; segments that hold other things beside it, or
    leave much of it out, cannot.
    """
    halves = [list(range(first, len(features), 2)) for first in (0, 1)]
    values = []
    for fitted, judged in (halves, halves[::-1]):
        x = np.concatenate([features[i] for i in fitted]).astype(np.float64)
        mean, scale = x.mean(0), x.std(0) + 1e-6
        x = (x - mean) / scale
        y = np.concatenate([_shares(maps[i]) for i in fitted])
        weights = np.linalg.solve(x.T @ x / len(x) + ridge * np.eye(x.shape[1]), x.T @ (y - y.mean(0)) / len(x))
        predicted = [(features[i] - mean) / scale @ weights for i in judged]
        values.append(mean_agreement(predicted, [_shares(maps[i]) for i in judged], [labels[i] for i in judged]))
    return float(np.mean(values))


def _shares(relevance: Float[Array, "t c"]) -> Float[Array, "t c"]:
    return relevance / np.maximum(relevance.max(0, keepdims=True), 1e-9)
