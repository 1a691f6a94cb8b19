"""Settings that `make tune` chose: which commands take them, and that options come on top of them."""

from pathlib import Path

import pytest

from cache.errors import CacheError
from pipelines.asked import asked_tuned
from pipelines.presets.known import PRESETS
from pipelines.presets.own import Own
from pipelines.presets.thumos14 import Thumos14
from pipelines.run_folder.files import RECIPE_FILE
from pipelines.run_folder.tuned import Tuned, TunedHost, load_tuned
from pipelines.runs import train
from pipelines.runs.evaluate import EvalRun

CHOSEN = TunedHost(
    train={"loop.host_lr": 0.002, "loop.steps": 123, "model.host.width": 64},
    localize={"class_threshold": 0.05, "curves": ["cas"]},
    criterion="evidence",
    score=0.5,
    trials=24,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Settings for the host plain."""
    path = tmp_path / "tuned.json"
    Tuned(hosts={"plain": CHOSEN}).save(path)
    return path


def test_training_takes_them_for_their_host(file: Path):
    """They are changes of the preset's training; other hosts keep the preset's settings."""
    recipe = Own().train_on(None, tuned=file)
    assert recipe.train == Own().train_on(None).train.changed(CHOSEN.train)
    assert recipe.localize == {**Own().train().localize, **CHOSEN.localize}
    assert Own().train_on("delu", tuned=file).train == Own().train_on("delu").train


def test_another_host_is_refused(file: Path):
    """A training that was asked to be tuned, and is not, does not start."""
    with pytest.raises(CacheError, match=r"found settings for plain, expected host delu.*make tune"):
        train.main(Own().train_on("delu", tuned=file))


def test_own_finds_its_file(file: Path):
    """Only preset own looks into the dataset's folder; `--tuned none` and `--tuned FILE` say otherwise."""
    assert [preset.name for preset in PRESETS if preset.finds_tuned] == ["own"]
    folder = file.parent
    assert asked_tuned([], folder, found=True) == file
    assert asked_tuned(["--dataset", str(folder)], Path("elsewhere"), found=True) == file
    assert asked_tuned(["--tuned", "none"], folder, found=True) is None
    assert asked_tuned([], folder, found=False) is None
    assert asked_tuned([], folder / "empty", found=True) is None
    assert asked_tuned(["--tuned=other.json"], folder, found=False) == Path("other.json")


def test_evaluation_reads_as_the_run_was_tuned(file: Path, capsys: pytest.CaptureFixture[str]):
    """Fields that options set stay; a run without tuned settings is read as its preset reads."""
    run = file.parent / "run"
    run.mkdir()
    assert EvalRun(run=run).as_tuned(frozenset()) == EvalRun(run=run)
    Own().train_on(None, tuned=file).save(run / RECIPE_FILE)
    read = EvalRun(run=run).as_tuned(frozenset()).localize
    assert (read.class_threshold, read.curves) == (0.05, ("cas",))
    assert str(file) in capsys.readouterr().err
    assert EvalRun(run=run).as_tuned(frozenset({"localize.curves"})).localize.curves == ("attention",)
    Own().train_on(None).save(run / RECIPE_FILE)
    assert EvalRun(run=run).as_tuned(frozenset()).localize == Own().localize


def test_tables_take_them_host_by_host(file: Path):
    """Options set fields for every host, also those that were tuned."""
    table = Thumos14().tables(tuned=file)
    assert CHOSEN.train.items() <= table.hosts["plain"].items()
    assert table.hosts["delu"] == Thumos14().tables().hosts["delu"]
    asked = table.with_options(frozenset({"loop.steps", "evaluate.localize.curves"}))
    assert "loop.steps" not in asked.hosts["plain"]
    assert asked.localize == {"plain": {"class_threshold": 0.05}}


def test_hosts_stand_beside_each_other(file: Path):
    """Tuning one host keeps the settings of another; a file that does not exist has none."""
    other = CHOSEN.model_copy(update={"trials": 8})
    both = load_tuned(file).with_host("delu", other)
    assert both.hosts == {"delu": other, "plain": CHOSEN}
    assert load_tuned(file.parent / "none.json").hosts == {}
