"""Columns of arrays that say something else than they should."""

from pathlib import Path

import numpy as np
import pytest

from cache.errors import CacheError
from cache.layouts.co2 import read_co2
from tests.support.data.dataset_layouts import objects, write_co2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three videos."""
    return write_co2(tmp_path) / "Mini-Annotations"


@pytest.mark.parametrize(
    ("name", "column", "told"),
    [
        ("classlist", np.array([b"CliffDiving", b"Diving", b"\xff"]), r"classlist\.npy: found the name b'\\xff'"),
        ("subset", np.array([b"\xff", b"test", b"test"]), r"subset\.npy: found the name b'\\xff'"),
        ("labels_all", objects([[None], [], []]), r"labels_all\.npy: found None, expected a name"),
        ("duration", objects([True, 5.0, 5.0]), r"duration\.npy: a: found True, expected seconds"),
        ("segments", objects([[["1_0", 20], [1, 2]], [[1, 2], [1, 2]], [[1, 2], [1, 2]]]), r"found \['1_0', 20\]"),
    ],
)
def test_the_file_and_the_item_are_named(folder: Path, name: str, column: np.ndarray, told: str):
    """Names that are none, and numbers that are none."""
    np.save(folder / f"{name}.npy", column, allow_pickle=column.dtype.hasobject)
    with pytest.raises(CacheError, match=told):
        read_co2(folder, features=None, allow_pickle=True)


def test_bytes_behind_an_array_are_refused(folder: Path):
    """numpy reads the first ones: one byte too many in the middle shifts every name."""
    path = folder / "videoname.npy"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(CacheError, match=r"videoname\.npy: holds .* expected .* by its header"):
        read_co2(folder, features=None, allow_pickle=True)


def test_segments_backwards_are_left_out_and_told(folder: Path):
    """As in the other layouts; annotations.json could not be read with them."""
    segments = objects([[[2.0, 1.0], [3.0, 4.0]], [[1.5, 2.5], [1.5, 2.5]], [[1.0, 2.0], [19.0, 25.0]]])
    np.save(folder / "segments.npy", segments, allow_pickle=True)
    found = read_co2(folder, features=None, allow_pickle=True)
    assert [(one.start, one.end) for one in found.videos[0].segments] == [(3.0, 4.0)]
    (told,) = (quirk.items for quirk in found.quirks if quirk.name == "reversed")
    assert told == ("a Swim 2-1 s",)
