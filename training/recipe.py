"""The whole of a training run in one recipe."""

from cache.recipe import Recipe
from training.data import DataRecipe
from training.model import ModelRecipe
from training.optimizers import LoopRecipe


class TrainRecipe(Recipe):
    """Data, model and loop. The defaults are those of THUMOS14 with I3D features."""

    seed: int = 0
    """Of the weights, of every draw of the data and of dropout."""
    data: DataRecipe = DataRecipe()
    """What the trainer is shown."""
    model: ModelRecipe = ModelRecipe()
    """Host, branches and head."""
    loop: LoopRecipe = LoopRecipe()
    """Steps, optimizers, checkpoints."""
