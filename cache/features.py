"""Snippet features on disk: one .npy per video, and features.json, by which snippets are converted to seconds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO, TypeVar

import numpy as np
from pydantic import PositiveFloat, PositiveInt, field_validator

from cache.errors import CacheError
from cache.files.atomic import atomic_path, remove_unfinished
from cache.files.digests import Digests, FileDigest
from cache.files.kinds import not_a
from cache.recipe import Recipe
from cache.wording import amount

Positions = TypeVar("Positions", float, np.ndarray)

GRID_FILE = "features.json"
NPY_DAMAGE = (OSError, ValueError, TypeError, EOFError, SyntaxError, TokenError)
"""What numpy raises for a damaged .npy file; the last two, and TypeError, are for a damaged header."""
_LONGEST_HEADER = 1 << 20
_MEND = "run `make features`, or point to the folder that has them"


def map_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, memory-mapped. Raises FileNotFoundError, and CacheError, which says what the file is
    where it is none, if it cannot be read."""
    try:
        with path.open("rb") as file:
            check_npy_header(file)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except NPY_DAMAGE as error:
        raise CacheError(f"{path}: {not_a(path, '.npy file', 'npy') or f'cannot be read: {error}'}") from error
    promised, size = getattr(array, "offset", 0) + array.nbytes, path.stat().st_size
    if size > promised > array.nbytes:  # numpy passes over what is too much: numbers that were shifted, other arrays
        raise CacheError(f"{path}: holds {size} bytes, expected {promised} by its header ({array.shape} {array.dtype})")
    return array


def check_npy_header(file: BinaryIO) -> None:
    """Raise ValueError for what is no .npy file (numpy opens archives and pickles, too), and for a header longer than
    any is, for which numpy makes room at once. Leaves the file at its start."""
    head = file.read(12)
    file.seek(0)
    if head[:6] != np.lib.format.MAGIC_PREFIX:
        raise ValueError(f"it begins with {head[:6]!r}")
    if head[6:7] != b"\1" and int.from_bytes(head[8:12], "little") > _LONGEST_HEADER:
        raise ValueError(f"its header would have {int.from_bytes(head[8:12], 'little')} bytes")


class FeatureGrid(Recipe):
    """The grid of snippets that the rows of a feature file follow. Snippets are converted to seconds only here."""

    streams: dict[str, PositiveInt]
    """Width of each stream, in the order of the columns, such as {rgb: 1024, flow: 1024}."""
    fps: PositiveFloat
    """Frames per second of the constant-rate grid that snippets are cut from."""
    snippet_frames: PositiveInt
    """Frames that one snippet covers."""
    snippet_stride: PositiveInt
    """Frames from the start of one snippet to the start of the next."""

    @field_validator("streams", "fps", "snippet_frames", "snippet_stride", mode="before")
    @classmethod
    def _no_truth_values(cls, value: object) -> object:
        """Pydantic takes `true` for 1."""
        if any(isinstance(one, bool) for one in (value.values() if isinstance(value, dict) else [value])):
            raise ValueError("a number")
        return value

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal, including the order of the streams, which is that of the columns."""
        return super().__eq__(other) and isinstance(other, FeatureGrid) and list(self.streams) == list(other.streams)

    def difference(self, expected: FeatureGrid) -> str:
        """How this grid differs from the expected one, for messages; only the order of streams, if that is all."""
        if self.streams == expected.streams and list(self.streams) != list(expected.streams):
            found, wanted = (", ".join(grid.streams) for grid in (self, expected))
            return f"streams: found the columns in the order {found}, expected the order {wanted}"
        return f"found {self!r}, expected {expected!r}"

    @property
    def width(self) -> int:
        """Columns of a feature file: the sum of the streams' widths."""
        return sum(self.streams.values())

    def start_seconds(self, index: int) -> float:
        """Where snippet `index` starts."""
        return index * self.snippet_stride / self.fps

    def end_seconds(self, index: int) -> float:
        """Where snippet `index` ends."""
        return (index * self.snippet_stride + self.snippet_frames) / self.fps

    def boundary_seconds(self, position: Positions) -> Positions:
        """Seconds of a position in snippet units, or of an array of them; position i is the start of snippet i."""
        return position * self.snippet_stride / self.fps

    def position(self, seconds: float) -> float:
        """Position in snippet units: the inverse of `boundary_seconds`."""
        return seconds * self.fps / self.snippet_stride


class FeatureStore:
    """A folder of `<video_id>.npy`, each (T, D) float32 or float16, with the grid that they follow."""

    def __init__(self, folder: Path, grid: FeatureGrid) -> None:
        self.folder = folder
        self.grid = grid
        self._digests = Digests(folder)

    @classmethod
    def create(cls, folder: Path, grid: FeatureGrid) -> FeatureStore:
        """Make the folder, or reopen it. Raises CacheError if it holds features of another grid."""
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        if (folder / GRID_FILE).exists():
            store = cls.open(folder)
            if store.grid != grid:
                raise CacheError(
                    f"{folder / GRID_FILE}: {store.grid.difference(grid)}; choose another folder, or delete this one"
                )
            return store
        grid.save(folder / GRID_FILE)
        return cls(folder, grid)

    @classmethod
    def open(cls, folder: Path) -> FeatureStore:
        """Open a folder for reading. Raises CacheError if it has no features.json."""
        if not (folder / GRID_FILE).exists():
            raise CacheError(f"{folder / GRID_FILE}: no such file, so there are no snippet features here; {_MEND}")
        return cls(folder, FeatureGrid.load(folder / GRID_FILE))

    def path(self, video_id: str) -> Path:
        """The file of one video."""
        return self.folder / f"{video_id}.npy"

    def has(self, video_id: str) -> bool:
        """True if the video has a feature file."""
        return self.path(video_id).exists()

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("[!.]*.npy"))

    def save(self, video_id: str, features: np.ndarray) -> None:
        """Write (T, D) features, atomically. Raises CacheError if shape, type or values do not fit the grid."""
        if problem := self._problem(features) or _not_finite(features):
            raise CacheError(f"features of {video_id}: {problem}")
        with atomic_path(self.path(video_id)) as unfinished:
            _write(unfinished, np.ascontiguousarray(features))

    def load(self, video_id: str) -> np.ndarray:
        """The (T, D) features, memory-mapped. Raises CacheError if they are missing, unreadable or of another width."""
        path = self.path(video_id)
        try:
            features = map_npy(path)
        except FileNotFoundError:
            raise _missing(path) from None
        except CacheError as error:
            raise CacheError(f"{error}; {_MEND}") from error
        if problem := self._problem(features):
            raise CacheError(f"{path}: {problem}; {_MEND}")
        return features

    def preflight(self, video_ids: Iterable[str]) -> None:
        """Raise one CacheError listing the files that are missing, unreadable, misshapen or not finite."""
        self.digests(video_ids)

    def digests(self, video_ids: Iterable[str]) -> dict[str, FileDigest]:
        """Digest of the file of each video. A file that is unchanged since its last digest (same size and time) is not
        read.

        Raises CacheError as `preflight` does.
        """
        digests: dict[str, FileDigest] = {}
        problems = []
        try:
            for video_id in video_ids:
                try:
                    digests[video_id] = self._digest(video_id)
                except CacheError as error:
                    problems.append(str(error).removesuffix(f"; {_MEND}"))
        finally:
            self._digests.save()
        if problems:
            shown = [f"  {line}" for line in problems[:20]]
            if len(problems) > len(shown):
                shown.append(f"  ... and {len(problems) - len(shown)} more")
            lacking = amount(len(problems), "video has", "videos have")
            raise CacheError("\n".join([f"{lacking} no usable features; {_MEND}:", *shown]))
        return digests

    def lengths(self, video_ids: Iterable[str]) -> list[int]:
        """Number of snippets of each video: from its stored digest, or from the header of its file. Raises CacheError
        as `load` does."""
        remembered = ((video_id, self._remembered(video_id, self._stamp(video_id))) for video_id in video_ids)
        return [known.snippets if known else len(self.load(video_id)) for video_id, known in remembered]

    def _stamp(self, video_id: str) -> os.stat_result:
        """Size and time of a file. Raises CacheError if it is missing."""
        try:
            return self.path(video_id).stat()
        except FileNotFoundError:
            raise _missing(self.path(video_id)) from None

    def _remembered(self, video_id: str, stamp: os.stat_result) -> FileDigest | None:
        known = self._digests.find(video_id, stamp)
        return known if known and known.width == self.grid.width else None

    def _digest(self, video_id: str) -> FileDigest:
        """The stored digest, or that of reading the file. Raises CacheError if it is missing, unreadable, misshapen or
        not finite."""
        stamp = self._stamp(video_id)  # before reading: a file that is written meanwhile has another stamp
        if known := self._remembered(video_id, stamp):
            return known
        path, features = self.path(video_id), self.load(video_id)
        if problem := _not_finite(features):
            raise CacheError(f"{path}: {problem}; {_MEND}")
        with path.open("rb") as file:
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(video_id.encode())).hexdigest()
        snippets, width = features.shape
        digest = FileDigest(stamp.st_size, stamp.st_mtime_ns, snippets, width, content)
        self._digests.add(video_id, digest)
        return digest

    def _problem(self, features: np.ndarray) -> str | None:
        if features.ndim != 2 or len(features) == 0:
            return f"found shape {features.shape}, expected (snippets, {self.grid.width})"
        if features.shape[1] != self.grid.width:
            hint = "; its axes seem to be swapped" if features.shape[0] == self.grid.width else ""
            expected = f"expected {self.grid.width} = {self.grid.streams} of {GRID_FILE}"
            return f"found width {features.shape[1]}, {expected}{hint}"
        if features.dtype not in (np.float32, np.float16):
            return f"found {features.dtype}, expected float32 or float16"
        return None


def _missing(path: Path) -> CacheError:
    return CacheError(f"{path}: no such feature file; {_MEND}")


def _write(path: Path, array: np.ndarray) -> None:
    """Like `numpy.save`, whose error does not say why a file cannot be written, such as that the disk is full."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)


def _not_finite(features: np.ndarray) -> str | None:
    rows = np.flatnonzero(~np.isfinite(features).all(axis=1))
    return (
        f"{len(rows)} of {len(features)} snippets hold NaN or infinity, first snippet {rows[0]}" if len(rows) else None
    )
