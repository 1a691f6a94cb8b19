"""Reader of Label Studio: JSON, JSON-MIN and CSV of a project that labels videos.

Stretches of a timeline (`TimelineLabels`) are in frames of the labelling config's frame rate, which exports do not
have; stretches of `Labels` are in seconds; `Choices` are of the whole video.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cache.errors import CacheError
from cache.files.csv_text import csv_rows
from cache.files.json_text import JsonProblem, finite_number, parse_json, read_json
from cache.files.texts import open_text, shown
from cache.layouts.folder import BadLine
from cache.layouts.found import Quirk
from cache.layouts.tools.marks import Export, Mark, Marked, chosen_tracks
from cache.video_files import NAMED_SUFFIXES

_SIGNS = ("annotation_id", "annotator", "lead_time")
"""Fields of JSON-MIN and CSV that other files do not have."""
_KINDS = ("timelinelabels", "labels", "choices", "taxonomy")
"""Kinds of results that hold action labels."""

Control = dict[str, list[Any]]
"""By the name of a control, its values."""


def is_label_studio(path: Path) -> bool:
    """Whether a file is an export of Label Studio."""
    try:
        if path.suffix.lower() == ".json":
            document, _ = read_json(path)
            first = document[0] if isinstance(document, list) and document else None
            return isinstance(first, dict) and ({"data", "annotations"} <= first.keys() or "annotation_id" in first)
        with open_text(path) as file:
            _, header = next(csv_rows(file), (0, ""))
        return not isinstance(header, str) and all(name in header for name in _SIGNS)
    except (CacheError, OSError, UnicodeError):
        return False


def read_label_studio(path: Path, *, tiers: Sequence[str] = (), fps: float | None = None) -> Export:
    """Read an export; `tiers` names the controls whose values are action labels, `fps` is their frame rate.

    Raises CacheError naming the file, what was found and expected.
    """
    tasks = list(_tasks(path, tiers))
    chosen = chosen_tracks(path, (name for _, _, controls in tasks for name in controls), tiers, what="controls")
    values = (one for _, _, controls in tasks for name in chosen for one in controls.get(name, ()))
    if fps is None and any(isinstance(one, Mapping) and one.get("timelinelabels") for one in values):
        raise CacheError(
            f"{path}: ranges: found frames of a timeline, expected the rate that they count; give that of <Video> "
            "in the labelling config (--annotation-fps 24 is Label Studio's own)"
        )
    marked, bad, several = [], [], []
    seen: dict[str, int] = {}
    for place, (number, fields, controls) in enumerate(tasks):
        name = _video(fields)
        if name is None:
            bad.append(BadLine(number, f"video: found no field with a video's name among {', '.join(fields)}"))
            continue
        if seen.setdefault(str(fields.get("id", place)), place) != place:
            several.append(name)
            continue
        try:
            marks = [
                mark for key, values in controls.items() if key in chosen for one in values for mark in _marks(one, fps)
            ]
        except ValueError as problem:
            bad.append(BadLine(number, str(problem)))
        else:
            marked.append(Marked(number, name, tuple(marks)))
    done = "the first is used"
    quirks = (Quirk.of("annotators", "further annotations of a video by others", done, several, unit="annotations"),)
    return Export(tuple(marked), tuple(bad), quirks)


def _tasks(path: Path, tiers: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any], Control]]:
    """Each annotation: its number, the task's fields, and the values of each control."""
    for number, row in _rows(path):
        if not isinstance(row, Mapping):
            raise CacheError(f"{path}: number {number}: found {shown(row)}, expected a task")
        if not isinstance(row.get("data"), Mapping):  # JSON-MIN, CSV
            values = ((key, _values(value, asked=key in tiers)) for key, value in row.items())
            yield number, row, {key: found for key, found in values if found}
            continue
        fields = {"id": row.get("id", number), **row["data"]}
        made = [one for one in row.get("annotations") or () if isinstance(one, Mapping)]
        for one in [one for one in made if not one.get("was_cancelled")] or [{}]:
            controls: Control = {}
            for item in one.get("result") or ():
                if isinstance(item, Mapping) and item.get("type") in _KINDS:
                    controls.setdefault(str(item.get("from_name")), []).append(item.get("value"))
            yield number, fields, controls


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    if path.suffix.lower() == ".json":
        document, _ = read_json(path)
        if not isinstance(document, list):
            raise CacheError(f"{path}: found a {type(document).__name__}, expected the list of tasks of an export")
        yield from enumerate(document, start=1)
        return
    header: list[str] | None = None
    with open_text(path) as file:
        for line, row in csv_rows(file):
            if isinstance(row, str):
                raise CacheError(f"{path}: line {line}: {row}")
            if header is None:
                header = row
            else:
                yield line, {name: _cell(cell) for name, cell in zip(header, row, strict=False)}


def _cell(text: str) -> Any:
    """What a cell holds: JSON where it is an object or a list, else its text."""
    if text[:1] not in ("[", "{"):
        return text
    try:
        return parse_json(text)
    except JsonProblem:
        return text


def _values(value: Any, *, asked: bool) -> list[Any]:
    """The values of a control in JSON-MIN; empty if the field is none. A single choice stands there as its text."""
    if asked and isinstance(value, str) and value:
        return [{"choices": [value]}]
    several = value if isinstance(value, list) else [value]
    return [one for one in several if isinstance(one, Mapping) and any(kind in one for kind in _KINDS)]


def _video(fields: Mapping[str, Any]) -> str | None:
    """The video of a task: the field that names a file or a URL with a video's suffix, else one called video."""
    texts = {key: value for key, value in fields.items() if isinstance(value, str) and value}
    for value in texts.values():
        if Path(value.partition("&")[0].partition("#")[0]).suffix.lower().partition("?")[0] in NAMED_SUFFIXES:
            return value
    return next((texts[key] for key in ("video", "video_url", "url") if key in texts), None)


def _marks(value: Any, fps: float | None) -> Iterator[Mark]:
    """The marks of one result. Raises ValueError saying what is wrong with it."""
    if not isinstance(value, Mapping):
        raise ValueError(f"value: found {shown(value)}, expected an object")
    kind = next((kind for kind in _KINDS if kind in value), None)
    names = value.get(kind) if kind else None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{kind or 'labels'}: found {shown(names)}, expected names of classes; a choice within a choice, or a "
            "taxonomy, has no single name: give each class one"
        )
    stretches: list[tuple[float | None, float | None]] = [(None, None)]
    if kind == "timelinelabels" and fps is not None:
        stretches = [_frames(one, fps) for one in value.get("ranges") or ()]
    elif kind == "labels":
        ends = finite_number(value.get("start")), finite_number(value.get("end"))
        if None in ends or min(end for end in ends if end is not None) < 0:
            raise ValueError(f"start, end: found {value.get('start')!r}, {value.get('end')!r}, expected seconds")
        stretches = [ends]
    for start, end in stretches:
        yield from (Mark(name, start, end) for name in names)


def _frames(value: Any, fps: float) -> tuple[float, float]:
    """Seconds of a range of frames, which count from 1 and include the last."""
    ends = [finite_number(value.get(name)) if isinstance(value, Mapping) else None for name in ("start", "end")]
    start, end = ends
    if start is None or end is None or start < 0:
        raise ValueError(f"ranges: found {shown(value)}, expected start and end in frames")
    return max(0.0, start - 1) / fps, end / fps
