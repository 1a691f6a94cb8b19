"""Reader of ELAN: .eaf files, and the tab-delimited text that ELAN exports.

An .eaf is XML: tiers hold annotations between two time slots, in milliseconds; an annotation of a dependent tier has
the times of the one that it refers to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from cache.errors import CacheError
from cache.files.json_text import finite_number
from cache.files.texts import read_text, shown
from cache.layouts.found import Quirk
from cache.layouts.tools.marks import Export, Mark, Marked, chosen_tracks

_MEDIA = re.compile(r'^"?#(file:\S.*?)(\s+--\s+offset:.*)?"?$')
"""How a header line of the text names a media file."""
_TIME = re.compile(r"^(begin|end|duration)(?: time)?(?: - (?P<unit>.+))?$", re.IGNORECASE)
_FILE_COLUMNS = ("file", "file path", "file name", "media", "media file")
_IGNORED = ("participant", "annotator", "cv entry description")
_VALUES = ("annotation", "annotation value", "value")
_UNITS = "hh:mm:ss.ms, ss.msec or msec"
_CLOCK = re.compile(r"(\d+):(\d{2}):(\d{2}(?:\.\d+)?)")


@dataclass(frozen=True)
class _Row:
    """One annotation."""

    number: int
    video: str
    tier: str
    value: str
    start: float | None
    end: float | None


def is_elan(path: Path) -> bool:
    """Whether a file is ELAN's: by its suffix, or a text with its columns."""
    if path.suffix.lower() == ".eaf":
        return True
    try:
        lines = read_text(path)[: 1 << 16].splitlines()[:10]
    except (CacheError, OSError):
        return False
    rows = [[cell.strip() for cell in line.split("\t")] for line in lines]
    return any(len(row) > 1 and (_has_names(row) or _is_default(row)) for row in rows)


def read_elan(paths: Sequence[Path], *, tiers: Sequence[str] = ()) -> Export:
    """Read .eaf files or exported texts; `tiers` names those whose values are action labels.

    Raises CacheError naming the file, what was found and expected.
    """
    rows, empty, timeless, videos = [], [], [], []
    for path in paths:
        if path.suffix.lower() == ".eaf":
            video, own = _document(path)
            videos.append(video)
            rows += own
        else:
            rows += _table(path)
    where = paths[0] if len(paths) == 1 else paths[0].parent
    chosen = chosen_tracks(where, (one.tier for one in rows), tiers, what="tiers")
    marked = [Marked(0, video, ()) for video in videos]
    for one in rows:
        if one.tier not in chosen:
            continue
        if not one.value.strip():
            empty.append(f"{one.video} {one.tier}")
            continue
        if one.start is None or one.end is None:
            timeless.append(f"{one.video} {one.value}")
        marked.append(Marked(one.number, one.video, (Mark(one.value, one.start, one.end),)))
    quirks = (
        Quirk.of("empty", "annotations without a value", "left out", empty, unit="annotations"),
        Quirk.of(
            "timeless", "annotations without times", "labels of the video, no segments", timeless, unit="annotations"
        ),
    )
    return Export(tuple(marked), (), quirks)


def _document(path: Path) -> tuple[str, list[_Row]]:
    """The video of an .eaf, and the annotations of all its tiers."""
    root = _xml(path)
    header = root.find("HEADER")
    unit = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if unit != "milliseconds":
        raise CacheError(
            f"{path}: HEADER.TIME_UNITS: found {shown(unit)}, expected milliseconds; save it with a newer ELAN"
        )
    slots: dict[str, float | None] = {}
    for slot in root.iter("TIME_SLOT"):
        value = slot.get("TIME_VALUE")
        number = finite_number(value)
        if value is not None and (number is None or number < 0):
            raise CacheError(
                f"{path}: TIME_SLOT {slot.get('TIME_SLOT_ID')}: found {shown(value)}, expected milliseconds"
            )
        slots[slot.get("TIME_SLOT_ID", "")] = None if number is None else number / 1000
    times: dict[str, tuple[float | None, float | None]] = {}
    refers: dict[str, str] = {}
    found: list[tuple[str, str, str]] = []
    for tier in root.iter("TIER"):
        for one in tier.iter():
            name = one.get("ANNOTATION_ID", "")
            if one.tag == "ALIGNABLE_ANNOTATION":
                ends = [one.get(f"TIME_SLOT_REF{place}", "") for place in (1, 2)]
                if unknown := [end for end in ends if end not in slots]:
                    raise CacheError(
                        f"{path}: annotation {name}: found the time slot {shown(unknown[0])}, which is not there"
                    )
                times[name] = slots[ends[0]], slots[ends[1]]
            elif one.tag == "REF_ANNOTATION":
                refers[name] = one.get("ANNOTATION_REF", "")
            else:
                continue
            found.append((tier.get("TIER_ID", ""), name, one.findtext("ANNOTATION_VALUE") or ""))
    video = _media(root) or path.stem
    rows = [
        _Row(n, video, tier, value, *_times(path, name, times, refers))
        for n, (tier, name, value) in enumerate(found, 1)
    ]
    return video, rows


def _xml(path: Path) -> ElementTree.Element:
    """The root of an .eaf. Entities, by which a small file becomes a huge one or reads others, need a DTD, and ELAN
    writes none."""
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise CacheError(f"{path}: cannot be read: {error}") from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CacheError(f"{path}: found a document type definition (DTD), expected XML as ELAN writes it, without one")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise CacheError(f"{path}: is no XML: {error}") from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise CacheError(
            f"{path}: found the root {shown(root.tag)}, expected ANNOTATION_DOCUMENT as in an .eaf of ELAN"
        )
    return root


def _times(
    path: Path, name: str, times: dict[str, tuple[float | None, float | None]], refers: dict[str, str]
) -> tuple[float | None, float | None]:
    """The times of an annotation, or of the one that it refers to."""
    passed = {name}
    while name not in times:
        name = refers.get(name, "")
        if not name or name in passed or not (name in times or name in refers):
            raise CacheError(f"{path}: annotation {sorted(passed)[0]}: refers to {shown(name)}, which has no times")
        passed.add(name)
    return times[name]


def _media(root: ElementTree.Element) -> str:
    """The video that an .eaf names; the first of several."""
    media = list(root.iter("MEDIA_DESCRIPTOR"))
    videos = [one for one in media if one.get("MIME_TYPE", "").startswith("video")] or media
    return next((url for one in videos if (url := one.get("RELATIVE_MEDIA_URL") or one.get("MEDIA_URL", ""))), "")


def _table(path: Path) -> Iterator[_Row]:
    """The annotations of an exported text, with or without column names."""
    video, columns = path.stem, None
    for line, row in enumerate(read_text(path).splitlines(), start=1):
        if media := _MEDIA.match(row.strip()):
            video = media[1]
        if not row.strip() or row.lstrip('"').startswith("#"):
            continue
        cells = [cell.strip() for cell in row.split("\t")]
        if columns is None:
            columns, is_header = _columns(path, line, cells)
            if is_header:
                continue
        yield from _annotations(path, line, dict(zip(columns, cells, strict=False)), video)


def _has_names(cells: Sequence[str]) -> bool:
    return any(match and match[1].lower() == "begin" for match in map(_TIME.match, cells))


def _is_default(cells: Sequence[str]) -> bool:
    """Whether a row is of the columns that ELAN writes by default, three of which are times."""
    return len(cells) == 6 and all(_CLOCK.fullmatch(cell) or re.fullmatch(r"\d+(\.\d+)?", cell) for cell in cells[2:5])


def _columns(path: Path, line: int, cells: list[str]) -> tuple[list[str], bool]:
    """The columns, and whether the row names them. Without names they are as ELAN writes them by default."""
    if _has_names(cells):
        return cells, True
    if _is_default(cells):
        return ["Tier", "Participant", "Begin Time", "End Time", "Duration", "Annotation"], False
    raise CacheError(
        f"{path}: line {line}: found {len(cells)} columns without names, expected Begin Time, End Time, Tier ...; "
        "export the text again with column names"
    )


def _annotations(path: Path, line: int, cells: dict[str, str], video: str) -> Iterator[_Row]:
    """The annotation of a row, or one for each tier that has a column of its own."""
    times: dict[str, float] = {}
    others: dict[str, str] = {}
    for name, cell in cells.items():
        match = _TIME.match(name)
        if match is None:
            if name.casefold() in _FILE_COLUMNS:
                video = re.sub(r"\.eaf$", "", cell) or video
            elif name.casefold() not in _IGNORED:
                others[name.casefold() if name.casefold() in ("tier", *_VALUES) else name] = cell
        elif match[1].lower() != "duration" and match[1].lower() not in times:
            times[match[1].lower()] = _seconds(path, line, name, (match["unit"] or "").lower(), cell)
    if missing := [name for name in ("begin", "end") if name not in times]:
        raise CacheError(f"{path}: line {line}: found no {' and '.join(missing)} time, expected both; export them, too")
    if "tier" in others:
        value = next((others[name] for name in _VALUES if name in others), "")
        yield _Row(line, video, others["tier"], value, times["begin"], times["end"])
        return
    for tier, value in others.items():
        if value:
            yield _Row(line, video, tier, value, times["begin"], times["end"])


def _seconds(path: Path, line: int, name: str, unit: str, cell: str) -> float:
    """Seconds of a cell: by the unit in the name of its column, else by its form (whole numbers are milliseconds)."""
    clock, number = _CLOCK.fullmatch(cell), finite_number(cell)
    if "ff" in unit or "frame" in unit or re.fullmatch(r"\d+:\d{2}:\d{2}[:;]\d{2}", cell):
        raise CacheError(
            f"{path}: line {line}: {name}: found frames ({shown(cell)}), expected hh:mm:ss.ms, ss.msec or msec"
        )
    if clock:
        return 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3])
    if number is None or number < 0:
        raise CacheError(f"{path}: line {line}: {name}: found {shown(cell)}, expected {_UNITS}")
    return number / 1000 if unit == "msec" or (not unit and "." not in cell) else number
