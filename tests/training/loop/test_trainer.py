"""One step of training: what must never reach the weights, and what a step is made of."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.support.data.toy_data import tiny_recipe, toy_training_data
from tests.training.loop.test_fit import assert_same_run, changed, checkpoint, lines
from training.batches.data import Batch, WtalData
from training.errors import TrainingError
from training.hosts.plain import PlainRecipe
from training.loop.fit import fit
from training.loop.trainer import Trainer
from training.model.csr import CsrRecipe
from training.model.ksm import KsmRecipe
from training.nn.devices import use_tf32

CALM = {
    "host": PlainRecipe(width=8, dropout=0),
    "ksm": KsmRecipe(width=8, heads=2, context=2, dropout=0),
    "csr": CsrRecipe(width=8, heads=2, encoder_layers=1, decoder_layers=1, dropout=0, attention_dropout=0),
}
"""Parts that drop nothing out."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


class NanBackward(torch.autograd.Function):
    """1, whose gradient is not a number."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """Finite."""
        ctx.shape = x.shape
        return x.sum() * 0 + 1

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Not finite."""
        return torch.full(ctx.shape, torch.nan)


@pytest.mark.parametrize("clip", [None, 10.0])
def test_a_gradient_that_is_not_finite_moves_no_weight(
    data: WtalData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: float | None
):
    """Though the loss is finite; the message names L_match's gradient, and the checkpoint before stays."""
    recipe = changed(tiny_recipe(), loop={"clip": clip})
    trainer = Trainer(data, recipe, run=tmp_path)
    trainer.advance()
    folder = trainer.save({})
    before = [p.clone() for p in trainer.model.parameters()]
    first = next(trainer.model.host.parameters())
    monkeypatch.setattr(trainer.model, "forward", lambda *args, **kwargs: {"host.mil": NanBackward.apply(first)})
    with pytest.raises(TrainingError, match=r"step 1: found gradient_norm.match = nan, expected finite.*Lower loop.lr"):
        trainer.advance()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    assert checkpoint(tmp_path) == folder


def test_weights_that_are_not_finite_are_not_saved(data: WtalData, tmp_path: Path):
    """However they came to be: nothing is written, and the message names them."""
    trainer = Trainer(data, tiny_recipe(), run=tmp_path)
    trainer.advance()
    folder = trainer.save({})
    trainer.advance()
    name, weight = next(trainer.model.named_parameters())
    with torch.no_grad():
        weight.view(-1)[0] = torch.inf
    with pytest.raises(TrainingError, match=rf"step 2: model.safetensors: found .*not finite \({name}"):
        trainer.save({})
    assert checkpoint(tmp_path) == folder


def test_accumulated_gradients_are_averaged(data: WtalData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two equal batches move the weights as one of them does."""
    one = data.batch(0)
    monkeypatch.setattr(data, "batch", lambda number: one)
    weights = []
    for accumulate in (1, 2):
        recipe = changed(tiny_recipe(**CALM), loop={"accumulate": accumulate})
        trainer = Trainer(data, recipe, run=tmp_path)
        figures = trainer.advance()
        weights.append((figures, [p.clone() for p in trainer.model.parameters()]))
    (figures, first), (others, second) = weights
    assert others == pytest.approx(figures, rel=1e-5)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(first, second, strict=True))


def test_accumulation_takes_further_batches(data: WtalData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Step s takes batches s * n to s * n + n - 1, made once, for the host and for the turn of CSR."""
    real, drawn = data.batch, []

    def batch(number: int) -> Batch:
        drawn.append(number)
        return real(number)

    monkeypatch.setattr(data, "batch", batch)
    trainer = Trainer(data, changed(tiny_recipe(), loop={"accumulate": 2}), run=tmp_path)
    trainer.advance()
    trainer.advance()
    assert drawn == [0, 1, 2, 3]


def test_settings_in_the_shell_change_nothing(data: WtalData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Variables of accelerate and of a launcher with one process: the same bits, and the variables stay."""
    fit(data, tiny_recipe(), run=tmp_path / "clean")
    settings = {
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_USE_FSDP": "true",
        "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
        "WORLD_SIZE": "1",
        "RANK": "0",
        "LOCAL_RANK": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    fit(data, tiny_recipe(), run=tmp_path / "littered")
    assert_same_run(tmp_path / "clean", tmp_path / "littered")
    assert {name: os.environ[name] for name in settings} == settings


def test_several_processes_are_refused_by_name(data: WtalData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each would train the whole run."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="WORLD_SIZE: found 2, expected 1"):
        fit(data, tiny_recipe(), run=tmp_path)


def test_a_device_that_is_not_there_is_refused(data: WtalData, tmp_path: Path):
    """Not replaced by another in silence."""
    absent = "mps" if torch.cuda.is_available() or not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(TrainingError, match=rf"device: found {absent}.*expected auto"):
        fit(data, changed(tiny_recipe(), loop={"device": absent}), run=tmp_path)


def test_lines_tell_rates_norms_and_pace(data: WtalData, tmp_path: Path):
    """Both rates, the gradient norm of both losses, and the clock, which goes on when the run does."""
    recipe = changed(tiny_recipe(), loop={"host_lr": 1e-3, "warmup": 4})
    fit(data, changed(recipe, loop={"steps": 4}), run=tmp_path)
    first, second = lines(tmp_path)
    assert (first["lr"], first["host_lr"]) == pytest.approx((5e-3, 5e-4))
    assert second["lr"] == pytest.approx(1e-2)
    assert {name for name in second if name.startswith("gradient_norm.")} == {
        "gradient_norm.match",
        "gradient_norm.reconstruct",
    }
    assert second["gradient_norm.match"] > 0


class FakeRun:
    """A run of W&B or MLflow that remembers what it is told."""

    def __init__(self, name: str) -> None:
        self.id, self.info = name, SimpleNamespace(run_id=name)
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.ended = False

    def log(self, figures: dict[str, float], *, step: int) -> None:
        """Of W&B."""
        self.logged.append((step, figures))

    def finish(self) -> None:
        """Of W&B."""
        self.ended = True


def test_loggers_get_the_lines(data: WtalData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same figures at the same steps; a run that goes on is the same run for them."""
    runs: dict[str, FakeRun] = {}

    def start(**options: Any) -> FakeRun:
        name = options.get("id") or options.get("run_id") or f"run{len(runs)}"
        return runs.setdefault(name, FakeRun(name))

    mlflow = SimpleNamespace(
        set_experiment=lambda name: None,
        start_run=start,
        log_dict=lambda document, file: None,
        log_metrics=lambda figures, step: runs["run1"].logged.append((step, figures)),
        end_run=lambda: None,
    )
    for name, module in {"wandb": SimpleNamespace(init=start), "mlflow": mlflow}.items():
        module.__spec__ = SimpleNamespace(name=name)
        monkeypatch.setitem(sys.modules, name, module)  # pyright: ignore[reportArgumentType]
    recipe = changed(tiny_recipe(), loop={"wandb": True, "mlflow": True, "steps": 4})
    fit(data, recipe, run=tmp_path)
    fit(data, changed(recipe, loop={"steps": 8}), run=tmp_path)
    written = lines(tmp_path)
    assert [line["step"] for line in written] == [2, 4, 6, 8]
    assert list(runs) == ["run0", "run1"]
    for run in runs.values():
        assert [step for step, _ in run.logged] == [2, 4, 6, 8]
    assert runs["run0"].ended
    assert runs["run0"].logged[0][1]["host/mil"] == written[0]["host.mil"]
    assert runs["run1"].logged[0][1]["host.mil"] == written[0]["host.mil"]


def test_a_logger_that_is_not_installed_stops_before_the_first_step(data: WtalData, tmp_path: Path):
    """With the line that installs it."""
    with pytest.raises(TrainingError, match=r"loop.wandb: the package wandb is not installed; `pip install wandb`"):
        fit(data, changed(tiny_recipe(), loop={"wandb": True}), run=tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_tf32_is_for_cuda_and_said_by_the_recipe(data: WtalData, tmp_path: Path):
    """Elsewhere it is refused; without it float32 is float32, in torch's convolutions, too."""
    recipe = changed(tiny_recipe(), loop={"precision": "tf32", "device": "cpu"})
    with pytest.raises(TrainingError, match=r"loop\.precision: found tf32, which only CUDA has, not cpu"):
        Trainer(data, recipe, run=tmp_path)
    use_tf32(True)
    Trainer(data, tiny_recipe(), run=tmp_path)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
