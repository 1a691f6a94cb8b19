"""Recipes from the command line: presets, saved recipes, options that change either, and answers to wrong usage."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from cache.errors import CacheError
from cache.files.stopping import STOPS
from cache.recipe import Recipe
from pipelines.__main__ import COMMANDS, main
from pipelines.command_line import read_recipe
from pipelines.presets.demo import Demo
from pipelines.presets.known import choices
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs.evaluate_file import EvaluateFileRun
from tests.support.command_line import parse

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
    with pytest.raises(CacheError, match="--recipe: found no file name after it"):
        read("demo", "--recipe")


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signal handlers are as before when the test ends."""
    before = {signum: signal.getsignal(signum) for signum in STOPS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that is refused prints; exit code 2, no traceback, and nothing on stdout."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if command.start is not None])
def test_every_command_asks_for_its_preset(capsys: pytest.CaptureFixture[str], command: str):
    """In one line with the presets that it has; those of the demo alone have no others."""
    presets = "demo, smoke" if COMMANDS[command].demo else "demo, smoke, own, thumos14, activitynet12, activitynet13"
    prog = f"python -m pipelines {command}"
    told = f"{prog}: found no preset; expected one of {presets} (`{prog} --help` describes them)\n"
    assert answer(capsys, command) == told


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["eval", "thumos"], "found no preset 'thumos'; did you mean thumos14?"),
        (["eval", "kinetics"], "found no preset 'kinetics'; expected one of demo, smoke, own"),
        (["eval", "--run", "runs/a"], "found no preset before --run; expected one of demo, smoke, own"),
        (["import-dataset", "thumos"], "found no preset 'thumos'; did you mean thumos14?"),
        (["demo", "own"], "found no preset 'own'; expected one of demo, smoke ("),
    ],
)
def test_a_wrong_preset_is_answered_in_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str):
    """With the nearest name, or all of them."""
    said = answer(capsys, *arguments)
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "demo", "--loop.stepz", "3"], ("--loop.stepz", "Perhaps you meant", "--loop.steps INT")),
        (["train", "demo", "--loop.steps", "x"], ("--loop.steps", "'x'")),
        (["train", "demo", "--host", "dleu"], ("invalid choice 'dleu'", "'delu'")),
        (["eval", "demo", "--run"], ("Missing value", "--run")),
        (["evaluate-file"], ("--detections PATH", "--annotations PATH", "evaluate-file --help")),
        (["import-dataset", "--layoutt", "um"], ("--layoutt", "--layout")),
    ],
)
def test_a_wrong_option_is_named(capsys: pytest.CaptureFixture[str], arguments: list[str], told: tuple[str, ...]):
    """With what was meant, or what is missing."""
    said = answer(capsys, *arguments)
    assert [text for text in told if text not in said] == []


def test_a_wrong_command_is_named(capsys: pytest.CaptureFixture[str]):
    """With the nearest name."""
    assert answer(capsys, "trian") == "python -m pipelines: found no command 'trian'; did you mean train?\n"


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["--loop.steps", "3", "--help"]])
def test_help_begins_with_what_the_command_does(capsys: pytest.CaptureFixture[str], arguments: list[str]):
    """With and without a preset; exit code 0."""
    with pytest.raises(SystemExit) as ended:
        read_recipe(CHOICES, arguments, prog="train", about=COMMANDS["train"].about)
    shown = capsys.readouterr().out
    assert not ended.value.code
    assert shown.partition("\n\n")[2].startswith(COMMANDS["train"].about)


def fields(recipe: Recipe) -> Iterator[tuple[str, FieldInfo]]:
    """All fields of a recipe and of the recipes in it, which become its options."""
    for name, field in type(recipe).model_fields.items():
        yield name, field
        value = getattr(recipe, name)
        for inner in value.values() if isinstance(value, dict) else (value,):
            if isinstance(inner, Recipe):
                yield from fields(inner)


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if command.start is not None])
def test_every_option_has_a_help_in_one_paragraph(command: str):
    """Which `--help` wraps to the terminal, wherever the lines of the docstring end in the source."""
    helps = {name: field.description or "" for name, field in fields(parse(command, "demo"))}
    assert [name for name, text in helps.items() if not text or "\n" in text or "  " in text] == []
