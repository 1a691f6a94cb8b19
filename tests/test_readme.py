"""What README, CONTRIBUTING and docs tell people to type works, and docs/architecture.md describes the tree."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.__main__ import benchmarks
from cache.annotations import Dataset
from cache.recipe import Recipe
from cache.tables.embeddings import TOKENS_TABLE, VOCABULARY_TABLE
from cache.tables.schema import (
    DESCRIPTION_KEY,
    DESCRIPTIONS,
    KINDS,
    TOKENS,
    VOCABULARY_KEY,
    TokenRow,
    VocabularyRow,
    vocabulary_schema,
)
from cache.tables.store import PartStore
from tests.support.command_line import parse
from tests.support.data.rows import described
from tests.support.file_map import COMMAND, file_map, with_map
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()
CACHES = (ROOT / "docs/caches.md").read_text()
DATASETS = (ROOT / "docs/datasets.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BENCHMARKS = set(benchmarks())
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


class MadeBy(Recipe):
    """Stands for the recipe of a priors stage."""

    model: str = "canned"


def test_the_readme_fits_two_screens():
    """Everything else is in docs/."""
    assert len(README.splitlines()) <= 150


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of one language, without indentation that a list gave them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", document, re.M | re.S)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]


@pytest.fixture
def small_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with one described video at cache/data/demo; the working directory of the test."""
    data = tmp_path / "cache/data/demo"
    store = PartStore.create(data / "descriptions", MadeBy(), DESCRIPTIONS, key=DESCRIPTION_KEY)
    store.append([described("v", "HighKick", kind) for kind in KINDS])
    words = TokenRow(
        video_id="v", action_class="HighKick", kind="key", description_sha256="0", tokens=("kick",), token_ids=(7,),
        known=(True,), is_action_word=(True,),
    )  # fmt: skip
    embeddings = data / "embeddings"
    PartStore.create(embeddings, MadeBy(), TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE).append([words])
    vocabulary = PartStore.create(
        embeddings, MadeBy(), vocabulary_schema(2), key=VOCABULARY_KEY, table=VOCABULARY_TABLE
    )
    vocabulary.append([VocabularyRow(token_id=7, word="kick", vector=np.ones(2, np.float32))])
    monkeypatch.chdir(tmp_path)
    return data


ONE_LINERS = [*blocks(README, "python"), *blocks(CACHES.partition("\n## A quick look\n")[2], "python")]


def test_one_liners_are_of_every_tool():
    """DuckDB in the README, and all four in docs/caches.md."""
    assert [re.findall(r"duckdb|pandas|polars|datasets", code)[0] for code in ONE_LINERS] == [
        "duckdb", "duckdb", "pandas", "polars", "datasets"
    ]  # fmt: skip


@pytest.mark.parametrize("code", ONE_LINERS)
def test_one_liners_read_the_cache(code, small_cache):
    """They run as printed, in a folder that has the caches where the documents say."""
    environment = {**os.environ, "HF_HOME": str(Path.cwd() / "hub")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=Path.cwd(), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "HighKick" in done.stdout


@pytest.mark.parametrize(
    ("row", "columns"),
    [("descriptions/", DESCRIPTIONS.names), ("tokens/", TOKENS.names), ("vocabulary/", vocabulary_schema(1).names)],
)
def test_columns_are_those_of_the_schemas(row, columns):
    """The table of columns names them all, in their order."""
    (cells,) = re.findall(rf"^\| `[^`]*{row}[^`]*` \| (.*) \|$", CACHES, re.M)
    assert [re.split(r"[ (]", name)[0] for name in re.sub(r"\([^)]*\)", "", cells).split(", ")] == columns


def test_the_example_of_annotations_is_read(tmp_path):
    """The JSON in the text is a dataset with two subsets."""
    (example,) = blocks(DATASETS, "json")
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(json.loads(example)))
    dataset = Dataset.load(path)
    assert dataset.classes == ("Diving",)
    assert dataset.split("training")[0].path == tmp_path / "videos/swim_01.mp4"
    assert dataset.split("testing")[0].segments[0].end == 9.8


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_targets_that_are_named_exist(path):
    """Every `make x` of the text is a target of the Makefile."""
    document = path.read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):(?!=)", MAKEFILE, re.M))
    code = [*re.findall(r"`([^`]+)`", document), *re.findall(r"^ *(make .*)$", document, re.M)]
    named = {words[1] for words in map(str.split, code) if words[:1] == ["make"] and len(words) > 1}
    assert named or path.name != "README.md"
    patterns = re.findall(r"^([a-z0-9-]+)%:", MAKEFILE, re.M)
    missing = {name for name in named - targets if not name.startswith(tuple(patterns))}
    assert not missing
    assert {name.removeprefix("bench-") for name in named if name.startswith("bench-")} <= BENCHMARKS


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_name_the_python_that_has_the_packages(path):
    """Whoever types `python -m pipelines.x` gets the system's python, which lacks them."""
    assert not re.findall(r"(?<!\.venv/bin/)python -m (?:pipelines|benchmarks)\S*", path.read_text())


def headings(document: Path) -> set[str]:
    """What a link may name behind a #: titles in lower case, without signs, with - for blanks."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    """To files of the repository, and to headings that these have."""
    for name, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", path.read_text()):
        target = path.parent / name if name else path
        assert target.exists(), name
        assert not heading or heading in headings(target), f"{name}#{heading}"


def make_lines() -> list[str]:
    """Commands of the documents that pass a preset or options on, each once."""
    named: list[str] = []
    for document in (path.read_text() for path in DOCUMENTS):
        named += re.findall(r'`(make [a-z0-9-]+ PRESET=[^`]*ARGS="[^`]*")`', document)
        named += re.findall(r'^ *(make [a-z0-9-]+ PRESET=\S+(?: ARGS="[^"\\]*")?)', document, re.M)
    return [line for line in dict.fromkeys(named) if "..." not in line]


@pytest.mark.parametrize("line", make_lines())
def test_options_that_are_named_exist(line):
    """The command that make would run takes them."""
    done = subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
    command, *arguments = shlex.split(done.stdout.splitlines()[-1].partition("-m pipelines ")[2])
    parse(command, *arguments)


def answers(heading: str) -> list[tuple[str, list[str]]]:
    """The rows of a table of docs/architecture.md: what is asked, and the paths that answer."""
    section = ARCHITECTURE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section.partition("| --- |")[2], re.M)
    return [(asked, re.findall(r"`([^`]+)`", paths)) for asked, paths in rows]


@pytest.mark.parametrize("heading", ["Where do I change ...", "Where is ..."])
def test_questions_are_answered_by_paths_that_exist(heading):
    """Ten in each table."""
    rows = answers(heading)
    assert len(rows) == 10
    assert all(paths for _, paths in rows)
    assert not [path for _, paths in rows for path in paths if not (ROOT / path).exists()]


def test_the_order_of_the_packages_is_that_of_the_contracts():
    """docs/architecture.md has the layers of pyproject.toml, highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {one["containers"][0]: one["layers"] for one in contracts if one.get("containers")}
    assert layers
    for package, order in layers.items():
        assert f"\n{package}: {' > '.join(layer.replace(' | ', ', ') for layer in order)}\n" in ARCHITECTURE


def test_paths_of_the_contributing_lists_exist():
    """Files to touch are there, unless their name is to be chosen."""
    document = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:cache|priors|training|pipelines|tests|benchmarks|docs)/[^`\s]*)`", document))
    assert named
    assert not {path for path in named if "NAME" not in path and not (ROOT / path).exists()}


def test_hooks_run_the_tools_of_the_environment():
    """`.pre-commit-config.yaml` is valid, fetches nothing, and names what .venv has."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [one["repo"] for one in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == ["ruff", "ruff-format", "pyright", "lint-imports"]
    for hook in hooks:
        assert hook["language"] == "system"
        assert ".venv/bin/" in hook["entry"]


def listed() -> list[str]:
    """Paths of the file map, folders ending in a slash."""
    tree = ARCHITECTURE.partition("<!-- file map: begin")[2].partition("```\n")[2].partition("```")[0]
    folders: list[str] = []
    paths = []
    for line in tree.splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders = folders[:depth]
        paths.append("".join([*folders, name]))
        folders.append(name)
    return paths


def test_the_file_map_is_the_tree():
    """Every module of the packages stands in docs/architecture.md, and nothing else does."""
    found = [path for room in ("cache", "priors", "training", "pipelines") for path in (ROOT / room).rglob("*.py")]
    there = {path.relative_to(ROOT).as_posix() for path in found if "data" not in path.parts}
    names = listed()
    assert len(names) == len(set(names))
    assert {name for name in names if name.endswith(".py")} == {
        name for name in there if not name.endswith("__init__.py")
    }
    assert {name + "__init__.py" for name in names if name.endswith("/")} == {
        name for name in there if name.endswith("__init__.py")
    }


def test_the_file_map_says_what_the_docstrings_say():
    """`python -m tests.support.file_map` writes it."""
    assert with_map(ARCHITECTURE, file_map()) == ARCHITECTURE, f"run `{COMMAND}`"
