"""Feature files, and the one place where snippets become seconds."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cache.files.digests
from cache.content import features_content
from cache.errors import CacheError
from cache.features import FeatureGrid, FeatureStore
from cache.files.digests import FILE as DIGESTS_FILE

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


def settled(store: FeatureStore, video_id: str, features: np.ndarray, *, age: int = 60) -> Path:
    """Save features, and let the file be `age` seconds old."""
    store.save(video_id, features)
    path = store.path(video_id)
    written = path.stat().st_mtime_ns - age * 10**9
    os.utime(path, ns=(written, written))
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Names of the feature files that were opened since it was called last."""
    opened, real = [], np.load

    def load(path: Path, **options: Any) -> np.ndarray:
        opened.append(Path(path).stem)
        return real(path, **options)

    def since() -> list[str]:
        names, opened[:] = sorted(opened), []
        return names

    monkeypatch.setattr(np, "load", load)
    return since


def test_an_unchanged_file_is_read_once(store: FeatureStore, reads: Callable[[], list[str]]) -> None:
    """Preflight, content and lengths share one pass, in this process and in the next one."""
    settled(store, "a", np.ones((4, 3), np.float32))
    settled(store, "b", np.ones((5, 3), np.float16))
    store.preflight(["a", "b"])
    assert reads() == ["a", "b"]
    content = features_content(store, ["b", "a"])
    again = FeatureStore.open(store.folder)
    again.preflight(["a", "b"])
    assert features_content(again, ["a", "b"]) == content
    assert again.lengths(["b", "a"]) == [5, 4]
    assert reads() == []
    assert len(again) == 2


def test_a_changed_file_is_read_again(store: FeatureStore, reads: Callable[[], list[str]]) -> None:
    """Another time with the same size, or another size with the same time: read, and its damage told."""
    path = settled(store, "a", np.ones((4, 3), np.float32))
    settled(store, "b", np.ones((4, 3), np.float32))
    before, stamp = features_content(store, ["a", "b"]), path.stat().st_mtime_ns
    settled(store, "a", np.full((4, 3), 2, np.float32), age=50)
    other = FeatureStore.open(store.folder)
    reads()
    assert features_content(other, ["a", "b"]) != before
    assert reads() == ["a"]
    store.save("a", np.ones((6, 3), np.float32))
    os.utime(path, ns=(stamp, stamp))
    assert FeatureStore.open(store.folder).lengths(["a"]) == [6]
    np.save(path, np.full((4, 3), np.nan, np.float32))
    with pytest.raises(CacheError, match=r"a\.npy: 4 of 4 snippets hold NaN"):
        other.preflight(["a", "b"])


def test_a_file_that_was_just_written_is_not_remembered(store: FeatureStore) -> None:
    """Within one tick of a file system's clock it could be written again, and have the same time and size."""
    path = settled(store, "a", np.ones((4, 3), np.float32), age=0)
    stamp = path.stat().st_mtime_ns
    before = features_content(store, ["a"])
    store.save("a", np.full((4, 3), 2, np.float32))
    os.utime(path, ns=(stamp, stamp))
    assert features_content(store, ["a"]) != before


def test_what_is_remembered_holds_for_the_width_it_was_read_with(store: FeatureStore) -> None:
    """Where features.json was changed, the files are judged by it."""
    settled(store, "a", np.ones((4, 3), np.float32))
    store.preflight(["a"])
    wider = FeatureStore(store.folder, OVERLAPPING.model_copy(update={"streams": {"rgb": 4}}))
    with pytest.raises(CacheError, match="found width 3, expected 4"):
        wider.preflight(["a"])


def test_a_folder_that_can_not_be_written_works(
    store: FeatureStore, reads: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written and nothing raised; within the process the files are known."""

    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    settled(store, "a", np.ones((4, 3), np.float32))
    monkeypatch.setattr(cache.files.digests, "atomic_path", refuse)
    content = features_content(store, ["a"])
    store.preflight(["a"])
    assert reads() == ["a"]
    assert features_content(FeatureStore.open(store.folder), ["a"]) == content
    assert not (store.folder / DIGESTS_FILE).exists()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 0, "files": {}}', '{"version": 1, "files": {"a": [1]}}', "\xff"]
)
def test_a_damaged_memory_is_forgotten(store: FeatureStore, text: str) -> None:
    """The files are read, and the memory is written anew."""
    settled(store, "a", np.ones((4, 3), np.float32))
    (store.folder / DIGESTS_FILE).write_text(text, encoding="latin-1")
    assert FeatureStore.open(store.folder).lengths(["a"]) == [4]
    FeatureStore.open(store.folder).preflight(["a"])
    assert '"a": [' in (store.folder / DIGESTS_FILE).read_text()


def test_what_two_processes_remember_is_kept(store: FeatureStore, reads: Callable[[], list[str]]) -> None:
    """Each writes what it read beside what the other wrote meanwhile."""
    for name in ("a", "b", "c"):
        settled(store, name, np.ones((4, 3), np.float32))
    first, second = (FeatureStore.open(store.folder) for _ in range(2))
    first.preflight(["a"])
    second.preflight(["b"])
    first.preflight(["c"])
    reads()
    FeatureStore.open(store.folder).preflight(["a", "b", "c"])
    assert reads() == []


def test_the_content_is_that_of_grid_names_and_bytes(store: FeatureStore) -> None:
    """Stated anew: blake2b over the fingerprint of the grid and, by id, over the blake2b of id and file."""
    expected = hashlib.blake2b(OVERLAPPING.fingerprint().encode())
    for name in ("a", "b"):
        store.save(name, np.full((4, 3), len(name) + ord(name), np.float32))
        expected.update(hashlib.blake2b(name.encode() + store.path(name).read_bytes()).digest())
    assert features_content(store, ["b", "a"]) == expected.hexdigest()[:12]


def test_streams_in_another_order_are_another_grid() -> None:
    """Their columns are others; the difference says so, and tells the orders."""
    swapped = I3D.model_copy(update={"streams": {"flow": 1024, "rgb": 1024}})
    assert swapped != I3D
    assert I3D.model_copy(update={"streams": {"rgb": 1024, "flow": 1024}}) == I3D
    assert swapped.difference(I3D) == "streams: found the columns in the order flow, rgb, expected the order rgb, flow"
    assert "fps=30" in I3D.model_copy(update={"fps": 30.0}).difference(I3D)


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


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: data + b"\0", "holds 189 bytes, expected 188 by its header"),
        (lambda data: data.replace(b"(5, 3)", b"(4, 3)"), "expected 176 by its header"),
        (lambda data: b"PK\x03\x04" + data[4:], "is no .npy file, but a ZIP archive that is damaged"),
        (lambda data: data[:6] + b"\2" + data[7:], "its header would have .* bytes"),
    ],
)
def test_a_file_that_is_not_as_its_header_says_is_refused(store: FeatureStore, damage, told):
    """numpy passes over bytes that are too many, and makes room for any header."""
    store.save("a", np.ones((5, 3), np.float32))
    path = store.path("a")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CacheError, match=rf"a\.npy.*{told}"):
        store.load("a")


def test_truth_values_are_no_numbers_of_a_grid(store: FeatureStore):
    """pydantic takes `true` for 1."""
    path = store.folder / "features.json"
    path.write_text(path.read_text().replace("30.0", "true"))
    with pytest.raises(CacheError, match="fps: found True"):
        FeatureStore.open(store.folder)
