"""The trials of a search: their settings, folders and scores, and the choice among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.errors import CacheError
from cache.recipe import Recipe, fingerprint_of
from pipelines.experiments.grid import Content, key_of
from pipelines.experiments.jobs import steps_of
from pipelines.run_folder.recipe import TrainRun
from pipelines.tuning.recipe import TrialRun, TrialScores, TuneRun
from pipelines.tuning.space import Settings, combinations, draw, searched
from pipelines.tuning.split import FIT, HELD, fold_datasets, load_weak
from training.recipe import TrainRecipe

_WARMUP = 20
"""The warm-up of a trial takes one in so many steps."""


@dataclass(frozen=True)
class Trial:
    """One trial."""

    number: int
    settings: Settings
    """What it changes in the training."""
    run: TrialRun

    module = "pipelines.tuning.trial"

    @property
    def names(self) -> tuple[str, ...]:
        """Its name, for messages."""
        return (f"trial {self.number}",)

    @property
    def log(self) -> Path:
        """File that receives the output of its worker."""
        return self.run.folder / "log.txt"

    @property
    def steps(self) -> int:
        """Steps of its trainings, plus one for its scores."""
        return sum(fold.train.loop.steps for fold in self.run.folds) + 1

    def steps_done(self) -> int:
        """Steps so far."""
        return sum(steps_of(fold.run) for fold in self.run.folds)

    @property
    def done(self) -> bool:
        """Whether its scores exist."""
        return self.run.file.exists()

    def scores(self) -> tuple[dict[str, float], ...]:
        """The criteria of each candidate of the post-processing."""
        return TrialScores.load(self.run.file).scores


@dataclass(frozen=True)
class Best:
    """A trial with one post-processing."""

    trial: Trial
    localize: Settings
    score: float


def make_trials(recipe: TuneRun) -> list[Trial]:
    """All trials. The weakly labelled videos of every fold are written beside them; nothing that a trial reads holds a
    time of an action.

    Raises CacheError if annotations or features are missing, or there are too few videos.
    """
    train = recipe.train.resolved()
    weak = load_weak(train.dataset / "annotations.json", train.train.data.subset)
    runs = []
    for place, dataset in enumerate(
        fold_datasets(weak, parts=recipe.parts, folds=min(recipe.folds, recipe.parts), seed=recipe.split_seed)
    ):
        folder = train.run / "folds" / f"{place}-{fingerprint_of([(v.video_id, v.subset) for v in dataset.videos])}"
        dataset.save(folder / "annotations.json")
        texts = train.embeddings_folder if train.train.model.needs_texts else None
        places = {"dataset": folder, "features": train.features_folder.absolute(), "embeddings": texts}
        runs.append(train.model_copy(update=places))
    contents = [Content(run) for run in runs]
    start = train.train.changed(budget(recipe))
    drawn = draw(searched(start), recipe.trials - 1, seed=recipe.split_seed)
    return [
        _trial(recipe, number, settings, start.changed(settings), runs, contents)
        for number, settings in enumerate([{}, *drawn])
    ]


def budget(recipe: TuneRun) -> Settings:
    """Steps and schedule of a trial, which the chosen settings take over."""
    return {"loop.steps": recipe.steps, "loop.warmup": recipe.steps // _WARMUP, "loop.schedule": "cosine"}


def _trial(
    recipe: TuneRun,
    number: int,
    settings: Settings,
    training: TrainRecipe,
    runs: Sequence[TrainRun],
    contents: Sequence[Content],
) -> Trial:
    candidates = combinations()
    quiet: dict[str, Any] = {"loop.tensorboard": False, "loop.checkpoint_every": training.loop.steps}
    folds, keys = [], []
    for place, (run, content) in enumerate(zip(runs, contents, strict=True)):
        own = training.changed({**quiet, "data.subset": FIT, "seed": training.seed + place})
        judged = [content.annotations(HELD, segments=False), content.features(HELD, own.data.streams)]
        keys.append((key_of(own, content.of_training(own)), *judged))
        folds.append(run.model_copy(update={"train": own}))
    read = _Read(localize=recipe.localize, candidates=tuple(candidates))
    folder = recipe.train.run / "trials" / fingerprint_of([keys, read.canonical()])
    run = TrialRun(
        folder=folder,
        folds=tuple(
            fold.model_copy(update={"run": recipe.train.run / "cells" / key})
            for fold, (key, *_) in zip(folds, keys, strict=True)
        ),
        localize=recipe.localize,
        candidates=tuple(candidates),
    )
    return Trial(number, settings, run)


class _Read(Recipe):
    """The post-processing of a search, for the names of its folders."""

    localize: Recipe
    candidates: tuple[Settings, ...]


def choose(trials: Sequence[Trial], criterion: str) -> Best:
    """The trial and post-processing with the highest value of a criterion; of equal ones the first.

    Raises CacheError, naming the criteria that there are, if the trials do not have it.
    """
    best: Best | None = None
    for trial in trials:
        for localize, scores in zip(trial.run.candidates, trial.scores(), strict=True):
            if criterion not in scores:
                raise CacheError(
                    f"criterion: found {criterion!r}, which compares two models; expected one of "
                    f"{', '.join(scores)}, or --folds 2"
                )
            if best is None or scores[criterion] > best.score:
                best = Best(trial, dict(localize), scores[criterion])
    if best is None:
        raise CacheError("no trial is finished, so there is nothing to choose among")
    return best
