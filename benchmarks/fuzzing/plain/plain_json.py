"""JSON, names and numbers by the rules of docs/datasets.md, read without the project's code."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.trials import Unreadable

_DEEPEST = 2000
_INVISIBLE = "\u00ad\u200b\u200e\u200f\u2060\ufeff"
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")


class Twice(dict):
    """An object in which keys stand twice: all pairs."""

    pairs: list[tuple[str, Any]]


def text_of(data: bytes) -> str:
    """Text in the encoding that it says: a byte order mark, zero bytes of UTF-16 or UTF-32, else UTF-8."""
    marks = (("utf-32", b"\xff\xfe\0\0"), ("utf-32", b"\0\0\xfe\xff"), ("utf-16", b"\xff\xfe"), ("utf-16", b"\xfe\xff"))
    for name, mark in marks:
        if data.startswith(mark):
            return _decoded(data, name)
    if 0 in data[:4] and data[:4].strip(b"\0"):
        return _decoded(data, json.detect_encoding(data))
    return _decoded(data, "utf-8-sig")


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"no {encoding}") from error


def document_of(path: Path) -> Any:
    """The JSON of a file; objects in which a key stands twice are `Twice`."""
    text = text_of(path.read_bytes())

    def once(pairs: list[tuple[str, Any]]) -> dict:
        if len(dict(pairs)) == len(pairs):
            return dict(pairs)
        made = Twice(pairs)
        made.pairs = pairs
        return made

    def number(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise Unreadable(f"the number {digits[:20]}")
        return float(digits)

    def whole(digits: str) -> float | int:
        return number(digits) if len(digits) > 300 else int(digits)

    try:
        document = json.loads(text, object_pairs_hook=once, parse_float=number, parse_int=whole, parse_constant=number)
        _check(document)
    except RecursionError as error:
        raise Unreadable("nested too deeply") from error
    except json.JSONDecodeError as error:
        raise Unreadable(f"no JSON: {error}") from error
    return document


def _check(value: Any, depth: int = 0) -> None:
    """That every text can be written."""
    if isinstance(value, str):
        storable(value)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.pairs if isinstance(value, Twice) else value.items():
            storable(key)
            _check(item, depth + 1)


def storable(name: str) -> str:
    """The name, if it is Unicode text."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise Unreadable(f"a lone surrogate in {name!a}") from error
    return name


def single(value: Any) -> Any:
    """The same, if no object in it has a key twice."""
    if isinstance(value, Twice):
        raise Unreadable("a key stands twice")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        single(item)
    return value


def objects_of(document: Any, field: str, join: Callable[[Any, Any], Any]) -> dict[str, Any]:
    """The object `field` of a document, in which entries of one key are joined; nothing else may stand twice."""
    if not isinstance(document, dict) or isinstance(document, Twice):
        raise Unreadable("no object, or one with a key twice")
    for name, value in document.items():
        if name != field:
            single(value)
    found = document.get(field)
    if not isinstance(found, dict):
        raise Unreadable(f"{field} is no object")
    joined: dict[str, Any] = {}
    for key, value in found.pairs if isinstance(found, Twice) else found.items():
        single(value)
        joined[key] = value if key not in joined else join(joined[key], value)
    return joined


def lists_joined(first: list, second: list) -> list:
    """Two lists that are equal, or have nothing in common."""
    if first == second:
        return first
    known = [json.dumps(item, sort_keys=True) for item in first]
    if any(json.dumps(item, sort_keys=True) in known for item in second):
        raise Unreadable("lists that share an item")
    return first + second


def number_of(value: Any) -> float:
    """A finite number, which may be written as text."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unreadable(f"{value!a} is no number")
    if not math.isfinite(value):
        raise Unreadable("a number that is not finite")
    return float(value)


def seconds_of(value: Any) -> float:
    """A number that is not negative."""
    number = number_of(value)
    if number < 0:
        raise Unreadable(f"{number} seconds")
    return number


def stretch_of(value: Any, *, least: float = 0) -> tuple[float, float]:
    """Start and end."""
    if not isinstance(value, list) or len(value) != 2:
        raise Unreadable(f"{value!a} is no stretch")
    start, end = map(number_of, value)
    if not least <= start <= end:
        raise Unreadable(f"{value!a}: no start before an end")
    return start, end


def name_of(value: Any) -> str:
    """A name that shows, and can be stored."""
    if not isinstance(value, str) or not tidy(value):
        raise Unreadable(f"{value!a} is no name")
    if any(unicodedata.category(sign) == "Cc" for sign in value):
        raise Unreadable(f"a control character in {value!a}")
    return storable(value)


def id_of(value: str) -> str:
    """A name that a file can have."""
    name_of(value)
    if value.startswith(".") or "/" in value or "\\" in value or len(value.encode()) > 200:
        raise Unreadable(f"{value!a} is no name of a file")
    return value


def tidy(name: str) -> str:
    """A name by what shows of it."""
    shown = "".join(sign for sign in unicodedata.normalize("NFC", name) if sign not in _INVISIBLE)
    return " ".join(shown.split())
