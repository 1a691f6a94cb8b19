"""Upload the inference part of a run to the Hugging Face Hub, with a model card."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from pydantic import Field

from cache.errors import CacheError
from cache.recipe import Recipe
from pipelines.console import say
from pipelines.predicting.card import model_card
from pipelines.predicting.encoding import WEIGHTS_FOLDER, RunEncoders
from pipelines.predicting.hub import LOADED, upload
from pipelines.run_folder.files import ENCODERS_FILE, METRICS_FILE, RECIPE_FILE, refuse_unfinished
from pipelines.run_folder.recipe import TrainRun
from training.checkpoints.checkpoint import load_state
from training.checkpoints.folder import best_checkpoint, find_checkpoint
from training.checkpoints.inference_part import save_inference_part

CARD = "README.md"


class PushRun(Recipe):
    """Which run is uploaded, and where."""

    run: Path
    """Folder of the run."""
    to: str
    """owner/name of the model on the Hub; it is made if it does not exist. Log in first: `hf auth login`, or
    HF_TOKEN."""
    private: bool = False
    """Make it private, if it does not exist."""
    with_encoders: bool = False
    """Upload the weights of the encoders, too, so that others need not have them. Mind their licences."""
    encoders: dict[str, Path] = Field(default={})
    """With with_encoders: where these weights are, by stream, as for `make predict`."""
    checkpoint: Literal["last", "best"] = "last"
    """last: checkpoint of the last step. best: checkpoint with the best validation score."""
    folder: Path | None = None
    """Write the files there and upload nothing; the folder is a run that predicts."""


def main(recipe: PushRun) -> None:
    """Gather the files and upload them in one commit."""
    if recipe.folder is not None:
        if recipe.folder.exists():
            raise CacheError(f"folder: {recipe.folder}: exists, expected a folder that does not")
        gather(recipe, recipe.folder)
        say(f"inference part of {recipe.run}: {recipe.folder}")
        return
    with TemporaryDirectory(prefix="push-") as home:
        folder = Path(home) / "run"
        gather(recipe, folder)
        address = upload(folder, recipe.to, private=recipe.private, files=(*LOADED, CARD), what=recipe.run.name)
    say(f'uploaded: {address}\nothers predict with it: make predict ARGS="clip.mp4 --run hf:{recipe.to}"')


def gather(recipe: PushRun, folder: Path) -> None:
    """Write the inference part of a run into `folder`: weights and state, recipe without paths of this machine,
    encoders, scores and card. Raises UserError if the run is not finished or weights are missing."""
    run = recipe.run
    if not (run / RECIPE_FILE).exists():
        raise CacheError(f"{run / RECIPE_FILE}: no such file, so nothing was trained here; run `make train`")
    refuse_unfinished([run], asked=False)
    best = best_checkpoint(run) if recipe.checkpoint == "best" else None
    chosen = find_checkpoint(run) if recipe.checkpoint == "last" else best and best.folder
    if chosen is None:
        raise CacheError(f"{run}: found no {recipe.checkpoint} checkpoint, expected one; run `make train`")
    saved = save_inference_part(chosen, folder)
    trained = TrainRun.load(run / RECIPE_FILE)
    places = {"dataset": Path(trained.dataset.name), "run": Path(run.resolve().name), "tuned": None}
    public = trained.model_copy(update={**places, "features": None, "embeddings": None})
    public.save(folder / RECIPE_FILE)
    for name in (ENCODERS_FILE, METRICS_FILE):
        if (run / name).exists():
            shutil.copyfile(run / name, folder / name)
    if recipe.with_encoders:
        for name, place in RunEncoders(run, recipe.encoders, device="cpu").places.items():
            if not place.is_dir():
                raise CacheError(f"with_encoders: {place}: found a weight file, expected a folder with safetensors")
            shutil.copytree(place, folder / WEIGHTS_FOLDER / name, ignore=_neither_json_nor_safetensors)
    state = load_state(saved)
    card = model_card(folder, public, state, repository=recipe.to, weights=recipe.with_encoders)
    (folder / CARD).write_text(card, encoding="utf-8")


def _neither_json_nor_safetensors(folder: str, names: list[str]) -> list[str]:
    return [
        name for name in names if Path(folder, name).is_file() and Path(name).suffix not in (".json", ".safetensors")
    ]
