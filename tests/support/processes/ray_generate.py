"""One run on Ray with a canned describer: python -m ray_generate <folder>."""

import functools
import sys
from pathlib import Path

from cache.annotations import Dataset
from priors.describers.canned import CannedDescriber
from priors.describers.protocol import Describer
from priors.describers.recipe import DescriberRecipe
from priors.run.generate import generate
from priors.run.ray_engine import RayEngine
from priors.run.recipe import RayRecipe, RunRecipe
from priors.video.decode_pool import DecodeRecipe
from tests.support.processes.slow_generate import RECIPE, answer, open_store


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
