"""What `make tune` searches: fields of the training, sampled, and of the post-processing, all of them tried.

To search another field, add its entry. An entry whose field the host does not have is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import qmc

from cache.recipe import Recipe
from training.recipe import TrainRecipe

Settings = dict[str, Any]
"""Dotted name of a field -> its value in JSON."""


@dataclass(frozen=True)
class Span:
    """Numbers from `low` to `high`, both included, spread evenly over their logarithms."""

    low: float
    high: float
    whole: bool = False

    def at(self, share: float) -> float | int:
        """The number at a share (0 to 1) of the range, whole or with two significant digits."""
        value = self.low * (self.high / self.low) ** share
        return round(value) if self.whole else float(f"{value:.2g}")


@dataclass(frozen=True)
class Choice:
    """Some values."""

    values: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """The value at a share (0 to 1) of the list."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]


@dataclass(frozen=True)
class Dimension:
    """A field that is searched."""

    field: str
    """Dotted name in the training's recipe."""
    values: Span | Choice


TRAINING: tuple[Dimension, ...] = (
    Dimension("loop.host_lr", Span(2e-4, 5e-3)),
    Dimension("model.host.pooling.kind", Choice(("spread", "top"))),
    Dimension("model.host.mil_ratio", Span(2, 40, whole=True)),
    Dimension("model.host.norm", Span(0.02, 2.0)),
    Dimension("model.host.guide", Span(0.02, 2.0)),
    Dimension("model.host.uncertainty", Span(1e-5, 1e-2)),
    Dimension("model.host.dropout", Choice((0.2, 0.3, 0.5, 0.7))),
    Dimension("model.host.width", Choice((64, 128, 256))),
)
"""Fields of the training. Sparsity and pooling depend on the share of the time that actions take, the others on the
amount of data."""

LOCALIZE: tuple[Dimension, ...] = (
    Dimension("class_threshold", Choice((0.05, 0.1, 0.2))),
    Dimension("curves", Choice((["attention"], ["cas"], ["attention", "cas"]))),
)
"""Fields of the post-processing, which needs no training: every combination is tried in every trial."""


def searched(training: TrainRecipe, dimensions: Sequence[Dimension] = TRAINING) -> list[Dimension]:
    """The dimensions whose fields this training has."""
    return [one for one in dimensions if _has(training, one.field)]


def draw(dimensions: Sequence[Dimension], count: int, *, seed: int) -> list[Settings]:
    """The settings of trials 0 to `count` - 1: a scrambled Sobol sequence, of which more trials are a continuation."""
    if not dimensions or not count:
        return [{} for _ in range(count)]
    sequence = qmc.Sobol(len(dimensions), scramble=True, rng=np.random.default_rng(seed))
    points = sequence.random_base2(max(0, math.ceil(math.log2(count))))[:count]
    return [
        {one.field: one.values.at(share) for one, share in zip(dimensions, point, strict=True)}
        for point in points.tolist()
    ]


def combinations(dimensions: Sequence[Dimension] = LOCALIZE) -> list[Settings]:
    """Every combination of the values of the post-processing."""
    names = [one.field for one in dimensions]
    values = [one.values.values if isinstance(one.values, Choice) else () for one in dimensions]
    return [dict(zip(names, chosen, strict=True)) for chosen in product(*values)]


def _has(recipe: Recipe, field: str) -> bool:
    *path, name = field.split(".")
    inner: Any = recipe
    for step in path:
        inner = getattr(inner, step, None)
    return isinstance(inner, Recipe) and name in type(inner).model_fields
