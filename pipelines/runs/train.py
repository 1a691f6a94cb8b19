"""Train MLLM4WTAL on the caches of a dataset, or the host alone: KSM, CSR, DPID and head can each be switched off."""

from __future__ import annotations

from cache.annotations import Dataset
from cache.features import FeatureStore
from cache.tables.embeddings import load_prior_texts
from pipelines.console import note, progress, say
from pipelines.run_folder.files import RECIPE_FILE, remove_results
from pipelines.run_folder.recipe import TrainRun
from pipelines.run_folder.tuned import load_tuned
from training.batches.data import WtalData
from training.loop.fit import fit
from training.loop.validation import Validator


def main(recipe: TrainRun) -> None:
    """Train. Before the first step the recipe is written, and results of earlier weights are removed."""
    recipe = recipe.resolved()
    if recipe.tuned is not None:
        chosen = load_tuned(recipe.tuned).of(recipe.train.model.host.kind, source=recipe.tuned)
        note(f"settings of {recipe.tuned} ({chosen.trials} trials, {chosen.criterion}): {chosen.describe()}")
    data = load_data(recipe)

    def starting() -> None:
        if removed := remove_results(recipe.run):
            say(f"removed results of earlier weights: {', '.join(path.name for path in removed)}")
        recipe.save(recipe.run / RECIPE_FILE)

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
    say(f"trained: {checkpoint}")


def load_data(recipe: TrainRun) -> WtalData:
    """The training videos with their features and, if the model needs them, descriptions."""
    dataset = Dataset.load(recipe.dataset / "annotations.json")
    store = FeatureStore.open(recipe.features_folder)
    training = recipe.train
    texts = load_prior_texts(recipe.embeddings_folder) if training.model.needs_texts else None
    return WtalData(dataset, store, texts, recipe=training.data, seed=training.seed, choice=training.model.text_choice)


def load_validator(recipe: TrainRun) -> Validator | None:
    """Validates the weights during training; None if the recipe has no validation."""
    validation = recipe.train.validation
    if not validation.every:
        return None
    dataset = Dataset.load(recipe.dataset / "annotations.json")
    store = FeatureStore.open(recipe.features_folder)
    return Validator(dataset, store, validation, trained_on=recipe.train.data.subset)
