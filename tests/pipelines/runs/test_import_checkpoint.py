"""Weights of public code become a run of ours that gives the public code's figures."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.parity import golden_inputs
from benchmarks.parity.figures import Case, official_host
from benchmarks.parity.parity import CASES, GOLDENS, relative_difference
from cache.errors import CacheError
from cache.features import FeatureGrid
from pipelines.__main__ import main
from pipelines.run_folder.metrics import Metrics
from pipelines.runs import evaluate, import_checkpoint
from pipelines.runs.import_checkpoint import ImportCheckpointRun
from tests.support.data.toy_data import CLASSES, STREAMS, save_toy
from training.checkpoints.checkpoint import load_trained
from training.checkpoints.public_code import Imported, import_official, read_official
from training.compat.names import official_name
from training.errors import TrainingError
from training.hosts.delu import DeluRecipe

I3D = FeatureGrid(streams={"rgb": 1024, "flow": 1024}, fps=25, snippet_frames=16, snippet_stride=16)
GRID = I3D.model_copy(update={"streams": {"rgb": 5, "flow": 5}})


def named_as_public(host: Any, kind: str) -> dict[str, Tensor]:
    """A host's weights under the public names; convolutions of one tap or three as (out, in, taps)."""
    weights = {}
    for ours, value in host.state_dict().items():
        name = official_name(kind, ours)
        owner = host.get_submodule(ours.rpartition(".linear")[0]) if ".linear" in ours else None
        taps = getattr(owner, "kernel", None)
        if taps is not None and value.ndim == 2:
            value = value.unflatten(1, (taps, -1)).transpose(1, 2).contiguous()
        weights[name] = value
    return weights


def small(kind: str = "delu") -> dict[str, Tensor]:
    """A narrow network of the public code."""
    case = next(case for case in CASES if case.recipe.kind == kind)
    recipe = type(case.recipe).model_validate({"width": 8})
    return named_as_public(recipe.build(streams=GRID.streams, num_classes=len(CLASSES)), kind)


def load(folder: Path, weights: Any, *, kind: Any = "delu", variant: Any = "thumos14", **options: Any) -> Imported:
    """Save and import."""
    file = folder / "best.pkl"
    torch.save(weights, file)
    given: dict[str, Any] = {"classes": CLASSES, "grid": GRID, "run": folder / "run"} | options
    return import_official(file, kind, variant=variant, **given)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_imported_weights_give_the_public_figures(case: Case, tmp_path: Path) -> None:
    """The golden outputs come out of the checkpoint that was made of the golden weights."""
    golden, kind = np.load(GOLDENS / f"{case.file}.npz"), case.recipe.kind
    weights = OrderedDict(named_as_public(official_host(case, golden), kind))
    classes = tuple(f"class {number}" for number in range(case.classes))
    made = load(tmp_path, weights, kind=kind, variant=case.variant.lower(), classes=classes, grid=I3D)
    two_streams = "out2/cas" in golden
    features = golden_inputs.features(f"{case.tag}-x2", 2, 37) if two_streams else golden_inputs.features(case.features)
    x = torch.from_numpy(features)
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    with torch.inference_mode():
        found = load_trained(made.checkpoint).model.localize_forward(x, mask)
        if two_streams:
            assert relative_difference(found.logits[:2, ::2], golden["out2/cas"]) < 1e-5
            assert relative_difference(found.attention, golden["out2/attn"]) < 1e-5
        else:  # a host that test_parity compares with the figures
            expected = official_host(case, golden)(x, mask)
            assert torch.equal(found.logits, expected.cas)
            assert torch.equal(found.attention, expected.attention)


@pytest.mark.parametrize("nest", ["state_dict", "model"])
def test_nested_and_prefixed(nest: str, tmp_path: Path) -> None:
    """Nesting and `module.` are taken off; what the public code never runs is reported."""
    weights = small() | {"feat_encoder.0.weight": torch.zeros(2, 2, 3)}
    made = load(tmp_path, {nest: {f"module.{name}": value for name, value in weights.items()}, "epoch": 3})
    assert made.passed_over == ("feat_encoder.0.weight",)
    assert load_trained(made.checkpoint).state.classes == CLASSES


def test_mistakes(tmp_path: Path) -> None:
    """Each is one message that names what was found, and nothing is written."""
    weights = small()
    with pytest.raises(TrainingError, match=r"is --host right\?\n  missing: Attn.*\n  unknown: fAttn"):
        load(tmp_path, weights, kind="ddgnet")
    with pytest.raises(TrainingError, match="found weights of 3 classes, expected the 2"):
        load(tmp_path, weights, classes=CLASSES[:2])
    with pytest.raises(TrainingError, match="features 10 wide, expected 20"):
        load(tmp_path, weights, grid=GRID.model_copy(update={"streams": {"rgb": 12, "flow": 8}}))
    with pytest.raises(TrainingError, match=r"missing: fusion\.0\.bias$"):
        load(tmp_path, {name: value for name, value in weights.items() if name != "fusion.0.bias"})
    with pytest.raises(TrainingError, match="found list, expected a state dict"):
        load(tmp_path, [1, 2])
    with pytest.raises(TrainingError, match="found activitynet, expected thumos14"):
        load(tmp_path, small("um"), kind="um", variant="activitynet")
    assert not (tmp_path / "run").exists()


def test_pickles_need_consent(tmp_path: Path) -> None:
    """What is more than weights is read with the flag alone."""
    stored = {"state_dict": small(), "options": Path("x")}
    with pytest.raises(TrainingError, match="--allow-pickle"):
        load(tmp_path, stored)
    assert load(tmp_path, stored, allow_pickle=True).checkpoint.exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n", "a Git LFS pointer"),
        (b"weights: see the release page\n", "a text file"),
        (b"PK\x03\x04 cut short", "a ZIP archive that is damaged"),
        (b"", "empty"),
    ],
)
def test_consent_to_a_pickle_is_asked_for_pickles_alone(tmp_path: Path, content: bytes, what: str) -> None:
    """Nothing is gained by unpickling a web page."""
    (tmp_path / "best.pkl").write_bytes(content)
    with pytest.raises(TrainingError, match=f"is no checkpoint of torch.save, but {what}") as refused:
        read_official(tmp_path / "best.pkl", allow_pickle=False)
    assert "--allow-pickle" not in str(refused.value)


def test_an_imported_file_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the commands: import, then the evaluation that the import names; a run that is there is kept."""
    save_toy(tmp_path / "toy")
    host = DeluRecipe(width=8, attention_width=3).build(streams=STREAMS, num_classes=len(CLASSES))
    torch.save(named_as_public(host, "delu"), tmp_path / "best_DELU.pkl")
    run, file = tmp_path / "imported", tmp_path / "best_DELU.pkl"
    recipe = ImportCheckpointRun(dataset=tmp_path / "toy", run=run, host="delu", file=file)
    import_checkpoint.main(recipe)
    shown = " ".join(capsys.readouterr().out.split())
    assert "alphabetical" not in shown
    assert f"--run {run} --official delu --protocol thumos14-co2" in shown
    evaluate.main(evaluate.EvalRun(run=run, official="delu"))
    metrics = Metrics.load(run / "metrics.json")
    assert metrics.detections > 0
    assert metrics.footprint is not None
    assert metrics.footprint.parameters == sum(value.numel() for value in host.state_dict().values())
    with pytest.raises(CacheError, match="found a checkpoint, expected none"):
        import_checkpoint.main(recipe)


@pytest.mark.parametrize(
    ("words", "dataset", "variant"),
    [((), "thumos14", "thumos14"), (("activitynet12",), "activitynet12", "activitynet")],
)
def test_the_preset_may_be_left_out(words: tuple[str, ...], dataset: str, variant: str, monkeypatch) -> None:
    """It is THUMOS14's then; another brings its dataset and variant along."""
    given: list[ImportCheckpointRun] = []
    options = ("--host", "delu", "--file", "best_DELU.pkl", "--allow-pickle")
    monkeypatch.setattr(import_checkpoint, "main", given.append)
    with pytest.raises(SystemExit) as ended:
        main(["import-checkpoint", *words, *options])
    assert not ended.value.code
    (recipe,) = given
    assert (recipe.host, recipe.file, recipe.allow_pickle) == ("delu", Path("best_DELU.pkl"), True)
    assert (recipe.dataset, recipe.variant) == (Path("cache/data") / dataset, variant)
