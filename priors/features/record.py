"""The record beside features, encoders.json: which encoders made them, and the same encoders on another machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cache.errors import CacheError
from cache.features import FeatureGrid, FeatureStore
from priors.features.encoder import Encoder
from priors.features.recipes import EncoderRecipe, FeaturesRecipe, RecordedEncoder, RecordedFeatures
from priors.pretrained.model_files import ModelError

ENCODERS_FILE = "encoders.json"


def open_features(folder: Path, recipe: FeaturesRecipe, encoders: Mapping[str, Encoder]) -> FeatureStore:
    """Create or reopen a folder for these encoders. Raises CacheError if it holds features of other encoders."""
    grid = FeatureGrid(
        streams={name: encoder.width for name, encoder in encoders.items()},
        fps=recipe.fps,
        snippet_frames=recipe.snippet_frames,
        snippet_stride=recipe.snippet_stride,
    )
    store = FeatureStore.create(folder, grid)
    made_with = record_of(recipe, encoders)
    note = folder / ENCODERS_FILE
    if not note.exists():
        made_with.save(note)
    elif (found := RecordedFeatures.load(note)).fingerprint() != made_with.fingerprint():
        raise CacheError(
            f"{note}: these features were made with {found.streams}, stored as {found.stored}; asked for are "
            f"{made_with.streams}, stored as {made_with.stored}; delete the folder, or choose another one with --folder"
        )
    return store


def record_of(recipe: FeaturesRecipe, encoders: Mapping[str, Encoder]) -> RecordedFeatures:
    """What encoders.json says of features that these encoders make."""
    streams = {name: encoder.record() for name, encoder in encoders.items()}
    return RecordedFeatures(**recipe.model_dump(exclude={"streams"}), streams=streams)


def recorded_encoders(
    record: RecordedFeatures,
    *,
    models: Mapping[str, str] | None = None,
    folders: Sequence[Path] = (),
    device: str | None = None,
) -> dict[str, Encoder]:
    """The encoders of a record, here. Weights that were a folder or file are looked for by their name in `folders`;
    `models` names the place of a stream's model instead, whatever it is called.

    Raises ModelError if weights are missing or are not those of the record, and CacheError if flow is to be computed by
    a method that is not installed.
    """
    return {
        name: _again(name, stream, (models or {}).get(name), folders, device) for name, stream in record.streams.items()
    }


def _again(
    name: str, stream: RecordedEncoder, place: str | None, folders: Sequence[Path], device: str | None
) -> Encoder:
    on_hub = "/" in stream.model
    if place is None and not on_hub:
        found = next((folder / stream.model for folder in folders if (folder / stream.model).exists()), None)
        if found is None:
            looked = ", ".join(map(str, folders)) or "no folder"
            raise ModelError(
                f"streams.{name}.model: found no {stream.model} in {looked}, expected the weights "
                f"{stream.weights or stream.revision} of kind {stream.kind}, with which the features were made; "
                "copy them there, or name their place"
            )
        place = str(found)
    fields = stream.model_dump(include=set(EncoderRecipe.model_fields))
    chosen = {"model": place, "revision": None} if place is not None else {}
    encoder = Encoder(EncoderRecipe(**{**fields, **chosen}), device=device)
    made_with, here = (stream.weights, encoder.weights) if stream.weights else (stream.revision, encoder.revision)
    if made_with != here:
        raise ModelError(
            f"streams.{name}.model: {encoder.recipe.model}: found the weights {here}, expected {made_with}, with which "
            f"the features were made ({stream.kind}, {stream.model})"
        )
    return encoder
