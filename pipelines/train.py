"""Train MLLM4WTAL on the caches of a dataset, or any part of it: host, KSM, CSR, DPID and head can each be off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from cache.annotations import Dataset
from cache.embeddings import PriorTexts, load_prior_texts
from cache.features import FeatureStore
from cache.folders import only_fingerprint
from cache.recipe import Recipe
from pipelines.console import launch, progress, say
from training.data import WtalData
from training.hosts.recipes import HostKind, other_host
from training.loop import fit
from training.recipe import TrainRecipe

RECIPE_FILE = "recipe.json"


class TrainRun(Recipe):
    """What a run is trained on, and where it goes."""

    dataset: Path
    """Folder of the dataset: annotations.json, features/, embeddings/."""
    run: Path
    """Folder of the run: receives recipe.json, metrics.jsonl and checkpoint/."""
    features: Path | None = None
    """Folder of snippet features; features/ in the dataset's folder when not given."""
    embeddings: Path | None = None
    """Folder embeddings/<recipe>; needed only where the dataset has several."""
    host: HostKind | None = None
    """Another host than the preset's, with the settings that its own code has for the preset's dataset."""
    resume: bool = True
    """Go on from the run's checkpoint; without, a run starts anew and forgets it."""
    train: Annotated[TrainRecipe, tyro.conf.arg(name="")] = TrainRecipe()
    """The training itself."""

    def resolved(self) -> TrainRun:
        """The same with `host` put into the model's recipe."""
        if self.host is None:
            return self
        model = self.train.model
        if self.host != model.host.kind:
            model = model.model_copy(update={"host": other_host(model.host, self.host)})
        return self.model_copy(update={"host": None, "train": self.train.model_copy(update={"model": model})})

    @property
    def features_folder(self) -> Path:
        """Where the features are."""
        return self.features or self.dataset / "features"


def main(recipe: TrainRun) -> None:
    """Train; the recipe is written beside the finished checkpoint."""
    recipe = recipe.resolved()
    data = load_data(recipe)
    with progress(f"training {recipe.run.name}", unit="steps") as report:
        checkpoint = fit(
            data,
            recipe.train,
            run=recipe.run,
            resume=recipe.resume,
            progress=lambda done, total, terms: report(done, total),
        )
    recipe.save(recipe.run / RECIPE_FILE)
    say(f"trained: {checkpoint}")


def load_data(recipe: TrainRun) -> WtalData:
    """The training videos with their features and, where the recipe asks for them, texts."""
    dataset = Dataset.load(recipe.dataset / "annotations.json")
    store = FeatureStore.open(recipe.features_folder)
    texts = _texts(recipe) if recipe.train.model.needs_texts else None
    training = recipe.train
    return WtalData(dataset, store, texts, recipe=training.data, seed=training.seed, choice=training.model.text_choice)


def _texts(recipe: TrainRun) -> PriorTexts:
    folder = recipe.embeddings or only_fingerprint(
        recipe.dataset / "embeddings", made_by="make priors", chosen_by="--embeddings"
    )
    return load_prior_texts(folder)


if __name__ == "__main__":
    from pipelines import presets, train

    launch("train", presets.choices(lambda preset: preset.train()), train.main)
