"""Whole videos through a model: which snippets it reads, whose way its detections are read off, what is kept."""

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cache.detections import Detection
from cache.features import FeatureStore
from tests.support.data.toy_data import CLASSES, GRID, tiny_recipe, toy_dataset, toy_model, toy_training_data
from training.batches.data import WtalData
from training.checkpoints.checkpoint import State, Trained
from training.compat.localize import official_candidates, official_recipe
from training.errors import TrainingError
from training.hosts.co2net import Co2NetRecipe
from training.hosts.plain import PlainRecipe
from training.hosts.um import UmRecipe
from training.inference import detect, draw_curves, load_run
from training.localization.curves import Curves, save_curves
from training.localization.localize import LocalizeRecipe, localize
from training.loop.fit import fit
from training.nn.devices import pick_device

ALONE = {"use_ksm": False, "use_csr": False, "use_head": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


def untrained(data: WtalData, **model: Any) -> Trained:
    """A host alone, as it starts."""
    state = State(0, tiny_recipe(**model), CLASSES, (), GRID, "", {})  # pyright: ignore[reportArgumentType]
    return Trained(toy_model(data, **ALONE, **model).eval(), state)


def first(data: WtalData, trained: Trained, recipe: LocalizeRecipe) -> tuple[int, Curves, list[Detection]]:
    """Snippets, curves and detections of the first video."""
    video = toy_dataset().videos[0]
    ((curves, found),) = detect(trained, data.store, [video], recipe=recipe)
    return len(data.store.load(video.video_id)), curves, found


def test_the_head_proposes_as_the_recipe_says(data: WtalData) -> None:
    """At most `head_most` points, none under `head_min_score`; an untrained head says 0.01 everywhere."""
    state = State(0, tiny_recipe(), CLASSES, (), GRID, "", {})
    trained = Trained(toy_model(data).eval(), state)
    options = {"gate": False, "suppression": "none"}
    for changed, expected in (({}, range(4, 999)), ({"head_most": 3}, range(1, 4)), ({"head_min_score": 0.5}, [0])):
        recipe = LocalizeRecipe.model_validate({"head_min_score": 0.0} | options | changed)
        assert len(first(data, trained, recipe)[2]) in expected, changed


def test_public_way_reads_the_raw_scores(data: WtalData) -> None:
    """CO2-Net's detections are those of its logits and attention."""
    trained = untrained(data, host=Co2NetRecipe(official=True, width=8))
    recipe = official_recipe("co2net").model_copy(update={"thresholds": (0.3, 0.4, 0.45, 0.5, 0.55)})
    _, curves, found = first(data, trained, recipe)
    raw, _ = draw_curves(trained, curves.video_id, data.store.load(curves.video_id))
    assert raw.logits is not None
    with torch.inference_mode():
        features = torch.from_numpy(np.array(data.store.load(curves.video_id)))[None]
        output = trained.model.host(features, torch.ones(features.shape[:2], dtype=torch.bool))
    logits, attention = output.cas[0].double().numpy(), output.attention[0].double().numpy()
    np.testing.assert_allclose(raw.logits, logits, atol=1e-6)
    own = official_candidates(recipe, np.zeros(3), logits[:, :-1], attention, logits, seconds=0.4)
    assert len(own) == len(found) > 0
    spans = np.array([(one.start, one.end) for one in found])
    np.testing.assert_allclose(np.sort(spans, axis=0), np.sort(own.segments * 0.4, axis=0))


@pytest.mark.parametrize("official", [False, True])
def test_long_videos_are_localized_on_some_of_their_snippets(data: WtalData, official: bool) -> None:
    """On six of them: bounds are multiples of a sixth of the video, and curves cover all of it."""
    trained = untrained(data, host=UmRecipe(width=8))
    cam = LocalizeRecipe(source="cam", min_score=-10)
    recipe = (official_recipe("um") if official else cam).model_copy(update={"snippets": 6, "upsample": 2})
    length, curves, found = first(data, trained, recipe)
    assert length > 6
    assert len(curves.cas) == len(curves.attention) == length
    assert len(np.unique(curves.attention)) <= 6
    assert found
    grid_of_halves = np.array([(one.start, one.end) for one in found]) / (length / 12 * 0.4)
    if official:  # the corrected way also cuts at the end of the last snippet
        np.testing.assert_allclose(grid_of_halves, np.round(grid_of_halves), atol=1e-9)
    assert max(one.end for one in found) > 0.4 * 6


@pytest.mark.parametrize("stretch", [False, True])
def test_videos_are_localized_at_the_resolution_of_training(data: WtalData, stretch: bool) -> None:
    """On data.num_snippets evenly spread snippets where a video is longer; on all where it is shorter, unless training
    stretched it. Boxes are in the video's own seconds either way."""
    video = toy_dataset().videos[0]
    length = len(data.store.load(video.video_id))
    for wanted in (5, 2 * length):
        trained = untrained(data, host=PlainRecipe(width=8))
        sampled = trained.state.recipe.changed({"data.num_snippets": wanted, "data.stretch": stretch})
        trained = replace(trained, state=replace(trained.state, recipe=sampled))
        recipe = LocalizeRecipe(source="cam", min_score=-10, snippets="training")
        _, curves, found = first(data, trained, recipe)
        count = wanted if stretch or wanted < length else length
        features = data.store.load(video.video_id)[np.arange(count) * length // count]
        expected, _ = draw_curves(trained, video.video_id, features)
        np.testing.assert_array_equal(curves.attention, expected.attention[np.arange(length) * count // length])
        assert found
        assert max(one.end for one in found) <= length * GRID.snippet_stride / GRID.fps + 0.4


def test_curves_are_kept_without_raw_scores(data: WtalData, tmp_path: Path) -> None:
    """The file of a run holds what a report draws."""
    trained = untrained(data, host=UmRecipe(width=8))
    curves, head = draw_curves(trained, "v0", np.ones((9, 10), np.float32))
    assert head is None
    save_curves(tmp_path / "curves.npz", [curves])
    with np.load(tmp_path / "curves.npz") as kept:
        assert set(kept.files) == {"v0/cas", "v0/attention", "v0/video_scores"}
        assert np.array_equal(kept["v0/cas"], curves.cas)


def test_what_is_yielded_of_a_video_is_single_and_lean(data: WtalData) -> None:
    """float32 on every curve, no raw scores, and detections in the same numbers as from float64 curves."""
    trained = untrained(data, host=UmRecipe(width=8))
    recipe = LocalizeRecipe(source="cam", min_score=-10)
    _, curves, found = first(data, trained, recipe)
    assert curves.logits is None
    assert {values.dtype for values in (curves.cas, curves.attention, curves.video_scores)} == {np.dtype(np.float32)}
    doubled = {name: getattr(curves, name).astype(np.float64) for name in ("cas", "attention", "video_scores")}
    assert found == localize(curves.video_id, recipe=recipe, grid=GRID, classes=CLASSES, duration=None, **doubled)


def test_curves_are_written_as_they_come(tmp_path: Path) -> None:
    """Of each video before the next is asked for, and but one is held; the file appears with the last one."""
    path, alive = tmp_path / "curves.npz", []

    def videos(count: int) -> Iterator[Curves]:
        for number in range(count):
            assert not path.exists()
            assert sum(one() is not None for one in alive) <= 1
            values = np.random.default_rng(number).random((2000, 40), np.float32)
            drawn = Curves(f"v{number}", values, values[:, 0].copy(), None, values[0].copy())
            alive.append(weakref.ref(values))
            del values
            yield drawn
            del drawn

    save_curves(path, videos(4))
    with np.load(path) as kept:
        for number in range(4):
            assert np.array_equal(kept[f"v{number}/cas"], np.random.default_rng(number).random((2000, 40), np.float32))


def test_an_interrupted_evaluation_leaves_the_curves_before(tmp_path: Path) -> None:
    """The file is replaced as a whole, or not at all."""
    path, ones = tmp_path / "curves.npz", np.ones(4, np.float32)
    video = Curves("v0", ones[:, None], ones, None, ones[:1])
    save_curves(path, [video])
    before = path.read_bytes()

    def stopped() -> Iterator[Curves]:
        yield replace(video, attention=2 * ones)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_curves(path, stopped())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["curves.npz"]


def test_features_in_another_order_of_streams_are_refused(data: WtalData, tmp_path: Path) -> None:
    """They have the columns that the model was trained on, but elsewhere; the message tells the two orders."""
    recipe = tiny_recipe(**ALONE)
    fit(data, recipe.changed({"loop.steps": 1}), run=tmp_path / "run")
    swapped = FeatureStore(data.store.folder, GRID.model_copy(update={"streams": {"flow": 4, "rgb": 6}}))
    assert load_run(tmp_path / "run", toy_dataset(), data.store, device="cpu").state.grid == GRID
    with pytest.raises(TrainingError, match=r"order flow, rgb, expected the order rgb, flow as in .*--features"):
        load_run(tmp_path / "run", toy_dataset(), swapped, device="cpu")


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With those that there are; auto takes CUDA before MPS before the CPU."""
    for cuda, mps, first in ((False, False, "cpu"), (False, True, "mps"), (True, True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=cuda: there)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=mps: there)
        assert pick_device("auto") == torch.device(first)
        assert pick_device("cpu") == torch.device("cpu")
        if not cuda:
            with pytest.raises(TrainingError, match=rf"device: found cuda, .*one of: {'mps, ' if mps else ''}cpu"):
                pick_device("cuda")
