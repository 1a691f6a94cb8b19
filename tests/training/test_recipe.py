"""TrainRecipe: passes over the videos as steps."""

import pytest

from training.batches.data import DataRecipe
from training.optimizers import LoopRecipe
from training.recipe import TrainRecipe


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("epochs", [0.01, 0.1, 1, 2.5, 30])
@pytest.mark.parametrize("videos", [1, 7, 90, 1010])
def test_epochs_are_the_fewest_steps_that_show_so_many_videos(videos: int, epochs: float, accumulate: int):
    """At least one step; nothing else of the recipe changes, and steps alone are left."""
    recipe = TrainRecipe(
        data=DataRecipe(num_pairs=2, singles=6), loop=LoopRecipe(epochs=epochs, accumulate=accumulate, warmup=3)
    )
    turned = recipe.in_steps(videos)
    steps, each, wanted = turned.loop.steps, 10 * accumulate, epochs * videos
    assert steps * each >= wanted - 1e-6
    assert steps == 1 or (steps - 1) * each < wanted
    assert turned == recipe.changed({"loop.steps": steps, "loop.epochs": None})
    assert turned.in_steps(5) == turned


def test_without_epochs_the_steps_stay():
    """Whatever the number of videos."""
    assert TrainRecipe().in_steps(3) == TrainRecipe()
