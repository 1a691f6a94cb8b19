"""Tables as commands: which runs they have, that each is trained once, and what is written."""

import csv
import dataclasses
import io
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cache.annotations import Dataset
from cache.errors import CacheError
from cache.tables.embeddings import TOKENS_TABLE
from cache.tables.schema import DESCRIPTION_KEY, TOKENS
from cache.tables.store import PartStore
from pipelines.experiments import cell, jobs, make
from pipelines.experiments.arms import TABLES, plan_of
from pipelines.experiments.grid import Cell, TableRun, cells, metrics_file
from pipelines.experiments.jobs import missing_jobs, run_jobs
from pipelines.experiments.published import comparable, load_published
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs import train
from pipelines.runs.evaluate import EvalRun
from tests.support.command_line import parse
from tests.support.data.tiny_world import make_world, small_training, words_of
from tests.support.paths import ROOT
from training.checkpoints.folder import find_checkpoint
from training.evaluation.intervals import BootstrapRecipe
from training.evaluation.protocol import PROTOCOLS, tiou_grid


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A small dataset."""
    return make_world(tmp_path / "tiny")


def table_on(world: Path, **fields: object) -> TableRun:
    """A table on it: host alone and the whole model, two seeds, few redraws."""
    root = world.parent / "tables"
    recipe = TableRun(
        train=TrainRun(dataset=world, run=root, train=small_training()),
        evaluate=EvalRun(run=root),
        arms=("host", "both"),
        seeds=2,
        bootstrap=BootstrapRecipe(redraws=50),
    )
    return recipe.model_copy(update=fields)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs are trained in this process; the names of those that were."""
    ran: list[str] = []

    def here(missing, *, workers, devices):
        for job in missing:
            ran.extend(job.names)
            cell.main(job.run)
        return []

    monkeypatch.setattr(make, "run_jobs", here)
    return ran


def say_otherwise(world: Path) -> None:
    """Another text of one video."""
    folder = next((world / "embeddings").glob("*"))
    row = dataclasses.replace(
        words_of(Dataset.load(world / "annotations.json").videos[0], "key"), is_action_word=(True,) * 3
    )
    PartStore.open(folder, TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE).append([row])


def changed_loop(recipe: TableRun, **fields: object) -> TableRun:
    """The table with other settings of the loop."""
    training = recipe.train.train.changed({f"loop.{name}": value for name, value in fields.items()})
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"train": training})})


@pytest.mark.parametrize("table", TABLES)
def test_every_row_of_every_table_is_a_training_that_can_be(world, table):
    """Changes name fields that there are, and rows that differ have other trainings or other detections."""
    grid = cells(table_on(world, table=table, arms=(), seeds=1))
    assert len(grid) == len(plan_of(table).arms)
    by_run: dict[str, list[Cell]] = {}
    for one in grid:
        by_run.setdefault(one.run.model_dump_json(), []).append(one)
    shared = [{one.arm.name for one in group} for group in by_run.values() if len(group) > 1]
    # the tiny training has the defaults, so of each option one row is the full model itself
    assert all("full" in names for names in shared)
    assert len(shared) == (table == "ablations")


def test_rows_of_a_seed_see_the_same_batches(world):
    """Videos, snippets and pairs of every step are those of the seed, whatever the row trains."""
    grid = cells(table_on(world, table="table5", arms=()))
    first, other = ([one for one in grid if one.seed == seed] for seed in (0, 1))
    batches = [[train.load_data(one.run.train).batch(step) for step in range(3)] for one in first]
    for row in batches[1:]:
        for mine, expected in zip(row, batches[0], strict=True):
            assert mine.video_ids == expected.video_ids
            assert mine.features.equal(expected.features)
            assert mine.targets.pairs.equal(expected.targets.pairs)
    assert train.load_data(other[0].run.train).batch(0).video_ids != batches[0][0].video_ids


def test_cells_are_named_after_settings_and_data_not_after_places(world):
    """Seeds, workers, redraws and the folder change no run; settings, features, words and ground truth do."""
    recipe = table_on(world)

    def keys(one: TableRun) -> list[tuple[str, str]]:
        return [(c.run.train.run.name, metrics_file(c.run.evaluations[0]).parent.name) for c in cells(one)]

    before = keys(recipe)
    assert keys(recipe.model_copy(update={"seeds": 3, "workers": 1}))[:4] == before
    moved = shutil.copytree(world.parent, world.parent.parent / "moved")
    assert keys(table_on(moved / "tiny")) == before
    assert keys(changed_loop(recipe, log_every=3, checkpoint_every=3, tensorboard=True, device="auto")) == before
    assert not {key for key, _ in keys(changed_loop(recipe, lr=1.0))} & {key for key, _ in before}

    document = json.loads((world / "annotations.json").read_text())
    document["database"]["v8"]["annotations"][0]["segment"] = [1.0, 2.0]
    (world / "annotations.json").write_text(json.dumps(document))
    truth = keys(recipe)
    assert [key for key, _ in truth] == [key for key, _ in before]
    assert not {key for _, key in truth} & {key for _, key in before}

    features = np.load(world / "features/v0.npy")
    features[3, 1] += 1e-3
    np.save(world / "features/v0.npy", features)
    assert not {key for key, _ in keys(recipe)} & {key for key, _ in before}

    words = keys(recipe)
    say_otherwise(world)
    host, whole = zip(words, keys(recipe), strict=True), [1, 3]
    assert [place for place, (old, new) in enumerate(host) if old != new] == whole


def test_a_finished_cell_is_never_run_again(world, trained, capsys):
    """More seeds run the new ones alone; the table holds mean and spread of what the CSV holds."""
    recipe = table_on(world)
    assert make.main(recipe.model_copy(update={"seeds": 1})) == 0
    assert len(trained) == 2
    assert make.main(recipe) == 0
    assert trained[2:] == ["host alone, seed 1", "+ both (MLLM4WTAL), seed 1"]
    assert make.main(recipe) == 0
    assert len(trained) == 4
    rows = list(csv.DictReader((recipe.folder / "table3.csv").read_text().splitlines()))
    assert len(rows) == 8
    by_arm = {
        arm: np.array([100 * float(r["average"]) for r in rows if (r["arm"], r["subset"]) == (arm, "testing")])
        for arm in ("host", "both")
    }
    text = (recipe.folder / "table3.md").read_text()
    assert f"{by_arm['both'].mean():.1f} ± {by_arm['both'].std(ddof=1):.1f}" in text
    ((gain, low, high),) = re.findall(r"([+-][\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\]", text)
    gain, low, high = float(gain), float(low), float(high)
    assert gain == pytest.approx((by_arm["both"] - by_arm["host"]).mean(), abs=0.051)
    assert low <= gain <= high
    assert "4 of 4 runs are finished" in capsys.readouterr().out
    for suffix, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        assert (recipe.folder / f"table3.{suffix}").read_bytes().startswith(start)


def test_rows_that_read_detections_otherwise_share_a_training(world, trained):
    """Three sources of detections: one training a seed, three scores; the full model's own is not taken again."""
    recipe = table_on(world, table="ablations", arms=(), groups=("source",), seeds=1)
    assert len(missing_jobs(cells(recipe))) == 1
    assert make.main(recipe) == 0
    (training,) = (recipe.train.run / "cells").iterdir()
    assert len(list(training.glob("testing-*/metrics.json"))) == 3
    assert not list(training.rglob("curves.npz"))  # no report is made of a cell
    assert "detections from head |" in (recipe.folder / "ablations.md").read_text()
    assert (recipe.folder / "ablations.md").read_text().count("same as baseline") == 1
    # table 3's whole model is this training, too
    assert [one.done for one in cells(table_on(world, seeds=1))] == [False, True]


def test_a_failing_cell_is_named_and_the_others_go_on(world, capsys):
    """The worker's exit code and last words, and where its log is; exit code 1; the table has what there is."""
    recipe = table_on(world, seeds=1)
    host, whole = cells(recipe)
    whole.run.train.run.mkdir(parents=True)
    (whole.run.train.run / "metrics.jsonl").mkdir()
    assert make.main(recipe) == 1
    captured = capsys.readouterr()
    assert host.done
    assert not whole.done
    log = whole.run.train.run / "log.txt"
    assert re.search(rf"\+ both \(MLLM4WTAL\), seed 0: exit code \d+, .*\(log: {re.escape(str(log))}\)", captured.err)
    assert "metrics.jsonl" in log.read_text()
    text = (recipe.folder / "table3.md").read_text()
    assert "| failed |" in text
    assert "Missing runs, not in the means: + both (MLLM4WTAL), seed 0." in text


def test_killed_and_started_again_it_goes_on(world):
    """SIGKILL of the table while its second run trains: its worker ends, too; then only what is missing is made."""
    recipe = changed_loop(table_on(world, seeds=1, workers=1), steps=100, checkpoint_every=20)
    host, whole = cells(recipe)
    recipe.save(world.parent / "table.json")
    command = [sys.executable, str(ROOT / "tests/support/processes/tiny_table.py"), str(world.parent / "table.json")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as table:
        wait_for(lambda: find_checkpoint(whole.run.train.run) is not None)
        table.kill()
    wait_for(lambda: "Stopped" in (whole.run.train.run / "log.txt").read_text())
    assert host.done
    assert not whole.run.trained
    times = {path: path.stat().st_mtime_ns for path in host.run.train.run.rglob("*") if path.is_file()}
    assert make.main(recipe) == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    told = [json.loads(line)["step"] for line in (whole.run.train.run / "metrics.jsonl").read_text().splitlines()]
    assert told == sorted(set(told))
    assert told[-1] == 100
    assert run_jobs(missing_jobs(cells(recipe)), workers=1) == []


def wait_for(condition, *, seconds: float = 120.0) -> None:
    """Until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_workers_take_turns_at_the_devices(world, monkeypatch):
    """Each worker sees one GPU."""
    recipe = table_on(world, seeds=2)
    seen = []

    class Ended:
        returncode = 0

        def __init__(self):
            self.stdin = io.BytesIO()

        def poll(self):
            return 0

    def start(command, *, env, **options):
        seen.append(env["CUDA_VISIBLE_DEVICES"])
        return Ended()

    monkeypatch.setattr(jobs.subprocess, "Popen", start)
    run_jobs(missing_jobs(cells(recipe)), workers=3, devices=(4, 6))
    assert seen == ["4", "6", "4", "4"]


def test_rows_are_chosen_by_name_and_group():
    """What they are compared with comes along; a wrong name is answered with those that exist."""
    assert [arm.name for arm in plan_of("table4", arms=["um-whole"]).arms] == ["um-alone", "um-whole"]
    assert {arm.group for arm in plan_of("ablations", groups=["mask", "period"]).arms} == {"", "mask", "period"}
    with pytest.raises(CacheError, match=r"groups: found masks, expected some of gating, mask"):
        plan_of("ablations", groups=["masks"])
    with pytest.raises(CacheError, match=r"groups: found gating, but this table has none"):
        plan_of("table3", groups=["gating"])
    with pytest.raises(CacheError, match=r"rows: found whole, expected some of host, head, ksm"):
        plan_of("table3", arms=["whole"])


@pytest.mark.parametrize("option", ["--rows", "--arms"])
def test_rows_have_an_option_with_two_names(option: str, tmp_path: Path):
    """`--rows`, and `--arms` of version 0.1; in recipe.json the field is `arms`."""
    recipe = parse("table3", "demo", option, "host", "both", "--seeds", "2")
    assert isinstance(recipe, TableRun)
    assert (recipe.arms, recipe.seeds) == (("host", "both"), 2)
    recipe.save(tmp_path / "recipe.json")
    assert json.loads((tmp_path / "recipe.json").read_text())["arms"] == ["host", "both"]
    written = parse("table3", "--recipe", str(tmp_path / "recipe.json"), option, "csr")
    assert written == recipe.model_copy(update={"arms": ("csr",)})


HEADER = "table,row,column,value,protocol,source\n"


def test_published_figures_stand_below_their_row(world, trained, tmp_path):
    """Those that are not known stay empty; a figure of a row that there is not names its line."""
    path = tmp_path / "published.csv"
    path.write_text(f"{HEADER}table3,both,@0.5,41.25,seconds,Nobody\ntable4,um-alone,average,1,seconds,Nobody\n")
    recipe = table_on(world, seeds=1, published=path)
    assert make.main(recipe) == 0
    lines = (recipe.folder / "table3.md").read_text().splitlines()
    (place,) = [number for number, line in enumerate(lines) if "published: Nobody" in line]
    assert lines[place - 1].startswith("| + both")
    assert [value.strip() for value in lines[place].split("|")[2:10]] == ["", "", "", "", "41.2", "", "", ""]
    assert "other protocols" not in "\n".join(lines)
    assert "◇" in (recipe.folder / "table3.svg").read_text()
    path.write_text(f"{HEADER}table3,all,average,4,seconds,Nobody\n")
    with pytest.raises(CacheError, match=r"line 2: row: found 'all', expected one of host, head"):
        load_published(path, "table3")


def test_published_figures_of_another_protocol_are_left_out_and_named(world, trained, tmp_path):
    """Neither in the table nor in the picture; the note says whose, of which row, and under which protocol."""
    path = tmp_path / "published.csv"
    lines = [f"table3,both,{column},41.25,thumos14-co2,Nobody" for column in ("@0.5", "average")]
    path.write_text(HEADER + "\n".join(lines))
    recipe = table_on(world, seeds=1, published=path)
    assert make.main(recipe) == 0
    text = (recipe.folder / "table3.md").read_text()
    assert "published: Nobody" not in text
    assert "41.2" not in text
    assert (
        "Published figures of other protocols are left out: Nobody for + both (MLLM4WTAL) (thumos14-co2). "
        "This table has protocol seconds; --evaluate.protocol chooses another."
    ) in text
    assert "◇" not in (recipe.folder / "table3.svg").read_text()


def test_a_published_average_is_over_the_thresholds_of_the_table(tmp_path):
    """Single thresholds are comparable where the table has more or fewer of them; the average is not."""
    path = tmp_path / "published.csv"
    lines = [f"table4,um-alone,{name},thumos14-co2 0.1:0.1:0.7,A" for name in ("@0.5,33.7", "average,41")]
    path.write_text(HEADER + "\n".join(lines))
    published = load_published(path, "table4")
    longer = PROTOCOLS["thumos14-co2"]
    same = longer.model_copy(update={"tious": tiou_grid("0.1:0.1:0.7")})
    for protocol, values in ((same, {"@0.5": 33.7, "average": 41}), (longer, {"@0.5": 33.7})):
        shown, others = comparable(published, protocol)
        assert [one.values for one in shown["um-alone"]] == [values]
        assert not others
    for field, value in (("subset", "training"), ("units", "seconds"), ("ambiguous", "keep"), ("left_out", ("a",))):
        shown, others = comparable(published, same.model_copy(update={field: value}))
        assert not shown
        assert list(others) == ["um-alone"]


def test_a_protocol_of_published_figures_must_exist(tmp_path):
    """The message names line, field and what there is."""
    path = tmp_path / "published.csv"
    path.write_text(f"{HEADER}table4,um-alone,@0.5,33.7,thumos,A\n")
    with pytest.raises(CacheError, match=r"line 2: protocol: found 'thumos', expected one of seconds, thumos14-213"):
        load_published(path, "table4")
    path.write_text(f"{HEADER}table4,um-alone,@0.5,33.7,seconds 0.1-0.7,A\n")
    with pytest.raises(CacheError, match=r"line 2: protocol: tious: found '0.1-0.7', expected start:step:end"):
        load_published(path, "table4")


def test_the_shipped_figures_are_of_rows_that_there_are():
    """Each source under the protocol that it reports; and every average is the mean of its columns, as printed."""
    found = load_published(ROOT / "pipelines/experiments/published.csv", "table4")
    protocols = {row: [one.protocol.name for one in figures] for row, figures in found.items()}
    assert protocols == {"delu-alone": ["thumos14-co2"], "um-alone": ["thumos14-210"]}
    for rows in found.values():
        for one in rows:
            columns = [value for name, value in one.values.items() if name != "average"]
            assert len(columns) == len(one.protocol.tious) == 7
            assert one.values.get("average", np.mean(columns)) == pytest.approx(np.mean(columns), abs=0.06)
