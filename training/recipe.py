"""The whole of a training run in one recipe."""

from typing import Annotated, Literal

from pydantic import NonNegativeInt

from cache.recipe import RUN_ONLY, Recipe
from training.data import DataRecipe
from training.model import ModelRecipe
from training.optimizers import LoopRecipe


class ValidationRecipe(Recipe):
    """When weights are scored during training, on what and by what. Training is the same with and without."""

    every: NonNegativeInt = 0
    """Steps from one validation to the next; 0: none. The checkpoint with the best score is kept beside the last."""
    subset: str = "validation"
    """Subset of the annotations that is scored; never the one that results are reported on."""
    criterion: Literal["labels", "segments"] = "labels"
    """labels: mAP of the video scores against the videos' labels, which needs weak labels alone; segments: mean mAP of
    the detections, as `make eval` has it."""


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
    validation: Annotated[ValidationRecipe, RUN_ONLY] = ValidationRecipe()
    """Scores while it trains."""
