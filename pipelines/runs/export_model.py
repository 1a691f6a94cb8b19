"""Export the inference part of a trained model as an ONNX file, checked against PyTorch by onnxruntime."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Literal

import numpy as np

from cache.errors import CacheError
from cache.features import FeatureStore
from cache.files.json_text import read_json
from cache.recipe import Recipe
from cache.wording import amount
from pipelines.console import say, table
from pipelines.run_folder.files import RECIPE_FILE
from pipelines.run_folder.recipe import TrainRun
from training.batches.scales import column_factors
from training.checkpoints.checkpoint import Trained, load_trained
from training.checkpoints.folder import FOLDER, best_checkpoint, find_checkpoint
from training.export.check import Check, export
from training.export.exported import OUTPUTS, ModelCard
from training.inference import from_what_it_has
from training.localization.localize import LocalizeRecipe

_VIDEOS = 3
"""Videos of the features folder that the check reads besides its made-up features."""


class ExportModelRun(Recipe):
    """Which run is exported, and where to."""

    run: Path
    """Folder of the run: holds the checkpoint."""
    output: Path | None = None
    """The ONNX file; model.onnx in the run's folder when not given."""
    checkpoint: Literal["last", "best"] = "last"
    """last: checkpoint of the last step. best: checkpoint with the best validation score (needs training with
    validation.every)."""
    features: Path | None = None
    """Folder of snippet features, of which the check reads a few; those of the training, if they are there, when not
    given. Made-up features are checked in any case."""
    localize: LocalizeRecipe = LocalizeRecipe()
    """Post-processing: stored in the file's metadata. Its video_scores choose what the graph computes."""

    def as_tuned(self, fields: Set[str]) -> ExportModelRun:
        """The same with the post-processing that the run's settings were tuned with, but for the fields that options
        set."""
        path = self.run / RECIPE_FILE
        return self.changed(TrainRun.load(path).localize_changes(but=fields)) if path.exists() else self


def main(recipe: ExportModelRun) -> None:
    """Export, check, and say by how much the outputs differ."""
    path = recipe.output or recipe.run / "model.onnx"
    trained = load_trained(_checkpoint(recipe), device="cpu")
    store = _store(recipe, trained)
    card = _card(recipe, trained, store)
    say(f"exporting {recipe.run.name}, which takes about half a minute")
    factors = column_factors(trained.state.scales, trained.state.grid)
    check = export(trained.model, card, path, factors=factors, videos=_videos(store))
    size = f"{path.stat().st_size / 2**20:.1f} MiB"
    say(f"exported: {path} ({size}; host {card.host}, {amount(len(card.classes), 'class', 'classes')})")
    print_check(check)


def print_check(check: Check) -> None:
    """Print the largest difference of each output, and on what it was found."""
    snippets = sorted({snippets for _, snippets in check.shapes})
    rows = [[name, f"{value:.1e}", OUTPUTS[name]] for name, value in check.differences.items()]
    title = f"onnxruntime against PyTorch on {len(check.shapes)} inputs of {snippets[0]} to {snippets[-1]} snippets"
    table(title, ["output", "largest difference", "what it is"], rows)
    if check.unstable:
        say(
            f"{amount(check.unstable, 'input was', 'inputs were')} left out: PyTorch's own outputs there depend on the "
            "last bits of the features"
        )


def _checkpoint(recipe: ExportModelRun) -> Path:
    if recipe.checkpoint == "best":
        best = best_checkpoint(recipe.run)
        if best is None:
            raise CacheError(f"{recipe.run}: found no best checkpoint; export the last one (--checkpoint last)")
        return best.folder
    folder = find_checkpoint(recipe.run)
    if folder is None:
        raise CacheError(f"{recipe.run / FOLDER}: no such checkpoint; run `make train`, or name a trained run (--run)")
    return folder


def _store(recipe: ExportModelRun, trained: Trained) -> FeatureStore | None:
    """Features that the model was trained on, or None where they are not at hand and none were named."""
    folder = recipe.features
    if folder is None:
        path = recipe.run / RECIPE_FILE
        folder = TrainRun.load(path).features_folder if path.exists() else None
        if folder is None or not (folder / "features.json").exists():
            return None
    store = FeatureStore.open(folder).select(trained.state.recipe.data.streams)
    if store.grid != trained.state.grid:
        if recipe.features is None:
            return None
        raise CacheError(f"{folder}: {store.grid.difference(trained.state.grid)} as the model was trained on")
    return store


def _videos(store: FeatureStore | None) -> list[np.ndarray]:
    paths = [] if store is None else sorted(store.folder.glob("[!.]*.npy"))[:_VIDEOS]
    return [] if store is None else [np.array(store.load(path.stem)) for path in paths]


def _card(recipe: ExportModelRun, trained: Trained, store: FeatureStore | None) -> ModelCard:
    state, localize = trained.state, from_what_it_has(trained, recipe.localize)
    if localize != recipe.localize:
        say(f"{recipe.run.name} has no localization head: its detections come from the T-CAM")
    return ModelCard(
        classes=state.classes,
        grid=state.grid,
        localize=localize,
        num_snippets=state.recipe.data.num_snippets,
        stretch=state.recipe.data.stretch,
        run=recipe.run.name,
        host=state.recipe.model.host.kind,
        step=state.step,
        encoders=_encoders(recipe, store),
    )


def _encoders(recipe: ExportModelRun, store: FeatureStore | None) -> object:
    """encoders.json of the run, or of its features."""
    for folder in (recipe.run, *([] if store is None else [store.folder])):
        if (folder / "encoders.json").exists():
            return read_json(folder / "encoders.json")[0]
    return None
