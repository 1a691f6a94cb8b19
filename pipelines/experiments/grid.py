"""The runs of a table: every row with every seed, and the folders of its training and its scores.

The folder of a training is named by a hash of its recipe (config) and the content of its data, that of a score by a
hash of protocol, post-processing and data. So rows and tables share equal trainings, and a change makes another one.
The code calls a run of a table a cell, and its folder lies in cells/.
"""

from __future__ import annotations

from collections.abc import Collection, Set
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
from training.errors import TrainingError
from training.evaluation.intervals import BootstrapRecipe
from training.evaluation.protocol import Protocol, ProtocolChoice
from training.hosts.recipes import refuse_streams
from training.localization.localize import LocalizeRecipe
from training.recipe import TrainRecipe


class TableRun(Recipe):
    """Which rows of a table are trained, with which seeds, data and settings."""

    table: Annotated[TableName, tyro.conf.Suppress] = "table3"
    """The paper's Table 3 (components), 4 (hosts) or 5 (priors), or the ablations of single options."""
    train: Annotated[TrainRun, tyro.conf.arg(name="")]
    """Training of every run, except for what its row changes; `run` is the folder of all runs and tables."""
    evaluate: EvalRun
    """Evaluation of every run."""
    validation: str | None = "validation"
    """Subset that is evaluated in addition to the reported one, for choosing settings; None evaluates no other."""
    seeds: PositiveInt = 3
    """Number of seeds of each row: --seed, --seed + 1, ..."""
    folds: tuple[Path, ...] = ()
    """Cross-validation: folders of datasets that are trained and evaluated in place of the dataset, one seed each."""
    arms: Annotated[tuple[str, ...], tyro.conf.arg(name="rows", aliases=("--arms",))] = ()
    """Rows of the table, by their names in its CSV; all when not given. Rows that they are compared with are added."""
    groups: tuple[str, ...] = ()
    """Groups of rows of the ablations, such as gating or mask; all when not given."""
    workers: Annotated[PositiveInt, RUN_ONLY] = 2
    """Number of runs that are trained at the same time, with one thread each on a CPU."""
    devices: Annotated[tuple[NonNegativeInt, ...], RUN_ONLY] = ()
    """Indices of the GPUs that the workers are spread over; when not given, all use the first."""
    bootstrap: BootstrapRecipe = BootstrapRecipe()
    """Confidence intervals (bootstrap)."""
    published: Path | None = None
    """CSV of published figures (table, row, column, value, protocol, source); those of the table's protocol are shown
    below their rows."""
    hosts: Annotated[dict[str, dict[str, Any]], tyro.conf.Suppress] = Field(default={})
    """Changes of the preset's training for each host, except for fields that are set by options."""

    localize: Annotated[dict[str, dict[str, Any]], tyro.conf.Suppress] = Field(default={})
    """Changes of the post-processing for each host that settings were tuned for, except for fields that are set by
    options."""

    def of(self, table: TableName) -> TableRun:
        """The same for another table."""
        return self.model_copy(update={"table": table})

    def with_options(self, fields: Set[str]) -> TableRun:
        """The same without the preset's changes of these fields, which options on the command line set for every
        host. Raises CacheError if both steps and epochs are set."""
        self.train.refuse_both(fields)
        kept = {
            host: {field: value for field, value in changes.items() if field not in fields}
            for host, changes in self.hosts.items()
        }
        read = {
            host: {field: value for field, value in changes.items() if f"evaluate.localize.{field}" not in fields}
            for host, changes in self.localize.items()
        }
        return self.model_copy(update={"hosts": kept, "localize": read})

    @property
    def plan(self) -> Plan:
        """The rows."""
        return plan_of(self.table, arms=self.arms, groups=self.groups)

    @property
    def folder(self) -> Path:
        """Folder of the table."""
        return self.train.run / self.table

    @property
    def parts(self) -> list[tuple[int, TrainRun]]:
        """The seeds, each with what it is trained on: the dataset, or the fold of its turn."""
        first = self.train.train.seed
        if not self.folds:
            return [(seed, self.train) for seed in range(first, first + self.seeds)]
        return [
            (first + number, self.train.model_copy(update={"dataset": folder}))
            for number, folder in enumerate(self.folds)
        ]


class CellRun(Recipe):
    """The task of one worker: a training, unless it is finished, and its missing scores."""

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
        """The scores that are missing."""
        return tuple(one for one in self.evaluations if not metrics_file(one).exists())


@dataclass(frozen=True)
class Cell:
    """One run of the table: a row with a seed."""

    arm: Arm
    seed: int
    run: CellRun
    """Its training and its scores: on the reported subset, then on the validation subset."""

    @property
    def name(self) -> str:
        """Title of the row with the seed, for messages."""
        return f"{self.arm.title}, seed {self.seed}"

    @property
    def done(self) -> bool:
        """Whether all its scores exist."""
        return not self.run.missing

    def metrics(self) -> list[Metrics]:
        """Its scores, in the order of `run.evaluations`."""
        return [Metrics.load(metrics_file(one)) for one in self.run.evaluations]


def metrics_file(evaluation: EvalRun) -> Path:
    """Path of the scores of an evaluation."""
    return (evaluation.output or evaluation.run) / METRICS_FILE


def cells(recipe: TableRun) -> list[Cell]:
    """All runs, seed by seed, so that an interrupted table has complete seeds.

    Raises CacheError, naming the rows, if the preset has no settings for their host, and if annotations, features or
    embeddings are missing.
    """
    recipe.train.refuse_other_settings()
    _refuse_unfair(recipe)
    if recipe.folds and (recipe.train.features or recipe.train.embeddings):
        raise CacheError("folds: found beside --features or --embeddings, expected each fold to have its own")
    known: dict[Path, Content] = {}
    grid = []
    for seed, part in recipe.parts:
        if part.dataset not in known:
            known[part.dataset] = Content(part)
            _refuse_streams(recipe, known[part.dataset].store)
        grid += [_cell(recipe, part, arm, seed, known[part.dataset]) for arm in recipe.plan.arms]
    return grid


def _refuse_unfair(recipe: TableRun) -> None:
    hosts = {arm.name: arm.host or recipe.train.host for arm in recipe.plan.arms}
    lacking = {name: host for name, host in hosts.items() if host is not None and recipe.train.lacks_settings(host)}
    if not lacking:
        return
    raise _without(recipe, lacking, recipe.train.without_settings(list(dict.fromkeys(lacking.values()))))


def _refuse_streams(recipe: TableRun, store: FeatureStore) -> None:
    """Raise CacheError if the host of a row needs another number of streams than are chosen."""
    training, lacking = recipe.train.train, {}
    streams = store.select(training.data.streams).grid.streams
    for arm in recipe.plan.arms:
        host = arm.host or recipe.train.host
        try:
            refuse_streams((training if host is None else on_host(training, host)).model.host, streams)
        except TrainingError as error:
            lacking[arm.name] = str(error)
    if lacking:
        raise _without(recipe, lacking, next(iter(lacking.values())))


def _without(recipe: TableRun, lacking: Collection[str], message: str) -> CacheError:
    """The error about rows that cannot be trained, with those that can."""
    others = [arm.name for arm in recipe.plan.arms if arm.name not in lacking]
    rest = f"; or leave these rows out: --rows {' '.join(others)}" if others else ""
    return CacheError(f"{recipe.table}, rows {', '.join(lacking)}: {message}{rest}")


def _cell(recipe: TableRun, part: TrainRun, arm: Arm, seed: int, content: Content) -> Cell:
    training = part.train
    host = arm.host or part.host
    if host is not None:
        training = on_host(training, host, recipe.hosts.get(host, {}))
    training = training.changed({**arm.changes, "seed": seed})
    training = training.in_steps(content.videos(training.data.subset))
    run = part.run / "cells" / key_of(training, content.of_training(training))
    tuned = recipe.localize.get(training.model.host.kind, {})
    places: dict[str, Any] = {"run": run, "host": None, "train": training, "tuned": None, "localize": tuned}
    train = part.model_copy(update=places)
    reading = {**tuned, **arm.localize}
    reported = recipe.evaluate.changed({f"localize.{name}": value for name, value in reading.items()})
    choices = [reported]
    if recipe.validation is not None:
        # no protocol names its videos: all of the subset are used, with the thresholds of the reported scores
        plain = {"protocol": "seconds", "subset": recipe.validation, "tious": reported.chosen().tious}
        unset = dict.fromkeys(ProtocolChoice.model_fields)
        choices.append(reported.model_copy(update={**unset, **plain}))
    places = {"run": run, "dataset": part.dataset, "features": part.features_folder}
    places["curves"] = False  # no report is made of a table's runs
    evaluations = []
    for one in choices:
        protocol = one.chosen()
        taken = Taken(protocol=protocol, localize=one.localize, official=one.official)
        key = key_of(taken, content.of_scores(protocol.subset, training.data.streams))
        evaluations.append(one.model_copy(update={**places, "output": run / f"{protocol.subset}-{key}"}))
    return Cell(arm, seed, CellRun(train=train, evaluations=tuple(evaluations)))


class Content:
    """Hashes of the data of a training, each computed once."""

    def __init__(self, run: TrainRun, *, former: bool = False) -> None:
        """`former`: compute the hashes of version 0.1."""
        dataset = Dataset.load(run.dataset / "annotations.json")
        self.store = FeatureStore.open(run.features_folder)
        self.videos = cache(lambda subset: len(dataset.labelled(subset)))
        self.annotations = cache(partial(annotations_content, dataset))
        features = former_features_content if former else features_content
        embeddings = former_embeddings_content if former else embeddings_content
        self.features = cache(
            lambda subset, streams: features(self.store.select(streams), [v.video_id for v in dataset.split(subset)])
        )
        self.texts = cache(lambda: embeddings(run.embeddings_folder))

    def of_training(self, recipe: TrainRecipe) -> list[str]:
        """Hashes of the data that a training reads."""
        subset, streams = recipe.data.subset, recipe.data.streams
        shown = [self.annotations(subset, segments=False), self.features(subset, streams)]
        return [*shown, self.texts()] if recipe.model.needs_texts else shown

    def of_scores(self, subset: str, streams: tuple[str, ...] | None = None) -> list[str]:
        """Hashes of the data that a score of a model on these streams depends on, in addition to the model."""
        return [self.annotations(subset, segments=True), self.features(subset, streams)]


class Taken(Recipe):
    """Settings of an evaluation."""

    protocol: Protocol
    localize: LocalizeRecipe
    official: PublicMethod | None


def key_of(made_by: Recipe, data: list[str]) -> str:
    """Name of the folder of what a recipe makes from data: a hash of both."""
    return fingerprint_of({"made_by": made_by.canonical(), "data": data})
