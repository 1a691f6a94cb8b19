"""Feature files of a source: one joint file, or a file per video and stream. They are read one video at a time.

Axes: t snippets, d feature width.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Shaped

from cache.errors import CacheError
from cache.features import FeatureGrid
from cache.files.npy import map_npy
from cache.layouts.pickled import StoredArray, is_pickled, stored_objects
from cache.wording import few

JOINT = "joint"
"""Name of the stream of features in which the columns of several streams are concatenated."""
STREAMS = ("rgb", "flow", JOINT)
"""Streams in the order of the columns."""

_KNOWN = (400, 500, 512, 768, 1024, 2048, 4096)
"""Widths of public features: TSN 200 + 200, untrimmed 500, ResNet, ViT, I3D, both streams of I3D, C3D."""


@dataclass(frozen=True)
class Part:
    """Header of one stream of one video."""

    stream: str
    shape: tuple[int, ...]
    dtype: np.dtype
    where: str
    """File, and position in it, for messages."""


class FeatureSource(Protocol):
    """Features of many videos, which can be read one by one."""

    path: Path
    names: frozenset[str]
    """Names of its videos."""

    def parts(self, name: str) -> list[Part]:
        """The streams of a video, rgb before flow, from headers alone. Raises CacheError if a file is damaged."""
        ...

    def read(self, name: str) -> list[Shaped[np.ndarray, ...]]:
        """The arrays of `parts`. Raises CacheError if they cannot be read."""
        ...

    def stamp(self) -> str:
        """Hash that changes with the files and their assignment to videos."""
        ...


def open_source(path: Path, video_ids: Sequence[str], *, allow_pickle: bool) -> FeatureSource:
    """Open a joint file, whose arrays are in the order of `video_ids`, or a folder.

    Raises CacheError if neither exists, a pickle is not allowed, or the joint file does not have one array per video.
    """
    if path.is_dir():
        return FolderSource(path)
    return JointSource(path, video_ids, allow_pickle=allow_pickle)


class JointSource:
    """One .npy with an array per video: pickled, or, if all have the same length, a plain array with three axes."""

    def __init__(self, path: Path, video_ids: Sequence[str], *, allow_pickle: bool) -> None:
        self.path = path
        self._plain: np.ndarray | None = None
        self._stored: list[StoredArray] = []
        if is_pickled(path):
            shape, items = stored_objects(path, allow_pickle=allow_pickle)
            for position, item in enumerate(items):
                if not isinstance(item, StoredArray):
                    raise CacheError(f"{path}: item {position}: found {type(item).__name__}, expected an array")
            self._stored, count = items, shape[0] if len(shape) == 1 else -1
        else:
            self._plain = plain = map_npy(path)
            count, shape = len(plain) if plain.ndim else -1, plain.shape
        if count != len(video_ids):
            raise CacheError(
                f"{path}: found an array of shape {shape}, expected {len(video_ids)}, one per video of the annotations"
            )
        self._position = {video_id: position for position, video_id in enumerate(video_ids)}
        self.names = frozenset(video_ids)

    def parts(self, name: str) -> list[Part]:
        """See `FeatureSource`."""
        position = self._position[name]
        item = self._stored[position] if self._plain is None else self._plain[position]
        return [Part(JOINT, item.shape, item.dtype, f"{self.path}: item {position}")]

    def read(self, name: str) -> list[Shaped[np.ndarray, ...]]:
        """See `FeatureSource`."""
        position = self._position[name]
        if self._plain is not None:
            return [np.array(self._plain[position])]
        with self.path.open("rb") as file:
            try:
                return [self._stored[position].read(file)]
            except CacheError as error:
                raise CacheError(f"{self.path}: item {position}: {error}") from error

    def stamp(self) -> str:
        """See `FeatureSource`; the contents of the file are not read."""
        return _digest([self.path.name, str(self.path.stat().st_size), *self._position])


class FolderSource:
    """`<video_id>.npy` or `v_<video_id>.npy`, anywhere below a folder; a folder `rgb` or `flow` in its path is the
    stream."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, dict[str, Path]] = {}
        for file in sorted(path.rglob("*.npy")):
            inside = file.relative_to(path)
            if any(part.startswith(".") for part in inside.parts):
                continue
            stream = next((part for part in reversed(inside.parts[:-1]) if part in STREAMS[:2]), JOINT)
            other = self._files.setdefault(file.stem, {}).setdefault(stream, file)
            if other is not file:
                raise CacheError(f"{other} and {file}: both could be the {stream} features of {file.stem}; remove one")
        if not self._files:
            held = sorted({file.name for file in path.iterdir() if not file.name.startswith(".")})
            raise CacheError(
                f"{path}: found no .npy file but {few(held)}, expected features such as rgb/<video_id>.npy"
            )
        self.names = frozenset(self._files)

    def parts(self, name: str) -> list[Part]:
        """See `FeatureSource`."""
        found = []
        for stream, file in self._ordered(name):
            array = map_npy(file)
            found.append(Part(stream, array.shape, array.dtype, str(file)))
        return found

    def read(self, name: str) -> list[Shaped[np.ndarray, ...]]:
        """See `FeatureSource`."""
        return [np.array(map_npy(file)) for _, file in self._ordered(name)]

    def stamp(self) -> str:
        """See `FeatureSource`; made from names and sizes."""
        files = sorted(file for streams in self._files.values() for file in streams.values())
        return _digest(f"{file.relative_to(self.path).as_posix()} {file.stat().st_size}" for file in files)

    def _ordered(self, name: str) -> list[tuple[str, Path]]:
        return sorted(self._files[name].items(), key=lambda item: STREAMS.index(item[0]))


class Transposed:
    """A source whose arrays are (width, snippets), turned as they are read."""

    def __init__(self, source: FeatureSource) -> None:
        self._source = source
        self.path: Path = source.path
        self.names = source.names

    def parts(self, name: str) -> list[Part]:
        """See `FeatureSource`."""
        return [replace(part, shape=part.shape[::-1]) for part in self._source.parts(name)]

    def read(self, name: str) -> list[Shaped[np.ndarray, ...]]:
        """See `FeatureSource`."""
        return [array.T for array in self._source.read(name)]

    def stamp(self) -> str:
        """See `FeatureSource`: others than the same files as they are."""
        return f"{self._source.stamp()}T"


def check_axes(
    path: Path,
    parts: Mapping[str, Sequence[Part]],
    durations: Mapping[str, float | None],
    grid: FeatureGrid,
    *,
    transposed: bool,
) -> None:
    """Raise CacheError, with what to do, if the axes of all arrays seem to be swapped.

    By durations in seconds, where the second axis is as long as most videos are and the first is not; else by the first
    axis, where it is the same in all videos while the second is not, or is the width of known features.
    """
    shapes = {(name, part): part.shape for name, of in parts.items() for part in of if len(part.shape) == 2}
    if not shapes or any(len(part.shape) != 2 for of in parts.values() for part in of):
        return
    why = next(_evidence(shapes, durations, grid), None)
    if why is None:
        return
    (name, part), shape = next(iter(shapes.items()))
    mend = "leave out --transpose" if transposed else "add --transpose to the command"
    raise CacheError(
        f"{path}: axes seem to be swapped: {shape} in {Path(part.where).name if '.npy' in part.where else name}, "
        f"expected (snippets, width): {why}. If so, {mend}; if not, import them as they are with --lengths keep"
    )


def _evidence(
    shapes: Mapping[tuple[str, Part], tuple[int, ...]], durations: Mapping[str, float | None], grid: FeatureGrid
) -> Iterator[str]:
    timed = [
        (math.ceil(grid.position(duration)), *shape)
        for (name, _), shape in shapes.items()
        if (duration := durations.get(name))
    ]
    if timed:
        first, second = (sum(_fits(row[axis], row[0]) for row in timed) for axis in (1, 2))
        if 2 * second > len(timed) >= 2 * first:
            yield f"the second axis is as long as the video in {second} of {len(timed)} arrays, the first in {first}"
        if 2 * first > len(timed):
            return
    firsts, seconds = ({shape[axis] for shape in shapes.values()} for axis in (0, 1))
    if len(firsts) == 1 and len(seconds) > 1:
        yield f"the first axis is {min(firsts)} in all {len(shapes)}, the second {min(seconds)} to {max(seconds)}"
    if firsts <= set(_KNOWN) and not seconds & set(_KNOWN):
        yield f"{', '.join(map(str, sorted(firsts)))} is the width of known features"


def _fits(length: int, expected: int) -> bool:
    return abs(length - expected) <= max(2, 0.02 * expected)


def name_in(source: FeatureSource, video_id: str) -> str | None:
    """Name of a video in the source: its id, with a prefix `v_` added or removed if needed; None if it has none."""
    candidates = (video_id, f"v_{video_id}", video_id.removeprefix("v_"))
    if not video_id.isascii():  # file systems have their own idea of Unicode's form
        candidates += tuple(unicodedata.normalize("NFD", name) for name in candidates)
    return next((name for name in candidates if name in source.names), None)


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()[:16]
