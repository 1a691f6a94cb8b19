"""The promises that the tree itself makes: imports stay light, targets and dependencies stay in step."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("cache", "priors", "training", "pipelines")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "data" not in path.parts)
MAKEFILE = (ROOT / "Makefile").read_text()


def name_of(path: Path) -> str:
    """tests/test_layout.py -> "tests/test_layout.py", wherever the root is."""
    return path.relative_to(ROOT).as_posix()


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter at the root."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_stay_short_and_say_what_they_are(path):
    """About 300 lines a file and 50 a function; a docstring first."""
    source = path.read_text()
    tree = ast.parse(source)
    assert ast.get_docstring(tree)
    assert len(source.splitlines()) <= 330
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"


@pytest.mark.parametrize("room", [path for path in MODULES if path.name == "__init__.py"], ids=name_of)
def test_packages_hold_a_docstring_and_nothing_else(room):
    """No re-exports: an import names the module that has the thing."""
    assert len(ast.parse(room.read_text()).body) == 1


def test_the_start_of_a_command_loads_no_library_of_models():
    """What every `--help` imports before it knows the command: neither torch nor transformers nor pyarrow."""
    heavy = ("torch", "transformers", "gensim", "av", "cv2", "matplotlib", "pyarrow")
    code = f"import sys, pipelines.console, pipelines.presets; print([m for m in {heavy!r} if m in sys.modules])"
    done = run_python(code)
    assert done.stdout.strip() == "[]", done.stderr


def test_training_and_evaluation_need_no_video_and_no_language_model():
    """Their commands run where transformers, av and gensim cannot be imported."""
    code = (
        "import sys\n"
        "for name in ('transformers', 'av', 'gensim', 'cv2', 'torchvision'): sys.modules[name] = None\n"
        "import pipelines.train, pipelines.evaluate, pipelines.experiments.run, pipelines.presets as presets\n"
        "presets.choices(lambda preset: preset.train()), presets.choices(lambda preset: preset.evaluate())"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_every_dependency_is_pinned_exactly():
    """constraints.txt names each dependency once, as name==version, without local or CUDA-only builds."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] != "#")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    names = {re.split(r"[\[<>=;~! ]", requirement)[0] for requirement in wanted}
    assert names <= pins.keys()
    assert not any("+" in version for version in pins.values())
    assert not any(name.startswith(("nvidia", "cuda", "triton")) for name in pins)


def test_every_target_is_phony_and_described():
    """A folder called like a target (priors, cache, training) never stops it, and `make help` tells them all."""
    targets = set(re.findall(r"^([a-z0-9-]+):(?!=)", MAKEFILE, re.M))
    phony = re.search(r"^\.PHONY: (.*?[^\\])$", MAKEFILE, re.M | re.S)
    assert phony
    assert targets == set(phony[1].replace("\\\n", " ").split())
    assert targets - {"help"} == set(re.findall(r"^([a-z0-9-]+):.*  ## .", MAKEFILE, re.M)) - {"help"}


def test_every_target_runs_a_command_that_exists():
    """`python -m pipelines.x` in the Makefile is pipelines/x.py."""
    for module in re.findall(r"-m (pipelines[.\w]*)", MAKEFILE):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), module
