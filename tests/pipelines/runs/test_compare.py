"""`make compare`: every row carries the name of the run whose figures it shows."""

import re
from pathlib import Path

import pytest

from cache.errors import CacheError
from pipelines.demo import pipeline as run_all
from pipelines.runs import compare
from tests.support.command_line import parse
from tests.support.data.reports import hostile_world, metrics, write_run

AVERAGES = {"demo": 0.795, "demo-host": 0.636, "other": 0.5}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three evaluated runs; no two have the same average."""
    for name, average in AVERAGES.items():
        metrics(run=name, average=average).save(tmp_path / name / "metrics.json")
    return tmp_path


def rows(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """Average in percent by the name of the row, in the order of the printed table."""
    lines = re.findall(r"^  (\S+(?: \S+)*?) {2,}[\d.]+ .* ([\d.]+) *$", capsys.readouterr().out, re.M)
    return {name: float(value) for name, value in lines}


@pytest.mark.parametrize("order", [("demo", "demo-host"), ("demo-host", "demo"), ("other",), tuple(AVERAGES)])
@pytest.mark.parametrize("preset", ["demo", "thumos14"])
def test_rows_are_named_after_the_runs_given(runs, capsys, order, preset):
    """Any number of runs in any order, whatever preset the options start from."""
    recipe = parse("compare", preset, "--runs", *(str(runs / name) for name in order))
    assert isinstance(recipe, compare.CompareRun)
    compare.main(recipe)
    assert list(rows(capsys).items()) == [(name, 100 * AVERAGES[name]) for name in order]


def test_the_page_names_the_runs_given(tmp_path):
    """Title, heading and tables of the page in the order of the runs, with links to their reports."""
    for name in ("demo", "demo-host"):
        write_run(tmp_path / "data", tmp_path / name, hostile_world(tmp_path / "data", better=name == "demo"))
    chosen = ("--runs", str(tmp_path / "demo"), str(tmp_path / "demo-host"), "--html", str(tmp_path / "x.html"))
    recipe = parse("compare", "demo", *chosen)
    assert isinstance(recipe, compare.CompareRun)
    compare.main(recipe)
    page = (tmp_path / "x.html").read_text()
    assert "<h1>demo · demo-host</h1>" in page
    best = re.findall(r"<tr[^>]*><t[dh][^>]*>(demo|demo-host)</t[dh]>.*?</tr>", page.partition('id="map-table"')[2])
    assert best[:2] == ["demo", "demo-host"]
    assert "host alone" not in page


def test_folders_of_one_name_are_told_apart(runs):
    """Two runs whose folders are called alike stand in the table with their paths."""
    both = (runs / "a" / "whole", runs / "b" / "whole")
    assert compare.row_names(compare.CompareRun(runs=both)) == tuple(map(str, both))
    assert compare.row_names(compare.CompareRun(runs=both, names=("a", "b"))) == ("a", "b")


def test_a_copied_run_is_named_after_its_folder(runs):
    """What the run was called when it was evaluated does not matter: the folder that was given does."""
    metrics(run="demo").save(runs / "copy" / "metrics.json")
    assert compare.row_names(compare.CompareRun(runs=(runs / "copy", runs / "demo"))) == ("copy", "demo")


def test_names_and_runs_must_agree(runs):
    """One name a run, and at least one run."""
    with pytest.raises(CacheError, match=r"names: found 2, expected 1, one for each run"):
        compare.main(compare.CompareRun(runs=(runs / "demo",), names=("one", "two")))
    with pytest.raises(CacheError, match=r"runs: found none"):
        compare.main(compare.CompareRun(runs=()))


def test_the_demo_s_closing_table_says_what_the_runs_are(runs, capsys):
    """The options that `make demo` ends with name the host alone and the whole model, each at its own figures."""
    (task,) = run_all.comparison(run_all.DemoRun(preset="demo")).tasks
    recipe = parse(*task.arguments[1:])
    assert isinstance(recipe, compare.CompareRun)
    moved = recipe.model_copy(update={"runs": tuple(runs / run.name for run in recipe.runs)})
    compare.main(moved)
    assert rows(capsys) == {"host alone": 63.6, "MLLM4WTAL": 79.5}
