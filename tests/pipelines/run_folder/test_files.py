"""Results of a run belong to its weights: training removes older ones, and unfinished runs are not taken for whole."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from cache.errors import CacheError
from pipelines.run_folder.files import RESULTS
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs import report, train
from pipelines.runs.evaluate import EvalRun, evaluate
from tests.support.data.toy_data import save_toy, tiny_recipe
from training.loop.fit import fit


class Killed(BaseException):
    """Stands for a kill."""


@pytest.fixture
def run(tmp_path: Path) -> TrainRun:
    """A run that is trained and evaluated."""
    save_toy(tmp_path / "toy")
    recipe = tiny_recipe().changed({"loop.checkpoint_every": 2, "model.head.pseudo_labels.warmup": 0.0})
    made = TrainRun(dataset=tmp_path / "toy", run=tmp_path / "run", train=recipe)
    train.main(made)
    assert evaluate(EvalRun(run=made.run, subset="testing")) is not None
    return made


def killed(run: TrainRun, *, at: int) -> None:
    """`make train` that dies behind step `at`."""

    def kill(done: int, total: int, figures: Mapping[str, float]) -> None:
        if done == at:
            raise Killed

    def killed_fit(*args, **options) -> Path:
        return fit(*args, **(options | {"progress": kill}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "fit", killed_fit)
        with pytest.raises(Killed):
            train.main(run)


def kill_anew(run: TrainRun, *, seed: int) -> None:
    """Start the run anew with another seed, and kill it behind a checkpoint."""
    killed(run.model_copy(update={"resume": False, "train": run.train.changed({"seed": seed})}), at=3)


def test_a_new_start_leaves_nothing_of_the_old_one(run: TrainRun, capsys):
    """Not its results and not its recipe: what stands in the folder is of the new weights."""
    assert {name for name in RESULTS if (run.run / name).exists()} >= {"metrics.json", "detections.json"}
    kill_anew(run, seed=7)
    assert [name for name in RESULTS if (run.run / name).exists()] == []
    assert "removed results of earlier weights: metrics.json, detections.json" in capsys.readouterr().out
    assert TrainRun.load(run.run / "recipe.json").train.seed == 7


def test_an_unfinished_run_is_refused_unless_asked_for(run: TrainRun):
    """By evaluation and report; the message says how far it is."""
    kill_anew(run, seed=7)
    with pytest.raises(CacheError, match=r"not finished \(2 of 8 steps\).*`make train`.*--unfinished"):
        evaluate(EvalRun(run=run.run, subset="testing"))
    with pytest.raises(CacheError, match="not finished"):
        report.gather(report.ReportRun(run=run.run))
    assert evaluate(EvalRun(run=run.run, subset="testing", unfinished=True)) is not None


def test_a_finished_run_keeps_its_results(run: TrainRun):
    """The same command again takes no step, so nothing is stale."""
    before = {name: (run.run / name).read_bytes() for name in RESULTS if (run.run / name).exists()}
    train.main(run)
    assert {name: (run.run / name).read_bytes() for name in before} == before


def test_what_is_refused_removes_nothing(run: TrainRun):
    """A recipe that can not go on leaves the results of the run alone."""
    before = sorted(path.name for path in run.run.iterdir())
    other = run.model_copy(update={"train": run.train.changed({"seed": 3})})
    with pytest.raises(Exception, match="another recipe"):
        train.main(other)
    assert sorted(path.name for path in run.run.iterdir()) == before


def test_a_longer_run_is_unfinished_before_its_first_checkpoint(run: TrainRun):
    """It was finished, goes on to more steps and dies at once: its weights are not those of the longer recipe."""
    longer = run.model_copy(update={"train": run.train.changed({"loop.steps": 50, "loop.checkpoint_every": 100})})

    killed(longer, at=9)
    with pytest.raises(CacheError, match=r"not finished \(8 of 50 steps\)"):
        evaluate(EvalRun(run=run.run, subset="testing"))
    train.main(longer)
    assert evaluate(EvalRun(run=run.run, subset="testing")) is not None


def test_figures_of_other_detections_do_not_stay(run: TrainRun, tmp_path: Path):
    """An evaluation without ground truth leaves no metrics.json, and no report of the one before."""
    (run.run / "report.html").write_text("old")
    annotations = tmp_path / "bare" / "annotations.json"
    document = json.loads((run.dataset / "annotations.json").read_text())
    for video in document["database"].values():
        for one in video["annotations"]:
            one.pop("segment", None)
    annotations.parent.mkdir()
    annotations.write_text(json.dumps(document))
    bare = EvalRun(run=run.run, subset="testing", dataset=annotations.parent, features=run.features_folder)
    assert evaluate(bare) is None
    left = ["curves.npz", "detections.json", "learned.json"]
    assert sorted(name for name in RESULTS if (run.run / name).exists()) == left
