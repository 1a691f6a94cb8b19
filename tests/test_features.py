"""Feature files, and the one place where snippets become seconds."""

import numpy as np
import pytest

from cache.features import FeatureGrid, FeatureStore
from cache.schema import CacheError

I3D = FeatureGrid(streams={"rgb": 1024, "flow": 1024}, fps=25, snippet_frames=16, snippet_stride=16)
OVERLAPPING = FeatureGrid(streams={"rgb": 3}, fps=30, snippet_frames=32, snippet_stride=8)


def test_snippets_cover_the_seconds_that_they_were_cut_from():
    """By hand: snippet 3 of I3D covers frames 48 to 64 of 25 a second."""
    assert I3D.width == 2048
    assert I3D.start_seconds(3) == pytest.approx(48 / 25)
    assert I3D.end_seconds(3) == pytest.approx(64 / 25)
    assert OVERLAPPING.start_seconds(2) == pytest.approx(16 / 30)
    assert OVERLAPPING.end_seconds(2) == pytest.approx(48 / 30)


@pytest.mark.parametrize("grid", [I3D, OVERLAPPING])
def test_positions_and_seconds_are_inverse(grid):
    """Position i is the start of snippet i, and the way back is exact."""
    for position in (0.0, 0.5, 3.0, 17.25):
        assert grid.position(grid.boundary_seconds(position)) == pytest.approx(position)
    assert grid.boundary_seconds(3) == grid.start_seconds(3)


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    """An empty store of three columns."""
    return FeatureStore.create(tmp_path / "features", OVERLAPPING)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_features_come_back_memory_mapped(store, dtype):
    """Equal values and type, read where they lie."""
    features = np.arange(12, dtype=dtype).reshape(4, 3)
    assert not store.has("a")
    store.save("a", features)
    assert store.has("a")
    assert len(store) == 1
    loaded = FeatureStore.open(store.folder).load("a")
    assert isinstance(loaded, np.memmap)
    assert loaded.dtype == dtype
    assert np.array_equal(loaded, features)


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (np.zeros((4, 2), np.float32), "width 2, expected 3"),
        (np.zeros((0, 3), np.float32), "shape"),
        (np.zeros(3, np.float32), "shape"),
        (np.zeros((4, 3), np.float64), "float64"),
        (np.array([[1, 2, 3], [1, np.nan, 3]], np.float32), "1 of 2 snippets hold NaN or infinity, first snippet 1"),
        (np.full((1, 3), np.inf, np.float16), "NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_not_saved(store, features, told):
    """Shape, width, type and values are those of the grid."""
    with pytest.raises(CacheError, match=told):
        store.save("a", features)
    assert not store.has("a")


def test_preflight_lists_everything_at_once(store):
    """Missing, NaN, wrong width, pickled and garbled files, each by name, with what mends them."""
    store.save("good", np.ones((2, 3), np.float32))
    np.save(store.path("wide"), np.ones((2, 4), np.float32))
    np.save(store.path("nan"), np.full((2, 3), np.nan, np.float32))
    np.save(store.path("pickled"), np.array([{}], dtype=object), allow_pickle=True)
    store.path("garbled").write_bytes(b"not numpy")
    store.preflight(["good"])
    with pytest.raises(CacheError) as error:
        store.preflight(["good", "missing", "wide", "nan", "pickled", "garbled"])
    told = str(error.value)
    assert told.startswith("5 videos have no usable features; run `make features`")
    assert all(f"{name}.npy" in told for name in ("missing", "wide", "nan", "pickled", "garbled"))
    assert "good.npy" not in told


def test_a_folder_keeps_its_grid(store):
    """Another stride, or the same streams in another order of columns, is refused."""
    assert FeatureStore.create(store.folder, OVERLAPPING).grid == OVERLAPPING
    with pytest.raises(CacheError, match=r"features\.json"):
        FeatureStore.create(store.folder, OVERLAPPING.model_copy(update={"snippet_stride": 16}))
    FeatureStore.create(store.folder / "two", I3D)
    with pytest.raises(CacheError, match=r"features\.json"):
        FeatureStore.create(store.folder / "two", I3D.model_copy(update={"streams": {"flow": 1024, "rgb": 1024}}))


def test_a_folder_without_features_names_the_command(tmp_path):
    """Not a stack trace about features.json."""
    with pytest.raises(CacheError, match="make features"):
        FeatureStore.open(tmp_path)
