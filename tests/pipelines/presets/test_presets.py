"""Every preset gives every command a recipe that is whole, readable back, and open to options."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS, choices
from pipelines.presets.demo import Demo
from pipelines.presets.known import PRESETS
from tests.support.command_line import parse
from tests.support.paths import ROOT

OFFERED = [
    (name, preset) for name, command in COMMANDS.items() if command.start is not None for preset in choices(command, ())
]


@pytest.mark.parametrize(("command", "name"), OFFERED)
def test_recipes_are_whole_and_come_back_from_json(command, name, tmp_path):
    """The preset alone is enough, and what a run writes down is what it ran with."""
    recipe = parse(command, name)
    recipe.save(tmp_path / "recipe.json")
    assert type(recipe).load(tmp_path / "recipe.json") == recipe


def test_presets_keep_their_data_and_runs_apart():
    """No preset writes where another one does."""
    for place in (lambda preset: preset.dataset, lambda preset: preset.run):
        assert len({place(preset) for preset in PRESETS}) == len(PRESETS)


def test_the_smoke_preset_runs_the_demo_s_stages():
    """What continuous integration runs is the demo but for place and length."""
    demo, smoke = (parse("priors", name).model_dump() for name in ("demo", "smoke"))
    assert demo | {"dataset": smoke["dataset"]} == smoke
    demo, smoke = (parse("train", name).model_dump() for name in ("demo", "smoke"))
    assert demo["train"]["model"] == smoke["train"]["model"]
    assert demo["train"]["loop"]["steps"] > smoke["train"]["loop"]["steps"]


def test_the_demo_asks_for_nothing_that_the_repository_lacks():
    """Its models are folders of the repository, not names of a hub."""
    priors, features = Demo().priors(), Demo().features()
    for model in (priors.describer.model, *(stream.model for stream in features.features.streams.values())):
        assert Path(model).parts[:3] == ("pipelines", "demo", "checkpoints")
    assert priors.glove.path.parts[:3] == ("pipelines", "demo", "checkpoints")


def test_options_change_single_fields():
    """What is not named stays as the preset has it; sections of the training stand without a prefix."""
    before = Demo().train()
    after = parse("train", "demo", "--loop.steps", "7", "--model.no-use-csr", "--model.ksm.queries", "class_name")
    loop = before.train.loop.model_copy(update={"steps": 7})
    ksm = before.train.model.ksm.model_copy(update={"queries": "class_name"})
    model = before.train.model.model_copy(update={"use_csr": False, "ksm": ksm})
    expected = before.train.model_copy(update={"loop": loop, "model": model})
    assert after == before.model_copy(update={"train": expected})


def test_a_typo_is_answered_with_what_was_meant(capsys):
    """Exit code 2, and the option that is nearest."""
    with pytest.raises(SystemExit) as ended:
        parse("train", "demo", "--loop.stpes", "7")
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert "--loop.steps" in captured.out + captured.err


def test_help_says_what_a_field_is(capsys):
    """Presets in the overview; each option with its docstring and default."""
    for arguments in (["--help"], ["demo", "--help"]):
        with pytest.raises(SystemExit):
            parse("priors", *arguments)
    text = " ".join(capsys.readouterr().out.split())
    assert "thumos14" in text
    assert "--describer.model" in text
    assert "Hub id or folder" in text


def test_help_loads_no_transformers():
    """Nobody waits seconds for a list of options."""
    code = (
        "import sys\n"
        "from pipelines.__main__ import main\n"
        "try: main(['priors', 'demo', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('transformers', 'gensim', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
