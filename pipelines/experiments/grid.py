"""The cells of a table: every row with every seed, and where its training and its scores lie.

A training lies in a folder named after its recipe and the content of its data, a score in one named after how and on
what it was taken. So rows and tables that need the same have it once, and what was changed is made anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field, NonNegativeInt, PositiveInt

from cache.annotations import Dataset
from cache.content import annotations_content, embeddings_content, features_content
from cache.features import FeatureStore
from cache.recipe import Recipe
from pipelines.evaluate import METRICS_FILE, EvalRun, Metrics
from pipelines.experiments.arms import Arm, Plan, TableName, plan_of
from pipelines.train import RECIPE_FILE, TrainRun, on_host
from training.intervals import BootstrapRecipe
from training.localize import LocalizeRecipe
from training.official import Method
from training.protocol import Protocol, ProtocolChoice


class TableRun(Recipe):
    """Which table, and what its cells are made from."""

    table: TableName = "table3"
    """The paper's Table 3 (parts), 4 (hosts) or 5 (priors), or the ablations of single options."""
    train: Annotated[TrainRun, tyro.conf.arg(name="")]
    """What every cell is trained with, but for what its row changes; `run` is where cells and tables go."""
    evaluate: EvalRun
    """How every cell is evaluated."""
    validation: str | None = "validation"
    """Subset that is scored beside the reported one: the one to choose settings by. None scores no other."""
    seeds: PositiveInt = 3
    """Seeds of each row: `seed`, seed + 1 ..."""
    arms: tuple[str, ...] = ()
    """Rows of the table, by their names in the CSV; all when not given. What they are compared with is added."""
    groups: tuple[str, ...] = ()
    """Groups of rows of the ablations, such as gating or mask; all when not given."""
    workers: PositiveInt = 2
    """Cells that are trained at the same time, one thread each on a CPU."""
    devices: tuple[NonNegativeInt, ...] = ()
    """Numbers of the GPUs that the workers take by turns; each takes the first when not given."""
    bootstrap: BootstrapRecipe = BootstrapRecipe()
    """How intervals are found."""
    published: Path | None = None
    """CSV of published figures that stand beside the table's, where they are of its protocol: table, row, column,
    value, protocol, source."""
    hosts: Annotated[dict[str, dict[str, Any]], tyro.conf.Suppress] = Field(default={})
    """What the preset changes of its training for each other host."""

    @property
    def plan(self) -> Plan:
        """The rows."""
        return plan_of(self.table, arms=self.arms, groups=self.groups)

    @property
    def folder(self) -> Path:
        """Where the table goes."""
        return self.train.run / self.table

    @property
    def dataset(self) -> Path:
        """Folder of the dataset."""
        return self.train.dataset


class CellRun(Recipe):
    """What one worker does: a training, unless it is there, and the scores of it that are missing."""

    train: TrainRun
    """The training."""
    evaluations: tuple[EvalRun, ...]
    """Its scores."""

    @property
    def trained(self) -> bool:
        """Whether the training is finished."""
        return (self.train.run / RECIPE_FILE).exists()

    @property
    def missing(self) -> tuple[EvalRun, ...]:
        """The scores that are not there."""
        return tuple(one for one in self.evaluations if not metrics_file(one).exists())


@dataclass(frozen=True)
class Cell:
    """One row with one seed."""

    arm: Arm
    seed: int
    run: CellRun
    """Its training and its scores: on the reported subset, then on the validation subset."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.arm.title}, seed {self.seed}"

    @property
    def done(self) -> bool:
        """Whether all its scores are there."""
        return not self.run.missing

    def metrics(self) -> list[Metrics]:
        """Its scores, in the order of `run.evaluations`."""
        return [Metrics.load(metrics_file(one)) for one in self.run.evaluations]


def metrics_file(evaluation: EvalRun) -> Path:
    """Where the scores of an evaluation are."""
    return (evaluation.output or evaluation.run) / METRICS_FILE


def cells(recipe: TableRun) -> list[Cell]:
    """All cells, seed by seed, so that a table that was stopped has whole seeds.

    Raises CacheError where annotations, features or embeddings are missing.
    """
    content = _Content(recipe)
    first = recipe.train.train.seed
    seeds = range(first, first + recipe.seeds)
    return [_cell(recipe, arm, seed, content) for seed in seeds for arm in recipe.plan.arms]


def _cell(recipe: TableRun, arm: Arm, seed: int, content: _Content) -> Cell:
    training = recipe.train.train
    host = arm.host or recipe.train.host
    if host is not None:
        training = on_host(training, host, recipe.hosts.get(host, {}))
    training = training.changed({**arm.changes, "seed": seed})
    data = content.of_training(training.data.subset, texts=training.model.needs_texts)
    run = recipe.train.run / "cells" / _fingerprint(training, data)
    train = recipe.train.model_copy(update={"run": run, "host": None, "train": training})
    reported = recipe.evaluate.changed({f"localize.{name}": value for name, value in arm.localize.items()})
    choices = [reported]
    if recipe.validation is not None:
        # its videos are no protocol's: all of the subset count, at the thresholds of the reported figures
        plain = {"protocol": "seconds", "subset": recipe.validation, "tious": reported.chosen().tious}
        unset = dict.fromkeys(ProtocolChoice.model_fields)
        choices.append(reported.model_copy(update={**unset, **plain}))
    places = {"run": run, "dataset": recipe.dataset, "features": recipe.train.features_folder}
    evaluations = []
    for one in choices:
        protocol = one.chosen()
        taken = _Taken(protocol=protocol, localize=one.localize, official=one.official)
        key = _fingerprint(taken, content.of_scores(protocol.subset))
        evaluations.append(one.model_copy(update={**places, "output": run / f"{protocol.subset}-{key}"}))
    return Cell(arm, seed, CellRun(train=train, evaluations=tuple(evaluations)))


class _Content:
    """Fingerprints of the data of a table, each taken once."""

    def __init__(self, recipe: TableRun) -> None:
        self.recipe = recipe
        self.dataset = Dataset.load(recipe.dataset / "annotations.json")
        self.store = FeatureStore.open(recipe.train.features_folder)
        self.annotations = cache(partial(annotations_content, self.dataset))
        self.features = cache(self._features)
        self.texts = cache(lambda: embeddings_content(recipe.train.embeddings_folder))

    def of_training(self, subset: str, *, texts: bool) -> tuple[str, ...]:
        """What a training is shown."""
        shown = (self.annotations(subset, segments=False), self.features(subset))
        return (*shown, self.texts()) if texts else shown

    def of_scores(self, subset: str) -> tuple[str, ...]:
        """What a score depends on, beside the trained model."""
        return self.annotations(subset, segments=True), self.features(subset)

    def _features(self, subset: str) -> str:
        return features_content(self.store, [video.video_id for video in self.dataset.split(subset)])


class _Taken(Recipe):
    """How a score is taken."""

    protocol: Protocol
    localize: LocalizeRecipe
    official: Method | None


class _Key(Recipe):
    """What is made of a recipe and of data."""

    made_by: dict[str, Any]
    data: tuple[str, ...]


def _fingerprint(made_by: Recipe, data: tuple[str, ...]) -> str:
    return _Key(made_by=made_by.model_dump(mode="json"), data=data).fingerprint()
