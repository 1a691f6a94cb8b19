"""Recipes from the command line: presets, written recipes, and options on top of either."""

from pathlib import Path

import pytest

from cache.errors import CacheError
from pipelines.command_line import read_recipe
from pipelines.presets.demo import Demo
from pipelines.presets.known import choices
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs.evaluate_file import EvaluateFileRun

CHOICES = choices(lambda preset: preset.train_on(None))


def read(*arguments: str) -> tuple[TrainRun, Path | None]:
    """As `make train` reads them."""
    return read_recipe(CHOICES, arguments, prog="train")


def test_a_written_recipe_comes_back_with_options_on_top(tmp_path: Path):
    """With or without the name of a preset before it, which `make` always gives; the host keeps its settings."""
    made = Demo().train_on("um").model_copy(update={"run": tmp_path / "run"})
    made.save(tmp_path / "recipe.json")
    for arguments in (
        ["--recipe", str(tmp_path / "recipe.json")],
        ["thumos14", f"--recipe={tmp_path / 'recipe.json'}"],
    ):
        recipe, target = read(*arguments)
        assert (recipe, target) == (made, None)
    recipe, _ = read("--recipe", str(tmp_path / "recipe.json"), "--loop.steps", "7", "--model.host.margin", "3")
    assert recipe == made.model_copy(update={"train": made.train.changed({"loop.steps": 7, "model.host.margin": 3.0})})


def test_a_recipe_may_be_written_instead_of_followed(tmp_path: Path):
    """And is then the start of another."""
    recipe, target = read("demo", "--loop.steps", "7", "--save-recipe", str(tmp_path / "r.json"))
    assert target == tmp_path / "r.json"
    assert recipe.train.loop.steps == 7


def test_a_command_without_presets_takes_a_recipe_too(tmp_path: Path):
    """The type of its recipe is enough."""
    made = EvaluateFileRun(detections=Path("d.json"), annotations=Path("a.json"))
    made.save(tmp_path / "r.json")
    recipe, _ = read_recipe(EvaluateFileRun, ["--recipe", str(tmp_path / "r.json")], prog="evaluate-file")
    assert recipe == made


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{}", r"is no TrainRun\n  dataset: found"),
        ('{"dataset": "a", "run": "b", "x": 1}', "x:"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, content: str | None, message: str):
    """With the fields that do not fit."""
    if content is not None:
        (tmp_path / "r.json").write_text(content)
    with pytest.raises(CacheError, match=message):
        read("--recipe", str(tmp_path / "r.json"))


def test_an_option_without_its_file_is_refused():
    """Not taken for the recipe of a preset."""
    with pytest.raises(CacheError, match="--recipe: found no file behind it"):
        read("demo", "--recipe")
