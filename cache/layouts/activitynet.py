"""Reader of ActivityNet's JSON (v1.2 and v1.3), and of files in the same format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cache.annotations import Dataset, read_joined
from cache.errors import CacheError
from cache.files.json_text import finite_number
from cache.files.texts import shown, tidy
from cache.layouts.found import Found, Quirk


def is_activitynet(path: Path) -> bool:
    """Whether a JSON file has a `database` of videos."""
    try:
        return isinstance(read_joined(path)[0].get("database"), Mapping)
    except CacheError:
        return False


def read_activitynet(path: Path, *, features: Path | None) -> Found:
    """Read `path`. Raises CacheError naming the file, the field, what was found and expected."""
    dataset, quirks = read_database(path)
    return Found("activitynet", path.stem, dataset.classes, dataset.videos, False, features, tuple(quirks))


def read_database(path: Path) -> tuple[Dataset, list[Quirk]]:
    """A dataset in ActivityNet's JSON, and its data issues: segments that end before they start are left out and
    listed."""
    document, joined = read_joined(path)
    texts, reversed_ = _mend(document)
    twice = (f"{one.field} ({'; '.join(one.places)}): {one.done}" for one in joined)
    what = "labels that differ from a name by Unicode's form or white space alone"
    quirks = [
        Quirk.of("double_videos", "videos that occur more than once", "joined", twice),
        Quirk.of("spellings", what, "taken as that name", _tidied(document), unit="labels"),
    ]
    if texts:
        quirks.append(
            Quirk(
                name="text_times",
                what='times written as text, such as "18.6"',
                done="read as numbers",
                count=texts,
                unit="times",
            )
        )
    if reversed_:
        quirks.append(
            Quirk(
                name="reversed",
                what="segments that end before they start",
                done="left out; their labels stay",
                count=len(reversed_),
                unit="instances",
                items=tuple(reversed_),
            )
        )
    return Dataset.parse(path, document), quirks


def _tidied(document: dict) -> list[str]:
    """Give every label of the document one spelling a class; return what was changed."""
    changed: dict[str, str] = {}

    def tidied(label: object) -> object:
        if not isinstance(label, str) or tidy(label) in ("", label):
            return label  # Dataset.parse says what is wrong with it
        return changed.setdefault(label, tidy(label))

    database = document.get("database")
    for entry in database.values() if isinstance(database, Mapping) else ():
        annotations = entry.get("annotations") if isinstance(entry, Mapping) else None
        for item in annotations if isinstance(annotations, list) else ():
            if isinstance(item, dict) and "label" in item:
                item["label"] = tidied(item["label"])
    if isinstance(classes := document.get("classes"), list):
        known = [tidied(label) for label in classes]
        document["classes"] = [label for index, label in enumerate(known) if label not in known[:index] or not changed]
    return [f"{shown(old)}: {shown(new)}" for old, new in changed.items()]


def _mend(document: dict) -> tuple[int, list[str]]:
    """Remove the times of reversed segments; returns how many times are text, and the removed segments."""
    texts, reversed_ = 0, []
    database = document.get("database")
    for video_id, entry in database.items() if isinstance(database, Mapping) else ():
        annotations = entry.get("annotations") if isinstance(entry, Mapping) else None
        for item in annotations if isinstance(annotations, list) else ():
            segment = item.get("segment") if isinstance(item, dict) else None
            if not isinstance(segment, list) or len(segment) != 2:
                continue  # Dataset.parse reports it
            texts += sum(isinstance(time, str) for time in segment)
            start, end = map(finite_number, segment)
            if start is not None and end is not None and start > end:
                item["segment"] = None
                reversed_.append(f"{video_id} {item.get('label')} {start:g}-{end:g} s")
    return texts, reversed_
