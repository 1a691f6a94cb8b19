"""Annotations in ActivityNet's JSON, second reader."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.plain.plain_json import (
    document_of,
    id_of,
    lists_joined,
    name_of,
    number_of,
    objects_of,
    seconds_of,
    stretch_of,
    tidy,
)
from benchmarks.fuzzing.trials import Unreadable

Videos = dict[str, tuple]
"""Of each id: subset, duration, labels in the order of the classes, segments, ambiguous stretches."""


def dataset_of(path: Path, *, tidied: bool = False) -> tuple[tuple[str, ...], Videos]:
    """Classes and videos. `tidied`: as a download is imported, every label by what shows of it, and segments that end
    before they start left out."""
    document = document_of(path)
    database = objects_of(document, "database", _joined)
    for entry in database.values():
        _check(entry, tidied=tidied)
    if tidied:
        _tidy(document, database)
    labels = [item["label"] for entry in database.values() for item in entry.get("annotations", [])]
    classes, spelled = classes_of(document.get("classes"), labels)
    one_name(database)
    videos = {name: _video(entry, classes, spelled) for name, entry in database.items()}
    return classes, videos


def _tidy(document: Any, database: dict[str, Any]) -> None:
    for entry in database.values():
        for item in entry.get("annotations", []):
            item["label"] = tidy(item["label"])
            segment = item.get("segment")
            if isinstance(segment, list) and len(segment) == 2 and number_of(segment[0]) > number_of(segment[1]):
                item["segment"] = None
    if isinstance(document.get("classes"), list):
        document["classes"] = list(dict.fromkeys(tidy(name_of(name)) for name in document["classes"]))


def one_name(ids: Iterable[str]) -> None:
    """No two ids may be one but for Unicode's form and white space around."""
    plain = [unicodedata.normalize("NFC", id_of(name)).strip() for name in ids]
    if len(set(plain)) < len(plain):
        raise Unreadable("two ids are one name")


def classes_of(declared: Any, labels: Iterable[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The classes in order, and the class of each label."""
    if declared is not None:
        if not isinstance(declared, list) or len(set(map(name_of, declared))) < len(declared):
            raise Unreadable("classes is no list of names")
        by_look = {tidy(name): name for name in reversed(declared)}
        spelled = {label: label if label in declared else by_look.get(tidy(label)) for label in labels}
        if None in spelled.values():
            raise Unreadable("classes lack a label")
        return tuple(declared), spelled  # pyright: ignore[reportReturnType]
    found = sorted(set(labels), key=lambda label: (label != tidy(label), label))
    chosen: dict[str, str] = {}
    for label in found:
        chosen.setdefault(tidy(label), label)
    return tuple(sorted(chosen.values())), {label: chosen[tidy(label)] for label in found}


def _joined(first: Any, second: Any) -> Any:
    if first == second:
        return first
    if not isinstance(first, dict) or not isinstance(second, dict):
        raise Unreadable("two entries of one video")
    rest = [{key: value for key, value in entry.items() if key != "annotations"} for entry in (first, second)]
    lists = [entry.get("annotations") for entry in (first, second)]
    if rest[0] != rest[1] or not all(isinstance(one, list) for one in lists):
        raise Unreadable("two entries of one video do not agree")
    return first | {"annotations": lists_joined(*lists)}  # pyright: ignore[reportArgumentType]


def _check(entry: Any, *, tidied: bool) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("subset"), str):
        raise Unreadable("no subset")
    if not isinstance(entry.get("path", ""), (str, type(None))):
        raise Unreadable("a path that is no text")
    for field in ("annotations", "ambiguous"):
        if not isinstance(entry.get(field, []), list):
            raise Unreadable(f"{field} is no list")
    for item in entry.get("annotations", []):
        if not isinstance(item, dict):
            raise Unreadable("an annotation that is no object")
        label = item.get("label")
        name_of(tidy(label) if tidied and isinstance(label, str) else label)  # a line break is white space to an import


def _video(entry: dict, classes: tuple[str, ...], spelled: dict[str, str]) -> tuple:
    items = entry.get("annotations", [])
    own = {spelled[item["label"]] for item in items}
    duration = entry.get("duration")
    return (
        entry["subset"],
        None if duration is None else seconds_of(duration),
        tuple(name for name in classes if name in own),
        tuple((spelled[i["label"]], *stretch_of(i["segment"])) for i in items if i.get("segment") is not None),
        tuple(stretch_of(one) for one in entry.get("ambiguous", [])),
    )
