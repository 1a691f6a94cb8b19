"""Confidence intervals of mAP: paired bootstrap over test videos and seeds (numpy only).

A difference between two rows is uncertain for two reasons. *Test videos*: they are resampled with replacement (the
bootstrap), with the same samples for every row and seed, and the mAP of each run is computed again on every sample.
*Seeds*: a few seeds are too coarse to be resampled (samples of five give intervals that contain the true mean in under
nine cases of ten at a nominal 95 %), so their mean is moved by Student's t times its standard error, as in the t
interval of paired differences. With infinitely many videos the interval is that t interval, with infinitely many seeds
the percentile interval over videos.

Axes: r bootstrap samples, v videos, s seeds, n detections, m ground-truth segments, k thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from pydantic import Field, NonNegativeInt, PositiveInt

from cache.annotations import Dataset
from cache.detections import DetectionTable
from cache.recipe import Recipe
from training.evaluation.evaluate import counted
from training.evaluation.metrics import Ranking, TruthRows
from training.evaluation.protocol import Protocol

Array = np.ndarray
_MOVES = 50
"""Moves of the mean over seeds for each redraw of the videos: cheap, and Student's t of few seeds has heavy tails."""


class BootstrapRecipe(Recipe):
    """Settings of the confidence intervals."""

    redraws: PositiveInt = 1000
    """Bootstrap samples of the test videos."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level of the intervals."""
    seed: NonNegativeInt = 0
    """Random seed of the bootstrap samples; the same table gets the same intervals."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its confidence interval, for each of several scores."""

    mean: Float[Array, " k"]
    low: Float[Array, " k"]
    high: Float[Array, " k"]
    spread: Float[Array, " k"]
    """Standard deviation over the seeds; NaN for one seed."""
    seeds: int


@dataclass(frozen=True)
class Redraws:
    """The bootstrap samples that all rows of a table share."""

    videos: Float32[Array, "r v"]
    """How often each video is in each bootstrap sample. The first is the test set itself."""
    rng_seed: int
    level: float

    @classmethod
    def draw(cls, videos: int, recipe: BootstrapRecipe) -> Redraws:
        """Draw test sets of the same number of videos, with replacement."""
        rng = np.random.default_rng(recipe.seed)
        drawn = rng.multinomial(videos, np.full(videos, 1 / videos), size=recipe.redraws)
        itself = np.ones((1, videos))
        return cls(np.concatenate([itself, drawn]).astype(np.float32), recipe.seed, recipe.level)

    def difference(self, one: Mapping[int, Array], other: Mapping[int, Array]) -> Interval | None:
        """Interval of the differences between two rows over the seeds that both have, by seed (each: r k); None if they
        have none in common."""
        shared = sorted(one.keys() & other.keys())
        return self.interval(np.stack([one[seed] - other[seed] for seed in shared])) if shared else None

    def interval(self, runs: Float[Array, "s r k"]) -> Interval:
        """Mean over seeds of each score, or of paired differences of them, with its interval.

        `runs` are the scores of each seed on each drawn test set (the first is the test set itself). The interval is
        centred: the mean bias of resampling is subtracted. One seed says nothing about others, so its interval covers
        the choice of videos only.
        """
        seeds, point = len(runs), runs[:, 0]
        deviations = runs[:, 1:].mean(axis=0)
        deviations = deviations - deviations.mean(axis=0)
        spread = np.full(point.shape[1], np.nan)
        if seeds > 1:
            spread = point.std(axis=0, ddof=1)
            rng = np.random.default_rng((self.rng_seed, seeds))
            moved = rng.standard_t(seeds - 1, size=(len(deviations), _MOVES, 1)) * spread / seeds**0.5
            deviations = (deviations[:, None] + moved).reshape(-1, len(spread))
        outside = (1 - self.level) / 2
        low, high = np.quantile(deviations, (outside, 1 - outside), axis=0)
        mean = point.mean(axis=0)
        return Interval(mean, mean + low, mean + high, spread, seeds)


@dataclass(frozen=True)
class ClassHits:
    """The detections of one class, best first, and which are true positives: all that its average precision needs."""

    label: str
    videos: Int[Array, " n"]
    """Number of each detection's video; negative if it is not evaluated."""
    hits: Bool[Array, "n k"]
    truth_videos: Int[Array, " m"]
    """Number of the video of each ground-truth segment."""


def class_hits(dataset: Dataset, detections: DetectionTable, protocol: Protocol) -> list[ClassHits]:
    """What `evaluate_detections` computes scores from: an entry for each class of the ground truth.

    Videos are numbered as `protocol_videos` gives them. Raises CacheError as `counted` does.
    """
    selected = counted(dataset, detections, protocol)
    truth = TruthRows.of(selected.truth)
    ranking = Ranking.of(selected.detections, truth, protocol.ties)
    hits = ranking.matched(np.asarray(protocol.tious, dtype=np.float64)) >= 0
    return [
        ClassHits(label, ranking.videos[first:end], hits[first:end], truth.videos[truth.labels == number])
        for number, (label, first, end) in enumerate(zip(truth.classes, *ranking.bounds, strict=True))
    ]


def resampled_scores(classes: Sequence[ClassHits], videos: Float32[Array, "r v"]) -> Float[Array, "r k1"]:
    """mAP at every threshold, and last their mean, on bootstrap samples of the test videos.

    Equal to `mean_average_precision` on detections and ground truth repeated accordingly (a repeated detection follows
    the first directly). A class without ground truth in a sample does not count there; a sample without any ground
    truth scores 0.
    """
    totals, counted = np.zeros((len(videos), classes[0].hits.shape[1])), np.zeros((len(videos), 1))
    for one in classes:
        truths = videos[:, one.truth_videos].sum(axis=1, keepdims=True, dtype=np.float64)
        right = _precision_at_hits(one, videos)
        shares = np.divide(right, truths, where=truths > 0, out=np.zeros_like(right))
        totals += shares
        counted += truths > 0
    scores = totals / np.maximum(counted, 1)
    return np.concatenate([scores, scores.mean(axis=1, keepdims=True)], axis=1)


def _precision_at_hits(one: ClassHits, videos: Float32[Array, "r v"]) -> Float[Array, "r k"]:
    """Sum of the interpolated precision over the true positives: average precision times the number of instances.

    Precision is needed at true positives only. Both of its counts are sums over videos: how often a video is drawn
    times its detections (or true positives) down to that rank.
    """
    ranks = np.flatnonzero(one.hits.any(axis=1))
    inside, count = one.videos[ranks], len(ranks)
    # detections of each video, and of the videos without ground truth, from one of these ranks to the next
    place = np.searchsorted(ranks, np.arange(len(one.videos)))
    known = one.videos >= 0
    listed_in = np.zeros((videos.shape[1], count + 1), np.float32)
    np.add.at(listed_in, (one.videos[known], place[known]), 1)
    elsewhere = np.bincount(place[~known], minlength=count + 1).astype(np.float32)
    listed = (videos @ listed_in.cumsum(axis=1) + elsewhere.cumsum())[:, :count]
    np.maximum(listed, 1, out=listed)  # without detections so far there are no true positives either
    drawn = videos[:, inside]
    sums = []
    for right in one.hits[ranks].T:
        right_in = np.zeros((videos.shape[1], count), np.float32)
        right_in[inside, np.arange(count)] = right
        precision = (videos @ right_in.cumsum(axis=1))[:, ::-1] / listed[:, ::-1]
        envelope = np.maximum.accumulate(precision, axis=1, out=precision)[:, ::-1]
        sums.append(np.einsum("rn,rn,n->r", envelope, drawn, right.astype(np.float32)))
    return np.stack(sums, axis=1).astype(np.float64)
