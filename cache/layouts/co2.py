"""Reader of the layout of W-TALC, CO2-Net, DELU, DDG-Net: `<DATASET>-Annotations/*.npy`, and one file of all features.

Every .npy has one item per video, in the same order as the feature file. Class names, video names and subsets are
bytes; labels are str or bytes, depending on the Python version that wrote them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cache.annotations import Segment, VideoEntry
from cache.errors import CacheError
from cache.layouts.found import Found, Quirk, check_names
from cache.layouts.pickled import is_pickled, plain_objects, refusal
from cache.wording import amount

AMBIGUOUS_FILE = "Ambiguous_test.txt"
_COLUMNS = ("videoname", "subset", "duration", "labels_all", "labels", "segments")
Columns = Mapping[str, Sequence[Any]]


def is_co2(folder: Path) -> bool:
    """Whether `folder` holds annotations in this layout."""
    return all((folder / f"{name}.npy").is_file() for name in ("classlist", "videoname", "subset"))


def read_co2(folder: Path, *, features: Path | None, allow_pickle: bool) -> Found:
    """Read the folder of the annotations. Raises CacheError naming the file, the video and what was expected, or, if
    pickles are not allowed, why."""
    columns = _columns(folder, allow_pickle=allow_pickle)
    classes = tuple(map(_text, plain_objects(folder / "classlist.npy", allow_pickle=allow_pickle)))
    if len(set(classes)) != len(classes):
        raise CacheError(f"{folder / 'classlist.npy'}: found a class twice, expected each once")
    names = [_text(name) for name in columns["videoname"]]
    check_names(names, where=folder / "videoname.npy")
    ambiguous, quirks = _ambiguous(folder / AMBIGUOUS_FILE, set(names))
    videos = tuple(
        VideoEntry(
            name,
            _text(columns["subset"][row]),
            _duration(folder, name, columns["duration"][row]),
            _labels(folder / "labels_all.npy", name, columns["labels_all"][row], classes),
            _segments(folder, name, columns["labels"][row], columns["segments"][row], classes),
            None,
            tuple(ambiguous.get(name, ())),
        )
        for row, name in enumerate(names)
    )
    kinds = [*_kinds(folder, columns, allow_pickle=allow_pickle), *_rates(folder)]
    name = folder.name.removesuffix("-Annotations")
    return Found("co2", name, classes, videos, video_labels=True, features=features, quirks=(*kinds, *quirks))


def _columns(folder: Path, *, allow_pickle: bool) -> Columns:
    paths = {name: folder / f"{name}.npy" for name in _COLUMNS}
    if not paths["segments"].exists() and (folder / "segment.npy").exists():  # its name in one fork
        paths["segments"] = folder / "segment.npy"
    if missing := [path.name for path in paths.values() if not path.exists()]:
        raise CacheError(f"{folder}: found no {', '.join(missing)}; expected {', '.join(_COLUMNS)}, each .npy")
    if not allow_pickle and (pickled := [path for path in paths.values() if is_pickled(path)]):
        raise CacheError(refusal(pickled[0]))
    columns = {name: plain_objects(path, allow_pickle=allow_pickle) for name, path in paths.items()}
    expected = len(columns["videoname"])
    for name, column in columns.items():
        if len(column) != expected:
            raise CacheError(f"{paths[name]}: found {len(column)} items, expected {expected}, one a video of videoname")
    return columns


def _text(value: object) -> str:
    try:
        return (value.decode("utf-8") if isinstance(value, bytes) else str(value)).strip()
    except UnicodeDecodeError as error:
        raise CacheError(f"found the name {value!r}, expected UTF-8") from error


def _duration(folder: Path, name: str, value: Any) -> float:
    number = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(number, int | float) or not math.isfinite(number) or number <= 0:
        raise CacheError(f"{folder / 'duration.npy'}: {name}: found {value!r}, expected seconds above 0")
    return float(number)


def _labels(path: Path, name: str, found: Any, classes: Sequence[str]) -> tuple[str, ...]:
    labels = [_text(label) for label in found] if isinstance(found, list | tuple) else [_text(found)]
    if unknown := sorted(set(labels) - set(classes)):
        raise CacheError(f"{path}: {name}: found {unknown}, which classlist.npy does not have")
    return tuple(label for label in classes if label in labels)


def _segments(folder: Path, name: str, labels: Any, stretches: Any, classes: Sequence[str]) -> tuple[Segment, ...]:
    where = f"{folder / 'segments.npy'}: {name}"
    if not isinstance(labels, list) or not isinstance(stretches, list) or len(labels) != len(stretches):
        counts = [len(each) if isinstance(each, list) else repr(each) for each in (stretches, labels)]
        raise CacheError(f"{where}: found {counts[0]} segments and {counts[1]} labels, expected as many of each")
    _labels(folder / "labels.npy", name, labels, classes)
    segments = []
    for index, (label, stretch) in enumerate(zip(labels, stretches, strict=True)):
        if not isinstance(stretch, list | tuple) or len(stretch) != 2:
            raise CacheError(f"{where}: segment {index}: found {stretch!r}, expected [start, end] in seconds")
        try:
            start, end = map(float, stretch)
        except (TypeError, ValueError):
            start = end = math.nan
        if not math.isfinite(start + end) or start < 0:
            raise CacheError(f"{where}: segment {index}: found {stretch!r}, expected [start, end] in seconds")
        segments.append(Segment(_text(label), start, end))
    return tuple(segments)


def _kinds(folder: Path, columns: Columns, *, allow_pickle: bool) -> list[Quirk]:
    kinds: Counter[str] = Counter()
    where: dict[str, set[str]] = {"bytes": set(), "str": set()}
    texts = {"classlist": plain_objects(folder / "classlist.npy", allow_pickle=allow_pickle)}
    texts |= {name: columns[name] for name in ("videoname", "subset", "labels", "labels_all")}
    for name, column in texts.items():
        for item in column:
            for text in item if isinstance(item, list) else [item]:
                kind = "bytes" if isinstance(text, bytes) else "str"
                kinds[kind] += 1
                where[kind].add(f"{name}.npy")
    if not kinds["bytes"]:
        return []
    items = tuple(f"{kind}: {kinds[kind]} in {', '.join(sorted(where[kind]))}" for kind in kinds)
    what, done = "names that are bytes instead of text", "read as UTF-8"
    return [Quirk(name="bytes", what=what, done=done, count=kinds["bytes"], unit="names", items=items)]


def _rates(folder: Path) -> list[Quirk]:
    path = folder / "extracted_fps.npy"
    if not path.exists() or is_pickled(path):
        return []
    rates = Counter(str(rate) for rate in plain_objects(path, allow_pickle=False))
    return [
        Quirk(
            name="extracted_fps",
            what="frame rates in extracted_fps.npy that are not those of the features",
            done="not used; feature lengths are checked against durations",
            count=sum(rates.values()),
            items=tuple(f"{amount(count, 'video')}: {rate}" for rate, count in rates.items()),
        )
    ]


def _ambiguous(path: Path, names: set[str]) -> tuple[dict[str, list[tuple[float, float]]], list[Quirk]]:
    """Ambiguous segments of each video. A line is a name and two numbers, separated by one or more spaces."""
    stretches: dict[str, list[tuple[float, float]]] = {}
    unknown: list[str] = []
    if not path.exists():
        what, done = f"no {AMBIGUOUS_FILE}: ambiguous segments are unknown", "none are imported"
        return {}, [Quirk(name="no_ambiguous", what=what, done=done, count=1, unit="files", items=(path.name,))]
    raw = path.read_bytes()
    lines = raw.decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            start, end = map(float, words[-2:])
        except ValueError:
            start = end = math.nan
        if len(words) < 3 or not math.isfinite(start + end) or not 0 <= start <= end:
            raise CacheError(f"{path}: line {number}: found {line!r}, expected a video, start and end in seconds")
        if words[0] in names:
            stretches.setdefault(words[0], []).append((start, end))
        else:
            unknown.append(f"{words[0]} {start:g}-{end:g} s")
    quirks = [
        Quirk(
            name="ambiguous",
            what="ambiguous segments, which the annotators left undecided",
            done="stored as `ambiguous` of their videos",
            count=sum(map(len, stretches.values())),
            unit="segments",
            items=tuple(f"{name} {len(found)}" for name, found in stretches.items()),
        )
    ]
    if unknown:
        what = "ambiguous segments of videos that are not in the annotations"
        quirks.append(
            Quirk(
                name="ambiguous_unknown",
                what=what,
                done="left out",
                count=len(unknown),
                unit="segments",
                items=tuple(unknown),
            )
        )
    if returns := raw.count(b"\r\n"):
        what, done = f"lines of {AMBIGUOUS_FILE} with Windows line ends", "read normally"
        quirks.append(Quirk(name="crlf", what=what, done=done, count=returns, unit="lines"))
    return stretches, quirks
