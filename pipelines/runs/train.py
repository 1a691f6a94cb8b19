"""Train MLLM4WTAL on the caches of a dataset, or the host alone: KSM, CSR, DPID and head can each be switched off."""

from __future__ import annotations

import json

from cache.annotations import Dataset
from cache.features import FeatureStore
from cache.tables.embeddings import load_prior_texts
from pipelines.console import note, progress, say
from pipelines.run_folder.files import LEARNED_FILE, RECIPE_FILE, keep_encoders, remove_results, warnings_of
from pipelines.run_folder.recipe import TrainRun
from pipelines.run_folder.tuned import load_tuned
from pipelines.run_folder.without_features import with_features
from training.batches.data import WtalData
from training.checks.learned import Learned, what_is_learned
from training.checks.settings import doubtful_settings
from training.inference import load_run
from training.logs.logs import FILE as HISTORY_FILE
from training.loop.fit import fit
from training.loop.validation import Validator


def main(recipe: TrainRun) -> None:
    """Train. Before the first step the recipe is written, results of earlier weights are removed, and doubtful settings
    are named; after the last, what the weights have not learned is written and named."""
    recipe = recipe.resolved()
    if recipe.tuned is not None:
        chosen = load_tuned(recipe.tuned).of(recipe.train.model.host.kind, source=recipe.tuned)
        note(f"settings of {recipe.tuned} ({chosen.trials} trials, {chosen.criterion}): {chosen.describe()}")
    data = load_data(recipe)

    def starting() -> None:
        if removed := remove_results(recipe.run):
            say(f"removed results of earlier weights: {', '.join(path.name for path in removed)}")
        recipe.save(recipe.run / RECIPE_FILE)
        keep_encoders(recipe.features_folder, recipe.run, recipe.train.data.streams)
        for doubt in doubtful_settings(data, recipe.train):
            say(f"note: {doubt}")

    with progress(f"training {recipe.run.name}", unit="steps") as report:
        checkpoint = fit(
            data,
            recipe.train,
            run=recipe.run,
            resume=recipe.resume,
            validator=load_validator(recipe),
            starting=starting,
            progress=lambda done, total, terms: report(done, total),
        )
    recipe.save(recipe.run / RECIPE_FILE)  # also for a finished run: the folders of its data may have changed
    keep_encoders(recipe.features_folder, recipe.run, recipe.train.data.streams)
    say(f"trained: {checkpoint}")
    if not (recipe.run / LEARNED_FILE).exists():
        _look(recipe).save(recipe.run / LEARNED_FILE)
    for warning in warnings_of(recipe.run):
        say(f"warning: {warning}")


def _look(recipe: TrainRun) -> Learned:
    """What the run's last weights have learned; its losses are read from metrics.jsonl."""
    dataset, store, _ = _videos(recipe)
    trained = load_run(recipe.run, dataset, store, device=recipe.train.loop.device)
    lines = (recipe.run / HISTORY_FILE).read_text(encoding="utf-8").splitlines()
    return what_is_learned(trained, dataset, store, [json.loads(line) for line in lines])


def load_data(recipe: TrainRun) -> WtalData:
    """The training videos with their features and, if the model needs them, descriptions."""
    dataset, store, without = _videos(recipe)
    if without is not None:
        note(without)
    training = recipe.train
    texts = load_prior_texts(recipe.embeddings_folder) if training.model.needs_texts else None
    return WtalData(dataset, store, texts, recipe=training.data, seed=training.seed, choice=training.model.text_choice)


def _videos(recipe: TrainRun) -> tuple[Dataset, FeatureStore, str | None]:
    """The dataset without the videos that `without_features` leaves out, the features, and what was left out."""
    dataset = Dataset.load(recipe.dataset / "annotations.json")
    store = recipe.open_features()
    dataset, without = with_features(dataset, store, recipe.train.data.subset, recipe.without_features)
    return dataset, store, without


def load_validator(recipe: TrainRun) -> Validator | None:
    """Validates the weights during training; None if the recipe has no validation."""
    validation = recipe.train.validation
    if not validation.every:
        return None
    dataset = Dataset.load(recipe.dataset / "annotations.json")
    store = recipe.open_features()
    dataset, _ = with_features(dataset, store, validation.subset, recipe.without_features)
    return Validator(dataset, store, validation, trained_on=recipe.train.data.subset)
