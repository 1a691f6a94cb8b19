"""Import weights that a host's public code saved, as a run of the host alone that can be evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cache.annotations import Dataset
from cache.errors import CacheError
from cache.features import FeatureStore
from cache.recipe import Recipe
from pipelines.console import say
from pipelines.run_folder.files import RECIPE_FILE
from pipelines.run_folder.recipe import TrainRun
from training.checkpoints.folder import find_checkpoint
from training.checkpoints.public_code import Variant, import_official
from training.compat.names import PublicHost

_PROTOCOLS: Mapping[PublicHost, str] = {
    "co2net": "thumos14-co2",
    "delu": "thumos14-co2",
    "ddgnet": "thumos14-co2",
    "um": "thumos14-210",
    "gaufuse": "thumos14-212",
}
"""Protocol under which the public code reports THUMOS14, or the nearest one."""


class ImportCheckpointRun(Recipe):
    """Which file is imported, of which host, for which dataset."""

    dataset: Path
    """Folder of the dataset: holds annotations.json and features/."""
    run: Path
    """Folder of the run that is written; it must not hold a checkpoint."""
    host: PublicHost = "co2net"
    """Host whose public code saved the file."""
    file: Path = Path("best.pkl")
    """The file, as torch.save wrote it."""
    variant: Variant = "thumos14"
    """Variant of the public code."""
    features: Path | None = None
    """Folder of snippet features; features/ in the dataset's folder when not given."""
    streams: tuple[str, ...] | None = None
    """Streams of the features that the file was trained on, in its order; those of features.json when not given."""
    allow_pickle: bool = False
    """Unpickle the whole file if the weights alone cannot be read. This can execute code in the file, so use it only
    with files that you trust."""


def main(recipe: ImportCheckpointRun) -> None:
    """Write the run; print which weights were skipped and how to evaluate it."""
    if find_checkpoint(recipe.run) is not None:
        raise CacheError(f"{recipe.run}: found a checkpoint, expected none; choose another folder (--run)")
    dataset = Dataset.load(recipe.dataset / "annotations.json")
    made = TrainRun(dataset=recipe.dataset, run=recipe.run, features=recipe.features)
    grid = FeatureStore.open(made.features_folder).select(recipe.streams).grid
    imported = import_official(
        recipe.file,
        recipe.host,
        variant=recipe.variant,
        run=recipe.run,
        classes=dataset.classes,
        grid=grid,
        streams=recipe.streams,
        allow_pickle=recipe.allow_pickle,
    )
    made.model_copy(update={"train": imported.recipe}).save(recipe.run / RECIPE_FILE)
    if list(dataset.classes) != sorted(dataset.classes):
        say("note: the dataset's classes are not in alphabetical order; they must be in the order of the public code")
    if imported.passed_over:
        say(f"skipped, because the public code never uses them: {', '.join(imported.passed_over)}")
    say(f"imported {imported.weights} weights: {imported.checkpoint}")
    way = f" --official {recipe.host} --protocol {_PROTOCOLS[recipe.host]}" if recipe.variant == "thumos14" else ""
    say(f'to evaluate: make eval PRESET={recipe.dataset.name} ARGS="--run {recipe.run}{way}"')
