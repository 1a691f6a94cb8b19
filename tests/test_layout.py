"""The promises that the tree itself makes: imports stay light, targets and dependencies stay in step."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Set
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS
from pipelines.former_names import FORMER
from tests.support.paths import ROOT

ROOMS = ("cache", "priors", "training", "pipelines")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "data" not in path.parts)
MAKEFILE = (ROOT / "Makefile").read_text()


def name_of(path: Path) -> str:
    """tests/test_layout.py -> "tests/test_layout.py", wherever the root is."""
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """cache/layouts/um.py -> cache.layouts.um; the file of a package is the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module_of(path): path for path in MODULES}


def imported_by(name: str) -> set[str]:
    """The modules of the project that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(NAMES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {other for other in found & NAMES.keys() if NAMES[other].name != "__init__.py"} - {name}


def circles(graph: Mapping[str, Set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or not, each sorted."""
    reach = {name: set(others) for name, others in graph.items()}
    changed = True
    while changed:
        changed = False
        for name, others in reach.items():
            further = others.union(*(reach.get(other, set()) for other in others))
            changed |= further != others
            reach[name] = further
    groups = {
        tuple(sorted(o for o in reach[name] if name in reach.get(o, set()))) for name in graph if name in reach[name]
    }
    return sorted(map(list, groups))


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


@pytest.mark.parametrize("package", [path for path in MODULES if path.name == "__init__.py"], ids=name_of)
def test_packages_hold_a_docstring_and_nothing_else(package):
    """No re-exports: an import names the module that has the thing. `pipelines` has its former names told besides."""
    docstring, *rest = ast.parse(package.read_text()).body
    assert isinstance(docstring, ast.Expr)
    told = "from pipelines import former_names\nformer_names.answer()"
    assert "\n".join(map(ast.unparse, rest)) == (told if package == ROOT / "pipelines/__init__.py" else "")


@pytest.mark.parametrize("package", sorted({path.parent for path in MODULES}), ids=name_of)
def test_folders_hold_about_a_dozen_files(package):
    """And say what belongs there."""
    assert (package / "__init__.py").exists()
    assert len(list(package.glob("*.py"))) <= 14


def test_tests_lie_where_the_files_lie_that_they_test():
    """The folder of a test is a folder of the project; what lies in tests/ itself tests the repository as a whole."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    assert {folder for folder in folders if not (ROOT / folder).is_dir()} == set()
    assert {path.name for path in (ROOT / "tests").glob("test_*.py")} == {
        "test_layout.py", "test_readme.py", "test_warnings.py",
    }  # fmt: skip


def test_no_file_imports_its_importer():
    """Not even over a detour, and not even for types alone."""
    assert circles({name: imported_by(name) for name in NAMES}) == []


def test_a_planted_circle_is_found():
    """One of two files, one of three; what only hangs on a circle is not in it."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(graph) == [["a", "b", "c"], ["d", "e"]]


PLANTED = {
    "One way": ("training/batches/data.py", "priors.stage"),
    "Cache:": ("cache/files/atomic.py", "cache.tables.store"),
    "Priors:": ("priors/video/frames.py", "priors.features.snippets"),
    "Training:": ("training/hosts/um.py", "training.model.ksm"),
    "Pipelines:": ("pipelines/runs/train.py", "pipelines.presets.known"),
    "The cache needs no models": ("cache/annotations.py", "torch"),
    "Training lives on the cache alone": ("training/nn/layers.py", "av"),
    "Priors write no Parquet by hand": ("priors/words/embed.py", "pyarrow"),
    "Commands hold no arithmetic": ("pipelines/runs/report.py", "torch"),
}
"""By the beginning of each contract's name, a file and what it must not import."""


def test_each_contract_catches_what_it_forbids(tmp_path: Path):
    """A forbidden import planted for each contract breaks that contract."""
    for package in ROOMS:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("data", "checkpoints*", "__p*")
        )
    (tmp_path / "training/checkpoints").mkdir()  # not a checkpoint, though it is called like one
    for path in (ROOT / "training/checkpoints").glob("*.py"):
        shutil.copyfile(path, tmp_path / "training/checkpoints" / path.name)
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    for file, module in PLANTED.values():
        with (tmp_path / file).open("a") as planted:
            planted.write(f"\nimport {module}\n")
    code = "from importlinter.cli import lint_imports_command as run; run(['--no-logo', '--no-cache'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = done.stdout.replace("\n", " ").partition("Broken contracts")[0]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    names = [contract["name"] for contract in contracts]
    assert [sum(name.startswith(start) for name in names) for start in PLANTED] == [1] * len(names)
    assert [name for name in names if f"{name} BROKEN" not in " ".join(lines.split())] == [], done.stderr


def test_the_list_of_commands_loads_next_to_nothing():
    """`python -m pipelines --help` needs no library at all; every command of the Makefile is on it."""
    code = "import sys, runpy; sys.argv = ['pipelines', '--help']; runpy.run_module('pipelines', run_name='__main__')"
    done = run_python(
        f"import sys\nbefore = set(sys.modules)\ntry: exec({code!r})\nexcept SystemExit: pass\n"
        "print({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    *listed, loaded = done.stdout.splitlines()
    assert ast.literal_eval(loaded) <= {"pipelines", "__main__"}, done.stderr
    named = {line.split()[0] for line in listed if line.startswith("  ")}
    assert set(re.findall(r"-m pipelines ([a-z][a-z0-9-]*)", MAKEFILE)) <= named == set(COMMANDS)


@pytest.mark.parametrize(
    ("former", "arguments", "command"),
    [("compare", [], "compare"), ("experiments.run", ["--table", "table5"], "table5"), ("migrate", [], "migrate")],
)
def test_former_names_of_commands_run_them(former, arguments, command):
    """`python -m` with the module's former name is the command, and says so. `--table` chose between the tables."""
    options = [*arguments, "--save-recipe"]  # which wants a file
    done = run_python(
        f"import runpy, sys; sys.argv[1:] = {options!r}; runpy.run_module('pipelines.{former}', run_name='__main__')"
    )
    assert done.returncode == 2
    told, error = done.stderr.splitlines()
    assert told == f"python -m pipelines.{former} is `python -m pipelines {command}` now"
    assert error.startswith("--save-recipe: found no file")


@pytest.mark.parametrize(("former", "command"), FORMER.items())
def test_former_names_are_no_modules(former, command):
    """They are commands of today, and nothing to import."""
    assert command in COMMANDS
    with pytest.raises(ModuleNotFoundError, match=f"python -m pipelines {command}"):
        importlib.import_module(f"pipelines.{former}")


def test_the_start_of_a_command_loads_no_library_of_models():
    """What every `--help` imports before it knows the command: neither torch nor transformers nor pyarrow."""
    heavy = ("torch", "transformers", "gensim", "av", "cv2", "matplotlib", "pyarrow")
    imports = "import sys, pipelines.__main__, pipelines.console, pipelines.presets.known"
    code = f"{imports}; print([m for m in {heavy!r} if m in sys.modules])"
    done = run_python(code)
    assert done.stdout.strip() == "[]", done.stderr


def test_training_and_evaluation_need_no_video_and_no_language_model():
    """Their commands run where transformers, av and gensim cannot be imported."""
    code = (
        "import sys\n"
        "for name in ('transformers', 'av', 'gensim', 'cv2', 'torchvision'): sys.modules[name] = None\n"
        "import pipelines.runs.train, pipelines.runs.evaluate, pipelines.experiments.make\n"
        "import pipelines.presets.known as presets\n"
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
    """`python -m pipelines x` in the Makefile is a command, called like the target that runs it."""
    called = re.findall(r"^([a-z0-9-]+): .*\n\t@?\$\(PY\) -m pipelines ([a-z0-9-]+)", MAKEFILE, re.M)
    assert len(called) >= 17
    for target, command in called:
        assert command in COMMANDS
        assert target in (command, f"{command}-smoke")
