"""Converts the features of a source into a feature store: checked, one video at a time, resumable.

Axes: t snippets, d feature width.
"""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt

from cache.errors import CacheError
from cache.features import GRID_FILE, FeatureGrid, FeatureStore
from cache.layouts.sources import JOINT, STREAMS, FeatureSource, Part, Transposed, check_axes, name_in
from cache.recipe import Recipe
from cache.wording import few

SOURCE_FILE = "source.json"
_KINDS = ("float16", "float32", "float64")


class ConvertRecipe(Recipe):
    """Format of the features in the source, and how they are stored."""

    dtype: Literal["float32", "float16"] = "float32"
    """Data type of stored features; float16 takes half the space, and training reads both."""
    streams: dict[str, PositiveInt] = {}  # noqa: RUF012  # frozen with the recipe
    """Width of each stream in the order of the columns, such as `rgb 1024 flow 1024`, if it cannot be seen from the
    files. Default: the folders rgb/ and flow/, else the two halves of each row."""
    fps: PositiveFloat = 25.0
    """Frames per second of the video that snippets were cut from."""
    snippet_frames: PositiveInt = 16
    """Frames that one snippet covers."""
    snippet_stride: PositiveInt = 16
    """Frames from the start of one snippet to the start of the next."""
    transpose: bool = False
    """Swap the axes of every array, which are (width, snippets) in the files."""


class Source(Recipe):
    """features/source.json: the source of the features. An import from another source is refused."""

    files: str
    """Digest of the names and sizes of the files, and of the order of the videos."""
    dtype: Literal["float32", "float16"]


@dataclass
class Plan:
    """What is to be converted, known from file headers alone."""

    source: FeatureSource
    grid: FeatureGrid
    dtype: str
    names: dict[str, str] = field(default_factory=dict)
    """Video -> its name in the source, for those whose arrays can be converted."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Number of snippets of these videos."""
    missing: list[str] = field(default_factory=list)
    """Videos that the source does not have."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Videos whose arrays have the wrong shape or kind, and why."""
    unused: list[str] = field(default_factory=list)
    """Features in the source that belong to no video."""
    source_streams: tuple[str, ...] = ()
    """Names of the streams in the source."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Number of arrays by data type."""


@dataclass
class Converted:
    """Result of a conversion."""

    written: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Video -> why its features cannot be used."""


def plan(
    source: FeatureSource,
    video_ids: Sequence[str],
    recipe: ConvertRecipe,
    *,
    durations: Mapping[str, float | None] | None = None,
) -> Plan:
    """Read the header of every array. `durations`, in seconds, are held against the axes; None looks at no axes.

    Raises CacheError if no name of the source is that of a video, the axes of all arrays seem to be swapped, or no
    stream widths fit the files at all.
    """
    source = Transposed(source) if recipe.transpose else source
    parts: dict[str, list[Part]] = {}
    names: dict[str, str] = {}
    missing, unusable = [], {}
    for video_id in video_ids:
        name = name_in(source, video_id)
        if name is None:
            missing.append(video_id)
            continue
        names[video_id] = name
        try:
            parts[video_id] = source.parts(name)
        except CacheError as error:
            unusable[video_id] = str(error)
    if not names and video_ids:
        raise CacheError(_no_name_fits(source, video_ids))
    used = set(names.values())
    if durations is not None:
        grid = _grid(recipe, {"": 1})
        check_axes(source.path, parts, durations, grid, transposed=recipe.transpose)
    widths = _usual_widths(parts.values())
    grid = _grid(recipe, _streams(source.path, widths, recipe.streams))
    planned = Plan(source, grid, recipe.dtype, missing=missing, unusable=unusable)
    planned.unused, planned.source_streams = sorted(source.names - used), tuple(widths)
    for video_id, streams in parts.items():
        planned.kinds.update(str(part.dtype) for part in streams)
        if problem := _problem(streams, widths):
            unusable[video_id] = problem
        else:
            planned.names[video_id] = names[video_id]
            planned.lengths[video_id] = streams[0].shape[0]
    return planned


def convert(plan: Plan, folder: Path, *, progress: Callable[[int, int], None] | None = None) -> Converted:
    """Write missing videos to `folder`, with one video in memory at a time; `progress` gets (done, total) videos.

    Raises CacheError if the folder holds features of another source, or the disk has too little space.
    """
    store = _open_store(plan, folder)
    done = Converted()
    missing = {name: length for name, length in plan.lengths.items() if not store.has(name)}
    done.kept = len(plan.lengths) - len(missing)
    _check_room(plan, folder, sum(missing.values()))
    for video_id in missing:
        try:
            store.save(video_id, _read(plan, video_id))
            done.written += 1
        except CacheError as error:
            done.failed[video_id] = str(error).removeprefix(f"features of {video_id}: ")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise CacheError(
                f"{folder}: no room left at {video_id} ({error.strerror}): {done.written + done.kept} of "
                f"{len(plan.lengths)} videos are converted and are kept; free space and run the same command again"
            ) from error
        if progress is not None:
            progress(done.kept + done.written + len(done.failed), len(plan.lengths))
    return done


def _open_store(plan: Plan, folder: Path) -> FeatureStore:
    made_from = Source(files=plan.source.stamp(), dtype="float16" if plan.dtype == "float16" else "float32")
    path = folder / SOURCE_FILE
    if path.exists():
        if (found := Source.load(path)) != made_from:
            raise CacheError(
                f"{path}: these features come from other files or have another type: found {found!r}, expected "
                f"{made_from!r}; import into another folder (--dataset), or delete {folder}"
            )
    elif (folder / GRID_FILE).exists():
        raise CacheError(f"{folder}: holds features that no import made; import into another folder (--dataset)")
    made_from.save(path)  # before the grid, so that an interrupted import can be resumed
    return FeatureStore.create(folder, plan.grid)


def _check_room(plan: Plan, folder: Path, snippets: int) -> None:
    needed = snippets * plan.grid.width * np.dtype(plan.dtype).itemsize
    free = shutil.disk_usage(folder).free
    if needed > free:
        hint = "; --dtype float16 takes half" if plan.dtype == "float32" else ""
        raise CacheError(f"{folder}: found {free / 2**30:.2f} GiB free, expected {needed / 2**30:.2f} GiB{hint}")


def _read(plan: Plan, video_id: str) -> Float[np.ndarray, "t d"]:
    arrays = plan.source.read(plan.names[video_id])
    whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)
    if plan.dtype == "float16":
        largest = np.abs(whole, where=np.isfinite(whole), out=np.zeros_like(whole)).max()
        if largest > np.finfo(np.float16).max:
            raise CacheError(f"found numbers up to {largest:g}, expected at most 65504 for float16")
    return np.ascontiguousarray(whole, dtype=plan.dtype)


def _grid(recipe: ConvertRecipe, streams: dict[str, int]) -> FeatureGrid:
    return FeatureGrid(
        streams=streams,
        fps=recipe.fps,
        snippet_frames=recipe.snippet_frames,
        snippet_stride=recipe.snippet_stride,
    )


def _no_name_fits(source: FeatureSource, video_ids: Sequence[str]) -> str:
    return (
        f"{source.path}: none of its {len(source.names)} names is that of a video: found {few(sorted(source.names))}; "
        f"expected {few(video_ids)}, as the annotations name them, with or without v_"
    )


def _usual_widths(videos: Iterable[Sequence[Part]]) -> dict[str, int]:
    """The width that most videos have in each stream, rgb before flow."""
    counts: dict[str, Counter[int]] = {}
    for streams in videos:
        for part in streams:
            if len(part.shape) == 2:
                counts.setdefault(part.stream, Counter())[part.shape[1]] += 1
    return {stream: counts[stream].most_common(1)[0][0] for stream in STREAMS if stream in counts}


def _streams(path: Path, widths: Mapping[str, int], asked: Mapping[str, int]) -> dict[str, int]:
    total = sum(widths.values())
    if not widths:
        raise CacheError(f"{path}: found no features of a video of the annotations with the axes (snippets, width)")
    if asked:
        if sum(asked.values()) != total:
            raise CacheError(f"{path}: found features {total} wide, expected {sum(asked.values())} = {dict(asked)}")
        return dict(asked)
    if set(widths) != {JOINT}:
        return dict(widths)
    if total % 2:
        raise CacheError(
            f"{path}: found features {total} wide, which two streams cannot share; name them: --streams rgb {total}"
        )
    return {"rgb": total // 2, "flow": total // 2}


def _problem(streams: Sequence[Part], widths: Mapping[str, int]) -> str:
    have = {part.stream for part in streams}
    if have != set(widths):
        return f"found the streams {sorted(have)}, expected {sorted(widths)}"
    for part in streams:
        expected = widths[part.stream]
        if len(part.shape) != 2 or part.shape[0] == 0 or part.shape[1] != expected:
            turned = len(part.shape) == 2 and part.shape[0] == expected
            hint = "; its axes seem to be swapped" if turned else ""
            return f"{part.where}: found shape {part.shape}, expected (snippets, {expected}){hint}"
        if part.dtype.name not in _KINDS:
            return f"{part.where}: found {part.dtype}, expected float32, float16 or float64"
    lengths = {part.stream: part.shape[0] for part in streams}
    if len(set(lengths.values())) > 1:
        return f"found streams of different lengths, {lengths}, expected the same snippets in each"
    return ""
