"""What a shell holds changes no weights: a variable has no effect, or is refused by name."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from tests.support.data.toy_data import tiny_recipe, toy_training_data
from tests.support.paths import ROOT
from tests.training.loop.test_fit import assert_same_run, changed
from training.batches.data import WtalData
from training.errors import TrainingError
from training.loop.fit import fit
from training.loop.trainer import Trainer
from training.nn.devices import refuse_other_arithmetic


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


def test_settings_in_the_shell_change_nothing(data: WtalData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Variables of accelerate and of a launcher with one process: the same bits, and the variables stay."""
    fit(data, tiny_recipe(), run=tmp_path / "clean")
    settings = {
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_USE_FSDP": "true",
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_USE_MEGATRON_LM": "true",
        "ACCELERATE_USE_PARALLELISM_CONFIG": "true",
        "ACCELERATE_USE_CPU": "nonsense",
        "ACCELERATE_TORCH_DEVICE": "cuda",
        "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
        "FSDP_VERSION": "2",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
        "ONEDNN_DEFAULT_FPMATH_MODE": "strict",
        "WORLD_SIZE": "1",
        "RANK": "0",
        "LOCAL_RANK": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    fit(data, tiny_recipe(), run=tmp_path / "littered")
    assert_same_run(tmp_path / "clean", tmp_path / "littered")
    assert {name: os.environ[name] for name in settings} == settings


@pytest.mark.parametrize("count", ["auto", "nonsense"])
def test_settings_that_accelerate_cannot_read_change_nothing(
    data: WtalData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: str
):
    """Neither when an accelerator is made nor at a step."""
    for name in ("GRADIENT_ACCUMULATION_STEPS", "MIXED_PRECISION", "USE_CPU", "USE_FSDP"):
        monkeypatch.setenv(f"ACCELERATE_{name}", count)
    Trainer(data, tiny_recipe(), run=tmp_path).advance()


def test_settings_that_are_read_at_import_change_nothing():
    """A level of logs that accelerate does not know is none of a training's business."""
    code = (
        "from training.loop.accelerator import accelerator_of; from training.optimizers import LoopRecipe\n"
        "assert accelerator_of(LoopRecipe(device='cpu', accumulate=3)).gradient_accumulation_steps == 3"
    )
    settings = {"ACCELERATE_LOG_LEVEL": "nonsense", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4", "LOCAL_RANK": "0"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", ["WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"])
def test_several_processes_are_refused_by_name(
    data: WtalData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    """Each would train the whole run."""
    monkeypatch.setenv(name, "2")
    with pytest.raises(TrainingError, match=f"{name}: found 2, expected 1, as a training is one process"):
        fit(data, tiny_recipe(), run=tmp_path)


@pytest.mark.parametrize(
    ("device", "name", "value", "tf32", "refused"),
    [
        ("cpu", "ONEDNN_DEFAULT_FPMATH_MODE", "BF16", False, True),
        ("cpu", "DNNL_DEFAULT_FPMATH_MODE", "any", False, True),
        ("cpu", "DNNL_DEFAULT_FPMATH_MODE", "STRICT", False, False),
        ("cpu", "NVIDIA_TF32_OVERRIDE", "1", False, False),
        ("cuda", "NVIDIA_TF32_OVERRIDE", "1", False, True),
        ("cuda", "NVIDIA_TF32_OVERRIDE", "0", False, False),
        ("cuda", "NVIDIA_TF32_OVERRIDE", "0", True, True),
        ("cuda", "CUBLAS_EMULATE_SINGLE_PRECISION", "1", False, True),
        ("cuda", "CUBLAS_EMULATE_SINGLE_PRECISION", "", False, False),
        ("mps", "PYTORCH_MPS_FAST_MATH", "1", False, True),
    ],
)
def test_other_arithmetic_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, device: str, name: str, value: str, tf32: bool, refused: bool
):
    """Where the variable is of that device, and of another precision than the recipe's."""
    monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError, match=f"{name}: found {value}") if refused else nullcontext():
        refuse_other_arithmetic(torch.device(device), tf32=tf32)


def test_a_training_refuses_other_arithmetic(data: WtalData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Before its first step."""
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    with pytest.raises(TrainingError, match=r"ONEDNN_DEFAULT_FPMATH_MODE: found BF16.*unset the variable"):
        fit(data, changed(tiny_recipe(), loop={"device": "cpu"}), run=tmp_path)
