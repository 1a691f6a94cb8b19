"""One run on Ray with a canned describer: python -m ray_generate <folder>."""

import functools
import sys
from pathlib import Path

from slow_generate import RECIPE, answer, open_store

from cache.annotations import Dataset
from priors.decode_pool import DecodeRecipe
from priors.describer import CannedDescriber, Describer, DescriberRecipe
from priors.generate import generate
from priors.ray_engine import RayEngine
from priors.recipe import RayRecipe, RunRecipe


def load(recipe: DescriberRecipe) -> Describer:
    """Found by its name in the workers."""
    return CannedDescriber(answer, model_id="canned", model_revision="1")


def run(folder: Path) -> None:
    """Describe what is missing, and print what each unit came to."""
    settings = RunRecipe(decode=DecodeRecipe(workers=1), ray=RayRecipe(videos_per_unit=3))
    engine = RayEngine(DescriberRecipe(model="canned", batch_size=4), RECIPE, settings, load=functools.partial(load))
    dataset = Dataset.load(folder / "annotations.json")
    show = functools.partial(print, flush=True)
    summary = generate(
        dataset, "training", open_store(folder), engine, settings, on_progress=lambda state: show("done", state.done)
    )
    show("end", summary.described, summary.failed, engine.replicas)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
