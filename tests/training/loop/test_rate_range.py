"""The learning rate range test: what is read off losses, and that it leaves nothing behind."""

import math
from pathlib import Path

import numpy as np
import pytest

from tests.support.data.toy_data import tiny_recipe, toy_dataset, toy_store, toy_texts
from training.batches.data import WtalData
from training.loop import rate_range as module
from training.loop.rate_range import RangeRecipe, rate_range, read_off
from training.recipe import TrainRecipe

SETTINGS = RangeRecipe(low=1e-6, high=1.0, steps=121)


def losses(lowest: float, *, noise: float = 0.0) -> list[float]:
    """A loss that falls by 4 to its lowest at a rate, and rises as fast behind it."""
    draws = np.random.default_rng(0).normal(size=SETTINGS.steps)
    rates = [SETTINGS.rate(step) for step in range(SETTINGS.steps)]
    return [6 - 4 * math.exp(-(math.log10(r / lowest) ** 2) / 2) + noise * e for r, e in zip(rates, draws, strict=True)]


def test_the_rates_rise_by_one_factor():
    """From the first to the last."""
    rates = [SETTINGS.rate(step) for step in range(SETTINGS.steps)]
    assert (rates[0], rates[-1]) == pytest.approx((1e-6, 1.0))
    assert np.diff(np.log(rates)) == pytest.approx(math.log(1e6) / 120)


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("lowest", [1e-4, 5e-3, 0.02])
def test_a_tenth_of_the_lowest_point_is_suggested(lowest: float, noise: float):
    """Within the distance of a few steps, and within two fifths of a power of ten where the losses are noisy."""
    found = read_off(losses(lowest, noise=noise), SETTINGS)
    assert found.suggested is not None
    assert found.doubt == ""
    assert abs(math.log10(found.suggested / (lowest / 10))) < (0.4 if noise else 0.06)


def test_a_loss_that_never_fell_suggests_nothing():
    """It only varies, or only rises."""
    rng = np.random.default_rng(0)
    for flat in (rng.normal(5, 1, 121), np.linspace(1, 2, 121) + rng.normal(0, 0.1, 121)):
        found = read_off(flat.tolist(), SETTINGS)
        assert found.suggested is None
        assert "never fell" in found.doubt


def test_a_loss_that_still_falls_suggests_nothing():
    """Unless its end is where the losses stop being finite."""
    falling = np.linspace(5, 1, 121).tolist()
    found = read_off(falling, SETTINGS)
    assert found.suggested is None
    assert "--range.high" in found.doubt
    assert read_off(falling[:80], SETTINGS).suggested == float(f"{SETTINGS.rate(79) / 10:.0e}")


def test_no_step_at_all_suggests_nothing():
    """The loss of fresh weights is not finite."""
    found = read_off([], SETTINGS)
    assert (found.suggested, found.rates) == (None, ())
    assert found.doubt


def load(folder: Path, recipe: TrainRecipe) -> WtalData:
    """The toy data."""
    dataset = toy_dataset()
    return WtalData(dataset, toy_store(folder, dataset), toy_texts(dataset), recipe=recipe.data, seed=recipe.seed)


def test_it_repeats_itself_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Twice the same figures, whatever the recipe's own schedule."""
    recipe = tiny_recipe().changed({"loop.steps": 50})
    features, work = tmp_path / "features", tmp_path / "work"
    data = load(features, recipe)
    work.mkdir()
    monkeypatch.chdir(work)
    settings, told = RangeRecipe(steps=20), []
    first = rate_range(data, recipe, settings, progress=lambda done, total: told.append((done, total)))
    other = recipe.changed({"loop.schedule": "cosine", "loop.warmup": 9})
    again = rate_range(load(features, other), other, settings)
    assert first.losses == again.losses
    assert told == [(step, 20) for step in range(1, 21)]
    assert list(work.iterdir()) == []


def test_it_ends_where_a_loss_is_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The steps before count."""
    recipe = tiny_recipe()

    class Breaking(module.Trainer):
        def advance(self) -> dict[str, float]:
            if self.step == 7:
                raise module.NotFinite("")
            return super().advance()

    monkeypatch.setattr(module, "Trainer", Breaking)
    found = rate_range(load(tmp_path, recipe), recipe, RangeRecipe(steps=30))
    assert len(found.losses) == len(found.rates) == len(found.smoothed) == 7
