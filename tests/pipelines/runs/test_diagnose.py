"""make diagnose: of a run, of any results file, and of several seeds."""

from pathlib import Path
from statistics import stdev

import pytest

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import Detection, write_detections
from cache.errors import CacheError
from pipelines.run_folder.files import RECIPE_FILE
from pipelines.run_folder.metrics import Metrics
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs import diagnose
from pipelines.runs.diagnose import DiagnoseRun
from pipelines.runs.evaluate import METRICS_FILE
from tests.support.data.toy_data import tiny_recipe, toy_dataset, toy_training_data
from training.evaluation.diagnosis.schema import Diagnosis, RunsDiagnosis
from training.evaluation.diagnosis.seeds import Run, figures, over_runs
from training.evaluation.protocol import PROTOCOLS
from training.localization.localize import LocalizeRecipe
from training.loop.trainer import Trainer
from training.recipe import TrainRecipe

TRUTH = (Segment("Jump", 0.0, 10.0), Segment("Dive", 20.0, 30.0))


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """Two test videos, one without ground truth, and one of another subset."""
    videos = (
        VideoEntry("v", "testing", 40.0, ("Dive", "Jump"), TRUTH, None),
        VideoEntry("w", "testing", 40.0, (), (), None),
        VideoEntry("x", "validation", 40.0, ("Jump",), (Segment("Jump", 0.0, 8.0),), None),
    )
    path = tmp_path / "data" / "annotations.json"
    Dataset("toy", ("Dive", "Jump"), videos).save(path)
    return path


def detections(path: Path, ends: float, *, video: str = "v") -> Path:
    """Results with a jump that ends there and a dive that is right."""
    found = [Detection(video, "Jump", 0.9, 0.0, ends), Detection(video, "Dive", 0.8, 20.0, 30.0)]
    write_detections(path, found)
    return path


def run(folder: Path, annotations: Path, *, ends: float, seed: int = 0) -> Path:
    """A folder that looks like an evaluated run."""
    recipe = TrainRun(dataset=annotations.parent, run=folder, train=TrainRecipe(seed=seed))
    recipe.save(folder / RECIPE_FILE)
    detections(folder / "detections.json", ends)
    return folder


def test_any_results_file(tmp_path: Path, annotations: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The diagnosis lies beside the detections, carries its protocol, and is printed with its two main figures."""
    file = detections(tmp_path / "results.json", 4.0)
    diagnose.main(DiagnoseRun(run=tmp_path, detections=file, annotations=annotations, tious="0.3,0.5"))
    found = Diagnosis.load(tmp_path / "diagnosis.json")
    assert (found.name, found.protocol.name, found.tious) == ("results", "seconds", (0.3, 0.5))
    assert found.map == (1.0, 0.5)
    whole = found.completeness.overall
    assert whole.missed is not None
    assert whole.missed.mean == pytest.approx(0.3)
    printed = capsys.readouterr().out
    assert "results: 2 ground-truth instances of 2 classes, 2 detections" in printed
    for title in ("Kinds of error at tIoU 0.5", "By length at", "Incompleteness", "Precision at recall", "by class"):
        assert title in printed


def test_a_run_is_diagnosed_under_its_own_protocol(tmp_path: Path, annotations: Path) -> None:
    """That of its metrics.json, unless another is asked for; another output is honoured."""
    folder = run(tmp_path / "run", annotations, ends=4.0)
    protocol = PROTOCOLS["activitynet12"].model_copy(update={"subset": "testing"})
    metrics = Metrics(
        run="run", protocol=protocol, subset="testing", videos=2, detections=2, tious=protocol.tious, map=(), average=0,
        classes=(), ap=(), unscored={}, left_out={}, localize=LocalizeRecipe(),
    )  # fmt: skip
    metrics.save(folder / METRICS_FILE)
    diagnose.main(DiagnoseRun(run=folder))
    assert Diagnosis.load(folder / "diagnosis.json").protocol == protocol
    diagnose.main(DiagnoseRun(run=folder, protocol="seconds", output=tmp_path / "other"))
    found = Diagnosis.load(tmp_path / "other" / "diagnosis.json")
    assert (found.protocol, found.name) == (PROTOCOLS["seconds"], "run")


def test_pseudo_segments_are_diagnosed_on_the_training_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of the checkpoint, against the ground truth of the subset that the run was trained on, in a file of their
    own; detections are not needed."""
    dataset = toy_dataset()
    dataset.save(tmp_path / "data" / "annotations.json")
    trainer = Trainer(toy_training_data(tmp_path / "features"), tiny_recipe(), run=tmp_path / "run")
    for _ in range(5):
        trainer.advance()
    trainer.save({})
    TrainRun(dataset=tmp_path / "data", run=tmp_path / "run", train=trainer.recipe).save(tmp_path / "run" / RECIPE_FILE)
    diagnose.main(DiagnoseRun(run=tmp_path / "run", pseudo_segments=True, tious="0.1,0.5"))
    found = Diagnosis.load(tmp_path / "run" / "pseudo_diagnosis.json")
    assert trainer.pseudo is not None
    assert (found.protocol.subset, found.tious, found.name) == ("training", (0.1, 0.5), "pseudo segments of run")
    assert found.detections == sum(len(one.weight) for one in trainer.pseudo.values())
    assert found.truths == sum(len(video.segments) for video in dataset.split("training"))
    assert "pseudo segments of run" in capsys.readouterr().out
    assert not (tmp_path / "run" / "diagnosis.json").exists()
    with pytest.raises(CacheError, match="detections: expected alone"):
        diagnose.main(DiagnoseRun(run=tmp_path, detections=tmp_path / "results.json", pseudo_segments=True))


def test_several_seeds(tmp_path: Path, annotations: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mean and spread over the seeds; the differences are those of the runs with the same seed, in whatever order."""
    runs = [run(tmp_path / f"full{seed}", annotations, ends=end, seed=seed) for seed, end in ((0, 8.0), (1, 9.0))]
    host = [run(tmp_path / f"host{seed}", annotations, ends=end, seed=seed) for seed, end in ((1, 6.0), (0, 2.0))]
    diagnose.main(DiagnoseRun(run=tmp_path, runs=tuple(runs), against=tuple(host), output=tmp_path))
    found = RunsDiagnosis.load(tmp_path / "diagnosis_runs.json")
    assert (found.runs, found.against) == (("full0", "full1"), ("host1", "host0"))
    mine = found.figures["incompleteness"]
    assert mine.values == pytest.approx((0.1, 0.05))
    assert (mine.mean, mine.spread) == pytest.approx((0.075, stdev((0.1, 0.05))))
    gap = found.differences["incompleteness"]
    assert gap.paired
    assert (gap.mean, gap.spread) == pytest.approx((-0.225, stdev((0.1 - 0.4, 0.05 - 0.2))))
    assert all((folder / "diagnosis.json").exists() for folder in (*runs, *host))
    assert "difference, paired" in capsys.readouterr().out


def test_seeds_that_do_not_pair_up(tmp_path: Path, annotations: Path) -> None:
    """The difference is then that of the means, with its standard error; a figure that one run lacks is left out."""
    ends = {"a": 8.0, "b": 9.0, "c": 5.0, "d": 0.5}
    each = []
    for seed, (name, end) in enumerate(ends.items()):
        diagnose.main(DiagnoseRun(run=run(tmp_path / name, annotations, ends=end)))
        each.append(Run(Diagnosis.load(tmp_path / name / "diagnosis.json"), seed))
    found = over_runs(each[:2], each[2:])
    gap = found.differences["average mAP"]
    assert not gap.paired
    mine, other = ([figures(run.diagnosis)["average mAP"] for run in side] for side in (each[:2], each[2:]))
    assert gap.mean == pytest.approx(sum(mine) / 2 - sum(other) / 2)
    assert gap.spread == pytest.approx((stdev(mine) ** 2 / 2 + stdev(other) ** 2 / 2) ** 0.5)
    alone = over_runs(each[:1])
    assert alone.figures["average mAP"].spread is None
    assert alone.differences == {}
    nothing = each[3].diagnosis.completeness.overall.model_copy(update={"missed": None})
    update = {"completeness": each[3].diagnosis.completeness.model_copy(update={"overall": nothing})}
    lacking = Run(each[3].diagnosis.model_copy(update=update), 9)
    assert "incompleteness" not in over_runs([each[0], lacking]).figures


def test_errors_say_what_to_do(tmp_path: Path, annotations: Path) -> None:
    """Missing files, unknown labels, and what must not be compared."""
    file = detections(tmp_path / "results.json", 4.0)
    with pytest.raises(CacheError, match="--annotations"):
        diagnose.main(DiagnoseRun(run=tmp_path, detections=file))
    with pytest.raises(CacheError, match="make eval"):
        diagnose.main(DiagnoseRun(run=tmp_path))
    with pytest.raises(CacheError, match="detections: expected alone"):
        diagnose.main(DiagnoseRun(run=tmp_path, detections=file, annotations=annotations, runs=(tmp_path,)))
    write_detections(file, [Detection("v", "Sprint", 0.9, 0.0, 1.0)])
    with pytest.raises(CacheError, match="'Sprint'"):
        diagnose.main(DiagnoseRun(run=tmp_path, detections=file, annotations=annotations))
    with pytest.raises(CacheError, match="no video has subset 'nowhere'"):
        diagnose.main(DiagnoseRun(run=tmp_path, detections=file, annotations=annotations, subset="nowhere"))
    with pytest.raises(ValueError, match="expected start:step:end"):
        DiagnoseRun(run=tmp_path, tious="a:b")


def test_runs_of_different_truth_are_not_compared(tmp_path: Path, annotations: Path) -> None:
    """The folder, what was found and what was expected are named."""
    one = run(tmp_path / "one", annotations, ends=4.0)
    other = tmp_path / "other-data" / "annotations.json"
    whole = Dataset.load(annotations)
    Dataset("toy", whole.classes, whole.videos[:1]).save(other)
    with pytest.raises(CacheError, match=r"two/diagnosis.json: videos: found 1, expected 2 as in .*one"):
        diagnose.main(DiagnoseRun(run=tmp_path, runs=(one, run(tmp_path / "two", other, ends=4.0))))
