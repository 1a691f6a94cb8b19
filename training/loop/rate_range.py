"""Learning rate range test (Smith 2017): a short training whose rates rise, and the rate that its losses suggest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from cache.recipe import Recipe
from training.batches.data import WtalData
from training.loop.trainer import NotFinite, Trainer
from training.recipe import TrainRecipe

HOST = "host."
"""Prefix of the host's loss terms."""


class RangeRecipe(Recipe):
    """How the learning rates rise."""

    low: PositiveFloat = 1e-6
    """The first learning rate of the host."""
    high: PositiveFloat = 1.0
    """The last learning rate of the host; each step's is the same factor times that of the step before."""
    steps: int = Field(default=120, ge=20)
    """Steps from the first to the last rate."""
    smoothing: PositiveFloat = 0.2
    """Standard deviation of the Gaussian that smooths the losses, in powers of ten of the rate."""

    @model_validator(mode="after")
    def _rises(self) -> RangeRecipe:
        if self.low >= self.high:
            raise ValueError(f"high: found {self.high:g}, expected more than low, {self.low:g}")
        return self

    def rate(self, step: int) -> float:
        """The host's learning rate at a step."""
        return self.low * (self.high / self.low) ** (step / (self.steps - 1))


class RateRange(Recipe):
    """What a range test has found: a tenth of the rate at which the host's smoothed loss is lowest.

    There, half of the steps would already do harm; below, the loss falls from step to step.
    """

    settings: RangeRecipe
    """How the rates rose."""
    rates: tuple[float, ...]
    """The host's learning rate at each step; where a loss was not finite, the test has ended."""
    losses: tuple[float, ...]
    """The host's loss at each step, before its update."""
    smoothed: tuple[float, ...]
    """The same, smoothed."""
    lowest: float | None
    """The rate at which the smoothed loss is lowest; None if no step was taken."""
    suggested: float | None
    """A tenth of `lowest`, to one digit; None if there is a reason not to trust it."""
    doubt: str = ""
    """That reason."""


def rate_range(
    data: WtalData, recipe: TrainRecipe, settings: RangeRecipe, *, progress: Callable[[int, int], None] | None = None
) -> RateRange:
    """Train from fresh weights while the rates rise from step to step, and write nothing.

    The sum of the host's loss terms is looked at. The rate of the new modules rises with the host's, in the ratio of
    loop.lr to loop.host_lr; loop.warmup and loop.schedule are left out. The figures depend on the recipe, its seed
    among it, and on the data alone. Raises `TrainingError` where a training would before its first step.
    """
    trainer = Trainer(data, recipe, run=Path())
    host_lr = trainer.recipe.loop.host_lr
    trainer.factor = lambda step: settings.rate(step) / host_lr
    losses: list[float] = []
    while trainer.step < settings.steps:
        try:
            figures = trainer.advance()
        except NotFinite:
            break
        losses.append(sum(value for name, value in figures.items() if name.startswith(HOST)))
        if progress is not None:
            progress(trainer.step, settings.steps)
    return read_off(losses, settings)


def read_off(losses: Sequence[float], settings: RangeRecipe) -> RateRange:
    """The findings from the loss at each step."""
    rates = [settings.rate(step) for step in range(len(losses))]
    found = {"settings": settings, "rates": rates, "losses": losses}
    if not losses:
        doubt = "the loss is not finite at the first step"
        return RateRange.model_validate({**found, "smoothed": (), "lowest": None, "suggested": None, "doubt": doubt})
    smoothed = _smoothed(np.array(losses), np.log10(rates), settings.smoothing)
    place = int(smoothed.argmin())
    lowest, doubt = rates[place], ""
    noise = float(np.std(np.array(losses)[: place + 1] - smoothed[: place + 1]))
    if smoothed[0] - smoothed[place] <= noise:
        doubt = "the loss never fell by more than it varies from batch to batch"
    elif place >= len(losses) - 1 and len(losses) == settings.steps:
        doubt = (
            f"the loss is lowest at the highest rate, {settings.high:g}; raise --range.high, or choose the rate by "
            "validation where the losses of a host never rise"
        )
    suggested = None if doubt else float(f"{lowest / 10:.0e}")
    return RateRange.model_validate(
        {**found, "smoothed": smoothed.tolist(), "lowest": lowest, "suggested": suggested, "doubt": doubt}
    )


def _smoothed(losses: np.ndarray, places: np.ndarray, width: float) -> np.ndarray:
    """The mean of the losses around each place, with the weights of a Gaussian."""
    weights = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2)
    return (weights @ losses) / weights.sum(1)
