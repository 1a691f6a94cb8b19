"""Made-up recordings of a hand in both forms of the SHREC 2021 gestures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Gestures = Mapping[str, Sequence[tuple[str, int, int]]]
"""Recording -> its gestures: label, first and last frame."""


def hand(frames: int, *, seed: int) -> np.ndarray:
    """A hand that wanders and turns: (frames, 140) in steps of 1e-4, as the sensor's packed form stores them."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((frames, 20, 7))
    offsets = rng.uniform(-0.1, 0.1, (20, 3))
    offsets[0] = 0
    path = rng.normal(scale=0.002, size=(frames, 1, 3)).cumsum(axis=0) + np.array([0.24, 2.4, 0.35])
    joints[..., :3] = path + offsets + rng.normal(scale=0.001, size=(frames, 20, 3))
    turns = rng.normal(scale=0.02, size=(frames, 20, 4)).cumsum(axis=0) + rng.normal(size=(1, 20, 4))
    joints[..., 3:] = turns / np.linalg.norm(turns, axis=-1, keepdims=True)
    return np.round(joints.reshape(frames, 140) / 1e-4) * 1e-4


def write_packed(folder: Path, recordings: Mapping[str, np.ndarray], gestures: Gestures) -> Path:
    """Differences of frames as int16 in one .npz, gestures as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name, frames in recordings.items():
        steps = np.round(frames.T / 1e-4).astype(np.int64)
        arrays[name] = np.diff(steps, axis=1, prepend=0).astype(np.int16)
    np.savez_compressed(folder / "some_delta_int16.npz", **arrays)
    listed = {
        name: [{"label": label, "start_frame": first, "end_frame": last} for label, first, last in ones]
        for name, ones in gestures.items()
    }
    (folder / "some_annotations.json").write_text(json.dumps(listed))
    return folder


def write_texts(folder: Path, recordings: Mapping[str, np.ndarray], gestures: Gestures) -> Path:
    """One text file a recording in sequences/, and the list of the gestures; recordings are named by numbers."""
    (folder / "sequences").mkdir(parents=True, exist_ok=True)
    for name, frames in recordings.items():
        rows = ["".join(f"{value:.4f};" for value in frame) for frame in frames]
        (folder / "sequences" / f"{int(name)}.txt").write_text("\n".join(rows) + "\n")
    lines = [
        f"{int(name)};" + "".join(f"{label};{first};{last};" for label, first, last in ones) + " "
        for name, ones in gestures.items()
    ]
    (folder / "annotations_old.txt").write_text("1;TAP;1;2;\n")
    (folder / "annotations_revised_training.txt").write_text("\n".join(lines) + "\n")
    return folder
