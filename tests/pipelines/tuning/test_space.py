"""The space of a search: ranges, repetition, and that more trials continue a search."""

import numpy as np
import pytest

from pipelines.tuning.space import LOCALIZE, TRAINING, Choice, Dimension, Span, combinations, draw, searched
from training.hosts.co2net import Co2NetRecipe
from training.hosts.plain import PlainRecipe
from training.hosts.um import UmRecipe
from training.localization.localize import LocalizeRecipe
from training.model.mllm4wtal import ModelRecipe
from training.recipe import TrainRecipe


@pytest.mark.parametrize("host", [PlainRecipe(), Co2NetRecipe()], ids=["plain", "co2net"])
def test_all_that_is_drawn_is_a_recipe(host: PlainRecipe | Co2NetRecipe):
    """All that is drawn is a recipe."""
    start = TrainRecipe(model=ModelRecipe(host=host))
    for settings in draw(searched(start), 32, seed=0):
        start.changed(settings)


def test_fields_that_a_host_lacks_are_not_searched():
    """Fields that a host lacks are not searched."""
    more = (*TRAINING, Dimension("model.host.no_such_field", Choice((1, 2))), Dimension("nothing.at.all", Span(1, 2)))
    fields = {
        kind: {
            one.field.removeprefix("model.host.") for one in searched(TrainRecipe(model=ModelRecipe(host=kind())), more)
        }
        for kind in (PlainRecipe, UmRecipe)
    }
    assert fields[PlainRecipe] - fields[UmRecipe] == {"norm", "guide"}
    assert fields[UmRecipe] - fields[PlainRecipe] == {"uncertainty"}
    assert len(fields[PlainRecipe] | fields[UmRecipe]) == len(TRAINING)


def test_more_trials_begin_with_the_same():
    """More trials begin with the same."""
    assert draw(TRAINING, 40, seed=3)[:10] == draw(TRAINING, 10, seed=3)
    assert draw(TRAINING, 10, seed=3) != draw(TRAINING, 10, seed=4)


def test_draws_fill_every_range():
    """Draws fill every range."""
    drawn = draw(TRAINING, 64, seed=0)
    for one in TRAINING:
        values = [settings[one.field] for settings in drawn]
        if isinstance(one.values, Choice):
            assert set(values) == set(one.values.values)
        else:
            assert min(values) >= one.values.low
            assert max(values) <= one.values.high
            below = np.mean(np.array(values) < np.sqrt(one.values.low * one.values.high))
            assert below == pytest.approx(0.5, abs=0.1)


def test_every_post_processing_is_valid_and_tried_once():
    """Every post processing is valid and tried once."""
    found = combinations(LOCALIZE)
    assert len({str(one) for one in found}) == len(found)
    for changes in found:
        LocalizeRecipe(source="cam").changed(changes)
