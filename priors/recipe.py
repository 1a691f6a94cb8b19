"""What a user chooses for the priors stage, and the part of it that changes the texts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from cache.annotations import Dataset
from cache.recipe import Recipe
from cache.schema import Kind
from priors.describer import DescriberRecipe, resolve_dtype
from priors.frames import SAMPLER_VERSION, FramesRecipe
from priors.glove import GloveRecipe
from priors.model_files import model_id, resolve_revision
from priors.prompts import template

TEXT_VERSION = 1
"""Raised when the same reply of a model would be stored as another description."""


class DataRecipe(Recipe):
    """Which videos, and where everything made of them lies."""

    folder: Path
    """The dataset's folder: holds annotations.json and videos/, and receives descriptions/ and embeddings/."""
    annotations: Path | None = None
    """Annotation file in ActivityNet's layout; None is annotations.json in the folder."""
    videos: Path | None = None
    """Folder of the video files; None is videos/ beside the annotations."""
    subset: str = "training"
    """The subset to describe. Training is the only one that needs it."""

    def dataset(self) -> Dataset:
        """Read the annotations. Raises CacheError if they cannot be read."""
        return Dataset.load(self.annotations or self.folder / "annotations.json", videos=self.videos)


class PriorsRecipe(Recipe):
    """The whole priors stage: what to describe, with which model, and which word vectors."""

    data: DataRecipe
    describer: DescriberRecipe = DescriberRecipe()
    frames: FramesRecipe = FramesRecipe()
    glove: GloveRecipe
    decode_threads: PositiveInt = 2
    """Videos decoded at once, ahead of the model."""
    write_seconds: PositiveFloat = 2.0
    """Finished rows are written after the first batch that ends this long after the last write."""


class DescriptionRecipe(Recipe):
    """Everything that changes the text of a description, and nothing else: its fingerprint names the folder."""

    model: str
    """Hub id, or name of the folder."""
    model_revision: str
    """Commit, or hash over the folder's configuration and weights."""
    dtype: str
    """Precision of weights and arithmetic."""
    max_pixels: int | None
    """Pixels of a frame that the processor may keep; None is the model's own."""
    frames: FramesRecipe
    sampler_version: int = SAMPLER_VERSION
    key_prompt: str
    complete_prompt: str
    key_tokens: PositiveInt
    """Most new tokens of a key description."""
    complete_tokens: PositiveInt
    """Most new tokens of a complete description."""
    decoding: Literal["greedy"] = "greedy"
    text_version: int = TEXT_VERSION

    @classmethod
    def of(cls, describer: DescriberRecipe, frames: FramesRecipe) -> DescriptionRecipe:
        """The recipe of what these would write, without loading the model. Raises ModelError if there is none."""
        return cls(
            model=model_id(describer.model),
            model_revision=resolve_revision(describer.model, describer.revision),
            dtype=resolve_dtype(describer.dtype),
            max_pixels=describer.max_pixels,
            frames=frames,
            key_prompt=template("key"),
            complete_prompt=template("complete"),
            key_tokens=describer.key_tokens,
            complete_tokens=describer.complete_tokens,
        )

    def prompt(self, kind: Kind, action_class: str) -> str:
        """The prompt of one key."""
        text = self.key_prompt if kind == "key" else self.complete_prompt
        return text.replace("{cls}", action_class)

    def max_new_tokens(self, kind: Kind) -> int:
        """Most new tokens of one kind."""
        return self.key_tokens if kind == "key" else self.complete_tokens
