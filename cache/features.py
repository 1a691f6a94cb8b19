"""Snippet features on disk: one .npy per video, and features.json, by which snippets are converted to seconds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import PositiveFloat, PositiveInt, field_validator

from cache.errors import CacheError
from cache.files.atomic import atomic_path, remove_unfinished
from cache.files.digests import Digests, FileDigest
from cache.files.npy import map_npy, write_npy
from cache.recipe import Recipe
from cache.wording import amount

Positions = TypeVar("Positions", float, np.ndarray)

GRID_FILE = "features.json"
_MEND = "run `make features`, or point to the folder that has them"


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

    def columns(self, stream: str) -> slice:
        """The columns of a stream in a feature file."""
        place = list(self.streams).index(stream)
        start = sum(list(self.streams.values())[:place])
        return slice(start, start + self.streams[stream])

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
    """A folder of `<video_id>.npy`, each (T, D) float32 or float16, with the grid that they follow.

    Its sub-folders may be stores of further streams on the same grid; `select` chooses among all streams by name.
    """

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
            inner = ", ".join(str(file.parent) for file in _inner_grids(folder))
            mend = f"point to one of the folders that have them: {inner}" if inner else _MEND
            raise CacheError(f"{folder / GRID_FILE}: no such file, so there are no snippet features here; {mend}")
        return cls(folder, FeatureGrid.load(folder / GRID_FILE))

    def select(self, streams: Sequence[str] | None) -> FeatureStore:
        """A view of the streams of these names, in this order; the store itself when not given.

        Its digests are of whole files, with the streams beside the chosen ones. Raises CacheError, naming the streams
        that there are, if one is not among them, if two stores have it, and if two streams follow different grids.
        """
        if streams is None or tuple(streams) == tuple(self.grid.streams):
            return self
        stores = [FeatureStore.open(file.parent) for file in (self.folder / GRID_FILE, *_inner_grids(self.folder))]
        chosen = []
        for name in streams:
            homes = [store for store in stores if name in store.grid.streams]
            if not homes:
                there = "; ".join(f"{', '.join(store.grid.streams)} in {store.folder}" for store in stores)
                raise CacheError(f"{self.folder}: found no stream {name}, expected some of these: {there}")
            if len(homes) > 1:
                found = " and ".join(str(store.folder / GRID_FILE) for store in homes)
                raise CacheError(f"stream {name}: found in {found}, expected it once; rename one of them there")
            chosen.append((homes[0], name))
        return _Selection(self.folder, chosen)

    def path(self, video_id: str) -> Path:
        """The file of one video."""
        return self.folder / f"{video_id}.npy"

    def has(self, video_id: str) -> bool:
        """True if the video has a feature file."""
        return self.path(video_id).exists()

    def __len__(self) -> int:
        return sum(self.has(path.stem) for path in self.folder.glob("[!.]*.npy"))

    def save(self, video_id: str, features: np.ndarray) -> None:
        """Write (T, D) features, atomically. Raises CacheError if shape, type or values do not fit the grid."""
        if problem := self._problem(features) or _not_finite(features):
            raise CacheError(f"features of {video_id}: {problem}")
        with atomic_path(self.path(video_id)) as unfinished:
            write_npy(unfinished, np.ascontiguousarray(features))

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

    def parts(self, video_id: str) -> list[np.ndarray]:
        """The columns of `load`, memory-mapped, in one piece or several. Raises CacheError as that."""
        return [self.load(video_id)]

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
            self._keep_digests()
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

    def _keep_digests(self) -> None:
        self._digests.save()

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


class _Selection(FeatureStore):
    """A view of some streams of one or more stores, for reading."""

    def __init__(self, folder: Path, chosen: Sequence[tuple[FeatureStore, str]]) -> None:
        streams = {name: store.grid.streams[name] for store, name in chosen}
        first, *others = (store.grid.model_copy(update={"streams": streams}) for store, _ in chosen)
        for (store, _), other in zip(chosen[1:], others, strict=True):
            if other != first:
                raise CacheError(
                    f"{store.folder / GRID_FILE}: {other.difference(first)} as in {chosen[0][0].folder}, since streams "
                    "are read side by side; encode both on one grid, or choose others (--data.streams)"
                )
        super().__init__(folder, first)
        self._chosen = chosen
        self._sources = list(dict.fromkeys(store for store, _ in chosen))

    def has(self, video_id: str) -> bool:
        """True if the video has a file of every stream."""
        return all(store.has(video_id) for store in self._sources)

    def save(self, video_id: str, features: np.ndarray) -> None:
        """Nothing can be written through a view."""
        raise TypeError(f"{self.folder}: features of chosen streams are written to their own folders")

    def parts(self, video_id: str) -> list[np.ndarray]:
        """See `FeatureStore`: those of each stream. Raises CacheError, too, if they differ in length."""
        arrays = {store: store.load(video_id) for store in self._sources}
        self._one_length(video_id, [len(array) for array in arrays.values()])
        return [arrays[store][:, store.grid.columns(name)] for store, name in self._chosen]

    def load(self, video_id: str) -> np.ndarray:
        """The (T, D) features of the streams, side by side; a copy, if there are several. Raises CacheError as
        `parts`."""
        parts = self.parts(video_id)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def lengths(self, video_ids: Iterable[str]) -> list[int]:
        """See `FeatureStore`; all streams of a video have one length."""
        names = list(video_ids)
        by_video = zip(*(store.lengths(names) for store in self._sources), strict=True)
        return [self._one_length(name, lengths) for name, lengths in zip(names, by_video, strict=True)]

    def _digest(self, video_id: str) -> FileDigest:
        """The digest of the columns that are read, from those of the files."""
        files = {store: store._digest(video_id) for store in self._sources}
        snippets = self._one_length(video_id, [file.snippets for file in files.values()])
        read = [(files[store].content, store.grid.columns(name)) for store, name in self._chosen]
        content = hashlib.blake2b(repr(read).encode()).hexdigest()
        return FileDigest(0, 0, snippets, self.grid.width, content)  # no file is so large or of that time

    def _keep_digests(self) -> None:
        for store in self._sources:
            store._keep_digests()

    def _one_length(self, video_id: str, lengths: Sequence[int]) -> int:
        """The length of all streams of a video. Raises CacheError if they differ."""
        if len(set(lengths)) > 1:
            found = ", ".join(f"{n} in {s.path(video_id)}" for n, s in zip(lengths, self._sources, strict=True))
            raise CacheError(f"{video_id}: found different numbers of snippets, {found}, expected one for all streams")
        return lengths[0]


def _inner_grids(folder: Path) -> list[Path]:
    """The features.json of the sub-folders of a store."""
    return sorted(folder.glob(f"[!.]*/{GRID_FILE}"))


def _missing(path: Path) -> CacheError:
    return CacheError(f"{path}: no such feature file; {_MEND}")


def _not_finite(features: np.ndarray) -> str | None:
    rows = np.flatnonzero(~np.isfinite(features).all(axis=1))
    return (
        f"{len(rows)} of {len(features)} snippets hold NaN or infinity, first snippet {rows[0]}" if len(rows) else None
    )
