"""TrainRun: what is turned into what before a training, and what is refused."""

from pathlib import Path

import pytest

from cache.errors import CacheError
from pipelines.__main__ import COMMANDS
from pipelines.experiments.grid import TableRun, cells
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs import train
from pipelines.runs.evaluate import EvalRun
from tests.support.command_line import parse
from tests.support.data.tiny_world import make_world, small_training
from training.checkpoints.folder import steps_taken


@pytest.fixture
def run(tmp_path: Path) -> TrainRun:
    """A training on four videos in batches of ten, by fifteen passes: six steps."""
    recipe = small_training().changed({"loop.steps": 3, "loop.epochs": 15.0})
    return TrainRun(dataset=make_world(tmp_path / "tiny"), run=tmp_path / "run", train=recipe)


def test_a_run_by_epochs_is_the_run_by_its_steps(run: TrainRun):
    """recipe.json has the steps alone, and resumes both by the command and by itself; twice the passes extend it."""
    train.main(run)
    written = TrainRun.load(run.run / "recipe.json")
    assert (written.train.loop.steps, written.train.loop.epochs) == (6, None)
    assert steps_taken(run.run) == (6, 6)
    for again in (run, written):
        train.main(again)
        assert steps_taken(run.run) == (6, 6)
    train.main(run.model_copy(update={"train": run.train.changed({"loop.epochs": 30.0})}))
    assert steps_taken(run.run) == (12, 12)


def test_a_table_by_epochs_has_the_runs_of_its_steps(run: TrainRun):
    """Also where a row's host has its own steps, which epochs replace."""
    table = TableRun(
        train=run,
        evaluate=EvalRun(run=run.run),
        table="table4",
        arms=("plain-alone", "um-alone"),
        hosts={"um": {"loop.steps": 77}},
    )
    steps = run.model_copy(update={"train": run.train.changed({"loop.epochs": None, "loop.steps": 6})})
    same = table.model_copy(update={"train": steps, "hosts": {}})
    assert [cell.run.train for cell in cells(table)] == [cell.run.train for cell in cells(same)]


@pytest.mark.parametrize("command", ["train", "table3"])
def test_steps_beside_epochs_are_refused(command: str):
    """Where both are options, and where a saved recipe has the epochs; each alone is taken."""
    for options in (["--loop.epochs", "30"], ["--loop.steps", "9"]):
        COMMANDS[command].finish(parse(command, "demo", *options), options)
    both = ["--loop.epochs", "30", "--loop.steps=9"]
    with pytest.raises(CacheError, match=r"loop.epochs: found 30 beside loop.steps 9, expected one"):
        COMMANDS[command].finish(parse(command, "demo", *both), both)
