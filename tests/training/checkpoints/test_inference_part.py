"""The inference part of a checkpoint draws the same curves and holds nothing of the training."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from tests.support.data.toy_data import tiny_recipe, toy_training_data
from training.checkpoints.checkpoint import load_trained
from training.checkpoints.folder import find_checkpoint
from training.checkpoints.inference_part import save_inference_part
from training.inference import draw_curves
from training.loop.fit import fit


@pytest.mark.parametrize("average", [False, True])
def test_the_inference_part_is_enough(tmp_path: Path, average: bool) -> None:
    """With the moving average as without; text tower, CSR and words stay behind."""
    data = toy_training_data(tmp_path / "features")
    recipe = tiny_recipe().changed({"loop.ema_eval": average})
    whole = fit(data, recipe, run=tmp_path / "run")
    part = save_inference_part(whole, tmp_path / "part")
    assert find_checkpoint(tmp_path / "part") == part
    assert {path.suffix for path in part.iterdir()} == {".json", ".safetensors"}
    (weights,) = part.glob("*.safetensors")
    with safe_open(weights, framework="pt") as file:
        names = set(file.keys())
    assert not any("csr" in name or name == "word_vectors" for name in names)
    one, other = load_trained(whole), load_trained(part)
    assert (other.unread, other.state.words) == (0, ())
    assert names == one.model.state_dict().keys()
    features = np.random.default_rng(0).normal(size=(20, data.store.grid.width)).astype(np.float32)
    (curves, head), (again, head_again) = (draw_curves(each, "v", features) for each in (one, other))
    assert np.array_equal(curves.cas, again.cas)
    assert head is not None
    assert head_again is not None
    assert np.array_equal(head.scores, head_again.scores)
