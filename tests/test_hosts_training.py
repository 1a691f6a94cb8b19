"""Every host inside the whole model, trained by the trainer; and the host that docs/hosts.md adds."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from small_hosts import KINDS, RECIPES
from toy_data import STREAMS, tiny_recipe, toy_training_data

from training.checkpoint import load_trained
from training.data import WtalData
from training.distillation import DpidRecipe
from training.hosts import recipes
from training.inference import draw_curves
from training.loop import fit
from training.model import Mllm4Wtal
from training.recipe import TrainRecipe
from training.trainer import Trainer

DOCUMENT = (Path(__file__).parents[1] / "docs" / "hosts.md").read_text()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


def recipe_of(kind: str) -> TrainRecipe:
    """Everything on, two steps, all branches at once."""
    recipe = tiny_recipe(host=RECIPES[kind], dpid=DpidRecipe(schedule="joint"))
    return recipe.model_copy(update={"loop": recipe.loop.model_copy(update={"steps": 2})})


@pytest.mark.parametrize("kind", ["delu", "ddgnet", "um", "gaufuse"])
def test_training_resumes_bit_for_bit(data: WtalData, tmp_path: Path, kind: str):
    """With KSM, CSR, distillation and head: finite losses, and after a stop the weights of a run that never stopped."""
    recipe, seen = recipe_of(kind), set()
    whole = fit(data, recipe, run=tmp_path / "whole", progress=lambda done, total, terms: seen.update(terms))
    assert {name.split(".")[0] for name in seen} == {"host", "ksm", "csr", "dpid", "head"}
    stopped = Trainer(data, recipe, run=tmp_path / "parts")
    assert all(np.isfinite(value) for value in stopped.advance().values())
    stopped.save({})
    parts = fit(data, recipe, run=tmp_path / "parts", resume=True)
    one, other = load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    trained = load_trained(parts)
    curves, candidates = draw_curves(trained, "v0", np.random.default_rng(0).normal(size=(9, 10)))
    assert candidates is not None
    for values in (curves.cas, curves.attention, curves.video_scores):
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (values <= 1).all()
    assert (curves.cas.sum(-1) <= 1 + 1e-6).all()


def document(language: str) -> list[str]:
    """The document's blocks of code."""
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.M | re.S)


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The names that the document's code defines, in a module of its own."""
    path = tmp_path_factory.mktemp("added") / "centres.py"
    path.write_text("\n".join(document("python")))
    spec = importlib.util.spec_from_file_location("centres", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["centres"] = module  # where pydantic looks for its annotations
    spec.loader.exec_module(module)
    yield vars(module)
    del sys.modules["centres"]


def test_the_documented_host_learns(added: dict[str, Any], data: WtalData):
    """The code as it stands in docs/hosts.md trains, and its loss falls."""
    torch.manual_seed(0)
    losses = added["train_host"](data)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2
    assert 35 <= len(document("python")[0].splitlines()) <= 65


def test_the_documented_host_carries_the_branches(added: dict[str, Any], data: WtalData):
    """With everything plugged on, every part has its terms, and padding changes nothing."""
    recipe = tiny_recipe().model.model_copy(update={"host": added["CentresRecipe"](width=8)})
    assert data.texts is not None
    model = Mllm4Wtal(
        recipe, streams=STREAMS, num_classes=3, word_vectors=torch.from_numpy(data.texts.vocabulary.vectors)
    )
    terms = model(data.batch(0), phase="joint", step=0, total_steps=1)
    assert {name.split(".")[0] for name in terms} == {"host", "ksm", "csr", "dpid"}
    videos = next(data.whole(3))
    features, mask = videos.features, videos.targets.mask
    alone, short = model.eval().host(features[:1, : mask[0].sum()], mask[:1, : mask[0].sum()]), int(mask[0].sum())
    assert torch.allclose(model.host(features, mask).cas[0, :short], alone.cas[0], atol=1e-5)


def test_the_documented_lines_add_the_host(added: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    """training/hosts/recipes.py with the document's two lines knows the new kind beside the others."""
    imported, _, names = document("text")[0].splitlines()
    source = Path(recipes.__file__).read_text()
    assert names.replace(" | CentresRecipe", "") in source
    monkeypatch.setitem(sys.modules, "training.hosts.centres", sys.modules["centres"])
    edited: dict[str, Any] = {}
    exec(imported + "\n" + source.replace(names.replace(" | CentresRecipe", ""), names), edited)
    host = TypeAdapter(edited["HostRecipe"]).validate_python({"kind": "centres", "width": 4})
    assert host.build(streams=STREAMS, num_classes=3).width == 4
    assert TypeAdapter(edited["HostRecipe"]).validate_python({"kind": "um"}) == RECIPES["um"].model_copy(
        update={"width": None}
    )


def test_the_document_knows_every_host():
    """Each kind that a recipe can have is a row of its first table."""
    assert set(re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.M)) == set(KINDS)
    kinds = {recipe.model_fields["kind"].default for recipe in get_args(get_args(recipes.HostRecipe)[0])}
    assert kinds == set(KINDS)
