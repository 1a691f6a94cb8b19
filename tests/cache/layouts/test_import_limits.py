"""Imports at their limits: files larger than the memory, a killed process, a full disk, what Python 2 wrote."""

import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cache.errors import CacheError
from cache.features import FeatureStore
from cache.layouts.convert import ConvertRecipe, Plan, convert, plan
from cache.layouts.folder import read_folder
from cache.layouts.sources import open_source
from pipelines.caches.import_dataset import ImportDatasetRun, main
from tests.support.data.dataset_layouts import features, save_joint, write_um
from tests.support.paths import ROOT

KILLED = """
import os, signal, sys
from pathlib import Path
from cache.layouts.convert import ConvertRecipe, convert, plan
from cache.layouts.sources import open_source
folder, names = Path(sys.argv[1]), sys.argv[2:]
planned = plan(open_source(folder / "joint.npy", names, allow_pickle=True), names, ConvertRecipe())
convert(planned, folder / "out", progress=lambda done, total: done == 2 and os.kill(os.getpid(), signal.SIGKILL))
"""


def planned(folder: Path, arrays: list[np.ndarray], **options) -> Plan:
    """The plan for a joint file of these arrays, videos v0, v1 ..."""
    save_joint(folder / "joint.npy", arrays)
    return planned_again(folder, len(arrays), **options)


def planned_again(folder: Path, count: int, **options) -> Plan:
    """The plan for the joint file that is there."""
    names = [f"v{number}" for number in range(count)]
    source = open_source(folder / "joint.npy", names, allow_pickle=True)
    return plan(source, names, ConvertRecipe(**options))


@pytest.mark.parametrize(("dtype", "videos"), [("float32", 1.5), ("float16", 3.5)])
def test_memory_is_that_of_a_video_not_of_the_file(tmp_path, dtype, videos):
    """48 MiB in one file, 4 MiB its largest array: the peak, index included, is a small multiple of the latter."""
    save_joint(tmp_path / "joint.npy", [features(512 + row % 2 * 512, width=1024) for row in range(16)])
    largest = 1024 * 1024 * 4
    tracemalloc.start()
    try:
        convert(planned_again(tmp_path, 16, dtype=dtype), tmp_path / "out")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert largest <= peak < videos * largest
    assert (tmp_path / "joint.npy").stat().st_size > 11 * largest


def test_a_killed_import_goes_on(tmp_path):
    """SIGKILL after two of five videos: these are whole and stay, the other three are made."""
    arrays = [features(20 + row) for row in range(5)]
    save_joint(tmp_path / "joint.npy", arrays)
    names = [f"v{number}" for number in range(5)]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), *names], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    converted = convert(planned_again(tmp_path, 5), tmp_path / "out")
    assert (converted.kept, converted.written) == (2, 3)
    store = FeatureStore.open(tmp_path / "out")
    for name, array in zip(names, arrays, strict=True):
        np.testing.assert_array_equal(store.load(name), array)


def test_a_disk_that_fills_up_is_told(tmp_path):
    """The system refuses to write on: what is whole stays, nothing half written does, and later the rest follows."""
    ready = planned(tmp_path, [features(20), features(4000), features(21)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        with pytest.raises(CacheError, match=r"no room left at v1 .*: 1 of 3 videos.* the same command"):
            convert(ready, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(os.listdir(tmp_path / "out")) == ["features.json", "source.json", "v0.npy"]
    assert convert(ready, tmp_path / "out").written == 2


def test_too_small_a_disk_is_told_beforehand(tmp_path, monkeypatch):
    """How much is needed and how much is free, before a video is written."""
    ready = planned(tmp_path, [features(20)])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=20 * 8 * 4 - 1))
    with pytest.raises(CacheError, match=r"GiB free, expected .* --dtype float16 takes half"):
        convert(ready, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.npy"))


def python2_joint(path: Path, arrays: list[np.ndarray]) -> None:
    """What numpy on Python 2 wrote: protocol 2, numbers as a Python 2 string, which Python 3 cannot write.

    An array is `_reconstruct(ndarray, (0,), "b")` with the state (1, shape, dtype, False, numbers).
    """

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def array(shape: tuple[int, ...], kind: bytes, order: bytes, data: bytes) -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        dtype = b"cnumpy\ndtype\n" + text(kind) + b"K\x00K\x01\x87R(K\x03" + text(order) + b"NNN" + 2 * number(-1)
        flags = bytes([63 if kind == b"O8" else 0])
        sizes = b"(" + b"".join(map(number, shape)) + b"t"
        return made + b"(K\x01" + sizes + dtype + b"K" + flags + b"tb" + b"\x89" + data + b"tb"

    inner = b"".join(array(one.shape, b"f4", b"<", text(one.tobytes())) for one in arrays)
    outer = array((len(arrays),), b"O8", b"|", b"](" + inner + b"e")
    with path.open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": (len(arrays),)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"\x80\x02" + outer + b".")


def test_joint_files_of_python_2(tmp_path):
    """As the public downloads are; numpy reads the same from it."""
    arrays = [features(2), features(40), features(41)]
    python2_joint(tmp_path / "joint.npy", arrays)
    whole = np.load(tmp_path / "joint.npy", allow_pickle=True, encoding="bytes")
    convert(planned_again(tmp_path, 3), tmp_path / "out")
    store = FeatureStore.open(tmp_path / "out")
    for row, array in enumerate(arrays):
        np.testing.assert_array_equal(whole[row], array)
        np.testing.assert_array_equal(store.load(f"v{row}"), array)


def test_arrays_of_one_length_in_a_plain_file(tmp_path):
    """numpy makes one array of three axes of them, which is no pickle."""
    stacked = np.stack([features(20, seed=seed) for seed in range(3)])
    np.save(tmp_path / "joint.npy", stacked)
    source = open_source(tmp_path / "joint.npy", ["v0", "v1", "v2"], allow_pickle=False)
    convert(plan(source, ["v0", "v2"], ConvertRecipe()), tmp_path / "out")
    np.testing.assert_array_equal(FeatureStore.open(tmp_path / "out").load("v2"), stacked[2])


def test_streams_of_different_lengths_are_named(tmp_path, capfd):
    """One snippet of flow too few: which video, and how long each stream is."""
    source = write_um(tmp_path / "source")
    np.save(source / "features" / "train" / "flow" / "a.npy", features(15, width=4))
    assert main(ImportDatasetRun(dataset=tmp_path / "out", source=source)) == 2
    shown = " ".join(capfd.readouterr().out.split())
    assert "{'rgb': 16, 'flow': 15}" in shown


@pytest.mark.parametrize("damage", [b"(", b"'", b"\\", b"\x00", b"\xff"])
def test_a_damaged_header_is_named(tmp_path, capfd, damage):
    """What is no Python any more makes numpy raise errors of the parser, which are told as those of the file."""
    source = write_um(tmp_path / "source")
    file = source / "features" / "train" / "rgb" / "a.npy"
    raw = bytearray(file.read_bytes())
    raw[10:11] = damage
    file.write_bytes(raw)
    assert main(ImportDatasetRun(dataset=tmp_path / "out", source=source)) == 2
    assert "cannot be read" in " ".join(capfd.readouterr().out.split())


def table(folder: Path, text: str) -> tuple[list[tuple[str, str, tuple[str, ...]]], list[tuple[int, str]]]:
    """(video, subset, labels) of each entry, and the bad lines, of a table beside five files."""
    for name in ("one.mp4", "two.mkv", "twin.mp4", "twin.avi", "deep/three.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    path = folder / "labels.csv"
    path.write_bytes(text.encode())
    found, bad = read_folder(folder, path)
    entries = [(video.video_id, video.subset, video.labels) for video in found.videos]
    return entries, [(one.line, one.reason) for one in bad]


@pytest.mark.parametrize(
    "text",
    [
        "one,Swim\ntwo.mkv,Dive\n",
        "video,label\none,Swim\ntwo.mkv,Dive\n",
        "\ufeffLabel,Video\r\nSwim,one.mp4\r\n\r\nDive,two\r\n",
        "video,label,subset\none,Swim,\ntwo,Dive,training\n",
        '"one","Swim"\n"two" ,Dive\n"one", Swim\n',
    ],
)
def test_tables_may_be_written_in_many_ways(tmp_path, text):
    """With a header or without, columns in any order, a byte order mark, CRLF, empty lines, quotes, repetitions."""
    if text.startswith('"'):
        text = text.replace('"two" ', '"two"')
    entries, bad = table(tmp_path, text)
    assert (entries, bad) == ([("one", "training", ("Swim",)), ("two", "training", ("Dive",))], [])


def test_labels_may_hold_commas_and_videos_may_share_a_stem(tmp_path):
    """A quoted comma belongs to the name; files that share a stem keep their suffix in their names."""
    entries, bad = table(
        tmp_path, 'video,label,subset\ntwin.mp4,"Throw, far",testing\ntwin.avi,,testing\nthree,Swim,\n'
    )
    assert bad == []
    assert entries == [
        ("twin.mp4", "testing", ("Throw, far",)),
        ("twin.avi", "testing", ()),
        ("three", "training", ("Swim",)),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("twin,Swim,", "could be twin.avi, twin.mp4"),
        ("nobody,Swim,", "no such file"),
        ("one,,", "label: is empty"),
        ("one,Swim,Dive,Run", "found 4 fields"),
        ("one,Swim,valid", "expected training, validation, testing"),
        ("two,Swim,testing", "'training' in line 2"),
        ('two,"Swim', "no CSV"),
    ],
)
def test_bad_lines_are_named_and_the_others_stand(tmp_path, line, words):
    """Whatever is wrong in line 3, line 2 is read."""
    entries, bad = table(tmp_path, f"video,label,subset\ntwo,Swim,training\n{line}\n")
    assert [number for number, _ in bad] == [3]
    assert words in bad[0][1]
    assert entries == [("two", "training", ("Swim",))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("video,lable\none,Swim\n", "expected video,label"),
        ("one;Swim\n", "separated by"),
        ("video,label,label\n", "expected video,label"),
        ("", "is empty"),
    ],
)
def test_tables_of_another_kind_are_refused(tmp_path, text, words):
    """With what was found and expected in the first line."""
    with pytest.raises(CacheError, match=words):
        table(tmp_path, text)
