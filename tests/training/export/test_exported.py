"""Models as ONNX files: every host computes there what it computes in PyTorch, and needs no torch to."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from tests.support.data.toy_data import CLASSES, GRID, tiny_recipe
from tests.support.models.small_hosts import KINDS
from tests.support.paths import ROOT
from training.checkpoints.checkpoint import State, Trained
from training.errors import TrainingError
from training.export import check
from training.export.check import compare, difference, export, made_up
from training.export.exported import ExportedModel, ModelCard
from training.export.graph import InferenceGraph
from training.hosts.ddgnet import DdgNetRecipe
from training.hosts.recipes import default_recipe
from training.inference import draw_curves
from training.localization.localize import LocalizeRecipe, localize
from training.model.localizer import Localizer
from training.model.mllm4wtal import inference_model

SINGLE = ("plain", "um", "gaufuse")
"""Hosts that read any number of streams: exported with one."""


def localize_of(kind: str) -> LocalizeRecipe:
    """Post-processing that reads all outputs."""
    source = "head+cam" if kind == "plain" else "cam"
    return LocalizeRecipe(source=source, head_min_score=0.0, gate=False, head_most=30)


def model_of(kind: str, *, seed: int = 0) -> Localizer[Any]:
    """A host with class queries, of random weights; plain has a head, too, which is the same for all hosts."""
    torch.manual_seed(seed)
    host = default_recipe(kind)
    changes: dict[str, object] = {} if kind in ("co2net", "delu", "ddgnet") else {"width": 8}
    if isinstance(host, DdgNetRecipe):
        changes["similarity"] = 0.5  # narrow made-up features: so that there is a graph
    recipe = tiny_recipe(host=host.model_copy(update=changes), use_head=kind == "plain").model
    model = inference_model(recipe, streams=streams_of(kind), num_classes=len(CLASSES))
    for value in model.parameters():
        if value.dim() > 1:
            torch.nn.init.normal_(value, std=0.3)
    assert model.ksm is not None
    model.ksm.class_queries.normal_()
    return model.eval()


def streams_of(kind: str) -> dict[str, int]:
    """Widths by name."""
    return {"clip": 10} if kind in SINGLE else {"rgb": 6, "flow": 4}


def card_of(kind: str) -> ModelCard:
    """A card for it."""
    grid = GRID.model_copy(update={"streams": streams_of(kind)})
    return ModelCard(
        classes=CLASSES,
        grid=grid,
        localize=localize_of(kind),
        num_snippets=16,
        stretch=False,
        run="r",
        host=kind,
        step=8,
    )


@contextmanager
def traced() -> Iterator[None]:
    """Without checks of shapes, which are symbols meanwhile."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the host plain as a file."""
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    with traced():
        export(model_of("plain"), card_of("plain"), path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntime_computes_what_pytorch_does(kind: str, tmp_path: Path, plain: Path) -> None:
    """All outputs at lengths and numbers of videos that the graph was not traced on, and the detections."""
    model, path = model_of(kind), tmp_path / "model.onnx"
    if kind == "plain":
        path = plain
    else:
        with traced():
            export(model, card_of(kind), path, videos=[made_up((1, 21), 10, seed=7)[0]])
    exported, graph = ExportedModel.open(path), InferenceGraph(model, kind="softmax")
    for shape in ((1, 1), (1, 3), (3, 50), (1, 90)):
        features = made_up(shape, 10, seed=11)
        found = exported.outputs(features)
        with torch.no_grad():
            expected = graph(torch.from_numpy(features))
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value.numpy(), atol=1e-4, rtol=1e-4, err_msg=f"{name} {shape}")
            assert len(value.unique()) > 1 or shape == (1, 1), name  # else the figures say little
    video = made_up((1, 40), 10, seed=12)[0]
    state = State(0, tiny_recipe(), CLASSES, (), GRID, "", {})
    curves, head = draw_curves(Trained(model, state), "v", video, recipe=localize_of(kind))
    drawn = {name: getattr(curves, name).astype(np.float64) for name in ("video_scores", "cas", "attention")}
    card = exported.card
    wanted = localize("v", recipe=localize_of(kind), grid=card.grid, classes=CLASSES, duration=9.0, head=head, **drawn)
    found = exported.detect("v", video, duration=9.0)
    assert len(found) == len(wanted) > 0
    assert [one.label for one in found[:5]] == [one.label for one in wanted[:5]]
    spans = [[(one.start, one.end, one.score) for one in some] for some in (found, wanted)]
    np.testing.assert_allclose(sorted(spans[0]), sorted(spans[1]), atol=1e-3)


def test_other_weights_are_told_apart_and_not_written(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check sees one weight that changed by a hundredth; a file that differs does not appear."""
    model = model_of("plain")
    assert (
        max(compare(InferenceGraph(model, kind="softmax"), ExportedModel.open(plain), width=10).differences.values())
        < 1e-5
    )
    with torch.no_grad():
        model.host.get_parameter("classifier.linear.bias")[0] += 0.01
    monkeypatch.setattr(check, "write_graph", lambda _, path, **__: shutil.copy(plain, path))
    with pytest.raises(TrainingError, match=r"not written: .*differ from PyTorch's \(cas by"):
        export(model, card_of("plain"), tmp_path / "other.onnx")
    assert not list(tmp_path.iterdir())


def test_differences() -> None:
    """Absolute below 1, relative above, infinite for what is no number or of another shape."""
    assert difference(np.array([0.5, 101.0]), np.array([0.25, 100.0])) == 0.25
    assert difference(np.array([200.0]), np.array([100.0])) == 1
    assert difference(np.array([np.nan]), np.array([1.0])) == difference(np.ones(2), np.ones(3)) == np.inf
    assert difference(np.zeros((0, 2)), np.zeros((0, 2))) == 0


def test_the_card_is_in_the_file(plain: Path) -> None:
    """All of it comes back, and the shapes are open."""
    exported = ExportedModel.open(plain)
    assert exported.card == card_of("plain")
    assert exported.session.get_inputs()[0].shape == ["videos", "snippets", 10]
    with pytest.raises(TrainingError, match=r"found shape \(1, 4, 9\), expected \(videos, snippets, 10\)"):
        exported.outputs(np.zeros((1, 4, 9)))


def test_what_is_no_such_file_is_named(tmp_path: Path, plain: Path) -> None:
    """A missing one, a damaged one, and a model of someone else."""
    import onnx

    path = tmp_path / "model.onnx"
    with pytest.raises(TrainingError, match="no such file; `make export-model` writes one"):
        ExportedModel.open(path)
    path.write_bytes(plain.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="cannot be read as an ONNX model"):
        ExportedModel.open(path)
    other = onnx.load(plain)
    card = json.loads(other.metadata_props[0].value)
    other.metadata_props[0].value = json.dumps(card | {"classes": 3})
    onnx.save(other, path)
    with pytest.raises(TrainingError, match=r"metadata 'mllm4wtal': .*\n?.*classes"):
        ExportedModel.open(path)
    other.metadata_props[0].key = "else"
    onnx.save(other, path)
    with pytest.raises(TrainingError, match="metadata: found no 'mllm4wtal'"):
        ExportedModel.open(path)


@pytest.mark.parametrize("package", ["onnxscript", "onnxruntime"])
def test_missing_packages_are_named(package: str, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is traced or read."""
    monkeypatch.setitem(sys.modules, package, None)
    work = {
        "onnxscript": lambda: export(model_of("plain"), card_of("plain"), tmp_path / "x.onnx"),
        "onnxruntime": lambda: ExportedModel.open(plain),
    }
    with pytest.raises(TrainingError, match="pip install onnx onnxruntime onnxscript"):
        work[package]()


@pytest.mark.parametrize("place", [0, 1])
def test_the_documented_examples_run_without_torch(place: int, plain: Path, tmp_path: Path) -> None:
    """As they stand in docs/export.md; ten lines at most."""
    example = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(encoding="utf-8"), re.S)[place]
    assert len([line for line in example.splitlines() if line]) <= 10
    shutil.copy(plain, tmp_path / "model.onnx")
    np.save(tmp_path / "clip.npy", made_up((1, 40), 10, seed=12)[0].astype(np.float16))
    blocked = "import sys; sys.modules['torch'] = None\n"
    if place == 1:
        blocked += "sys.modules['training'] = sys.modules['cache'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + example],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert any(label in done.stdout for label in CLASSES)
