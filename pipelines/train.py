"""Train MLLM4WTAL on the caches of a dataset, or any part of it: host, KSM, CSR, DPID and head can each be off."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from cache.annotations import Dataset
from cache.embeddings import load_prior_texts
from cache.features import FeatureStore
from cache.folders import only_fingerprint
from cache.recipe import Recipe
from pipelines.console import launch, progress, say
from training.data import WtalData
from training.hosts.recipes import HOST_TITLES, HostKind, other_host
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
    """Another host than the preset's, with its own settings for such data and what the preset changes of them."""
    resume: bool = True
    """Go on from the run's checkpoint; without, a run starts anew and forgets it."""
    train: Annotated[TrainRecipe, tyro.conf.arg(name="")] = TrainRecipe()
    """The training itself."""

    def resolved(self) -> TrainRun:
        """The same with `host` put into the model's recipe."""
        if self.host is None:
            return self
        return self.model_copy(update={"host": None, "train": on_host(self.train, self.host)})

    @property
    def features_folder(self) -> Path:
        """Where the features are."""
        return self.features or self.dataset / "features"

    @property
    def embeddings_folder(self) -> Path:
        """Where the words are. Raises CacheError if none was chosen and there is none, or several."""
        return self.embeddings or only_fingerprint(
            self.dataset / "embeddings", made_by="make priors", chosen_by="--embeddings"
        )


def on_host(recipe: TrainRecipe, kind: HostKind, changes: Mapping[str, Any] | None = None) -> TrainRecipe:
    """The same training on another host, with its settings for such data and `changes` of fields by their dotted
    names; on the host that it has, the training itself.
    """
    if kind == recipe.model.host.kind:
        return recipe
    return recipe.changed({"model.host": other_host(recipe.model.host, kind)}).changed(changes or {})


def asked_host(arguments: Sequence[str]) -> HostKind | None:
    """The host that `--host` names, found before the options are read, so that they can change its settings, too."""
    said = dict(zip(arguments, [*arguments[1:], ""], strict=True))
    said |= dict(argument.split("=", 1) for argument in arguments if argument.startswith("--host="))
    return next((kind for kind in HOST_TITLES if kind == said.get("--host")), None)


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
    training = recipe.train
    texts = load_prior_texts(recipe.embeddings_folder) if training.model.needs_texts else None
    return WtalData(dataset, store, texts, recipe=training.data, seed=training.seed, choice=training.model.text_choice)


if __name__ == "__main__":
    from pipelines import presets, train

    launch("train", presets.choices(lambda preset: preset.train_on(train.asked_host(sys.argv))), train.main)
