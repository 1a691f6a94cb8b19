"""A folder of videos and their labels, from import to segments: `make own VIDEOS=folder`.

Each step is a command that can be run alone, too (docs/own-videos.md); finished work is not repeated.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import PositiveInt

from cache.errors import CacheError
from cache.recipe import Recipe
from pipelines.console import duration, note, say, table
from pipelines.own.models import Asked, Models, choose
from pipelines.stages import Stage, Task, run_stage

CHOICE_FILE = "models.json"
"""In the dataset's folder: the models of the first run, which later ones keep."""
_IN_PART = (1,)
"""Exit code of commands that left out single videos: the others go on."""
_REMEDY = (
    "What is finished is kept: mend what the command named, and run `make own` again, with --retrain where videos or "
    "labels have changed since the training."
)
_ALONE = ("--model.no-use-ksm", "--model.no-use-csr", "--model.no-use-dpid")


class OwnRun(Recipe):
    """Which videos, by which models."""

    videos: Path = Path("my_videos")
    """Folder of the videos and of the table of their labels, such as labels.csv."""
    name: str | None = None
    """Name of the dataset and the run: cache/data/NAME and runs/NAME. own when not given, own-tiny with --tiny."""
    models: Annotated[Asked, tyro.conf.arg(name="")] = Asked()
    """Models; chosen among those that this machine has when not given."""
    steps: PositiveInt | None = None
    """Training steps; those of the preset own when not given."""
    retrain: bool = False
    """Train anew, as is needed once videos or labels have changed since the training."""
    dry_run: bool = False
    """Print the models and the commands, and run none."""

    @property
    def named(self) -> str:
        """The name."""
        return self.name or ("own-tiny" if self.models.tiny else "own")

    @property
    def dataset(self) -> Path:
        """Folder of the dataset."""
        return Path("cache/data") / self.named

    @property
    def run(self) -> Path:
        """Folder of the run."""
        return Path("runs") / self.named


def main(recipe: OwnRun) -> int:
    """Print the choice of models, then run every step; 1 if single videos were left out."""
    if not recipe.videos.is_dir():
        raise CacheError(
            f"videos: {recipe.videos}: no such folder; name the folder of your videos: make own VIDEOS=FOLDER"
        )
    if not re.fullmatch(r"[\w-][\w.-]*", recipe.named):
        raise CacheError(f"name: found {recipe.named!r}, expected the name of a folder")
    models = choose(_as_before(recipe))
    table("Models", ["for", "model", "where"], models.rows())
    if recipe.models.tiny:
        note("the tiny models know nothing about these videos: the segments will mean nothing")
    stages = stages_of(recipe, models)
    if recipe.dry_run:
        for stage in stages:
            say(" ".join(("python -m", *stage.tasks[0].arguments)))
        return 0
    if not recipe.models.tiny:
        models.asked().save(recipe.dataset / CHOICE_FILE)
    began, codes = time.monotonic(), dict[str, int]()
    for number, stage in enumerate(stages, start=1):
        say(f"\n== {number}/{len(stages)} {stage.name}")
        codes |= run_stage(stage, environment={}, remedy=_REMEDY)
    say(f"\nDone in {duration(time.monotonic() - began)}; the run is {recipe.run}. Segments of other videos:")
    say(f'make predict ARGS="VIDEO --run {recipe.run}"')
    if left_out := [label for label, code in codes.items() if code]:
        say(f"videos that could not be used were left out; see the failures of {', '.join(left_out)} above")
    return 1 if left_out else 0


def _as_before(recipe: OwnRun) -> Asked:
    """What is asked for, and where nothing is, the models of an earlier run: its features and descriptions are those
    of these models."""
    path = recipe.dataset / CHOICE_FILE
    if recipe.models.tiny or not path.exists():
        return recipe.models
    before = Asked.load(path).model_dump()
    return Asked.model_validate(before | recipe.models.model_dump(exclude_none=True))


def stages_of(recipe: OwnRun, models: Models) -> list[Stage]:
    """Import, features, descriptions, training, segments."""

    def stage(name: str, command: str, *options: str, accepted: tuple[int, ...] = ()) -> Stage:
        arguments = ("pipelines", command, "own", "--dataset", str(recipe.dataset), *options)
        return Stage(name, (Task(command, arguments, accepted),))

    run = ("--run", str(recipe.run))
    steps = () if recipe.steps is None else ("--loop.steps", str(recipe.steps))
    alone = _ALONE if models.describer is None else ()
    stages = [
        stage("import", "import-dataset", "--source", str(recipe.videos)),
        stage("features", "features", *_encoders(models), accepted=_IN_PART),
    ]
    if models.describer is not None:
        named = ("--describer.model", models.describer.model, "--glove.path", str(models.words))
        stages.append(stage("descriptions", "priors", *named, accepted=_IN_PART))
    again = ("--no-resume",) if recipe.retrain else ()
    stages.append(stage("training", "train", *run, *steps, *alone, *again))
    # predictions are asked for by run, not by dataset; a folder of weights is recorded by its name, without its path
    weights = ("--encoders", "rgb", models.encoder.model) if models.encoder.place == "folder" else ()
    predict = ("pipelines", "predict", str(recipe.videos), *run, *weights)
    stages.append(Stage("segments", (Task("predict", predict, _IN_PART),)))
    return stages


def _encoders(models: Models) -> tuple[str, ...]:
    """Options of `make features`."""
    if models.encoder.place == "files":
        return "--encoders", models.encoder.model
    return "--streams.rgb.model", models.encoder.model
