"""The configs of the priors stage: all that a user can set, and the settings that change a text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import JsonValue, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from cache.annotations import Dataset
from cache.files.lock import Shard
from cache.recipe import RUN_ONLY, Recipe
from cache.tables.schema import Flag, Kind
from priors.describers.options import TextSettings
from priors.describers.recipe import DescriberRecipe, describer_identity, text_settings
from priors.run.plan import CheckVideos
from priors.run.prompts import template
from priors.video.decode_pool import DecodeRecipe
from priors.video.frames import SAMPLER_VERSION, FramesRecipe
from priors.words.embed import EmbedOptions
from priors.words.glove import GloveRecipe

TEXT_VERSION = 1
"""Increased when the same reply of a model would be stored as another description."""


class DataRecipe(Recipe):
    """Which videos are described, and where the results go."""

    folder: Path
    """The dataset's folder: has annotations.json and videos/; descriptions/ and embeddings/ are written into it."""
    annotations: Path | None = None
    """Annotation file in ActivityNet's layout; None is annotations.json in the folder."""
    videos: Path | None = None
    """Folder of the video files; None is videos/ beside the annotations."""
    subset: str = "training"
    """The subset to describe. Only training videos need descriptions."""

    def dataset(self) -> Dataset:
        """Read the annotations. Raises CacheError if they cannot be read."""
        return Dataset.load(self.annotations or self.folder / "annotations.json", videos=self.videos)


class PromptsRecipe(Recipe):
    """Prompts of the captioning model; `{cls}` stands for the action class."""

    key: str = template("key")
    """Prompt of the key description, one sentence."""
    complete: str = template("complete")
    """Prompt of the complete description, in detail."""

    @field_validator("key", "complete")
    @classmethod
    def _names_the_class(cls, text: str) -> str:
        if "{cls}" not in text:
            raise ValueError("a prompt must hold {cls}, which stands for the action class")
        return text


class RayRecipe(Recipe):
    """How the work is distributed over a Ray cluster."""

    address: Annotated[str | None, RUN_ONLY] = None
    """Address of a running cluster (auto, or host:port); None starts Ray on this machine alone."""
    replicas: Annotated[PositiveInt | None, RUN_ONLY] = None
    """Copies of the model; None: as many as there are GPUs for, or one without GPUs."""
    gpus_per_replica: Annotated[NonNegativeFloat | None, RUN_ONLY] = None
    """GPUs per copy; more than 1 splits the model over them. None: 1 if the cluster has GPUs, else 0."""
    cpus_per_replica: Annotated[PositiveInt | None, RUN_ONLY] = None
    """CPU cores reserved per copy. None: one for each of its processes (itself, with the thread that prepares its
    batches, and its `decode.workers`), or all cores of the largest machine if that has fewer."""
    videos_per_unit: Annotated[PositiveInt, RUN_ONLY] = 16
    """Videos that a copy processes as one task and writes as one Parquet file; at most this much work is lost by a
    kill."""


class RunRecipe(Recipe):
    """How the stage runs. These settings do not change a text."""

    decode: Annotated[DecodeRecipe, RUN_ONLY] = DecodeRecipe()
    """Decoding ahead of the model."""
    write_seconds: Annotated[PositiveFloat, RUN_ONLY] = 10.0
    """Seconds between writes of finished rows; at most this much work is lost by a kill."""
    engine: Annotated[Literal["local", "ray"], RUN_ONLY] = "local"
    """local: this process. ray: a Ray cluster, or all of this machine through Ray (`pip install ray[data]`)."""
    ray: Annotated[RayRecipe, RUN_ONLY] = RayRecipe()
    """Settings of engine ray."""
    num_shards: Annotated[PositiveInt, RUN_ONLY] = 1
    """Number of processes that share the work without Ray, each started separately with its own shard_index."""
    shard_index: Annotated[NonNegativeInt, RUN_ONLY] = 0
    """Index of this process among them, from 0."""
    again: tuple[Flag, ...] = ()
    """Regenerate descriptions with these flags, with the settings of describer.retry."""
    check_videos: CheckVideos = "size"
    """How to detect videos that were replaced since they were described: by size, by stamp (reads 128 KiB of each
    file), or not at all (no). Replaced videos are described again."""
    stop_after: Annotated[NonNegativeInt, RUN_ONLY] = 50
    """Stop after this many failed requests in a row; 0 never stops."""

    @property
    def shard(self) -> Shard | None:
        """The shard of this process; None if there is only one. Raises CacheError if the index is invalid."""
        shard = Shard(self.shard_index, self.num_shards)
        return shard if shard.count > 1 else None


class PriorsRecipe(Recipe):
    """The config of the priors stage: videos, captioning model, frames, prompts and word vectors."""

    data: DataRecipe
    describer: DescriberRecipe = DescriberRecipe()
    frames: FramesRecipe = FramesRecipe()
    prompts: PromptsRecipe = PromptsRecipe()
    glove: GloveRecipe
    embed: EmbedOptions = EmbedOptions()
    run: RunRecipe = RunRecipe()


class DescriptionRecipe(Recipe):
    """All settings that change the text of a description, and no others: their fingerprint (config hash) names the
    folder."""

    model: str
    """Hub id, or name of the folder."""
    model_revision: str
    """Commit, or hash over the folder's configuration and weights."""
    describer: TextSettings
    """Settings of the describer that change a text."""
    frames: FramesRecipe
    sampler_version: int
    key_prompt: str
    complete_prompt: str
    text_version: int

    @classmethod
    def of(cls, describer: DescriberRecipe, frames: FramesRecipe, prompts: PromptsRecipe) -> DescriptionRecipe:
        """The recipe for these settings, without loading the model. Raises ModelError if the model does not exist."""
        settings = text_settings(describer)
        model, revision = describer_identity(describer)
        return cls(
            model=model,
            model_revision=revision,
            describer=settings,
            frames=frames,
            sampler_version=SAMPLER_VERSION,
            key_prompt=prompts.key,
            complete_prompt=prompts.complete,
            text_version=TEXT_VERSION,
        )

    def prompt(self, kind: Kind, action_class: str) -> str:
        """The prompt of one key; the name of the class is inserted unchanged."""
        text = self.key_prompt if kind == "key" else self.complete_prompt
        return text.replace("{cls}", action_class)

    def max_new_tokens(self, kind: Kind) -> int:
        """Largest number of new tokens for one kind."""
        return self.describer.key_tokens if kind == "key" else self.describer.complete_tokens


def again_settings(describer: DescriberRecipe) -> dict[str, JsonValue]:
    """Settings of a retried text that differ from the usual ones."""
    return {"generation": describer.retry.model_dump(mode="json")}
