"""Small datasets in the layouts of the field, with every oddity that the real ones have."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cache.layouts.convert import ConvertRecipe
from cache.layouts.mend import MendRecipe
from pipelines.caches.import_dataset import ImportDatasetRun, main
from tests.support.paths import SHARED

DATA = SHARED / "data"
SUBSETS = {"a": "validation", "b": "validation", "c": "test"}
LENGTHS = {"a": 16, "b": 24, "c": 32}
"""Snippets; seconds are 0.64 times as many."""


def objects(items: Sequence[object]) -> np.ndarray:
    """An array of objects, one an item, whatever their lengths."""
    array = np.empty(len(items), object)
    array[:] = [None] * len(items)
    for row, item in enumerate(items):
        array[row] = item
    return array


def features(length: int, *, width: int = 8, seed: int = 0) -> np.ndarray:
    """(length, width) float32."""
    return np.random.default_rng([seed, length]).standard_normal((length, width), dtype=np.float32)


def save_joint(path: Path, arrays: Sequence[np.ndarray]) -> None:
    """One pickled array of arrays."""
    np.save(path, objects(arrays), allow_pickle=True)


def write_co2(root: Path, *, subsets: dict[str, str] = SUBSETS) -> Path:
    """Three videos. a's label lacks Diving, which a segment has; c's segments end after the video; names are bytes in
    some files and text in others; Ambiguous_test.txt has two spaces, CRLF, and a video of nobody."""
    folder = root / "Mini-Annotations"
    folder.mkdir(parents=True)
    plain = {
        "classlist": np.array([b"CliffDiving", b"Diving", b"Swim"]),
        "videoname": np.array([name.encode() for name in subsets]),
        "subset": np.array([subset.encode() for subset in subsets.values()]),
        "duration": np.array([[0.64 * length] for length in LENGTHS.values()]),
        "extracted_fps": np.full(3, 10),
    }
    pickled = {
        "labels_all": [["Swim"], [b"CliffDiving", "Diving"], []],
        "labels": [["Swim", "Diving"], ["CliffDiving", "Diving"], ["Swim", "Swim"]],
        "segments": [[[1.0, 2.0], [3.0, 4.0]], [[1.5, 2.5], [1.5, 2.5]], [[1.0, 2.0], [19.0, 25.0]]],
    }
    for name, array in plain.items():
        np.save(folder / f"{name}.npy", array)
    for name, items in pickled.items():
        np.save(folder / f"{name}.npy", objects(items), allow_pickle=True)
    (folder / "Ambiguous_test.txt").write_bytes(b"c  3.0 4.5\r\nstranger  1.0 2.0\r\nc  5.0 6.0\r\n")
    save_joint(root / "Mini-I3D-JOINTFeatures.npy", [features(length) for length in LENGTHS.values()])
    return root


def write_um(root: Path) -> Path:
    """Times as text, no durations, a stream a folder; the split files leave one video out."""
    entries = {
        name: {
            "subset": "test" if name == "c" else "train",
            "annotations": [{"segment": ["1.0", "2.5"], "label": "Swim" if name == "b" else "Diving"}],
        }
        for name in (*LENGTHS, "unsplit")
    }
    for name, length in LENGTHS.items():
        for stream in ("rgb", "flow"):
            folder = root / "features" / str(entries[name]["subset"]) / stream
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{name}.npy", features(length, width=4, seed=len(stream)))
    (root / "gt.json").write_text(json.dumps({"database": entries}))
    (root / "split_train.txt").write_text("a\nb\n")
    (root / "split_test.txt").write_text("c\n")
    return root


def write_activitynet(root: Path, *, prefix: str = "v_") -> Path:
    """One JSON beside a folder of joint features. b has a segment that ends before it starts, d is unlabelled."""
    segments = {"a": [1.0, 2.0], "b": [3.0, 1.0], "c": [2.0, 2.0]}
    database = {
        name: {
            "subset": "validation" if name == "c" else "training",
            "duration": 0.64 * LENGTHS[name],
            "annotations": [{"segment": segment, "label": "Swim"}],
        }
        for name, segment in segments.items()
    }
    database["d"] = {"subset": "testing", "duration": 5.0, "annotations": []}
    (root / "features").mkdir(parents=True)
    for name, length in LENGTHS.items():
        np.save(root / "features" / f"{prefix}{name}.npy", features(length))
    (root / "activity_net.v1-3.min.json").write_text(json.dumps({"version": "1.3", "database": database}))
    return root


def imported(
    source: Path,
    dataset: Path,
    *,
    expect: int = 0,
    mend: MendRecipe | None = None,
    convert: ConvertRecipe | None = None,
    **options,
) -> dict[str, dict]:
    """What import_report.json says of each quirk, by name; the command ended with `expect`."""
    run = ImportDatasetRun(
        dataset=dataset, source=source, mend=mend or MendRecipe(), convert=convert or ConvertRecipe(), **options
    )
    assert main(run) == expect
    report = json.loads((dataset / "import_report.json").read_text())
    return {quirk["name"]: quirk for quirk in report["quirks"]}
