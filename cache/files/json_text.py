"""JSON that people bring, read strictly: what Python's parser takes without a word is a message here.

That is: a key that stands twice in an object (the last would win), NaN and infinity, numbers beyond the range of
floats, text with lone surrogates (which no file can be written with), and nesting without end.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.errors import CacheError
from cache.files.texts import place, read_text, shown, unfit

Join = Callable[[Any, Any], Any]
"""What two values of one key are together; None where they contradict each other."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_LONGEST_INT = 300  # digits; floats end at 309
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


class JsonProblem(ValueError):
    """What is wrong with a text of JSON, and where in it."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError
    return made


_LINES = json.JSONDecoder(object_pairs_hook=_once)


@dataclass(frozen=True)
class Joined:
    """A key of an object that stood twice, and was made one."""

    field: str
    """The object, and the key in it."""
    places: tuple[str, ...]
    done: str


class _Repeated(dict):
    """An object in which a key stands twice."""

    pairs: list[tuple[str, Any]]


def read_json(path: Path, *, joins: Mapping[str, Join] | None = None) -> tuple[Any, list[Joined]]:
    """What a file of JSON holds, and which keys of the objects in `joins` (fields of the outermost object) stood there
    more than once and were joined.

    Raises CacheError naming the file, line and column, and the field. A missing file stays a FileNotFoundError.
    """
    text = read_text(path)
    try:
        return _parse(text, joins or {})
    except JsonProblem as problem:
        raise CacheError(f"{path}: {problem}") from problem


def parse_json(text: str, *, values_are_checked: bool = False) -> Any:
    """What a text of JSON holds. Raises JsonProblem, a ValueError, saying what is wrong and where.

    A caller that looks at every value itself gets numbers that are not finite, and text with lone surrogates.
    """
    if values_are_checked:
        try:
            return _LINES.decode(text)  # made once: a decoder for every line of a file would be much of the work
        except (ValueError, RecursionError):
            pass  # said below
    return _parse(text, {}, values_are_checked=values_are_checked)[0]


def finite_number(value: object) -> float | None:
    """A finite number, which may be written as text, as public files have them.

    None for everything else: a truth value, and digits with underscores between, which only Python takes for a number.
    """
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        return None
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]  # whatever is no number raises
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def joined_lists(first: list[Any], second: list[Any]) -> list[Any] | None:
    """Both lists as one; None where they have something in common, which nobody can tell from a repetition."""
    known = {json.dumps(item, sort_keys=True) for item in first}
    if first != second and any(json.dumps(item, sort_keys=True) in known for item in second):
        return None
    return first if first == second else [*first, *second]


def _parse(text: str, joins: Mapping[str, Join], *, values_are_checked: bool = False) -> tuple[Any, list[Joined]]:
    repeated: list[_Repeated] = []
    unfloatable = False

    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            made = _Repeated(made)
            made.pairs = pairs
            repeated.append(made)
        return made

    def as_number(digits: str) -> float | int:
        nonlocal unfloatable
        number = float(digits)
        if not math.isfinite(number):
            unfloatable = True
        return number

    def as_int(digits: str) -> float | int:
        return int(digits) if len(digits) < _LONGEST_INT or math.isfinite(as_number(digits)) else math.inf

    try:
        document = json.loads(
            text, object_pairs_hook=as_object, parse_float=as_number, parse_int=as_int, parse_constant=as_number
        )
    except json.JSONDecodeError as error:
        raise JsonProblem(f"{place(text, error.pos)}: is no JSON: {_said(text, error)}") from None
    except RecursionError:
        raise JsonProblem("is no JSON that can be read: it is nested too deeply") from None
    if unfloatable and not values_are_checked:
        _refuse_numbers(text)
    if not values_are_checked and _SURROGATE.search(text):
        _refuse_surrogates(text)
    return document, _joined(text, document, repeated, joins)


def _said(text: str, error: json.JSONDecodeError) -> str:
    found = shown(text[error.pos]) if error.pos < len(text) else "the end of the file"
    return f"{error.msg[:1].lower()}{error.msg[1:].removesuffix(' at')}, found {found}"


def _refuse_numbers(text: str) -> None:
    for field, token, position, _ in _scan(text):
        if not token.startswith('"') and token not in ("true", "false", "null") and not math.isfinite(float(token)):
            found = token if len(token) <= 40 else f"{token[:20]}... of {len(token)} characters"
            raise JsonProblem(f"{place(text, position)}: {field or '(file)'}: found {found}, expected a finite number")


def _refuse_surrogates(text: str) -> None:
    for field, token, position, is_key in _scan(text):
        if token.startswith('"') and _SURROGATE.search(token):
            value = json.loads(token)
            if (wrong := unfit(value)) is not None and "surrogate" in wrong:
                where = f"the key {shown(value)}" if is_key else f"{field}: found {shown(value)}"
                raise JsonProblem(f"{place(text, position)}: {where}, {wrong}; rename it, in the file and on the disk")


def _joined(text: str, document: Any, repeated: list[_Repeated], joins: Mapping[str, Join]) -> list[Joined]:
    if not repeated:
        return []
    positions: dict[tuple[str, str], list[int]] = {}
    for field, token, position, is_key in _scan(text):
        if is_key:
            positions.setdefault((field, json.loads(token)), []).append(position)
    joinable = {id(document[field]): field for field in joins if isinstance(document, dict) and field in document}
    done = []
    for found in repeated:
        several = {key for key, count in Counter(key for key, _ in found.pairs).items() if count > 1}
        field = joinable.get(id(found))
        for (where, key), starts in positions.items():
            here = where == field if field is not None else where not in joinable.values()
            if len(starts) > 1 and key in several and here:
                places = tuple(place(text, start) for start in starts)
                if field is None:
                    raise _twice(where, key, places, "expected once")
                done.append(_join(found, field, key, places, joins[field]))
    return done


def _join(found: _Repeated, field: str, key: str, places: tuple[str, ...], join: Join) -> Joined:
    first, *others = (value for name, value in found.pairs if name == key)
    equal = all(other == first for other in others)
    for other in others:
        first = join(first, other)
        if first is None:
            raise _twice(field, key, places, "and the entries do not agree; keep one of them, or join them by hand")
    found[key] = first
    return Joined(f"{field}.{_plain(key)}", places, "equal, taken once" if equal else "joined")


def _twice(field: str, key: str, places: tuple[str, ...], expected: str) -> JsonProblem:
    times = "twice" if len(places) == 2 else f"{len(places)} times"
    return JsonProblem(f"{field or '(file)'}: {shown(key)} stands there {times} ({'; '.join(places)}), {expected}")


def _plain(key: str) -> str:
    return key if key.isprintable() and key.isascii() and key else shown(key)


def _scan(text: str) -> Iterator[tuple[str, str, int, bool]]:
    """Keys and plain values of a text that is JSON: the field (of a key, that of its object), the token, its position
    and whether it is a key."""
    way: list[str] = []  # a step for each object or array that is open: ".key" or "[index]"
    counts: list[int | None] = []  # of each, the index in an array; None in an object
    expects_key = False
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "{[":
            counts.append(None if token == "{" else 0)
            way.append("" if token == "{" else "[0]")
            expects_key = token == "{"
        elif token in "}]":
            counts.pop()
            way.pop()
            expects_key = False
        elif token == ",":
            index = counts[-1]
            expects_key = index is None
            if index is not None:
                counts[-1] = index + 1
                way[-1] = f"[{index + 1}]"
        elif expects_key:
            yield "".join(way[:-1]).lstrip("."), token, match.start(), True
            way[-1] = f".{_plain(json.loads(token))}"
            expects_key = False
        elif token != ":":
            yield "".join(way).lstrip("."), token, match.start(), False
