"""Reads the SHREC 2021 recordings of hand gestures: the form that their authors distribute, and one packed into .npz.

A frame holds 140 numbers: 20 joints (palm, thumb A B End, then index, middle, ring and pinky A B C End), each with a
position x y z in metres and an orientation as quaternion x y z w. Caputo et al., SHREC 2021: Track on skeleton-based
hand gesture recognition in the wild.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cache.errors import CacheError
from cache.files.texts import text_lines

FPS = 50
"""Frames per second of the sensor."""
COLUMNS = 140
_STEP = 1e-4
"""Of the packed form's integers."""


@dataclass(frozen=True)
class Gesture:
    """A gesture with its first and last frame, counted from 1 as the authors do."""

    label: str
    first: int
    last: int

    @property
    def seconds(self) -> tuple[float, float]:
        """Start and end."""
        return (self.first - 1) / FPS, self.last / FPS


@dataclass(frozen=True)
class Recording:
    """One untrimmed sequence."""

    name: str
    frames: Float[np.ndarray, "n 140"]
    gestures: tuple[Gesture, ...]
    dropped: tuple[str, ...] = ()
    """Gestures that cannot be used: the authors' annotations have one that ends before it starts."""


def read_recordings(folder: Path) -> list[Recording]:
    """All recordings of a folder, by name.

    It holds one *_delta_int16.npz beside *_annotations.json, or the authors' text files: annotation lists
    (annotations*.txt) and one file a sequence, there or in sequences/. Raises CacheError for what is neither.
    """
    if not folder.is_dir():
        raise CacheError(f"{folder}: no such folder; expected recordings of the SHREC 2021 gestures")
    packed = sorted(folder.glob("*_delta_int16.npz"))
    frames = _packed(packed) if packed else _texts(folder)
    labels = _packed_gestures(folder) if packed else _listed_gestures(folder)
    if missing := sorted(set(frames) ^ set(labels)):
        raise CacheError(f"{folder}: found no frames or no annotations of {', '.join(missing)}; expected both of each")
    return [_recording(name, frames[name], labels[name]) for name in sorted(frames)]


def _recording(name: str, frames: np.ndarray, gestures: Sequence[Gesture]) -> Recording:
    if frames.ndim != 2 or frames.shape[1] != COLUMNS or not len(frames):
        raise CacheError(f"{name}: found frames of shape {frames.shape}, expected (frames, {COLUMNS})")
    if not np.isfinite(frames).all():
        raise CacheError(f"{name}: found numbers that are not finite, expected positions and orientations")
    kept, dropped = [], []
    for one in gestures:
        if 1 <= one.first < one.last <= len(frames):
            kept.append(one)
            continue
        dropped.append(f"{name}: {one.label} from frame {one.first} to {one.last} of {len(frames)}")
    return Recording(name, frames.astype(np.float32), tuple(kept), tuple(dropped))


def _packed(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """Differences of consecutive frames as integers, columns first."""
    frames = {}
    for file in files:
        with np.load(file, allow_pickle=False) as archive:
            for name in archive.files:
                frames[name] = np.cumsum(archive[name], axis=1, dtype=np.int16).T * np.float32(_STEP)
    return frames


def _packed_gestures(folder: Path) -> dict[str, list[Gesture]]:
    found: dict[str, list[Gesture]] = {}
    for file in sorted(folder.glob("*_annotations.json")):
        document: Mapping[str, Sequence[Mapping]] = json.loads(file.read_text("utf-8"))
        for name, entries in document.items():
            found[name] = [Gesture(one["label"], one["start_frame"], one["end_frame"]) for one in entries]
    return found


def _texts(folder: Path) -> dict[str, np.ndarray]:
    """Rows of numbers that are separated, and may be ended, by semicolons."""
    files = [file for place in (folder, folder / "sequences") for file in place.glob("*.txt") if file.stem.isdecimal()]
    frames = {}
    for file in files:
        rows = [_numbers(file, number, line.split(";")) for number, line in text_lines(file)]
        frames[_name(file.stem)] = np.array(rows, dtype=np.float32)
    return frames


def _numbers(file: Path, line: int, row: Sequence[str]) -> list[float]:
    try:
        numbers = [float(number) for number in row if number.strip()]
    except ValueError as error:
        raise CacheError(f"{file}, line {line}: {error}, expected {COLUMNS} numbers") from error
    if len(numbers) != COLUMNS:
        raise CacheError(f"{file}, line {line}: found {len(numbers)} numbers, expected {COLUMNS}")
    return numbers


def _listed_gestures(folder: Path) -> dict[str, list[Gesture]]:
    """Lines such as 1;DENY;670;751;CIRCLE;1610;1655; of the newest list: the authors' corrected one has "revised" in
    its name."""
    lists = sorted(folder.glob("annotations*.txt"), key=lambda file: ("revised" in file.name, "old" not in file.name))
    if not lists:
        raise CacheError(
            f"{folder}: found neither *_delta_int16.npz with *_annotations.json nor annotations*.txt; expected one of "
            "the two forms of the SHREC 2021 gestures"
        )
    found: dict[str, list[Gesture]] = {}
    for number, line in text_lines(lists[-1]):
        fields = [field.strip() for field in line.strip("; ").split(";")]
        try:
            found[_name(fields[0])] = list(_triples(fields[1:]))
        except ValueError as error:
            raise CacheError(f"{lists[-1]}, line {number}: expected id;LABEL;first;last;... ({error})") from error
    return found


def _triples(fields: Sequence[str]) -> Iterator[Gesture]:
    for place in range(0, len(fields), 3):
        label, first, last = fields[place : place + 3]
        yield Gesture(label, int(first), int(last))


def _name(number: str) -> str:
    """Of a sequence: three digits, so that names sort as numbers do."""
    return f"{int(number):03d}"
