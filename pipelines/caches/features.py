"""Encode the videos of a dataset as snippet features: one stream or two (RGB and optical flow)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from cache.annotations import Dataset
from cache.recipe import Recipe
from cache.wording import amount
from pipelines.console import progress, say, table
from priors.features.encode import Encoder, FeaturesRecipe, SnippetDecodeRecipe, encode, open_features, videos_of


class FeaturesRun(Recipe):
    """Which videos are encoded, and where the features are written."""

    dataset: Path
    """Folder of the dataset: annotations.json, videos/."""
    videos: Path | None = None
    """Folder of the videos; when not given, videos/ in the dataset's folder or the paths in the annotations."""
    folder: Path | None = None
    """Folder of the features; features/ in the dataset's folder when not given."""
    subsets: tuple[str, ...] = ()
    """Subsets to encode; all when not given."""
    decode: Annotated[SnippetDecodeRecipe, tyro.conf.arg(name="")] = SnippetDecodeRecipe()
    """Parallel decoding."""
    features: Annotated[FeaturesRecipe, tyro.conf.arg(name="")]
    """Encoders and snippets."""


def main(recipe: FeaturesRun) -> int:
    """Encode the videos that have no features yet; 1 if any failed."""
    dataset = Dataset.load(recipe.dataset / "annotations.json", videos=recipe.videos)
    videos = videos_of(dataset, recipe.subsets)
    encoders = {name: Encoder(stream) for name, stream in recipe.features.streams.items()}
    store = open_features(recipe.folder or recipe.dataset / "features", recipe.features, encoders)
    with progress("features") as report:
        done = encode(videos, store, recipe.features, encoders, decode=recipe.decode, progress=report)
    snippets = f"{amount(done.snippets, 'snippet')} of {store.grid.width} numbers"
    say(f"{amount(done.encoded, 'video')} encoded ({snippets}), {done.skipped} already there: {store.folder}")
    if done.partial:
        table("Encoded in part", ["video", "reason"], done.partial)
    if done.failed:
        table("Failures: fix these videos and run the command again", ["video", "reason"], done.failed)
    return 1 if done.failed else 0
