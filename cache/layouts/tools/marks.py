"""What an annotation tool marked in videos, and how it becomes a dataset: files by name, seconds, labels, segments."""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cache.annotations import Segment, VideoEntry
from cache.errors import CacheError
from cache.files.texts import shown
from cache.layouts.folder import SUBSET_NAMES, BadLine, unique_ids, video_names, why_not_found
from cache.layouts.found import Found, Layout, Quirk
from cache.video_files import reason

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""


@dataclass(frozen=True)
class Mark:
    """A label of a stretch of a video, in seconds; without times it is of the whole video."""

    label: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Marked:
    """The marks of a video, under the name that the tool has for it: a file, a path on some machine, or a URL."""

    number: int
    """Which entry of the file it is, from 1, for messages."""
    name: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Export:
    """What a tool's file holds."""

    videos: tuple[Marked, ...]
    bad: tuple[BadLine, ...] = ()
    """Entries that cannot be used."""
    quirks: tuple[Quirk, ...] = ()


def chosen_tracks(path: Path, found: Iterable[str], asked: Sequence[str], *, what: str) -> frozenset[str]:
    """The tiers, attributes or controls whose values are action labels: those asked for, else the only one.

    Raises CacheError naming those that there are.
    """
    names = list(dict.fromkeys(found))
    there = ", ".join(map(shown, names)) or "none"
    if unknown := [name for name in asked if name not in names]:
        raise CacheError(
            f"{path}: {what}: found no {', '.join(map(shown, unknown))}, expected some of {there} (--tiers)"
        )
    if not names:
        raise CacheError(f"{path}: {what}: found none that hold labels, expected one; say with --tiers which do")
    if not asked and len(names) > 1:
        raise CacheError(f"{path}: {what}: found {there}; say with --tiers which of them hold action labels")
    return frozenset(asked or names)


def dataset_of(layout: Layout, path: Path, videos: Path, export: Export) -> tuple[Found, list[BadLine]]:
    """The dataset of an export, whose videos lie in the folder `videos`; entries that cannot be used are returned.

    The subset is that of a folder named training, validation or testing that a video lies in, else training.
    """
    files, undecodable = video_names(videos)
    marks: dict[Path, list[Mark]] = {}
    bad = list(export.bad)
    for one in export.videos:
        file = _file(one.name, files, videos)
        if isinstance(file, str):
            bad.append(BadLine(one.number, file))
        else:
            marks.setdefault(file, []).extend(one.marks)
    reversed_ = [
        f"{file.name} {one.label} {one.start:g}-{one.end:g} s"
        for file, own in marks.items()
        for one in own
        if _ends_first(one)
    ]
    classes = tuple(sorted({one.label for own in marks.values() for one in own}))
    entries = tuple(
        VideoEntry(
            video_id,
            _subset(file.relative_to(videos)),
            None,
            tuple(label for label in classes if any(one.label == label for one in marks[file])),
            tuple(
                Segment(one.label, one.start, one.end)
                for one in marks[file]
                if one.start is not None and one.end is not None and not _ends_first(one)
            ),
            file.absolute(),
        )
        for file, video_id in unique_ids(marks)
    )
    quirks = (
        *export.quirks,
        Quirk.of(
            "reversed",
            "segments that end before they start",
            "left out; their labels stay",
            reversed_,
            unit="instances",
        ),
        Quirk.of("undecodable", "files whose names are no UTF-8", "left out; rename them", undecodable, unit="files"),
    )
    found = Found(layout, videos.resolve().name, classes, entries, False, None, tuple(q for q in quirks if q.count))
    return found, sorted(bad, key=lambda one: one.line)


def with_durations(found: Found, duration: Callable[[Path], float | None], *, where: Path) -> Found:
    """The same with the durations of the video files.

    Raises CacheError if most videos with segments are over before their segments begin: times in another unit.
    """
    videos = [replace(one, duration=None if one.path is None else duration(one.path)) for one in found.videos]
    known = [one for one in videos if one.segments and one.duration]
    after = [one for one in known if max(item.start for item in one.segments) > (one.duration or 0)]
    if known and 2 * len(after) > len(known):
        worst = after[0]
        last = max(item.end for item in worst.segments)
        ratio = statistics.median(max(item.end for item in one.segments) / (one.duration or 1) for one in after)
        unit = "milliseconds" if ratio > 150 else "frames"
        raise CacheError(
            f"{where}: found segments after the end of {len(after)} of {len(known)} videos, such as {last:g} s in "
            f"{worst.video_id} of {worst.duration:.1f} s, expected seconds; they may be {unit}, or of other videos"
        )
    return replace(found, videos=tuple(videos))


def _file(name: str, files: Mapping[str, list[Path]], videos: Path) -> Path | str:
    """The file that a tool's name means, or why there is none."""
    for spelling in _spellings(name):
        paths = files.get(unicodedata.normalize("NFC", spelling), [])
        if len(paths) == 1:
            why = reason(paths[0])
            return f"video: found {shown(name)}, which {why}" if why else paths[0]
        if paths:
            could = ", ".join(path.relative_to(videos).as_posix() for path in paths)
            return f"video: found {shown(name)}, which could be {could}; rename one"
    return why_not_found(list(_spellings(name))[-1], 0, files, videos)


def _spellings(name: str) -> Iterator[str]:
    """Names that a file of the folder may have: the whole path, its end, and that without the sign of an upload."""
    whole = name.strip().replace("\\", "/")
    yield whole
    parts = urlsplit(whole)
    if "?d=" in whole:  # Label Studio's local files
        whole = unquote(whole.partition("?d=")[2].partition("&")[0])
    elif len(parts.scheme) > 1:  # one letter is a drive of Windows
        whole = unquote(parts.path)
    last = whole.rpartition("/")[2]
    yield whole.lstrip("/")
    yield last
    yield _UPLOADED.sub("", last)


def _ends_first(mark: Mark) -> bool:
    return mark.start is not None and mark.end is not None and mark.start > mark.end


def _subset(inside: Path) -> str:
    return next(
        (SUBSET_NAMES[part.casefold()] for part in inside.parts[:-1] if part.casefold() in SUBSET_NAMES), "training"
    )
