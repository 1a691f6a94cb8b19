"""`make export-model`: a trained run becomes a file that finds what `make eval` finds."""

import json
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from cache.errors import CacheError
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs import evaluate, export_model, train
from pipelines.runs.evaluate import EvalRun
from pipelines.runs.export_model import ExportModelRun
from tests.support.data.toy_data import CLASSES, GRID, save_toy, tiny_recipe
from training.export.exported import ExportedModel


def test_the_file_finds_what_eval_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same detections of a test video, from the file alone, which scales features as the training did; the check is
    printed, and encoders are recorded."""
    save_toy(tmp_path)
    (tmp_path / "features" / "encoders.json").write_text('{"streams": {"rgb": {}, "flow": {}}}')
    recipe = tiny_recipe(use_csr=False, use_dpid=False, use_head=False)
    recipe = recipe.changed({"loop.steps": 4, "loop.device": "cpu", "data.feature_rms": 4.0})
    localize = {"class_threshold": 0.05, "curves": ["cas"]}
    run = TrainRun(dataset=tmp_path, run=tmp_path / "run", train=recipe, localize=localize)
    train.main(run)
    evaluate.evaluate(EvalRun(run=run.run).as_tuned(set()))
    jaxtyping.config.update("jaxtyping_disable", True)  # shapes are symbols while a model is traced
    try:
        export_model.main(ExportModelRun(run=run.run).as_tuned(set()))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    told = " ".join(capsys.readouterr().out.split())
    assert "has no localization head: its detections come from the T-CAM" in told
    assert "onnxruntime against PyTorch on" in told
    model = ExportedModel.open(run.run / "model.onnx")
    assert (model.card.classes, model.card.grid) == (CLASSES, GRID)
    assert set(model.card.encoders["streams"]) == {"rgb", "flow"}
    found = model.detect("test", np.load(tmp_path / "features" / "test.npy"), duration=3.0)
    expected = json.loads((run.run / "detections.json").read_text())["results"]["test"]
    assert len(found) == len(expected) > 1
    for one, other in zip(found, expected, strict=True):
        assert one.label == other["label"]
        assert (one.start, one.end, one.score) == pytest.approx((*other["segment"], other["score"]), abs=1e-3)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """Before anything is traced."""
    with pytest.raises(CacheError, match="no such checkpoint; run `make train`, or name a trained run"):
        export_model.main(ExportModelRun(run=tmp_path))
    with pytest.raises(CacheError, match=r"found no best checkpoint; export the last one \(--checkpoint last\)"):
        export_model.main(ExportModelRun(run=tmp_path, checkpoint="best"))
