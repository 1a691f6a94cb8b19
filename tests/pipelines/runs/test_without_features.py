"""Videos without features: listed, and nothing done, or left out of training and localization, and named."""

import json
from pathlib import Path

import pytest

from cache.errors import CacheError
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs import evaluate, train
from pipelines.runs.evaluate import EvalRun
from tests.support.data.toy_data import save_toy, tiny_recipe
from training.checkpoints.checkpoint import load_state
from training.checkpoints.folder import find_checkpoint


def test_videos_without_features_stop_or_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """v0 of the training; of the localization the choice is that of the training, and an mAP still counts all."""
    save_toy(tmp_path)
    (tmp_path / "features" / "v0.npy").unlink()
    recipe = tiny_recipe(use_csr=False, use_dpid=False).changed({"loop.steps": 2, "loop.device": "cpu"})
    run = TrainRun(dataset=tmp_path, run=tmp_path / "run", train=recipe)
    with pytest.raises(CacheError, match=r"1 video has no usable features[\s\S]*v0\.npy: no such feature file"):
        train.main(run)
    train.main(run.model_copy(update={"without_features": "drop"}))
    assert f"1 video has no features in {tmp_path / 'features'} and is left out: v0" in capsys.readouterr().err
    folder = find_checkpoint(tmp_path / "run")
    assert folder is not None
    assert load_state(folder).finished
    asked = EvalRun(run=tmp_path / "run", subset="training")
    with pytest.raises(CacheError, match=r"v0\.npy: no such feature file"):
        evaluate.evaluate(asked.model_copy(update={"without_features": "stop"}))
    metrics = evaluate.evaluate(asked)
    assert metrics is not None
    assert metrics.videos == 9
    results = json.loads((tmp_path / "run" / "detections.json").read_text())["results"]
    assert not results.get("v0")
    assert results["v1"]


def test_a_subset_without_any_features_stops(tmp_path: Path) -> None:
    """Nothing is left to train on."""
    save_toy(tmp_path)
    for path in (tmp_path / "features").glob("v*.npy"):
        path.unlink()
    recipe = tiny_recipe(use_csr=False, use_dpid=False)
    run = TrainRun(dataset=tmp_path, run=tmp_path / "run", train=recipe, without_features="drop")
    with pytest.raises(CacheError, match="9 videos have no usable features"):
        train.main(run)
