"""Every host inside the whole model, trained by the trainer; and the host that docs/hosts.md adds."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipelines.experiments.arms import plan_of
from tests.support.data.toy_data import save_toy, tiny_recipe, toy_training_data
from tests.support.models.small_hosts import KINDS, RECIPES
from tests.support.paths import ROOT
from training.batches.data import WtalData
from training.checkpoints.checkpoint import load_trained
from training.hosts.recipes import HOST_TITLES, HostKind
from training.inference import draw_curves
from training.loop.fit import fit
from training.loop.trainer import Trainer
from training.model.distillation import DpidRecipe
from training.recipe import TrainRecipe

DOCUMENT = (ROOT / "docs/hosts.md").read_text()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


def recipe_of(kind: str) -> TrainRecipe:
    """Everything on, two steps, all branches at once."""
    recipe = tiny_recipe(host=RECIPES[kind], dpid=DpidRecipe(schedule="joint"))
    return recipe.model_copy(update={"loop": recipe.loop.model_copy(update={"steps": 2})})


@pytest.mark.parametrize("kind", KINDS)
def test_training_resumes_bit_for_bit(data: WtalData, tmp_path: Path, kind: str):
    """With KSM, CSR, distillation and head: finite losses, and after a stop the weights of a run that never stopped."""
    recipe, seen = recipe_of(kind), set()
    whole = fit(data, recipe, run=tmp_path / "whole", progress=lambda done, total, terms: seen.update(terms))
    assert {name.split(".")[0] for name in seen} == {"host", "ksm", "csr", "dpid", "head", "gradient_norm"}
    stopped = Trainer(data, recipe, run=tmp_path / "parts")
    assert all(np.isfinite(value) for value in stopped.advance().values())
    stopped.save({})
    parts = fit(data, recipe, run=tmp_path / "parts", resume=True)
    one, other = load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    trained = load_trained(parts)
    curves, candidates = draw_curves(trained, "v0", np.random.default_rng(0).normal(size=(9, 10)))
    assert candidates is not None
    for values in (curves.cas, curves.attention, curves.video_scores):
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (values <= 1).all()
    assert (curves.cas.sum(-1) <= 1 + 1e-6).all()


def document(language: str) -> list[str]:
    """The document's blocks of code."""
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.M | re.S)


CENTRES, FEW_STEPS, SQUARED = document("python")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which somebody has followed the document to the letter."""
    root = tmp_path_factory.mktemp("extended")
    for name in ("cache", "pipelines"):
        (root / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "training", root / "training", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", root / "pyproject.toml")
    support = (f"support/{name}.py" for name in ("models/small_hosts", "plain/losses", "shape_checks"))
    for name in ("training/hosts/test_hosts.py", "conftest.py", *support):
        (root / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "tests" / name, root / "tests" / name)
    (root / "training/hosts/centres.py").write_text(CENTRES)
    (root / "training/hosts/squared_delu.py").write_text(SQUARED)
    (root / "few_steps.py").write_text(FEW_STEPS)
    imported, _, names = document("text")[0].splitlines()
    path, before = root / "training/hosts/recipes.py", names.replace(" | CentresRecipe", "")
    source = path.read_text()
    assert before in source
    squared = "from training.hosts.squared_delu import SquaredDeluRecipe"
    anchor = "from training.hosts.co2net import"
    source = source.replace(anchor, f"{imported}\n{squared}\n{anchor}", 1)
    path.write_text(source.replace(before, names.replace("CentresRecipe", "CentresRecipe | SquaredDeluRecipe")))
    save_toy(root / "data")
    return root


def run_in(root: Path, *command: str) -> str:
    """What a command of the copy's own prints; it must end well."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_options(target: str) -> list[str]:
    """ARGS of the document's first command of that target."""
    section = DOCUMENT.partition("## How to add one")[2].partition("\n## ")[0]
    return shlex.split(re.findall(rf'^make {target} ARGS="(.*)"$', section, re.M)[0])


USE = """
import json, pathlib, runpy, sys
import few_steps
from pipelines.experiments.arms import plan_of

rows = [(arm.name, arm.title) for arm in plan_of("table4").arms]
print(json.dumps({"rows": rows, "losses": few_steps.train_host(few_steps.data_of(pathlib.Path("data")))}))
sys.argv[0:1] = ["pipelines", "train"]
runpy.run_module("pipelines", run_name="__main__", alter_sys=True)
"""
"""The rows of table 4, the document's script, and then `make train` with the options of the command line."""


@pytest.fixture(scope="module")
def used(extended: Path) -> dict[str, Any]:
    """What USE tells, after the document's `make train` on the toy data."""
    tiny = ["--loop.steps", "2", "--data.num-snippets", "16", "--data.num-pairs", "1", "--data.singles", "2"]
    told = run_in(extended, "-c", USE, "demo", "--dataset", "data", *make_options("train"), *tiny)
    return json.loads(told.splitlines()[0])


def test_the_documented_host_is_an_option(extended: Path, used: dict[str, Any]):
    """The document's `make train` trains it with everything plugged on, and says so in recipe.json."""
    model = json.loads((extended / "runs/centres/recipe.json").read_text())["train"]["model"]
    assert model["host"] == {"kind": "centres", "width": 16}
    assert all(model[part] for part in ("use_ksm", "use_csr", "use_dpid", "use_head"))


def test_the_documented_host_has_rows_in_table_4(used: dict[str, Any]):
    """Both of the document's rows exist, under the title of the recipe; those of the other hosts are as they were."""
    before = [[arm.name, arm.title] for arm in plan_of("table4").arms]
    assert used["rows"][: len(before)] == before
    assert [title for _, title in used["rows"][len(before) :]] == [
        title + more for title in ("class centres", "DELU, squared") for more in ("", " + MLLM4WTAL")
    ]
    option, *rows, last = make_options("table4")
    assert (option, last) == ("--arms", "--unpublished-settings")
    assert set(rows) <= {name for name, _ in used["rows"]}


def test_the_documented_code_learns(used: dict[str, Any]):
    """The script as it stands trains the host on its own, and its loss falls."""
    assert np.mean(used["losses"][-5:]) < np.mean(used["losses"][:5]) - 0.2
    assert 35 <= len(CENTRES.splitlines()) <= 65


def test_the_documented_host_passes_the_tests_of_all_hosts(extended: Path):
    """Without being named in a test, and so does the one that derives from DELU."""
    chosen = ("tests/training/hosts/test_hosts.py", "-k", "centres or squared_delu")
    told = run_in(extended, "-m", "pytest", "-v", "-p", "no:cacheprovider", *chosen)
    assert all(told.count(f"[{kind}] PASSED") >= 5 for kind in ("centres", "squared_delu"))


def test_the_documented_code_passes_the_type_checker(extended: Path):
    """Of `make types`: hosts of their own and derived ones, the list of hosts and the script."""
    version = [sys.executable, "-m", "pyright", "--version"]
    if subprocess.run(version, capture_output=True, check=False).returncode != 0:
        pytest.skip("pyright cannot be run: it fetches itself the first time, as `make types` does")
    files = ("few_steps.py", *(f"training/hosts/{name}.py" for name in ("centres", "squared_delu", "recipes")))
    assert "0 errors" in run_in(extended, "-m", "pyright", "--pythonpath", sys.executable, *files)


def test_titles_tell_hosts_apart():
    """A host that derives from another and has no title of its own would have that of its parent."""
    assert len(set(HOST_TITLES.values())) == len(HOST_TITLES)


def test_the_document_knows_every_host():
    """Each kind that a recipe can have is a row of its first table."""
    assert set(re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.M)) == set(KINDS)
    assert set(get_args(HostKind)) == set(KINDS)
