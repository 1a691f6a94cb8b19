"""A describer of a known latency, and a recipe for it: importable by name, so that workers of Ray find it."""

from __future__ import annotations

import time
from pathlib import Path

from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.tables.store import PartStore
from priors.describers.canned import CannedDescriber
from priors.describers.options import TextSettings
from priors.describers.protocol import Describer, Failure, Prepared, Reply, Request
from priors.describers.recipe import DescriberRecipe
from priors.run.recipe import TEXT_VERSION, DescriptionRecipe
from priors.video.frames import SAMPLER_VERSION, FramesRecipe

SETTINGS = DescriberRecipe(model="canned", batch_size=4)
RECIPE = DescriptionRecipe(
    model="canned",
    model_revision="1",
    describer=TextSettings(key_tokens=32, complete_tokens=64),
    frames=FramesRecipe(count=4),
    sampler_version=SAMPLER_VERSION,
    text_version=TEXT_VERSION,
    key_prompt="What happens in {cls}?",
    complete_prompt="What happens in {cls}, in detail?",
)


class FixedLatency(CannedDescriber):
    """Answers from prompt and pixels alone; a batch takes `seconds` in which the processor is free."""

    def __init__(self, seconds: float) -> None:
        super().__init__(answer, model_id=RECIPE.model, model_revision=RECIPE.model_revision)
        self.seconds = seconds

    def describe(self, prepared: Prepared) -> list[Reply | Failure]:
        """Sleep, then answer."""
        time.sleep(self.seconds)
        return super().describe(prepared)


def answer(request: Request) -> str:
    """A text that tells which pixels were seen."""
    return f"{request.prompt} brightness {request.frames.rgb.mean():.3f} at {request.frames.seconds.round(2).tolist()}"


def load(recipe: DescriberRecipe, *, seconds: float = 0.0) -> Describer:
    """What `make_describer` is to real models."""
    return FixedLatency(seconds)


def open_store(root: Path) -> PartStore:
    """The store of descriptions at `root`."""
    return PartStore.create(root, RECIPE, DESCRIPTIONS, key=DESCRIPTION_KEY)
