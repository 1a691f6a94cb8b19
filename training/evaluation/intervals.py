"""How sure a table of mean average precision is: paired bootstrap intervals over test videos and seeds (numpy only).

Two chances stand behind a difference of two rows. *Which videos the test set has*: they are redrawn with replacement,
the same redraw for every row and seed, and the mAP of each run is counted anew on it. *Which seeds the runs had*: few
seeds are too coarse to be redrawn (a redraw of five covers the truth in under nine cases of ten where 95 % are said),
so their mean is moved by Student's t times its standard error, as in the t interval of paired differences. With videos
without end the interval is that t interval, with seeds without end the percentile interval over videos.

Axes: r redraws, v videos, s seeds, n detections, m true segments, k thresholds.
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
"""Of the mean over seeds on each redraw of the videos: cheap, and Student's t of few seeds has heavy tails."""


class BootstrapRecipe(Recipe):
    """How intervals are found."""

    redraws: PositiveInt = 1000
    """Test sets that are drawn."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Share of cases in which an interval shall hold the truth."""
    seed: NonNegativeInt = 0
    """Of the redraws: the same table has the same intervals."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and where the truth may lie, at each of several scores."""

    mean: Float[Array, " k"]
    low: Float[Array, " k"]
    high: Float[Array, " k"]
    spread: Float[Array, " k"]
    """Standard deviation over the seeds; NaN for one seed."""
    seeds: int


@dataclass(frozen=True)
class Redraws:
    """The chances that all rows of a table share."""

    videos: Float32[Array, "r v"]
    """How often each video is in each drawn test set. The first is the test set itself."""
    rng_seed: int
    level: float

    @classmethod
    def draw(cls, videos: int, recipe: BootstrapRecipe) -> Redraws:
        """Test sets of as many videos as there are, drawn with replacement."""
        rng = np.random.default_rng(recipe.seed)
        drawn = rng.multinomial(videos, np.full(videos, 1 / videos), size=recipe.redraws)
        own = np.ones((1, videos))
        return cls(np.concatenate([own, drawn]).astype(np.float32), recipe.seed, recipe.level)

    def difference(self, one: Mapping[int, Array], other: Mapping[int, Array]) -> Interval | None:
        """Of the differences of the seeds that both rows have, by seed (each: r k); None where there is none."""
        shared = sorted(one.keys() & other.keys())
        return self.interval(np.stack([one[seed] - other[seed] for seed in shared])) if shared else None

    def interval(self, runs: Float[Array, "s r k"]) -> Interval:
        """Mean over seeds of each score, or of paired differences of them, with its interval.

        `runs` are the scores of each seed on each drawn test set (the first is the test set itself). The interval is
        centred: what redrawing adds on the average is taken off. One seed says nothing of others, so its interval
        speaks of the videos alone.
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
    """The detections of one class, best first, and which are right: all that its average precision needs."""

    label: str
    videos: Int[Array, " n"]
    """Number of each one's video; negative where it does not count."""
    hits: Bool[Array, "n k"]
    truth_videos: Int[Array, " m"]
    """Number of the video of each true segment."""


def class_hits(dataset: Dataset, detections: DetectionTable, protocol: Protocol) -> list[ClassHits]:
    """What `evaluate_detections` counts, before it is counted: an entry for each class of the truth.

    Videos are numbered as `protocol_videos` gives them. Raises CacheError as `counted` does.
    """
    what = counted(dataset, detections, protocol)
    truth = TruthRows.of(what.truth)
    ranking = Ranking.of(what.detections, truth, protocol.ties)
    hits = ranking.matched(np.asarray(protocol.tious, dtype=np.float64)) >= 0
    return [
        ClassHits(label, ranking.videos[first:end], hits[first:end], truth.videos[truth.labels == number])
        for number, (label, first, end) in enumerate(zip(truth.classes, *ranking.bounds, strict=True))
    ]


def resampled_scores(classes: Sequence[ClassHits], videos: Float32[Array, "r v"]) -> Float[Array, "r k1"]:
    """mAP at every threshold, and last their mean, on test sets that hold each video so many times.

    Equal to `mean_average_precision` on detections and truth repeated accordingly (a repeated detection stands right
    behind the first). A class that a drawn test set has no truth of does not count there; a test set without any scores
    0.
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
    """Sum of the interpolated precision over the right detections: average precision times the number of truths.

    Precision matters where a detection is right, and there both of its counts are sums over videos: products of how
    often each video is drawn with what it holds down to that rank.
    """
    ranks = np.flatnonzero(one.hits.any(axis=1))
    inside, count = one.videos[ranks], len(ranks)
    # what each video, and the videos that the truth does not hold, has listed from one of these ranks to the next
    place = np.searchsorted(ranks, np.arange(len(one.videos)))
    known = one.videos >= 0
    listed_in = np.zeros((videos.shape[1], count + 1), np.float32)
    np.add.at(listed_in, (one.videos[known], place[known]), 1)
    strangers = np.bincount(place[~known], minlength=count + 1).astype(np.float32)
    listed = (videos @ listed_in.cumsum(axis=1) + strangers.cumsum())[:, :count]
    np.maximum(listed, 1, out=listed)  # where nothing is listed yet, nothing is right either
    drawn = videos[:, inside]
    sums = []
    for right in one.hits[ranks].T:
        right_in = np.zeros((videos.shape[1], count), np.float32)
        right_in[inside, np.arange(count)] = right
        precision = (videos @ right_in.cumsum(axis=1))[:, ::-1] / listed[:, ::-1]
        envelope = np.maximum.accumulate(precision, axis=1, out=precision)[:, ::-1]
        sums.append(np.einsum("rn,rn,n->r", envelope, drawn, right.astype(np.float32)))
    return np.stack(sums, axis=1).astype(np.float64)
