"""Reader of ActivityNet's JSON (v1.2 and v1.3), and of files in the same format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cache.annotations import Dataset, read_document
from cache.errors import CacheError
from cache.layouts.found import Found, Quirk


def is_activitynet(path: Path) -> bool:
    """Whether a JSON file has a `database` of videos."""
    try:
        return isinstance(read_document(path).get("database"), Mapping)
    except CacheError:
        return False


def read_activitynet(path: Path, *, features: Path | None) -> Found:
    """Read `path`. Raises CacheError naming the file, the field, what was found and expected."""
    dataset, quirks = read_database(path)
    return Found("activitynet", path.stem, dataset.classes, dataset.videos, False, features, tuple(quirks))


def read_database(path: Path) -> tuple[Dataset, list[Quirk]]:
    """A dataset in ActivityNet's JSON, and its data issues: segments that end before they start are left out and
    listed."""
    document = read_document(path)
    texts, reversed_ = _mend(document)
    quirks = []
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
            try:
                start, end = map(float, segment)
            except (TypeError, ValueError):
                continue
            if start > end:
                item["segment"] = None
                reversed_.append(f"{video_id} {item.get('label')} {start:g}-{end:g} s")
    return texts, reversed_
