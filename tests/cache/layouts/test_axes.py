"""Features with swapped axes, names that fit nothing, and files that are no arrays."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from cache.errors import CacheError
from cache.features import FeatureGrid, FeatureStore
from cache.layouts.convert import ConvertRecipe, Plan, plan
from cache.layouts.sources import open_source
from pipelines.caches.import_dataset import ImportDatasetRun, main

LENGTHS = {"v1": 40, "v2": 60, "v3": 80}


def _source(folder: Path, *, width: int = 8, lengths: dict[str, int] = LENGTHS, swapped: bool = True) -> Path:
    """Arrays (width, snippets), or as they should be, beside annotations whose durations fit the snippets."""
    (folder / "features").mkdir(parents=True)
    database = {}
    for seed, (name, length) in enumerate(lengths.items()):
        array = np.random.default_rng(seed).standard_normal((length, width), dtype=np.float32)
        np.save(folder / "features" / f"{name}.npy", array.T if swapped else array)
        annotation = {"label": "Dive", "segment": [1, 2]}
        database[name] = {"subset": "training", "duration": 0.64 * length, "annotations": [annotation]}
    (folder / "anet.json").write_text(json.dumps({"database": database}))
    return folder


def _plan(folder: Path, durations: dict[str, float | None], **options) -> Plan:
    source = open_source(folder / "features", list(durations), allow_pickle=False)
    return plan(source, list(durations), ConvertRecipe(**options), durations=durations)


@pytest.mark.parametrize(
    ("width", "lengths", "timed", "why"),
    [
        (8, {"v1": 40, "v2": 40}, True, "the second axis is as long as the video in 2 of 2 arrays, the first in 0"),
        (8, LENGTHS, False, "the first axis is 8 in all 3, the second 40 to 80"),
        (1024, {"v1": 40}, False, "1024 is the width of known features"),
        (2048, {"v1": 100, "v2": 100}, False, "2048 is the width of known features"),
    ],
)
def test_swapped_axes_are_told_and_put_right_on_request(tmp_path, width, lengths, timed, why):
    """By durations, by an axis that never changes, or by the width of features that everybody has."""
    folder = _source(tmp_path, width=width, lengths=lengths)
    durations = {name: 0.64 * length if timed else None for name, length in lengths.items()}
    shape = rf"\({width}, {lengths['v1']}\) in v1.npy"
    with pytest.raises(CacheError, match=rf"axes seem to be swapped: {shape}.*{why}.*--transpose"):
        _plan(folder, durations)
    found = _plan(folder, durations, transpose=True)
    assert found.lengths == lengths
    assert found.grid.width == width


@pytest.mark.parametrize(
    ("width", "lengths"),
    [
        (8, LENGTHS),
        (1024, {"v1": 1024, "v2": 40}),
        (2048, {"v1": 512}),
        (40, {"v1": 40, "v2": 40}),
        (1024, {"v1": 400}),
    ],
)
def test_sane_axes_are_let_through(tmp_path, width, lengths):
    """Also square arrays, and lengths that happen to be widths."""
    folder = _source(tmp_path, width=width, lengths=lengths, swapped=False)
    for durations in ({name: 0.64 * length for name, length in lengths.items()}, dict.fromkeys(lengths)):
        assert _plan(folder, durations).lengths == lengths


def test_an_import_turns_them_and_says_where_that_is_wrong(tmp_path, capfd):
    """The features are those of the other axes; asked for where nothing is swapped, the option is refused."""
    sane, swapped = _source(tmp_path / "a", swapped=False), _source(tmp_path / "b")
    turned = ConvertRecipe(transpose=True)
    assert main(ImportDatasetRun(source=swapped, dataset=tmp_path / "out", convert=turned)) == 0
    assert main(ImportDatasetRun(source=sane, dataset=tmp_path / "same")) == 0
    one, other = FeatureStore.open(tmp_path / "out/features"), FeatureStore.open(tmp_path / "same/features")
    for name in LENGTHS:
        np.testing.assert_array_equal(one.load(name), other.load(name))
    with pytest.raises(CacheError, match="leave out --transpose"):
        main(ImportDatasetRun(source=sane, dataset=tmp_path / "wrong", convert=turned))
    capfd.readouterr()


def test_names_that_fit_nothing_stand_beside_those_expected(tmp_path):
    """All of them, or some."""
    folder = _source(tmp_path)
    wanted = dict.fromkeys(["clip_1", "clip_2", "clip_3", "clip_4"])
    expected = r"found v1, v2, v3; expected clip_1, clip_2, clip_3 and 1 more"
    with pytest.raises(CacheError, match=f"none of its 3 names is that of a video: {expected}"):
        _plan(folder, wanted)


_BAD = {
    "a web page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n",
    "a gzip archive": b"\x1f\x8b\x08" + bytes(99),
    "a text file": b"0.1 0.2\n0.3 0.4\n",
    "a pickle": pickle.dumps([1, 2]),
    "empty": b"",
}


@pytest.mark.parametrize("what", _BAD)
def test_what_is_no_array_is_named(tmp_path, what):
    """In a folder of features, in the place of a joint file, and in a store; pickles of .npy alone may be allowed."""
    folder = _source(tmp_path, swapped=False)
    (folder / "features/v2.npy").write_bytes(_BAD[what])
    found = _plan(folder, dict.fromkeys(LENGTHS))
    assert f"v2.npy: is no .npy file, but {what}" in found.unusable["v2"]
    with pytest.raises(CacheError, match=rf"v2.npy: is no \.npy file, but {what}") as refused:
        open_source(folder / "features/v2.npy", ["v2"], allow_pickle=False)
    assert "--allow-pickle" not in str(refused.value)
    grid = FeatureGrid(streams={"rgb": 8}, fps=25, snippet_frames=16, snippet_stride=16)
    store = FeatureStore.create(tmp_path / "store", grid)
    store.path("v2").write_bytes(_BAD[what])
    with pytest.raises(CacheError, match=rf"v2.npy: is no \.npy file, but {what}"):
        store.load("v2")


def test_other_kinds_of_files_are_told_where_arrays_are_expected(tmp_path):
    """Archives of arrays, also under the name of one."""
    (tmp_path / "features").mkdir()
    np.savez(tmp_path / "features/v1.npz", a=np.ones((4, 8)))
    with pytest.raises(CacheError, match=r"found no \.npy file but v1\.npz, expected"):
        open_source(tmp_path / "features", ["v1"], allow_pickle=False)
    (tmp_path / "features/v1.npz").rename(tmp_path / "features/v1.npy")
    found = open_source(tmp_path / "features", ["v1"], allow_pickle=False)
    with pytest.raises(CacheError, match=r"is no \.npy file, but a NumPy archive"):
        found.parts("v1")


def test_a_store_tells_of_swapped_axes(tmp_path):
    """Files that were put there by hand."""
    grid = FeatureGrid(streams={"rgb": 8}, fps=25, snippet_frames=16, snippet_stride=16)
    store = FeatureStore.create(tmp_path, grid)
    np.save(store.path("a"), np.ones((8, 40), np.float32))
    with pytest.raises(CacheError, match=r"found width 40, expected 8 .*; its axes seem to be swapped"):
        store.load("a")
