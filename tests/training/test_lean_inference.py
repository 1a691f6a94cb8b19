"""What training and inference do without: libraries of the priors in both, CSR and text tower in inference."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.support.data.toy_data import STREAMS, save_toy, tiny_recipe, toy_dataset, toy_training_data
from tests.support.paths import ROOT
from training.checkpoints.checkpoint import load_trained
from training.checkpoints.footprint import footprint
from training.inference import detect
from training.localization.curves import Curves
from training.localization.localize import LocalizeRecipe
from training.loop.fit import fit
from training.model.csr import CompleteSemanticReconstruction, ReconstructionAttention
from training.model.ksm import KeySemanticMatching
from training.model.mllm4wtal import Mllm4Wtal

ABSENT = ("transformers", "av", "gensim", "decord", "ray", "cv2", "torchcodec", "openai", "pandas", "polars")

COMMANDS = """
import runpy, sys


class Without:
    '''A finder that has never heard of some packages.'''

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in ABSENT else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
for name in ABSENT:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(name)
for command, *options in COMMANDS:
    sys.argv = ["pipelines", command, *options]
    try:
        runpy.run_module("pipelines", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        assert not ended.code, (command, ended.code)
print(sorted({name.split(".")[0] for name in sys.modules} & {*ABSENT, "priors"}))
"""


def test_commands_need_no_library_of_the_priors(tmp_path: Path):
    """`make train` and `make eval` in a process where these packages do not exist; the room priors is not loaded."""
    save_toy(tmp_path / "toy")
    run = ("--run", str(tmp_path / "run"))
    quick = ("--loop.steps", "3", "--loop.device", "cpu", "--loop.no-tensorboard")
    quick += ("--model.head.pseudo-labels.warmup", "0")
    commands = [("train", "demo", "--dataset", str(tmp_path / "toy"), *run, *quick), ("eval", "demo", *run)]
    code = f"ABSENT, COMMANDS = {ABSENT!r}, {commands!r}\n{COMMANDS}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "run" / "metrics.json").exists()


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a few steps with every part of the model."""
    root = tmp_path_factory.mktemp("lean")
    recipe = tiny_recipe()
    recipe = recipe.model_copy(update={"loop": recipe.loop.model_copy(update={"steps": 4})})
    return fit(toy_training_data(root / "features"), recipe, run=root / "run")


def localized(checkpoint: Path, **options: Any) -> list[tuple[Curves, list]]:
    """Curves and detections of two videos."""
    trained = load_trained(checkpoint, **options)
    store = toy_training_data(checkpoint.parents[2] / "features").store
    return list(detect(trained, store, toy_dataset().videos[:2], recipe=LocalizeRecipe()))


def test_csr_and_text_tower_are_neither_built_nor_read(trained_run: Path, tmp_path: Path, monkeypatch):
    """Localizing makes no such module, and needs none of their weights: a file without them gives the same."""
    before = localized(trained_run)
    weights = load_file(trained_run / "model.safetensors")
    kept = {name: value for name, value in weights.items() if name.split(".")[0] in ("host", "head")}
    kept["ksm.class_queries"] = weights["ksm.class_queries"]
    assert len(kept) < len(weights) - 20
    lean = tmp_path / "run" / "checkpoint" / trained_run.name
    lean.mkdir(parents=True)
    (lean / "state.json").write_bytes((trained_run / "state.json").read_bytes())
    (tmp_path / "features").symlink_to(trained_run.parents[2] / "features")
    save_file(kept, lean / "model.safetensors")

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("inference has no business here")

    for kind in (Mllm4Wtal, KeySemanticMatching, CompleteSemanticReconstruction, ReconstructionAttention):
        monkeypatch.setattr(kind, "__init__", forbidden)
    for kind, method in ((KeySemanticMatching, "encode"), (ReconstructionAttention, "attention")):
        monkeypatch.setattr(kind, method, forbidden)
    after = localized(lean)
    for (curves, found), (expected, detections) in zip(after, before, strict=True):
        assert found == detections
        assert len(found) > 0
        assert curves.attention_csr is None
        assert np.array_equal(curves.cas, expected.cas)
    with pytest.raises(AssertionError, match="no business"):
        localized(lean, csr_attention=True)


def test_a_csr_is_drawn_by_its_two_convolutions(trained_run: Path):
    """Asked for, it is that of the trained model; encoder and decoder stay on disk."""
    trained = load_trained(trained_run, csr_attention=True)
    assert trained.csr is not None
    assert {name.split(".")[0] for name in trained.csr.state_dict()} == {"attend"}
    weights = load_file(trained_run / "model.safetensors")
    recipe = trained.state.recipe.model
    whole = Mllm4Wtal(recipe, streams=STREAMS, num_classes=3, word_vectors=weights["word_vectors"]).eval()
    whole.load_state_dict(weights)
    assert whole.csr is not None
    store = toy_training_data(trained_run.parents[2] / "features").store
    for curves, _ in localized(trained_run, csr_attention=True):
        features = torch.from_numpy(np.array(store.load(curves.video_id)))[None]
        with torch.inference_mode():
            expected = whole.csr.attention(features, torch.ones(features.shape[:2], dtype=torch.bool))
        assert curves.attention_csr is not None
        np.testing.assert_allclose(curves.attention_csr, expected[0].numpy(), atol=1e-6)


def test_the_footprint_counts_what_is_there(trained_run: Path):
    """Numbers of the three parts and of the rest make up the file; operations are those of the products, by hand."""
    trained = load_trained(trained_run)
    cost = footprint(trained, snippets=20)
    weights = load_file(trained_run / "model.safetensors")
    assert cost.parameters + cost.unread_parameters == sum(value.numel() for value in weights.values())
    assert cost.host_parameters == sum(v.numel() for name, v in weights.items() if name.startswith("host."))
    assert cost.query_parameters == weights["ksm.class_queries"].numel() == 4 * 8
    host = [m for m in trained.model.host.modules() if isinstance(m, nn.Linear)]
    assert cost.host_flops == sum(2 * 20 * layer.weight.numel() for layer in host)
    assert cost.flops > cost.host_flops + 2 * 20 * cost.query_parameters  # and the head
    double = footprint(trained, snippets=40)
    assert double.host_flops == 2 * cost.host_flops


def test_a_host_alone_costs_what_the_host_costs(tmp_path: Path):
    """No queries, no head, nothing unread, and no operation beside the host's."""
    recipe = tiny_recipe(use_ksm=False, use_csr=False, use_head=False)
    recipe = recipe.model_copy(update={"loop": recipe.loop.model_copy(update={"steps": 1})})
    data = toy_training_data(tmp_path / "features")
    cost = footprint(load_trained(fit(data, recipe, run=tmp_path / "run")), snippets=9)
    assert (cost.query_parameters, cost.head_parameters, cost.unread_parameters) == (0, 0, 0)
    assert (cost.parameters, cost.flops) == (cost.host_parameters, cost.host_flops)
