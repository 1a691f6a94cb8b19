"""Runs to be stopped by signals, guarded as commands are: python -m stopped_run priors|features|ray <folder>."""

import sys
import time
from pathlib import Path

from cache.annotations import Dataset
from pipelines.console import guarded
from priors.describers.canned import CannedDescriber
from priors.describers.protocol import Request
from priors.features.encode import encode
from priors.features.encoder import load_encoders
from priors.features.recipes import EncoderRecipe, FeaturesRecipe
from priors.features.record import open_features
from priors.video.decode_pool import DecodeRecipe
from tests.support.processes import ray_generate, slow_generate
from tests.support.processes.slow_generate import RECIPE, answer, open_store

PAUSE = 0.1


def describe(folder: Path) -> None:
    """With decoders in processes, and nothing written before the end."""

    def slow(request: Request) -> str:
        time.sleep(PAUSE)
        return answer(request)

    slow_generate.describe(
        Dataset.load(folder / "annotations.json"),
        open_store(folder),
        CannedDescriber(slow, model_id=RECIPE.model, model_revision=RECIPE.model_revision),
        batch_size=2,
        write_seconds=1000,
        decode=DecodeRecipe(workers=2),
        on_progress=lambda state: print("done", state.done, flush=True),
    )


def features(folder: Path) -> None:
    """By a random encoder in `folder`/rgb."""
    recipe = FeaturesRecipe(
        streams={"rgb": EncoderRecipe(model=str(folder / "rgb"))}, fps=10, snippet_frames=4, snippet_stride=4
    )
    encoders = load_encoders(recipe, device="cpu")

    def show(done: int, total: int) -> None:
        time.sleep(PAUSE)
        print("done", done, flush=True)

    videos = Dataset.load(folder / "annotations.json").videos
    encode(videos, open_features(folder / "features", recipe, encoders), recipe, encoders, progress=show)


if __name__ == "__main__":
    work = {"priors": describe, "features": features, "ray": ray_generate.run}[sys.argv[1]]
    sys.exit(guarded(lambda: work(Path(sys.argv[2]))))
