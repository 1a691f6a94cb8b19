"""Pickled arrays: the same numbers as numpy reads, nothing run, and a conversion that goes on where it was."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from cache.errors import CacheError
from cache.features import FeatureStore
from cache.layouts.convert import ConvertRecipe, convert, plan
from cache.layouts.pickled import StoredArray, plain_objects, stored_objects
from cache.layouts.sources import open_source
from tests.support.data.dataset_layouts import features, objects, save_joint, write_co2

NUMBERS = npst.arrays(
    st.sampled_from(["<f4", "<f2", "<f8", ">f4", "<i8", "u1"]), npst.array_shapes(min_dims=1, max_dims=2, max_side=40)
)
PLAIN = st.recursive(
    st.one_of(st.text(max_size=300), st.binary(max_size=300), st.floats(allow_nan=False), st.integers()),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


def write(path: Path, items: list, protocol: int) -> Path:
    """A .npy of objects as numpy writes it, with a protocol of our choice."""
    array = objects(items)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        pickle.dump(array, file, protocol=protocol)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """A file to write again and again."""
    return tmp_path_factory.mktemp("pickled") / "objects.npy"


@settings(max_examples=60)
@given(st.lists(NUMBERS, min_size=1, max_size=4), st.integers(2, 5), st.booleans())
def test_arrays_are_what_was_written(path, arrays, protocol, fortran):
    """Any type, order, protocol."""
    written = [np.asfortranarray(array) if fortran else array for array in arrays]
    shape, items = stored_objects(write(path, written, protocol), allow_pickle=True)
    assert shape == (len(arrays),)
    with path.open("rb") as file:
        for item, array in zip(items, arrays, strict=True):
            assert isinstance(item, StoredArray)
            read = item.read(file)
            assert (read.dtype, read.shape) == (array.dtype, array.shape)
            assert read.tobytes() == np.ascontiguousarray(array).tobytes()


@settings(max_examples=40)
@given(st.lists(PLAIN, min_size=1, max_size=4), st.integers(3, 5))
def test_plain_values_are_what_was_written(path, items, protocol):
    """Lists of lists of text, bytes and numbers, short and long."""
    assert plain_objects(write(path, items, protocol), allow_pickle=True) == items


def test_long_text_is_text(path):
    """Long enough to be passed over at first, and beyond latin-1."""
    assert plain_objects(write(path, ["Łódź" * 100, b"\xff" * 300], 4), allow_pickle=True) == [
        "Łódź" * 100,
        b"\xff" * 300,
    ]


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_programs_are_not_run(tmp_path, protocol):
    """A file that names a function is refused; numpy would have run it."""
    write(tmp_path / "bad.npy", [np.zeros(3), Runs(tmp_path / "made")], protocol)
    with pytest.raises(CacheError, match=r"mkdir.*nothing of it was run"):
        stored_objects(tmp_path / "bad.npy", allow_pickle=True)
    assert not (tmp_path / "made").exists()


@given(st.data())
def test_damage_is_a_message(path, data):
    """A file that is cut or changed anywhere is read, or refused in words; nothing else comes out."""
    write(path, [features(9), ["text", b"bytes", 1.5]], data.draw(st.integers(2, 5)))
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    try:
        _, items = stored_objects(path, allow_pickle=True)
        with path.open("rb") as file:
            for item in items:
                if isinstance(item, StoredArray):
                    item.read(file)
    except CacheError:
        pass


class Stopped(Exception):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_interrupted_conversion_goes_on(tmp_path, dtype):
    """What was there is not written again, and the end is what it would have been."""
    names = [f"v{number}" for number in range(6)]
    save_joint(tmp_path / "joint.npy", [features(20 + row) for row in range(6)])
    planned = plan(open_source(tmp_path / "joint.npy", names, allow_pickle=True), names, ConvertRecipe(dtype=dtype))

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        convert(planned, tmp_path / "out", progress=stop)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.npy")}
    assert len(times) == 3
    converted = convert(planned, tmp_path / "out")
    assert (converted.kept, converted.written) == (3, 3)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    store = FeatureStore.open(tmp_path / "out")
    for row, name in enumerate(names):
        np.testing.assert_array_equal(store.load(name), features(20 + row).astype(dtype))


def test_another_file_does_not_go_on_with_it(tmp_path):
    """Features of one source are not mixed with those of another."""
    save_joint(tmp_path / "one.npy", [features(20)])
    save_joint(tmp_path / "two.npy", [features(30)])
    for name, expected in (("one.npy", ""), ("two.npy", "come from other files")):
        planned = plan(open_source(tmp_path / name, ["v"], allow_pickle=True), ["v"], ConvertRecipe())
        if not expected:
            convert(planned, tmp_path / "out")
            continue
        with pytest.raises(CacheError, match=expected):
            convert(planned, tmp_path / "out")


def test_numbers_beyond_float16_are_named(tmp_path):
    """They would become infinity."""
    save_joint(tmp_path / "joint.npy", [features(20) * 1e6])
    planned = plan(open_source(tmp_path / "joint.npy", ["v"], allow_pickle=True), ["v"], ConvertRecipe(dtype="float16"))
    assert "at most 65504" in convert(planned, tmp_path / "out").failed["v"]


def test_a_joint_file_of_another_length_is_refused(tmp_path):
    """One array a video of the annotations."""
    source = write_co2(tmp_path)
    with pytest.raises(CacheError, match="expected 4"):
        open_source(source / "Mini-I3D-JOINTFeatures.npy", ["a", "b", "c", "d"], allow_pickle=True)
