"""Reader of the layout of W-TALC, CO2-Net, DELU, DDG-Net: `<DATASET>-Annotations/*.npy`, and one file of all features.

Every .npy has one item per video, in the same order as the feature file. Class names, video names and subsets are
bytes; labels are str or bytes, depending on the Python version that wrote them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cache.annotations import Segment, VideoEntry
from cache.errors import CacheError
from cache.files.json_text import finite_number
from cache.files.texts import text_lines
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
    path = folder / "classlist.npy"
    classes = tuple(_text(path, name) for name in plain_objects(path, allow_pickle=allow_pickle))
    if len(set(classes)) != len(classes):
        raise CacheError(f"{path}: found a class twice, expected each once")
    names = [_text(folder / "videoname.npy", name) for name in columns["videoname"]]
    check_names(names, where=folder / "videoname.npy")
    ambiguous, quirks = _ambiguous(folder / AMBIGUOUS_FILE, set(names))
    backwards: list[str] = []
    videos = tuple(
        VideoEntry(
            name,
            _text(folder / "subset.npy", columns["subset"][row]),
            _duration(folder, name, columns["duration"][row]),
            _labels(folder / "labels_all.npy", name, columns["labels_all"][row], classes),
            _segments(folder, name, (columns["labels"][row], columns["segments"][row]), classes, backwards),
            None,
            tuple(ambiguous.get(name, ())),
        )
        for row, name in enumerate(names)
    )
    what = "segments that end before they start"
    quirks.append(Quirk.of("reversed", what, "left out; their labels stay", backwards, unit="instances"))
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


def _text(path: Path, value: object) -> str:
    try:
        text = value.decode("utf-8") if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise CacheError(f"{path}: found the name {value!r}, expected UTF-8") from error
    if not isinstance(text, str):
        raise CacheError(f"{path}: found {value!r}, expected a name")
    return text.strip()


def _duration(folder: Path, name: str, value: Any) -> float:
    number = value[0] if isinstance(value, list) and len(value) == 1 else value
    seconds = finite_number(number) if isinstance(number, int | float) else None
    if seconds is None or seconds <= 0:
        raise CacheError(f"{folder / 'duration.npy'}: {name}: found {value!r}, expected seconds above 0")
    return seconds


def _labels(path: Path, name: str, found: Any, classes: Sequence[str]) -> tuple[str, ...]:
    labels = [_text(path, label) for label in (found if isinstance(found, list | tuple) else [found])]
    if unknown := sorted(set(labels) - set(classes)):
        raise CacheError(f"{path}: {name}: found {unknown}, which classlist.npy does not have")
    return tuple(label for label in classes if label in labels)


def _segments(
    folder: Path, name: str, columns: tuple[Any, Any], classes: Sequence[str], backwards: list[str]
) -> tuple[Segment, ...]:
    """The segments of one video from its labels and times; `backwards` receives those that end before they start."""
    labels, stretches = columns
    where = f"{folder / 'segments.npy'}: {name}"
    if not isinstance(labels, list) or not isinstance(stretches, list) or len(labels) != len(stretches):
        counts = [len(each) if isinstance(each, list) else repr(each) for each in (stretches, labels)]
        raise CacheError(f"{where}: found {counts[0]} segments and {counts[1]} labels, expected as many of each")
    _labels(folder / "labels.npy", name, labels, classes)
    segments = []
    for index, (label, stretch) in enumerate(zip(labels, stretches, strict=True)):
        if not isinstance(stretch, list | tuple) or len(stretch) != 2:
            raise CacheError(f"{where}: segment {index}: found {stretch!r}, expected [start, end] in seconds")
        start, end = map(finite_number, stretch)
        if start is None or end is None or start < 0:
            raise CacheError(f"{where}: segment {index}: found {stretch!r}, expected [start, end] in seconds")
        text = _text(folder / "labels.npy", label)
        if start > end:
            backwards.append(f"{name} {text} {start:g}-{end:g} s")
        else:
            segments.append(Segment(text, start, end))
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
    for number, line in text_lines(path):
        words = line.split()
        start, end = map(finite_number, words[-2:]) if len(words) > 2 else (None, None)
        if start is None or end is None or not 0 <= start <= end:
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
