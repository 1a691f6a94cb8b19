"""Run `generate` on a folder with a slow canned describer, to be killed: python -m slow_generate <folder>."""

import sys
import time
from pathlib import Path
from typing import Any

from cache.annotations import Dataset
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.tables.store import PartStore
from priors.describers.canned import CannedDescriber
from priors.describers.options import TextSettings
from priors.describers.protocol import Describer, Request
from priors.describers.recipe import DescriberRecipe
from priors.run.generate import LocalEngine, OnProgress, Summary, generate
from priors.run.recipe import TEXT_VERSION, DescriptionRecipe, RunRecipe
from priors.video.decode_pool import DecodeRecipe
from priors.video.frames import SAMPLER_VERSION, FramesRecipe

RECIPE = DescriptionRecipe(
    model="canned",
    model_revision="1",
    describer=TextSettings(dtype="float32", key_tokens=8, complete_tokens=20),
    frames=FramesRecipe(count=3),
    sampler_version=SAMPLER_VERSION,
    text_version=TEXT_VERSION,
    key_prompt="{cls}?",
    complete_prompt="{cls}, in detail?",
)


def answer(request: Request) -> str:
    """A text that depends on prompt and pixels alone."""
    return f"{request.prompt} brightness {request.frames.rgb.mean():.3f} at {request.frames.seconds.round(2).tolist()}"


def open_store(folder: Path) -> PartStore:
    """The store of descriptions below `folder`."""
    return PartStore.create(folder / "descriptions", RECIPE, DESCRIPTIONS, key=DESCRIPTION_KEY)


def describe(
    dataset: Dataset,
    store: PartStore,
    describer: Describer,
    *,
    batch_size: int = 8,
    recipe: DescriptionRecipe = RECIPE,
    on_progress: OnProgress | None = None,
    subset: str = "training",
    **options: Any,
) -> Summary:
    """`generate` in this process: options are those of RunRecipe; videos are decoded here unless they say otherwise."""
    run = RunRecipe(**{"decode": DecodeRecipe(workers=0), **options})
    settings = DescriberRecipe(model="canned", batch_size=batch_size)
    engine = LocalEngine(lambda: describer, recipe, settings, run)
    return generate(dataset, subset, store, engine, run, on_progress=on_progress)


def run(folder: Path, *, pause: float) -> Summary:
    """Describe what is missing; each batch takes `pause` seconds and is written at once."""

    def slow(request: Request) -> str:
        time.sleep(pause / 3)
        return answer(request)

    describer = CannedDescriber(slow, model_id="canned", model_revision="1")
    dataset = Dataset.load(folder / "annotations.json")
    return describe(dataset, open_store(folder), describer, batch_size=3, write_seconds=1e-3)


if __name__ == "__main__":
    run(Path(sys.argv[1]), pause=0.06)
