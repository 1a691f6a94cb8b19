"""Reader of VIA 3 (VGG Image Annotator for video): a project as JSON, and its export as CSV.

A stretch of time is `z = [start, end]` in seconds; values of attributes are texts, or the ids of options.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.errors import CacheError
from cache.files.json_text import JsonProblem, finite_number, parse_json, read_json
from cache.files.texts import read_text, shown, tidy
from cache.layouts.folder import BadLine
from cache.layouts.found import Quirk
from cache.layouts.tools.marks import Export, Mark, Marked, chosen_tracks
from cache.wording import amount

_PARTS = ("project", "attribute", "file", "metadata", "view")
_COLUMNS = ("metadata_id", "file_list", "flags", "temporal_coordinates", "spatial_coordinates", "metadata")
_HEADER = "# CSV_HEADER ="
_CHECKBOX = 2
"""Type of an attribute that has several options at once, separated by commas."""
_UNSET = ("", "_DEFAULT")


@dataclass(frozen=True)
class _Entry:
    """One entry of the metadata."""

    number: int
    files: tuple[str, ...]
    times: Any
    shape: Any
    values: Any


def is_via(path: Path) -> bool:
    """Whether a file is a project of VIA 3, or its CSV."""
    try:
        if path.suffix.lower() == ".json":
            document, _ = read_json(path)
            return isinstance(document, dict) and all(isinstance(document.get(part), dict) for part in _PARTS)
        return any(line.lstrip('"').startswith(_HEADER) for line in read_text(path)[: 1 << 20].splitlines()[:50])
    except (CacheError, OSError):
        return False


def read_via(path: Path, *, tiers: Sequence[str] = ()) -> Export:
    """Read a project or its CSV; `tiers` names the attributes whose values are action labels.

    Raises CacheError naming the file, what was found and expected.
    """
    attributes, entries, unmarked = _project(path) if path.suffix.lower() == ".json" else _table(path)
    names = {
        key: one["aname"] if isinstance(one, Mapping) and "aname" in one else one for key, one in attributes.items()
    }
    timed = [one for one in entries if not one.shape]
    used = [str(names.get(key, key)) for one in timed if isinstance(one.values, Mapping) for key in one.values]
    chosen = chosen_tracks(path, used, tiers, what="attributes")
    marked = [Marked(one.number, file, ()) for one in unmarked for file in one.files]
    bad, points = [], []
    for one in timed:
        problem = _problem(one)
        if problem:
            bad.append(BadLine(one.number, problem))
            continue
        times = [finite_number(time) for time in one.times]
        labels = [
            label
            for key, value in one.values.items()
            if str(names.get(key, key)) in chosen
            for label in _labels(attributes.get(key), value)
        ]
        if len(times) == 1:
            points += [f"{one.files[0]} {label} at {times[0]:g} s" for label in labels]
        start, end = times if len(times) == 2 else (None, None)
        marked.append(Marked(one.number, one.files[0], tuple(Mark(label, start, end) for label in labels)))
    regions = len(entries) - len(timed)
    what = "entries that mark a region of the picture"
    quirks = (
        Quirk(name="regions", what=what, done="left out", count=regions, unit="entries"),
        Quirk.of(
            "points", "marks of a moment, without an end", "labels of the video, no segments", points, unit="marks"
        ),
    )
    return Export(tuple(marked), tuple(bad), quirks)


def _problem(entry: _Entry) -> str:
    """Why an entry cannot be used."""
    if len(entry.files) != 1:
        return f"files: found {len(entry.files)}, expected one video a view"
    if not isinstance(entry.values, Mapping):
        return f"values: found {shown(entry.values)}, expected an object of attributes"
    times = entry.times
    numbers = [finite_number(time) for time in times] if isinstance(times, list) else [None]
    if len(numbers) > 2 or any(number is None or number < 0 for number in numbers):
        return f"times: found {shown(times)}, expected [start, end] in seconds, or none"
    return ""


def _labels(attribute: Any, value: object) -> Iterator[str]:
    """Action labels of the value of an attribute: names of options, or the text itself."""
    options = attribute.get("options") if isinstance(attribute, Mapping) else None
    several = isinstance(attribute, Mapping) and attribute.get("type") == _CHECKBOX
    for one in str(value).split(",") if several else [str(value)]:
        name = options.get(one, one) if isinstance(options, Mapping) else one
        if tidy(one) not in _UNSET and tidy(str(name)):
            yield str(name)


def _project(path: Path) -> tuple[Mapping[str, Any], list[_Entry], list[_Entry]]:
    """Attributes, entries, and a view without entries each, of a project."""
    document, _ = read_json(path)
    if not isinstance(document, dict) or not all(isinstance(document.get(part), dict) for part in _PARTS):
        raise CacheError(f"{path}: found no project of VIA 3, expected a JSON object with {', '.join(_PARTS)}")
    files = {str(key): one for key, one in document["file"].items() if isinstance(one, Mapping)}
    views: dict[str, tuple[str, ...]] = {}
    for key, view in document["view"].items():
        ids = view.get("fid_list") if isinstance(view, Mapping) else None
        if not isinstance(ids, list) or not all(str(one) in files for one in ids):
            raise CacheError(f"{path}: view.{key}.fid_list: found {shown(ids)}, expected ids of `file`")
        views[str(key)] = tuple(str(files[str(one)].get("fname") or files[str(one)].get("src") or "") for one in ids)
    entries = []
    for number, (key, one) in enumerate(document["metadata"].items(), start=1):
        if not isinstance(one, Mapping) or str(one.get("vid")) not in views:
            raise CacheError(f"{path}: metadata.{key}.vid: found no view of that id, expected one of `view`")
        entries.append(_Entry(number, views[str(one["vid"])], one.get("z", []), one.get("xy"), one.get("av", {})))
    return document["attribute"], entries, [_Entry(0, names, [], None, {}) for names in views.values()]


def _table(path: Path) -> tuple[Mapping[str, Any], list[_Entry], list[_Entry]]:
    """The same of the CSV, which names attributes and columns in its comments."""
    attributes: Mapping[str, Any] = {}
    columns: list[str] = []
    lines = read_text(path).splitlines(keepends=True)
    for line, text in enumerate(lines, start=1):
        if not text.lstrip('"').startswith("#"):
            continue
        name, _, value = text.strip().partition("=")
        if name.strip() in ("# ATTRIBUTE", "# ATTRIBUTES"):
            attributes = _value(path, line, value.strip().rstrip(","))
            if not isinstance(attributes, Mapping):
                raise CacheError(f"{path}: line {line}: found {shown(value)}, expected an object of attributes")
        elif text.startswith(_HEADER):
            columns = [cell.strip() for cell in value.split(",") if cell.strip()]
        lines[line - 1] = "\n"  # rows keep their numbers
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise CacheError(f"{path}: found no column {', '.join(missing)} in a line `{_HEADER} ...`, expected it")
    entries = []
    rows = csv.reader(lines, strict=True)
    for row in _readable(path, rows):
        line = rows.line_num
        if len(row) < len(columns):
            raise CacheError(f"{path}: line {line}: found {amount(len(row), 'field')}, expected {len(columns)}")
        cells = dict(zip(columns, row, strict=False))
        files, *rest = (_value(path, line, cells[name]) for name in ("file_list", *_COLUMNS[3:]))
        entries.append(_Entry(line, tuple(map(str, files)) if isinstance(files, list) else (), *rest))
    return attributes, entries, []


def _readable(path: Path, rows: Any) -> Iterator[list[str]]:
    """The rows that are not empty."""
    try:
        yield from filter(None, rows)
    except csv.Error as error:
        raise CacheError(f"{path}: line {rows.line_num}: is no CSV: {error}") from error


def _value(path: Path, line: int, text: str) -> Any:
    try:
        return parse_json(text)
    except JsonProblem as problem:
        raise CacheError(f"{path}: line {line}: found {shown(text)}, expected JSON: {problem}") from problem
