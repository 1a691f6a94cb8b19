"""Scales of streams: features of any size train the same model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cache.features import FeatureGrid, FeatureStore
from tests.support.data.toy_data import GRID, STREAMS, tiny_recipe, toy_dataset, toy_store
from training.batches.data import WtalData
from training.batches.scales import column_factors, stream_scales
from training.errors import TrainingError
from training.inference import draw_curves, load_run
from training.loop.fit import fit

FACTORS = {"rgb": 40.0, "flow": 0.01}
RECIPE = tiny_recipe(use_ksm=False, use_csr=False, use_head=False)


def resized(folder: Path, factors: dict[str, float]) -> FeatureStore:
    """The toy features, each stream times a power of two or another number."""
    original = toy_store(folder / "toy", toy_dataset())
    store = FeatureStore.create(folder / "resized", GRID)
    columns = np.repeat([factors[name] for name in STREAMS], list(STREAMS.values())).astype(np.float32)
    for video in toy_dataset().videos:
        store.save(video.video_id, original.load(video.video_id) * columns)
    return store


def data_of(store: FeatureStore, *, rms: float | None) -> WtalData:
    """Training data on these features."""
    recipe = RECIPE.data.model_copy(update={"feature_rms": rms})
    return WtalData(toy_dataset(), store, None, recipe=recipe, seed=RECIPE.seed)


def test_each_stream_has_the_chosen_root_mean_square(tmp_path: Path) -> None:
    """Over all rows of the videos, whatever it was before."""
    store = resized(tmp_path, FACTORS)
    ids = data_of(store, rms=None).video_ids
    factors = column_factors(stream_scales(store, ids, rms=0.4), GRID)
    assert factors is not None
    scaled = np.concatenate([store.load(one) for one in ids]) * factors
    for part in np.split(scaled, [STREAMS["rgb"]], axis=1):
        assert np.sqrt(np.square(part).mean()) == pytest.approx(0.4, rel=1e-5)


def test_batches_hold_scaled_features_and_zeros_at_padding(tmp_path: Path) -> None:
    """And those without a size are as they are on disk."""
    store = resized(tmp_path, FACTORS)
    plain, scaled = data_of(store, rms=None), data_of(store, rms=0.4)
    before, after = plain.batch(3), scaled.batch(3)
    assert plain.scales == ()
    factors = column_factors(scaled.scales, GRID)
    assert factors is not None
    torch.testing.assert_close(after.features, before.features * torch.from_numpy(factors))
    assert not after.features[~after.targets.mask].any()
    assert torch.equal(before.features[0, 0], torch.from_numpy(np.array(store.load(before.video_ids[0])[0])))


def test_the_size_of_features_changes_nothing(tmp_path: Path) -> None:
    """A run on features times powers of two gives the same curves to the bit: inference scales them, too."""
    curves = []
    for name, factors in (("as_they_are", {"rgb": 1.0, "flow": 1.0}), ("times", {"rgb": 64.0, "flow": 0.125})):
        store = resized(tmp_path / name, factors)
        recipe = RECIPE.changed({"data.feature_rms": 0.4})
        fit(data_of(store, rms=0.4), recipe, run=tmp_path / name / "run")
        trained = load_run(tmp_path / name / "run", toy_dataset(), store)
        assert len(trained.state.scales) == len(STREAMS)
        curves.append(draw_curves(trained, "test", store.load("test"))[0])
    first, second = curves
    assert np.array_equal(first.cas, second.cas)
    assert np.array_equal(first.attention, second.attention)


def test_a_stream_of_zeros_is_refused(tmp_path: Path) -> None:
    """It has no size to scale by."""
    store = resized(tmp_path, {"rgb": 1.0, "flow": 0.0})
    with pytest.raises(TrainingError, match="nothing but zeros in the stream flow"):
        _ = data_of(store, rms=0.4).scales


def test_columns_follow_the_order_of_the_streams() -> None:
    """Each factor as often as its stream is wide."""
    grid = FeatureGrid(streams={"b": 1, "a": 2}, fps=1, snippet_frames=1, snippet_stride=1)
    factors = column_factors((2.0, 3.0), grid)
    assert factors is not None
    assert factors.tolist() == [2.0, 3.0, 3.0]
    assert column_factors((), grid) is None
