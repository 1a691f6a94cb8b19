"""Labels of any source as class names: one spelling a class, names for numbers, several labels in one cell taken apart.

Labels become parts of prompts and the words that a trainer compares, so they are to be names that a person would write.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from cache.annotations import VideoEntry
from cache.errors import CacheError
from cache.files.texts import alike, shown, text_lines, tidy, unfit
from cache.layouts.found import Found, Quirk

_PARTS = re.compile(r"[|;]")
"""What no class name holds: labels are taken apart there."""
_PERHAPS = re.compile(r"[|;,/+&\n]")
"""Where a label is taken apart if every piece is a label of its own."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def read_class_names(path: Path) -> dict[str, str]:
    """Names of numbers: lines such as `41 High kick`, with white space, a comma, semicolon, colon or tab between.

    Raises CacheError naming the line that is none, and a number or name that stands twice.
    """
    names: dict[str, str] = {}
    for number, line in text_lines(path):
        match = re.fullmatch(r"([+-]?\d+)\s*[\s,;:]\s*(\S.*)", line)
        if match is None:
            raise CacheError(
                f"{path}: line {number}: found {shown(line)}, expected a number and a name, such as `41 High kick` "
                "(`nl -v0 -w1 FILE` numbers the lines of a plain list from 0)"
            )
        key, name = str(int(match[1])), tidy(match[2].strip("\"'"))
        if key in names or name in names.values():
            raise CacheError(f"{path}: line {number}: found {shown(line)}, whose number or name stands there before")
        names[key] = name
    if not names:
        raise CacheError(f"{path}: holds no name; expected lines such as `41 High kick`")
    return names


def named(found: Found, names: Mapping[str, str]) -> Found:
    """The same with labels as class names and ids in Unicode's form NFC, and what was done about each in the quirks.

    Classes keep their order. Raises CacheError for a label that cannot be stored, and ids that become one.
    """
    for label in found.classes:
        if (wrong := unfit(" ".join(label.split()))) is not None:
            raise CacheError(f"{found.name}: label: found {shown(label)}, {wrong}")
    counts = Counter(label for video in found.videos for label in dict.fromkeys(_labels(video)))
    known = _known(found.classes) | set(names.values())
    pieces = {label: _pieces(label, known) for label in found.classes}
    spelled = {label: tuple(dict.fromkeys(_name(piece, names) for piece in pieces[label])) for label in pieces}
    classes = tuple(dict.fromkeys(name for label in found.classes for name in spelled[label]))
    videos, renamed = _videos(found, spelled, classes)
    quirks = (
        *found.quirks,
        Quirk.of("renamed_ids", "ids that are not in Unicode's form NFC", "renamed", renamed),
        *_told(spelled, pieces, names, counts),
        *_odd(classes),
    )
    return replace(found, classes=classes, videos=videos, quirks=quirks)


def is_number(label: str) -> bool:
    """Whether a label is a number, of which a prompt can say nothing."""
    return _NUMBER.fullmatch(label.strip()) is not None


def _labels(video: VideoEntry) -> Iterator[str]:
    yield from video.labels
    yield from (segment.label for segment in video.segments)


def _known(labels: Iterable[str]) -> set[str]:
    """Names that stand in a cell of their own, or between signs that part labels in any case."""
    return {tidy(piece) for label in labels for piece in _PARTS.split(label) if not _PERHAPS.search(piece)}


def _pieces(label: str, known: set[str]) -> tuple[str, ...]:
    sure = [piece for piece in map(tidy, _PARTS.split(label)) if piece]
    pieces = []
    for piece in sure or [tidy(label)]:
        perhaps = [one for one in map(tidy, _PERHAPS.split(piece)) if one]
        pieces += perhaps if len(perhaps) > 1 and known.issuperset(perhaps) else [piece]
    if len(sure) <= 1 and "\n" in label:  # white space is one space by now, so a line break is looked for in the label
        lines = [one for one in map(tidy, label.split("\n")) if one]
        pieces = lines if known.issuperset(lines) else pieces
    return tuple(pieces)


def _name(piece: str, names: Mapping[str, str]) -> str:
    number = piece.removesuffix(".0")  # as spreadsheets write whole numbers
    return names.get(str(int(number)), piece) if re.fullmatch(r"[+-]?\d+", number) else piece


def _videos(
    found: Found, spelled: Mapping[str, tuple[str, ...]], classes: tuple[str, ...]
) -> tuple[tuple[VideoEntry, ...], list[str]]:
    known: dict[str, str] = {}
    videos, renamed = [], []
    for video in found.videos:
        video_id = unicodedata.normalize("NFC", video.video_id).strip()
        if (wrong := unfit(video_id)) is not None:
            raise CacheError(f"{found.name}: video: found {shown(video_id)}, {wrong}")
        if (other := known.setdefault(video_id, video.video_id)) != video.video_id:
            both = f"{shown(other)} and {shown(video.video_id)}"
            raise CacheError(f"{found.name}: videos {both} are one name in two spellings; rename one")
        if video_id != video.video_id:
            renamed.append(f"{shown(video.video_id)} is {shown(video_id)}")
        own = {name for label in video.labels for name in spelled[label]}
        segments = tuple(replace(one, label=name) for one in video.segments for name in spelled[one.label])
        labels = tuple(name for name in classes if name in own)
        videos.append(replace(video, video_id=video_id, labels=labels, segments=segments))
    return tuple(videos), renamed


def _told(
    spelled: Mapping[str, tuple[str, ...]],
    pieces: Mapping[str, tuple[str, ...]],
    names: Mapping[str, str],
    counts: Mapping[str, int],
) -> Iterator[Quirk]:
    """What was done about labels."""
    apart = [label for label in spelled if len(pieces[label]) > 1]
    items = (f"{shown(label)}: {', '.join(map(shown, spelled[label]))} ({counts[label]})" for label in apart)
    yield Quirk.of("label_lists", "several labels in one", "taken apart", items, unit="labels")
    spellings: dict[str, list[str]] = {}
    for label in spelled:
        if len(pieces[label]) == 1:
            spellings.setdefault(pieces[label][0], []).append(label)
    items = (f"{', '.join(map(shown, group))}: {shown(name)}" for name, group in spellings.items() if group != [name])
    what = "labels that differ from a name by Unicode's form or white space alone"
    yield Quirk.of("spellings", what, "taken as that name", items, unit="names")
    replaced = sorted({piece for group in pieces.values() for piece in group if _name(piece, names) != piece})
    items = (f"{piece} is {_name(piece, names)}" for piece in replaced)
    yield Quirk.of("numbered_labels", "numbers as labels", "named by the file of class names", items, unit="labels")


def _odd(classes: tuple[str, ...]) -> Iterator[Quirk]:
    """What is left as it is."""
    groups = (", ".join(map(shown, sorted(group))) for group in alike(classes))
    what = "classes that look alike: they differ by case, spaces, hyphens or letters of another alphabet"
    yield Quirk.of("alike", what, "kept apart; where they are one class, write them alike", groups, unit="groups")
    lists = (shown(name) for name in classes if re.search(r"[,/+&]", name))
    what = "class names with a comma, /, + or &, whose pieces are not all classes"
    yield Quirk.of("label_lists_kept", what, "kept as one name", lists, unit="classes")
    what = "classes that are numbers, where prompts and words need names"
    done = "kept; name them with --classes FILE, whose lines are such as `41 High kick`, or prompts will ask for 41"
    yield Quirk.of("number_labels", what, done, filter(is_number, classes), unit="classes")
