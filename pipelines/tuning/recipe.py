"""The recipe of `make tune`, and of one trial of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field, NonNegativeInt, PositiveInt

from cache.recipe import RUN_ONLY, Recipe
from pipelines.run_folder.recipe import TrainRun
from training.checkpoints.folder import is_finished
from training.evaluation.label_free.criteria import Criterion
from training.localization.localize import LocalizeRecipe

SEARCH_FILE, TRIAL_FILE = "search.json", "trial.json"


class TuneRun(Recipe):
    """What is tuned, with how many trials, and by which criterion."""

    train: Annotated[TrainRun, tyro.conf.arg(name="")]
    """The training that is tuned: its fields are the first trial, and what no trial changes. `run` is the folder of the
    search."""
    localize: LocalizeRecipe = LocalizeRecipe(source="cam")
    """The post-processing that is tuned."""
    trials: PositiveInt = 24
    """Trials: the first has the settings as they are, the others settings drawn from the space. More trials continue a
    search."""
    steps: PositiveInt = 600
    """Steps of every training of a trial, and of the settings that are chosen (a learning rate suits one number)."""
    parts: Annotated[int, Field(ge=2)] = 4
    """The labelled videos are dealt to this many parts; each fold holds one out."""
    folds: PositiveInt = 2
    """Folds that a trial is trained on; two at least, if the criterion compares two models."""
    split_seed: NonNegativeInt = 0
    """Random seed of parts and of the drawn settings."""
    criterion: Criterion = "evidence"
    """What the settings are chosen by."""
    output: Path | None = None
    """File that receives the settings; tuned.json in the dataset's folder when not given."""
    workers: Annotated[PositiveInt, RUN_ONLY] = 2
    """Number of trials at the same time, with one thread each on a CPU."""
    devices: Annotated[tuple[NonNegativeInt, ...], RUN_ONLY] = ()
    """Indices of the GPUs that the workers are spread over; when not given, all use the first."""


class TrialRun(Recipe):
    """The task of one worker: the trainings of a trial, one for each fold, and their scores."""

    folder: Path
    """Folder of the trial; receives trial.json."""
    folds: tuple[TrainRun, ...]
    """The trainings, each on the fitted videos of a fold."""
    localize: LocalizeRecipe
    """The post-processing, which each candidate changes."""
    candidates: tuple[dict[str, Any], ...]
    """Changes of the post-processing that are scored."""

    @property
    def file(self) -> Path:
        """The scores."""
        return self.folder / TRIAL_FILE

    @property
    def trained(self) -> bool:
        """Whether all its trainings are finished."""
        return all(is_finished(fold.run) for fold in self.folds)


class TrialScores(Recipe):
    """trial.json: the criteria of every candidate of the post-processing, means over the folds."""

    scores: tuple[dict[str, float], ...]
    """For each candidate: name of a criterion -> value."""
