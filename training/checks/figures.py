"""What trained weights say about videos whose labels are known, beside what an answer that knows nothing would get.

Only weak labels are read. Axes: v videos, c action classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from pydantic import NonNegativeInt

from cache.annotations import Dataset, VideoEntry
from cache.features import FeatureStore
from cache.recipe import Recipe
from training.checkpoints.checkpoint import Trained
from training.loop.validation import label_matrix, video_map


class Classifier(Recipe):
    """How well scores tell the classes of videos."""

    loss: float
    """Cross-entropy of the scores, as shares of their sum over the classes, with the labels as shares; mean over
    videos."""
    constant: float
    """The same of a constant answer: every class as often as it is a label."""
    best: float
    """The same of the labels themselves, which is above 0 where videos have several."""
    map: float
    """mAP of ranking the videos of each class."""
    chance: float
    """Expected mAP of rankings drawn by lot."""

    @property
    def learned(self) -> float:
        """How far the loss is on the way from the constant answer (0) to the labels (1); below 0 if it is worse."""
        return (self.constant - self.loss) / max(self.constant - self.best, 1e-9)

    @property
    def ranked(self) -> float:
        """How far the mAP is on the way from chance (0) to a perfect ranking (1)."""
        return (self.map - self.chance) / max(1 - self.chance, 1e-9)


class Curve(Recipe):
    """A curve over the time of each video, of values from 0 to 1."""

    low: float
    """Share of the videos in which it is below 0.1 everywhere."""
    high: float
    """Share of the videos in which it is above 0.9 everywhere."""
    flat: float
    """Share of the videos in which its lowest value is above nine tenths of its highest."""


class Figures(Recipe):
    """What the weights say about some videos."""

    videos: NonNegativeInt
    host: Classifier
    ksm: Classifier | None
    """None without KSM."""
    attention: Curve
    cas: Curve
    """The fused T-CAM of the videos' own classes, each a curve."""


@torch.inference_mode()
def figures_of(trained: Trained, dataset: Dataset, store: FeatureStore, videos: Sequence[VideoEntry]) -> Figures:
    """Run the model on whole videos, one at a time."""
    model = trained.model
    host, ksm, attentions, cams = [], [], [], []
    for video in videos:
        features = trained.inputs(store.load(video.video_id))
        mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        output = model.host(features, mask).float()
        cas, _ = model.fused(output, mask)
        host.append(model.fused(output, mask, share=0.0)[1][0].cpu().numpy())
        if model.ksm is not None:
            ksm.append(model.fused(output, mask, share=1.0)[1][0].cpu().numpy())
        attentions.append(output.attention[0].cpu().numpy())
        own = [dataset.class_index(label) for label in video.labels]
        cams += list(cas[0, :, own].T.cpu().numpy())
    labels = label_matrix(dataset, videos)
    return Figures(
        videos=len(videos),
        host=classifier(np.stack(host), labels),
        ksm=classifier(np.stack(ksm), labels) if ksm else None,
        attention=curve(attentions),
        cas=curve(cams),
    )


def classifier(scores: Float[np.ndarray, "v c"], labels: Float[np.ndarray, "v c"]) -> Classifier:
    """The figures of non-negative scores; every video has a label."""
    shares = labels / labels.sum(1, keepdims=True)
    answer = scores.astype(np.float64) + 1e-12
    answer /= answer.sum(1, keepdims=True)
    mean = shares.mean(0, keepdims=True)
    return Classifier(
        loss=float(-(shares * np.log(answer)).sum(1).mean()),
        constant=float(-(mean * np.log(np.where(mean > 0, mean, 1))).sum()),
        best=float(-(shares * np.log(np.where(shares > 0, shares, 1))).sum(1).mean()),
        map=video_map(scores, labels),
        chance=chance_map(labels),
    )


def chance_map(labels: Float[np.ndarray, "v c"]) -> float:
    """Expected video-level mAP of rankings drawn by lot, over the classes that any video has.

    A video of the class is at each rank k equally often, and (k - 1) (n - 1) / (v - 1) of the n - 1 others are expected
    before it.
    """
    count = labels.sum(0)
    ranks, others = np.arange(1, len(labels) + 1)[:, None], (count[count > 0] - 1) / max(1, len(labels) - 1)
    return float(((1 + (ranks - 1) * others) / ranks).mean())


def curve(curves: Sequence[Float[np.ndarray, " _"]]) -> Curve:
    """The figures of the curves of all videos."""
    lowest, highest = (np.array([extreme(values) for values in curves]) for extreme in (np.min, np.max))
    return Curve(
        low=float((highest < 0.1).mean()),
        high=float((lowest > 0.9).mean()),
        flat=float((lowest > 0.9 * highest).mean()),
    )
