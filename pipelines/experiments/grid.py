"""The cells of a table: every row with every seed, and where its training and its scores lie.

A training lies in a folder named after its recipe and the content of its data, a score in one named after how and on
what it was taken. So rows and tables that need the same have it once, and what was changed is made anew.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field, NonNegativeInt, PositiveInt

from cache.annotations import Dataset
from cache.content import (
    annotations_content,
    embeddings_content,
    features_content,
    former_embeddings_content,
    former_features_content,
)
from cache.errors import CacheError
from cache.features import FeatureStore
from cache.recipe import RUN_ONLY, Recipe, fingerprint_of
from pipelines.experiments.arms import Arm, Plan, TableName, plan_of
from pipelines.run_folder.files import METRICS_FILE
from pipelines.run_folder.metrics import Metrics
from pipelines.run_folder.recipe import TrainRun, on_host
from pipelines.runs.evaluate import EvalRun
from training.checkpoints.folder import is_finished
from training.compat.localize import PublicMethod
from training.evaluation.intervals import BootstrapRecipe
from training.evaluation.protocol import Protocol, ProtocolChoice
from training.localization.localize import LocalizeRecipe
from training.recipe import TrainRecipe


class TableRun(Recipe):
    """Which table, and what its cells are made from."""

    table: Annotated[TableName, tyro.conf.Suppress] = "table3"
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
    workers: Annotated[PositiveInt, RUN_ONLY] = 2
    """Cells that are trained at the same time, one thread each on a CPU."""
    devices: Annotated[tuple[NonNegativeInt, ...], RUN_ONLY] = ()
    """Numbers of the GPUs that the workers take by turns; each takes the first when not given."""
    bootstrap: BootstrapRecipe = BootstrapRecipe()
    """How intervals are found."""
    published: Path | None = None
    """CSV of published figures that stand beside the table's, where they are of its protocol: table, row, column,
    value, protocol, source."""
    hosts: Annotated[dict[str, dict[str, Any]], tyro.conf.Suppress] = Field(default={})
    """What the preset changes of its training for each host, but for fields that options name."""

    def of(self, table: TableName) -> TableRun:
        """The same for another table."""
        return self.model_copy(update={"table": table})

    def with_options(self, fields: Set[str]) -> TableRun:
        """The same where these fields of the training, which options of the command line name, are theirs on every
        host."""
        kept = {
            host: {field: value for field, value in changes.items() if field not in fields}
            for host, changes in self.hosts.items()
        }
        return self.model_copy(update={"hosts": kept})

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
        return is_finished(self.train.run)

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

    Raises CacheError, naming the rows, where the preset has no settings of their host, and where annotations, features
    or embeddings are missing.
    """
    recipe.train.refuse_other_settings()
    _refuse_unfair(recipe)
    content = Content(recipe.train)
    first = recipe.train.train.seed
    seeds = range(first, first + recipe.seeds)
    return [_cell(recipe, arm, seed, content) for seed in seeds for arm in recipe.plan.arms]


def _refuse_unfair(recipe: TableRun) -> None:
    hosts = {arm.name: arm.host or recipe.train.host for arm in recipe.plan.arms}
    lacking = {name: host for name, host in hosts.items() if host is not None and recipe.train.lacks_settings(host)}
    if not lacking:
        return
    message = recipe.train.without_settings(list(dict.fromkeys(lacking.values())))
    others = [name for name in hosts if name not in lacking]
    rest = f"; or leave these rows out: --arms {' '.join(others)}" if others else ""
    raise CacheError(f"{recipe.table}, rows {', '.join(lacking)}: {message}{rest}")


def _cell(recipe: TableRun, arm: Arm, seed: int, content: Content) -> Cell:
    training = recipe.train.train
    host = arm.host or recipe.train.host
    if host is not None:
        training = on_host(training, host, recipe.hosts.get(host, {}))
    training = training.changed({**arm.changes, "seed": seed})
    run = recipe.train.run / "cells" / key_of(training, content.of_training(training))
    train = recipe.train.model_copy(update={"run": run, "host": None, "train": training})
    reported = recipe.evaluate.changed({f"localize.{name}": value for name, value in arm.localize.items()})
    choices = [reported]
    if recipe.validation is not None:
        # its videos are no protocol's: all of the subset count, at the thresholds of the reported figures
        plain = {"protocol": "seconds", "subset": recipe.validation, "tious": reported.chosen().tious}
        unset = dict.fromkeys(ProtocolChoice.model_fields)
        choices.append(reported.model_copy(update={**unset, **plain}))
    places: dict[str, Any] = {"run": run, "dataset": recipe.dataset, "features": recipe.train.features_folder}
    places["curves"] = False  # no report is made of a cell
    evaluations = []
    for one in choices:
        protocol = one.chosen()
        taken = Taken(protocol=protocol, localize=one.localize, official=one.official)
        key = key_of(taken, content.of_scores(protocol.subset))
        evaluations.append(one.model_copy(update={**places, "output": run / f"{protocol.subset}-{key}"}))
    return Cell(arm, seed, CellRun(train=train, evaluations=tuple(evaluations)))


class Content:
    """Fingerprints of the data of a training, each taken once."""

    def __init__(self, run: TrainRun, *, former: bool = False) -> None:
        """Those that version 0.1 took, where `former` says so."""
        dataset = Dataset.load(run.dataset / "annotations.json")
        self.store = FeatureStore.open(run.features_folder)
        self.annotations = cache(partial(annotations_content, dataset))
        features = former_features_content if former else features_content
        embeddings = former_embeddings_content if former else embeddings_content
        self.features = cache(lambda subset: features(self.store, [video.video_id for video in dataset.split(subset)]))
        self.texts = cache(lambda: embeddings(run.embeddings_folder))

    def of_training(self, recipe: TrainRecipe) -> list[str]:
        """What a training is shown."""
        shown = [self.annotations(recipe.data.subset, segments=False), self.features(recipe.data.subset)]
        return [*shown, self.texts()] if recipe.model.needs_texts else shown

    def of_scores(self, subset: str) -> list[str]:
        """What a score depends on, beside the trained model."""
        return [self.annotations(subset, segments=True), self.features(subset)]


class Taken(Recipe):
    """How a score is taken."""

    protocol: Protocol
    localize: LocalizeRecipe
    official: PublicMethod | None


def key_of(made_by: Recipe, data: list[str]) -> str:
    """The name of what is made of data by a recipe."""
    return fingerprint_of({"made_by": made_by.canonical(), "data": data})
