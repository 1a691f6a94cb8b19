"""fit(): determinism, resume, bad input, and what it leaves on disk."""

import json
import os
import signal
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cache.errors import CacheError
from cache.recipe import Recipe
from tests.support.data.toy_data import CLASSES, STREAMS, tiny_recipe, toy_dataset, toy_store, toy_texts
from training.batches.data import WtalData
from training.checkpoints.checkpoint import load_state, load_trained
from training.checkpoints.folder import find_checkpoint
from training.errors import TrainingError
from training.hosts.plain import PlainRecipe
from training.logs.logs import CLOCK
from training.loop.fit import fit
from training.loop.trainer import Trainer, finite_values
from training.model.distillation import DpidRecipe
from training.model.mllm4wtal import Mllm4Wtal
from training.optimizers import LoopRecipe, build_optimizers, gradient_norm, rate_factor, take_step
from training.recipe import TrainRecipe

RecipeT = TypeVar("RecipeT", bound=Recipe)

JOINT = DpidRecipe(schedule="joint")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the toy dataset."""
    return tmp_path_factory.mktemp("features")


def load(features: Path, recipe: TrainRecipe, *, texts: bool = True) -> WtalData:
    """The toy data."""
    dataset = toy_dataset()
    store = toy_store(features, dataset)
    return WtalData(dataset, store, toy_texts(dataset) if texts else None, recipe=recipe.data, seed=recipe.seed)


def changed(recipe: TrainRecipe, **fields: object) -> TrainRecipe:
    """The recipe with some of its parts' fields changed: loop={"steps": 3}, seed=1."""
    return with_fields(recipe, fields)


def with_fields(recipe: RecipeT, fields: Mapping[str, Any]) -> RecipeT:
    """The recipe with these fields; a dict changes fields of a part."""
    update = {
        name: with_fields(getattr(recipe, name), value) if isinstance(value, dict) else value
        for name, value in fields.items()
    }
    return recipe.model_copy(update=update)


def labelled(**pseudo_labels: object) -> dict[str, object]:
    """For `changed`: these fields of the recipe of pseudo segments."""
    return {"head": {"pseudo_labels": pseudo_labels}}


def lines(run: Path) -> list[dict[str, float]]:
    """metrics.jsonl without the clock."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCK} for row in rows]


def checkpoint(run: Path) -> Path:
    """The last checkpoint of a run."""
    folder = find_checkpoint(run)
    assert folder is not None
    return folder


def same_tensors(first: Path, second: Path) -> bool:
    """Whether two files of weights are equal to the last bit."""
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def assert_same_run(first: Path, second: Path) -> None:
    """Weights, average, optimizer state, pseudo segments and metrics are equal to the last bit."""
    folders = [checkpoint(run) for run in (first, second)]
    for name in ("model.safetensors", "ema.safetensors"):
        assert same_tensors(*(folder / name for folder in folders)), name
    one, other = (torch.load(folder / "optimizer.pt", weights_only=True) for folder in folders)
    assert_equal(one, other)
    assert lines(first) == lines(second)


def assert_equal(first: object, second: object) -> None:
    """Nested equality with tensors inside."""
    if isinstance(first, torch.Tensor):
        assert isinstance(second, torch.Tensor)
        assert torch.equal(first, second)
    elif isinstance(first, Mapping):
        assert isinstance(second, Mapping)
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, list):
        assert isinstance(second, list)
        for a, b in zip(first, second, strict=True):
            assert_equal(a, b)
    else:
        assert first == second


class Stop(Exception):
    """Stands for a kill."""


def stop_at(step: int, how: str):
    """A progress callback that ends the run after `step`."""

    def progress(done: int, total: int, terms: Mapping[str, float]) -> None:
        if done == step:
            if how == "interrupt":
                signal.raise_signal(signal.SIGINT)
            else:
                raise Stop

    return progress


@pytest.mark.parametrize("schedule", ["alternate", "joint"])
def test_resume_repeats_the_uninterrupted_run(features: Path, tmp_path: Path, schedule: str):
    """Killed three times, between and after checkpoints, before and after pseudo segments: the same bits in the end."""
    recipe = changed(tiny_recipe(dpid=DpidRecipe.model_validate({"schedule": schedule})), loop={"checkpoint_every": 3})
    data = load(features, recipe)
    fit(data, recipe, run=tmp_path / "whole")
    for step in (2, 5, 7):
        with pytest.raises(Stop):
            fit(load(features, recipe), recipe, run=tmp_path / "parts", resume=True, progress=stop_at(step, "kill"))
        torch.manual_seed(99)
        np.random.seed(99)
    fit(load(features, recipe), recipe, run=tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert [line["step"] for line in lines(tmp_path / "whole")] == [2, 4, 6, 8]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as in a terminal, even where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_saves_where_it_was(features: Path, tmp_path: Path):
    """Ctrl-C ends after the step that runs, with a checkpoint to resume from, in the middle of a log interval."""
    recipe = tiny_recipe()
    fit(load(features, recipe), recipe, run=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="step 5"):
        fit(load(features, recipe), recipe, run=tmp_path / "parts", progress=stop_at(5, "interrupt"))
    assert load_state(checkpoint(tmp_path / "parts")).step == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    fit(load(features, recipe), recipe, run=tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_seed_decides_everything(features: Path, tmp_path: Path):
    """Equal seeds give equal runs, another seed another."""
    recipe = tiny_recipe()
    for name in ("first", "second"):
        fit(load(features, recipe), recipe, run=tmp_path / name)
    assert_same_run(tmp_path / "first", tmp_path / "second")
    other = changed(recipe, seed=1)
    fit(load(features, other), other, run=tmp_path / "other")
    files = [checkpoint(tmp_path / name) / "model.safetensors" for name in ("first", "other")]
    assert not same_tensors(*files)


def test_host_alone_learns(features: Path, tmp_path: Path):
    """Without texts, and the losses fall; its checkpoint has no average."""
    recipe = tiny_recipe(host=PlainRecipe(width=8, dropout=0), use_ksm=False, use_csr=False, use_head=False)
    recipe = changed(recipe, loop={"steps": 60, "log_every": 20})
    checkpoint = fit(load(features, recipe, texts=False), recipe, run=tmp_path)
    first, *_, last = lines(tmp_path)
    assert last["host.mil"] < 0.9 * first["host.mil"]
    assert sorted(path.name for path in checkpoint.iterdir()) == ["model.safetensors", "optimizer.pt", "state.json"]


def test_weights_are_for_whom_the_umask_says(features: Path, tmp_path: Path):
    """safetensors makes its files for their owner alone; whoever may read state.json may read the weights."""
    recipe = changed(tiny_recipe(), loop={"steps": 1})
    before = os.umask(0o022)
    try:
        folder = fit(load(features, recipe), recipe, run=tmp_path)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}


def test_the_head_starts_after_its_warm_up(features: Path, tmp_path: Path):
    """Terms of the head stand in metrics.jsonl from then on and not before."""
    recipe = changed(tiny_recipe(dpid=JOINT), model=labelled(warmup=0.5))
    fit(load(features, recipe), recipe, run=tmp_path)
    assert ["head.focal" in line for line in lines(tmp_path)] == [False, False, True, True]


def test_checkpoint_gives_the_model_back(features: Path, tmp_path: Path):
    """load_trained builds the model from the folder alone; the average where the recipe says so; words and grid."""
    recipe = changed(tiny_recipe(), loop={"ema_eval": True})
    data = load(features, recipe)
    folder = fit(data, recipe, run=tmp_path)
    trained = load_trained(folder)
    assert trained.state.classes == CLASSES
    assert trained.state.recipe == recipe
    assert trained.state.grid.streams == STREAMS
    assert data.texts is not None
    assert trained.state.words == data.texts.vocabulary.words
    average = load_file(folder / "ema.safetensors")
    assert {"host", "ksm", "head"} == {name.split(".")[0] for name in trained.model.state_dict()}
    assert all(torch.equal(value, average[name]) for name, value in trained.model.state_dict().items())
    last = load_trained(folder, weights="last").model
    assert not torch.equal(last.host.state_dict()["classifier.linear.weight"], average["host.classifier.linear.weight"])
    for model in (last, trained.model):
        assert not model.training
        assert model.ksm is not None
        weights = load_file(folder / ("ema.safetensors" if model is trained.model else "model.safetensors"))
        whole = Mllm4Wtal(recipe.model, streams=STREAMS, num_classes=3, word_vectors=weights["word_vectors"])
        whole.load_state_dict(weights)
        whole.store_queries(data.query_pool())
        assert whole.ksm is not None
        assert torch.allclose(whole.ksm.class_queries, model.ksm.class_queries, atol=1e-6)
        assert model.ksm.class_queries.abs().sum() > 0


def test_another_recipe_is_not_resumed(features: Path, tmp_path: Path):
    """The message names every field that differs, and texts that changed."""
    recipe = tiny_recipe()
    fit(load(features, recipe), recipe, run=tmp_path)
    other = changed(recipe, seed=3, loop={"lr": 0.5})
    with pytest.raises(TrainingError, match=r"(?s)seed: .* has 0, this run 3.*loop.lr: .* has 0.01, this run 0.5"):
        fit(load(features, other), other, run=tmp_path, resume=True)
    dataset = toy_dataset()
    data = WtalData(dataset, toy_store(features, dataset), toy_texts(dataset, seed=5), recipe=recipe.data, seed=0)
    with pytest.raises(TrainingError, match=r"data: the checkpoint has videos, labels, features or texts"):
        fit(data, recipe, run=tmp_path, resume=True)


def test_what_changes_no_result_is_no_other_recipe(features: Path, tmp_path: Path):
    """Logging, cadence and device may differ when a run goes on, and so may its length at constant rates."""
    recipe = tiny_recipe()
    fit(load(features, recipe), recipe, run=tmp_path)
    otherwise = changed(
        recipe, loop={"log_every": 3, "checkpoint_every": 2, "tensorboard": True, "device": "cpu", "steps": 10}
    )
    folder = fit(load(features, otherwise), otherwise, run=tmp_path)
    assert load_state(folder).step == 10
    longer = changed(recipe, loop={"steps": 12, "schedule": "cosine"})
    with pytest.raises(TrainingError, match=r"(?s)loop.steps.*loop.schedule: .* has 'constant', this run 'cosine'"):
        fit(load(features, longer), longer, run=tmp_path)


def test_starting_anew_forgets_the_old_run(features: Path, tmp_path: Path):
    """Without resume neither checkpoint nor metrics of an earlier run in the folder remain."""
    recipe = tiny_recipe()
    fit(load(features, recipe), recipe, run=tmp_path)
    with pytest.raises(Stop):
        fit(load(features, recipe), recipe, run=tmp_path, resume=False, progress=stop_at(3, "kill"))
    assert find_checkpoint(tmp_path) is None
    assert [line["step"] for line in lines(tmp_path)] == [2]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_optimizer(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
):
    """The message names term and step, and the weights are those before it."""
    recipe = tiny_recipe()
    trainer = Trainer(load(features, recipe), recipe, run=tmp_path)
    trainer.advance()
    before = [p.clone() for p in trainer.model.parameters()]
    broken = {"host.mil": torch.tensor(1.0, requires_grad=True), "ksm.matching": torch.tensor(value)}
    monkeypatch.setattr(trainer.model, "forward", lambda *args, **kwargs: broken)
    with pytest.raises(TrainingError, match=r"step 1: found ksm.matching = (nan|inf), expected finite"):
        trainer.advance()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    assert finite_values({"a": torch.tensor(2.0)}, 0) == {"a": 2.0}


def test_bad_features_stop_before_the_first_step(tmp_path: Path):
    """NaN, another width and a missing file are listed together."""
    recipe = tiny_recipe()
    data = load(tmp_path / "features", recipe)
    broken = np.zeros((9, 10), np.float32)
    broken[4] = np.nan
    np.save(data.store.path("v0"), broken)
    np.save(data.store.path("v1"), np.zeros((9, 7), np.float32))
    data.store.path("v2").unlink()
    with pytest.raises(CacheError, match=r"(?s)3 videos.*v0.*NaN.*v1.*width 7.*v2.*no such"):
        fit(data, recipe, run=tmp_path / "run")


def test_missing_texts_stop_before_the_first_step(features: Path, tmp_path: Path):
    """KSM or CSR without priors says which command makes them."""
    recipe = tiny_recipe()
    with pytest.raises(TrainingError, match=r"make priors"):
        fit(load(features, recipe, texts=False), recipe, run=tmp_path)


def test_unchecked_copies_are_checked(features: Path, tmp_path: Path):
    """A field that was changed past pydantic's checks is refused all the same."""
    recipe = changed(tiny_recipe(), model=labelled(warmup=20))
    with pytest.raises(ValueError, match="warmup"):
        fit(load(features, recipe), recipe, run=tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("state.json", "{", r"state.json: cannot be read"),
        ("state.json", '{"version": 0}', r"state.json: version: found 0, expected 3"),
        ("state.json", '{"version": 3}', r"state.json: is no state"),
        ("model.safetensors", "junk", r"model.safetensors: found 4 bytes, expected \d+ bytes"),
        ("optimizer.pt", "junk", r"optimizer.pt: found 4 bytes, expected \d+ bytes"),
    ],
)
def test_damaged_checkpoints(features: Path, tmp_path: Path, name: str, content: str, message: str):
    """The message names the file and the command."""
    recipe = changed(tiny_recipe(), loop={"steps": 1})
    folder = fit(load(features, recipe), recipe, run=tmp_path)
    (folder / name).write_text(content)
    with pytest.raises(TrainingError, match=rf"(?s){message}.*make train"):
        fit(load(features, recipe), recipe, run=tmp_path, resume=True)


def test_weights_of_another_model(features: Path, tmp_path: Path):
    """A checkpoint whose weights do not fit its recipe is refused."""
    recipe, other = (changed(tiny_recipe(use_head=on), loop={"steps": 1}) for on in (True, False))
    first = fit(load(features, recipe), recipe, run=tmp_path / "first")
    second = fit(load(features, other), other, run=tmp_path / "second")
    (first / "model.safetensors").write_bytes((second / "model.safetensors").read_bytes())
    with pytest.raises(TrainingError, match="another model"):
        load_trained(first)
    (second / "model.safetensors").write_bytes((first / "ema.safetensors").read_bytes())
    with pytest.raises(TrainingError, match=r"another model(?s:.*)it holds head"):
        load_trained(second)


def test_every_parameter_has_one_optimizer_and_its_rate(features: Path, tmp_path: Path):
    """Host at host_lr, new modules at lr, CSR by itself; no parameter twice and none left out."""
    recipe = changed(tiny_recipe(), loop={"host_lr": 1e-5, "lr": 1e-3})
    model = Trainer(load(features, recipe), recipe, run=tmp_path).model
    optimizers = build_optimizers(model, recipe.loop)
    groups = [group for optimizer in optimizers.values() for group in optimizer.param_groups]
    found = [p for group in groups for p in group["params"]]
    assert len(found) == len({id(p) for p in found}) == len(list(model.parameters()))
    rate_of = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, p in model.named_parameters():
        assert rate_of[id(p)] == (1e-5 if name.startswith("host.") else 1e-3)
    assert {id(p) for group in optimizers["reconstruct"].param_groups for p in group["params"]} == {
        id(p)
        for p in model.csr.parameters()  # pyright: ignore[reportOptionalMemberAccess]
    }


def test_rates():
    """Linear warm-up, then constant, or a cosine down to 0."""
    constant, cosine = LoopRecipe(steps=100, warmup=10), LoopRecipe(steps=110, warmup=10, schedule="cosine")
    assert [rate_factor(step, constant) for step in (0, 4, 9, 10, 99)] == [0.1, 0.5, 1, 1, 1]
    assert rate_factor(10, cosine) == 1
    assert rate_factor(60, cosine) == pytest.approx(0.5)
    assert rate_factor(109, cosine) < 1e-3


def test_clipping_is_by_optimizer():
    """Each optimizer's gradient is cut to the norm by itself, and cleared after the step."""
    small, large = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    small.grad, large.grad = torch.tensor([0.3, 0.4]), torch.tensor([30.0, 40.0])
    optimizers = [torch.optim.SGD([{"params": [p], "base_lr": 1.0}], lr=1.0) for p in (small, large)]
    norms = [gradient_norm(optimizer, clip=5.0).item() for optimizer in optimizers]
    for optimizer in optimizers:
        take_step(optimizer, factor=0.5)
    assert norms == pytest.approx([0.5, 50.0])
    assert torch.allclose(small, torch.tensor([-0.15, -0.2]))
    assert torch.allclose(large, torch.tensor([-1.5, -2.0]))
    assert small.grad is None


def test_low_precision(features: Path, tmp_path: Path):
    """bf16 computes otherwise than float32, by no more than its rounding, and keeps float32 weights."""
    runs = {}
    for precision in ("no", "bf16"):
        options = {"steps": 4, "precision": precision, "log_every": 1}
        recipe = changed(tiny_recipe(dpid=JOINT), loop=options, model=labelled(warmup=0.5))
        folder = fit(load(features, recipe), recipe, run=tmp_path / precision)
        assert all(value.dtype == torch.float32 for value in load_file(folder / "model.safetensors").values())
        runs[precision] = lines(tmp_path / precision)
    (first, *_, last), (low, *_, low_last) = runs["no"], runs["bf16"]
    assert first.keys() == low.keys()
    assert low != first
    assert low == pytest.approx(first, rel=0.03, abs=0.01)
    assert "head.focal" in low_last
    assert low_last["host.mil"] == pytest.approx(last["host.mil"], rel=0.1)


def test_tensorboard(features: Path, tmp_path: Path):
    """Events stand beside metrics.jsonl, where TensorBoard is installed."""
    pytest.importorskip("tensorboard")
    recipe = changed(tiny_recipe(), loop={"steps": 2, "tensorboard": True})
    fit(load(features, recipe), recipe, run=tmp_path)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_recipe_round_trip(tmp_path: Path):
    """The default recipe, and one with another host, come back from JSON equal."""
    for recipe in (TrainRecipe(), tiny_recipe(), changed(tiny_recipe(), model=labelled(teacher_decay=0.5))):
        assert isinstance(recipe, Recipe)
        recipe.save(tmp_path / "recipe.json")
        assert TrainRecipe.load(tmp_path / "recipe.json") == recipe
