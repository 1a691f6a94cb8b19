"""`make eval` where there is nothing to compare with: predictions, and what a score would need."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cache.annotations import Dataset
from cache.detections import read_detections
from cache.errors import CacheError
from pipelines.experiments.cell import main as work
from pipelines.experiments.grid import CellRun
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs import diagnose, evaluate, report, train
from tests.support.data.tiny_world import make_world, small_training

ALONE = {f"model.{part}": False for part in ("use_ksm", "use_csr", "use_dpid", "use_head")}


@pytest.fixture
def run(tmp_path: Path) -> TrainRun:
    """A trained host alone."""
    made = TrainRun(dataset=make_world(tmp_path / "tiny"), run=tmp_path / "run", train=small_training().changed(ALONE))
    train.main(made)
    return made


def change(run: TrainRun, how: Callable[[dict[str, Any]], None]) -> None:
    """Change every video's entry in the annotations."""
    path = run.dataset / "annotations.json"
    document = json.loads(path.read_text())
    for entry in document["database"].values():
        how(entry)
    path.write_text(json.dumps(document))


def without_segments(entry: dict[str, Any]) -> None:
    """Labels alone, but for the validation videos."""
    if entry["subset"] != "validation":
        entry["annotations"] = [{"label": one["label"]} for one in entry["annotations"]]


def test_predictions_are_written_and_what_a_score_needs_is_said(run: TrainRun, capsys: pytest.CaptureFixture) -> None:
    """The report shows the videos that were localized; the diagnosis says that it needs segments, too."""
    change(run, without_segments)
    evaluate.main(evaluate.EvalRun(run=run.run))
    told = " ".join(capsys.readouterr().out.split())
    assert "no score: " in told
    assert "annotations.json: found no segment in the 4 videos of subset 'testing'" in told
    assert "there are segments in 4 videos of validation (--subset)" in told
    found = read_detections(run.run / "detections.json")
    assert {one.video_id for one in found} == {"v8", "v9", "v10", "v11"}
    assert not (run.run / "metrics.json").exists()
    report.main(report.ReportRun(run=run.run, videos=0))
    page = (run.run / "report.html").read_text(encoding="utf-8")
    assert "without ground truth" in page
    assert all(f'"{name}"' in page for name in ("v8", "v9", "v10", "v11"))
    assert '"v7"' not in page
    with pytest.raises(CacheError, match="none of the 4 videos of 'testing' has a segment"):
        diagnose.main(diagnose.DiagnoseRun(run=run.run))


def test_a_subset_that_is_not_there_is_answered_with_those_that_are(run: TrainRun) -> None:
    """Before anything is written."""
    told = r"annotations\.json: subset: found no video of 'test', expected one of training \(4 videos\), validation"
    with pytest.raises(CacheError, match=told):
        evaluate.main(evaluate.EvalRun(run=run.run, subset="test"))
    assert not (run.run / "detections.json").exists()


def test_all_videos_are_localized_where_that_is_asked_for(run: TrainRun, capsys: pytest.CaptureFixture) -> None:
    """Without a test subset, and with ground truth, of which no score is made; a subset of them can be reported."""
    change(run, lambda entry: entry.update(subset="training"))
    with pytest.raises(CacheError, match=r"found no video of 'testing', expected one of training .*--all-videos"):
        evaluate.main(evaluate.EvalRun(run=run.run))
    evaluate.main(evaluate.EvalRun(run=run.run, all_videos=True))
    assert "no score: all videos were localized" in " ".join(capsys.readouterr().out.split())
    everything = {video.video_id for video in Dataset.load(run.dataset / "annotations.json").videos}
    assert len(everything) == 12
    assert {one.video_id for one in read_detections(run.run / "detections.json")} == everything
    report.main(report.ReportRun(run=run.run, videos=0))
    page = (run.run / "report.html").read_text(encoding="utf-8")
    assert everything == set(re.findall(r'"(v\d+)"', page))
    with pytest.raises(CacheError, match="its subsets are"):
        report.main(report.ReportRun(run=run.run, subset="testing"))


def test_a_table_needs_a_score(run: TrainRun) -> None:
    """So it stops where there is none."""
    change(run, without_segments)
    with pytest.raises(CacheError, match="found no segments, expected the ground truth"):
        work(CellRun(train=run, evaluations=(evaluate.EvalRun(run=run.run, subset="testing", curves=False),)))
