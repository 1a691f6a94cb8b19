"""TrainRecipe: the complete config of a training run, with the settings of data, model, loop and validation."""

import math
from typing import Annotated, Literal

from pydantic import NonNegativeInt

from cache.recipe import RUN_ONLY, Recipe
from training.batches.data import DataRecipe
from training.model.mllm4wtal import ModelRecipe
from training.optimizers import LoopRecipe


class ValidationRecipe(Recipe):
    """Validation during training: how often, on which subset, by which criterion. It does not affect the weights."""

    every: NonNegativeInt = 0
    """Steps from one validation to the next; 0 = no validation. The checkpoint with the best score is kept beside the
    last."""
    subset: str = "validation"
    """Subset of the annotations to score on. Choose one that no results are reported on (ActivityNet's are reported on
    validation)."""
    criterion: Literal["labels", "segments"] = "labels"
    """labels = mAP of the video scores against the video labels, which needs weak labels only; segments = mAP of the
    detections in seconds, mean over tIoU 0.1 to 0.7."""


class TrainRecipe(Recipe):
    """The config of a training run. The defaults are those of THUMOS14 with I3D features."""

    seed: int = 0
    """Random seed (initialisation, sampling, dropout)."""
    data: DataRecipe = DataRecipe()
    """Training videos, sampling and batches."""
    model: ModelRecipe = ModelRecipe()
    """Host, branches and head."""
    loop: LoopRecipe = LoopRecipe()
    """Steps, optimizers, checkpoints."""
    validation: Annotated[ValidationRecipe, RUN_ONLY] = ValidationRecipe()
    """Validation during training."""

    def in_steps(self, videos: int) -> "TrainRecipe":
        """The same with loop.epochs, if given, turned into loop.steps: as many as show `videos` training videos so many
        times. All that trains, and all that names a run by its recipe, has the steps alone."""
        epochs = self.loop.epochs
        if epochs is None:
            return self
        each = self.data.batch_size * self.loop.accumulate
        steps = math.ceil(round(epochs * videos / each, 6))  # the product may be off by its last bits
        return self.changed({"loop.steps": max(1, steps), "loop.epochs": None})
