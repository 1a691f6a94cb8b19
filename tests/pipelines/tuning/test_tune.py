"""`make tune` on a tiny dataset: it reads no time of an action, and resumes."""

import json
from pathlib import Path

import numpy as np
import pytest

from cache.errors import CacheError
from pipelines.experiments import jobs
from pipelines.run_folder.recipe import TrainRun
from pipelines.run_folder.tuned import Tuned
from pipelines.tuning import trial as worker
from pipelines.tuning import tune
from pipelines.tuning.recipe import TuneRun
from pipelines.tuning.trials import Trial, make_trials
from tests.support.data.tiny_world import make_world, small_training


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Trials run in this process; the numbers of those that did."""
    numbers: list[int] = []

    def run_here(trials: list[Trial], **_: object) -> list[jobs.Failure]:
        for one in trials:
            worker.main(one.run)
            numbers.append(one.number)
        return []

    monkeypatch.setattr(tune, "run_jobs", run_here)
    return numbers


def search(folder: Path, **changes: object) -> TuneRun:
    """Three trials of the host alone on a tiny dataset."""
    alone = {f"model.{part}": False for part in ("use_ksm", "use_csr", "use_dpid", "use_head")}
    train = TrainRun(dataset=folder / "tiny", run=folder / "search", train=small_training().changed(alone))
    recipe = TuneRun(train=train, trials=3, steps=4, parts=2)
    return recipe.model_copy(update=changes)


def test_times_change_nothing(tmp_path: Path, ran: list[int]):
    """Times change nothing."""
    chosen = []
    for name, mend in (("given", None), ("scrambled", "scramble"), ("absent", "delete")):
        folder = tmp_path / name
        path = make_world(folder / "tiny") / "annotations.json"
        document = json.loads(path.read_text())
        rng = np.random.default_rng(7)
        for entry in document["database"].values():
            for item in entry["annotations"]:
                if mend == "scramble":
                    item["segment"] = np.sort(rng.uniform(0, 10, size=2)).tolist()
                if mend == "delete":
                    del item["segment"]
        path.write_text(json.dumps(document))
        assert tune.main(search(folder)) == 0
        scores = [one.run.file.read_bytes() for one in make_trials(search(folder))]
        chosen.append(((folder / "tiny" / "tuned.json").read_bytes(), scores))
    assert chosen[0] == chosen[1] == chosen[2]


def test_finished_trials_are_not_repeated_and_more_continue_a_search(tmp_path: Path, ran: list[int]):
    """Finished trials are not repeated and more continue a search."""
    make_world(tmp_path / "tiny")
    tune.main(search(tmp_path, trials=2))
    tune.main(search(tmp_path, trials=2))
    assert ran == [0, 1]
    tune.main(search(tmp_path, trials=3))
    assert ran == [0, 1, 2]
    make_trials(search(tmp_path))[1].run.file.unlink()
    tune.main(search(tmp_path))
    assert ran == [0, 1, 2, 1]
    page = (tmp_path / "search" / "tune.html").read_text(encoding="utf-8")
    assert "host_lr" in page
    assert "evidence by trial" in page


def test_other_features_make_other_trials(tmp_path: Path):
    """Other features make other trials."""
    store = make_world(tmp_path / "tiny") / "features"
    before = [one.run.folder for one in make_trials(search(tmp_path))]
    np.save(store / "v0.npy", np.zeros((20, 10), np.float32))
    after = [one.run.folder for one in make_trials(search(tmp_path))]
    assert not {*before} & {*after}


def test_the_chosen_settings_are_those_of_the_best_trial(tmp_path: Path, ran: list[int]):
    """The chosen settings are those of the best trial."""
    make_world(tmp_path / "tiny")
    recipe = search(tmp_path, criterion="likelihood")
    tune.main(recipe)
    trials = make_trials(recipe)
    best = max(trials, key=lambda one: max(scores["likelihood"] for scores in one.scores()))
    chosen = Tuned.load(tmp_path / "tiny" / "tuned.json").hosts["plain"]
    assert best.settings.items() <= chosen.train.items()
    assert chosen.train["loop.steps"] == 4
    recipe.train.train.changed(chosen.train)


def test_a_criterion_of_two_models_needs_two_folds(tmp_path: Path, ran: list[int]):
    """A criterion of two models needs two folds."""
    make_world(tmp_path / "tiny")
    with pytest.raises(CacheError, match=r"compares two models.*--folds 2"):
        tune.main(search(tmp_path, folds=1, criterion="agreement"))
