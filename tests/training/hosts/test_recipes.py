"""Hosts outside the repository, as docs/hosts.md has it: named by module and class, and found again in files."""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipelines.__main__ import COMMANDS, choices, main
from pipelines.command_line import read_recipe
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs import evaluate, train
from tests.support.data.toy_data import save_toy
from tests.support.paths import ROOT
from training.checkpoints.checkpoint import load_state
from training.checkpoints.folder import find_checkpoint
from training.errors import TrainingError
from training.hosts.host import BaseHostRecipe
from training.hosts.plain import PlainRecipe
from training.hosts.recipes import default_recipe
from training.model.mllm4wtal import ModelRecipe

DOCUMENT = (ROOT / "docs/hosts.md").read_text()
SECTION = DOCUMENT.partition("### A host outside the repository")[2].partition("\n## ")[0]
KIND = "centres:CentresRecipe"
BROKEN = """
from training.hosts.host import BaseHostRecipe
from training.hosts.plain import PlainRecipe

number = 3

class NoBuild(BaseHostRecipe):
    width: int = 3

class Demanding(PlainRecipe):
    rate: float
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the host of the document, from which modules are imported."""
    (tmp_path / "centres.py").write_text(re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.M | re.S)[0])
    (tmp_path / "broken_hosts.py").write_text(BROKEN)
    (tmp_path / "failing_host.py").write_text("raise RuntimeError('no such device')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("centres", "broken_hosts"):
        sys.modules.pop(name, None)


def documented(target: str) -> list[str]:
    """ARGS of the section's command of that target."""
    return shlex.split(re.findall(rf'^make {target} ARGS="(.*)"$', SECTION, re.M)[0])


def asked(command: str, *arguments: str) -> object:
    """The recipe that the demo's command has with these options."""
    given = ["demo", *arguments]
    return read_recipe(choices(COMMANDS[command], given), given, prog=command)[0]


def test_the_documented_host_is_trained_and_found_again(folder: Path):
    """`make train` and `make eval` of the document on the toy data; recipe.json and checkpoint name the class."""
    save_toy(folder / "data")
    tiny = ("--dataset", "data", "--data.num-snippets", "16", "--data.num-pairs", "1", "--data.singles", "2")
    host_alone = (f"--model.no-use-{part}" for part in ("ksm", "csr", "dpid", "head"))
    options = [*documented("train"), *tiny, *host_alone, "--model.host.width", "8", "--loop.steps", "2"]
    run = folder / "runs/outside"
    for _ in range(2):  # the second resumes from the first one's checkpoint
        recipe = asked("train", *options)
        assert isinstance(recipe, TrainRun)
        train.main(recipe)
        sys.modules.pop("centres")  # as in another process
        checkpoint = find_checkpoint(run)
        assert checkpoint is not None
        assert load_state(checkpoint).step == 2
    for file, place in ((run / "recipe.json", "train"), (run / "checkpoint/step-00000002/state.json", "recipe")):
        host = json.loads(file.read_text())[place]["model"]["host"]
        assert host == {"width": 8, "kind": KIND}
    found = asked("eval", *documented("eval"))
    assert isinstance(found, evaluate.EvalRun)
    sys.modules.pop("centres")
    evaluate.main(found)
    assert (run / "metrics.json").exists()


@pytest.mark.usefixtures("folder")
def test_a_recipe_outside_is_told_by_its_kind():
    """Read and written, given as fields or made in Python, it is the same; its kind is in its fingerprint."""
    model = ModelRecipe.model_validate({"host": {"kind": KIND, "width": 8}})
    assert model.canonical() == {"host": {"kind": KIND, "width": 8}}
    assert ModelRecipe.model_validate_json(model.model_dump_json()) == model
    made = sys.modules["centres"].CentresRecipe(width=8)
    assert made.kind == "centres"
    assert ModelRecipe(host=made) == model
    assert isinstance(model.host, type(made))
    assert model.changed({"host.width": 4}).host.width == 4
    host = model.host.build(streams={"rgb": 6}, num_classes=2)
    assert host(torch.zeros(1, 3, 6), torch.ones(1, 3, dtype=torch.bool)).cas.shape == (1, 3, 3)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing_module:Recipe", "missing_module:Recipe: cannot import missing_module: ModuleNotFoundError"),
        ("failing_host:Recipe", "cannot import failing_host: RuntimeError: no such device.*its module run"),
        ("broken_hosts:Absent", "found nothing of that name in broken_hosts, expected a class that derives from"),
        ("broken_hosts:number", "found 3 in broken_hosts, expected a class"),
        ("broken_hosts:NoBuild", "NoBuild.*expected a class that derives from .*BaseHostRecipe and defines build"),
        ("broken_hosts:BaseHostRecipe", "expected a class that derives from"),
        ("broken_hosts:Demanding", "found no default of rate, expected one of every field"),
        ("os.path:a:b", "found 'os.path:a:b', expected MODULE:CLASS"),
        ("plane", "found 'plane', expected one of plain, co2net, .*or MODULE:CLASS"),
    ],
)
def test_what_is_no_host_is_one_message(kind: str, message: str):
    """Whatever is wrong with it."""
    with pytest.raises(TrainingError, match=message):
        default_recipe(kind)


def test_a_module_that_is_gone_is_named_by_whatever_reads_its_run():
    """A recipe that names it is an error of its own, and no list of what its fields should be."""
    with pytest.raises(TrainingError, match="host gone:Recipe: cannot import gone"):
        ModelRecipe.model_validate_json('{"host": {"kind": "gone:Recipe"}}')


def test_a_local_class_cannot_be_found_again():
    """It is refused where a recipe is made of it, not when the run is read."""

    class Local(PlainRecipe):
        """No module has it."""

    assert issubclass(Local, BaseHostRecipe)
    with pytest.raises(TrainingError, match=r"found .*<locals>.Local', expected MODULE:CLASS"):
        ModelRecipe(host=Local())


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("gone:x:y", "found 'gone:x:y', expected MODULE:CLASS"),
        ("gone:x", "host gone:x: cannot import gone"),
        ("dleu", "invalid choice 'dleu'"),
    ],
)
def test_the_command_line_says_what_is_wrong(named: str, message: str, capsys: pytest.CaptureFixture[str]):
    """One message and exit code 2, before anything is read."""
    with pytest.raises(SystemExit) as ended:
        main(["train", "demo", "--host", named])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
