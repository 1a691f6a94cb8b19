"""Whole videos through a model: which snippets it reads, whose way its detections are read off, what is kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_data import CLASSES, GRID, tiny_recipe, toy_dataset, toy_model, toy_training_data

from cache.detections import Detection
from training.checkpoint import State, Trained
from training.data import WtalData
from training.hosts.co2net import Co2NetRecipe
from training.hosts.plain import PlainRecipe
from training.hosts.um import UmRecipe
from training.inference import Curves, detect, draw_curves, save_curves
from training.localize import LocalizeRecipe
from training.official import official_candidates, official_recipe

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


def test_public_way_reads_the_raw_scores(data: WtalData) -> None:
    """CO2-Net's detections are those of its logits and attention."""
    trained = untrained(data, host=Co2NetRecipe(official=True, width=8))
    recipe = official_recipe("co2net").model_copy(update={"thresholds": (0.3, 0.4, 0.45, 0.5, 0.55)})
    _, curves, found = first(data, trained, recipe)
    assert curves.logits is not None
    with torch.inference_mode():
        features = torch.from_numpy(np.array(data.store.load(curves.video_id)))[None]
        output = trained.model.host(features, torch.ones(features.shape[:2], dtype=torch.bool))
    logits, attention = output.cas[0].double().numpy(), output.attention[0].double().numpy()
    np.testing.assert_allclose(curves.logits, logits, atol=1e-6)
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
