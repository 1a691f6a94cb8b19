"""What a user chooses for the priors stage, and the part of it that changes the texts."""

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


class PromptsRecipe(Recipe):
    """What is asked; `{cls}` stands for the action class."""

    key: str = template("key")
    """Asks for one sentence: the key description."""
    complete: str = template("complete")
    """Asks for the detail: the complete description."""

    @field_validator("key", "complete")
    @classmethod
    def _names_the_class(cls, text: str) -> str:
        if "{cls}" not in text:
            raise ValueError("a prompt must hold {cls}, which stands for the action class")
        return text


class RayRecipe(Recipe):
    """How the work is spread over a Ray cluster."""

    address: Annotated[str | None, RUN_ONLY] = None
    """Of a running cluster (auto, or host:port); None starts Ray on this machine alone."""
    replicas: Annotated[PositiveInt | None, RUN_ONLY] = None
    """Copies of the model; None is as many as there are GPUs for, or one where there is none."""
    gpus_per_replica: Annotated[NonNegativeFloat | None, RUN_ONLY] = None
    """GPUs of one copy; more than 1 spreads the model over them. None is 1 where the cluster has GPUs, else 0."""
    cpus_per_replica: Annotated[PositiveInt | None, RUN_ONLY] = None
    """Processor cores that one copy is counted with. None is one for each process of a copy: itself, with the thread
    that prepares its batches, and its `decode.workers`; or all cores of the largest machine, where it has fewer."""
    videos_per_unit: Annotated[PositiveInt, RUN_ONLY] = 16
    """Videos that a copy takes at once, and writes as one part; a kill loses no more than that."""


class RunRecipe(Recipe):
    """How the stage runs. Nothing here changes a text."""

    decode: Annotated[DecodeRecipe, RUN_ONLY] = DecodeRecipe()
    """Decoding ahead of the model."""
    write_seconds: Annotated[PositiveFloat, RUN_ONLY] = 10.0
    """Finished rows are written this often; a kill loses no more than that."""
    engine: Annotated[Literal["local", "ray"], RUN_ONLY] = "local"
    """local: this process. ray: a Ray cluster, or all of this machine through Ray (`pip install ray[data]`)."""
    ray: Annotated[RayRecipe, RUN_ONLY] = RayRecipe()
    """Only for engine ray."""
    num_shards: Annotated[PositiveInt, RUN_ONLY] = 1
    """Processes that share the work without Ray, each started by itself with its own shard_index."""
    shard_index: Annotated[NonNegativeInt, RUN_ONLY] = 0
    """Which of them this one is, from 0."""
    again: tuple[Flag, ...] = ()
    """Ask again for descriptions with these flags, with the describer's settings for that."""
    check_videos: CheckVideos = "size"
    """How videos that were replaced since they were described are noticed: by their size, their stamp (reads 128 KiB of
    each), or not at all. Replaced ones are described anew."""
    stop_after: Annotated[NonNegativeInt, RUN_ONLY] = 50
    """Stop when so many requests in a row fail in the model; 0 never stops."""

    @property
    def shard(self) -> Shard | None:
        """The shard that this process is; None where there is but one. Raises CacheError if the index is none."""
        shard = Shard(self.shard_index, self.num_shards)
        return shard if shard.count > 1 else None


class PriorsRecipe(Recipe):
    """The whole priors stage: what to describe, with which model, and which word vectors."""

    data: DataRecipe
    describer: DescriberRecipe = DescriberRecipe()
    frames: FramesRecipe = FramesRecipe()
    prompts: PromptsRecipe = PromptsRecipe()
    glove: GloveRecipe
    embed: EmbedOptions = EmbedOptions()
    run: RunRecipe = RunRecipe()


class DescriptionRecipe(Recipe):
    """Everything that changes the text of a description, and nothing else: its fingerprint names the folder."""

    model: str
    """Hub id, or name of the folder."""
    model_revision: str
    """Commit, or hash over the folder's configuration and weights."""
    describer: TextSettings
    """Of the describer."""
    frames: FramesRecipe
    sampler_version: int
    key_prompt: str
    complete_prompt: str
    text_version: int

    @classmethod
    def of(cls, describer: DescriberRecipe, frames: FramesRecipe, prompts: PromptsRecipe) -> DescriptionRecipe:
        """The recipe of what these would write, without loading the model. Raises ModelError if there is none."""
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
        """The prompt of one key, with the name of the class as it is."""
        text = self.key_prompt if kind == "key" else self.complete_prompt
        return text.replace("{cls}", action_class)

    def max_new_tokens(self, kind: Kind) -> int:
        """Most new tokens of one kind."""
        return self.describer.key_tokens if kind == "key" else self.describer.complete_tokens


def again_settings(describer: DescriberRecipe) -> dict[str, JsonValue]:
    """What differs from the usual settings of a text that is asked for again."""
    return {"generation": describer.retry.model_dump(mode="json")}
