"""What a device computes: the figures of a CPU in float32, to a stated tolerance, and a run goes on on another one.

Parts that need a GPU are skipped without one; benchmarks/cuda/check.sh runs them on a machine that has one.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from tests.support.data.toy_data import tiny_recipe, toy_model, toy_training_data
from tests.support.models.small_hosts import RECIPES
from training.batches.data import Batch, WtalData
from training.hosts.plain import PlainRecipe
from training.logs.logs import CLOCK
from training.loop.fit import fit
from training.model.csr import CsrRecipe
from training.model.ksm import KsmRecipe
from training.model.mllm4wtal import Mllm4Wtal
from training.recipe import TrainRecipe

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT CHECKED: no CUDA device here")
CASES = [
    pytest.param("cpu", "bf16", id="cpu-bf16"),
    pytest.param("cuda", "no", id="cuda-float32", marks=CUDA),
    pytest.param("cuda", "bf16", id="cuda-bf16", marks=CUDA),
]
TOLERANCES = {"no": (1e-3, 1e-4), "bf16": (0.05, 0.05)}
"""Relative and absolute, of a loss term."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


def joint_step(model: Mllm4Wtal, batch: Batch, *, device: str, precision: str) -> tuple[dict[str, float], float]:
    """Loss terms of L_match and L_rec together, and the norm of their gradient; dropout is off."""
    model = model.eval().to(device)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
        terms = model(batch.to(device), phase="joint", step=5, total_steps=10, pseudo=None)
    torch.stack([term.float() for term in terms.values()]).sum().backward()
    norms = [p.grad.float().norm() for p in model.parameters() if p.grad is not None]
    return {name: term.item() for name, term in terms.items()}, torch.stack(norms).norm().item()


@pytest.mark.parametrize("host", RECIPES)
@pytest.mark.parametrize(("device", "precision"), CASES)
def test_a_joint_step_is_that_of_a_cpu_in_float32(data: WtalData, host: str, device: str, precision: str):
    """Every loss term, and the gradient's norm, of every host: 0.1% in float32, 5% in bf16 (the norm: 1%, 10%)."""
    batch = data.batch(0)
    expected, norm = joint_step(toy_model(data, host=RECIPES[host]), batch, device="cpu", precision="no")
    found, its_norm = joint_step(toy_model(data, host=RECIPES[host]), batch, device=device, precision=precision)
    relative, absolute = TOLERANCES[precision]
    assert found == pytest.approx(expected, rel=relative, abs=absolute)
    assert its_norm == pytest.approx(norm, rel=1e-2 if precision == "no" else 0.1)
    assert found.keys() >= {"csr.reconstruction", "ksm.matching"}


@pytest.mark.parametrize(
    ("first", "second"),
    [pytest.param("auto", "cpu", id="cuda-cpu", marks=CUDA), pytest.param("cpu", "cpu", id="cpu-cpu")],
)
def test_a_run_goes_on_on_another_device(tmp_path: Path, data: WtalData, first: str, second: str):
    """Killed after a checkpoint at 3 of 6 steps on the one, resumed on the other: the losses of a CPU alone, to 1%."""
    still = {
        "host": PlainRecipe(width=8, dropout=0.0),
        "ksm": KsmRecipe(width=8, heads=2, context=2, dropout=0.0),
        "csr": CsrRecipe(width=8, heads=2, encoder_layers=1, decoder_layers=1, dropout=0.0, attention_dropout=0.0),
    }

    def recipe(device: str) -> TrainRecipe:
        tiny = tiny_recipe(**still)
        loop = tiny.loop.model_copy(update={"steps": 6, "log_every": 1, "checkpoint_every": 3, "device": device})
        return tiny.model_copy(update={"loop": loop})

    def kill(step: int, total: int, terms: Mapping[str, float]) -> None:
        if step == 4:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fit(data, recipe(first), run=tmp_path / "moved", progress=kill)
    fit(data, recipe(second), run=tmp_path / "moved", resume=True)
    fit(data, recipe("cpu"), run=tmp_path / "alone")
    moved, alone = lines(tmp_path / "moved"), lines(tmp_path / "alone")
    assert [line["step"] for line in moved] == [1, 2, 3, 4, 5, 6]
    for found, expected in zip(moved, alone, strict=True):
        assert found == pytest.approx(expected, rel=1e-2, abs=1e-3)


def lines(run: Path) -> list[dict[str, float]]:
    """metrics.jsonl without the clock."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCK} for row in rows]
