"""The whole of a training run in one recipe."""

from typing import Annotated, Literal

from pydantic import NonNegativeInt

from cache.recipe import RUN_ONLY, Recipe
from training.batches.data import DataRecipe
from training.model.mllm4wtal import ModelRecipe
from training.optimizers import LoopRecipe


class ValidationRecipe(Recipe):
    """When weights are scored during training, on what and by what. Training is the same with and without."""

    every: NonNegativeInt = 0
    """Steps from one validation to the next; 0: none. The checkpoint with the best score is kept beside the last."""
    subset: str = "validation"
    """Subset of the annotations that is scored. Choose one that no results are reported on; ActivityNet's are reported
    on validation."""
    criterion: Literal["labels", "segments"] = "labels"
    """labels: mAP of the video scores against the videos' labels, which needs weak labels alone; segments: mAP of
    the detections in seconds, the mean over tIoU 0.1 to 0.7."""


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
