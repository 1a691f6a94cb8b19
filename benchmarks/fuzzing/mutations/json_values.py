"""Mutations of JSON: other values and keys at one place, and other spellings of the whole."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.fuzzing.mutations.texts import NO_NUMBERS, NUMBERS, SPELLINGS, UNFIT

Way = Sequence[Any]
"""Keys and indices that lead to a value."""


_ORDERED = ("database", "results", "streams")
"""Objects whose keys have an order that counts: that of videos, and of columns."""


class Raw(str):
    """A token that is written as it stands."""


class Pairs(list):
    """An object as a list of its pairs, in which a key may stand twice."""


def places(document: Any, way: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Every value but the whole, with the way to it."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield (*way, key), value
        yield from places(value, (*way, key))


def replaced(document: Any, way: Way, value: Any) -> Any:
    """A copy with another value there."""
    if not way:
        return value
    changed = copy.copy(document)
    changed[way[0]] = replaced(document[way[0]], way[1:], value)
    return changed


def removed(document: Any, way: Way) -> Any:
    """A copy without that key or item."""
    changed = copy.copy(document)
    if len(way) > 1:
        changed[way[0]] = removed(document[way[0]], way[1:])
    else:
        del changed[way[0]]
    return changed


def renamed(document: Any, way: Way, key: str) -> Any:
    """A copy in which that key has another name, at its place."""
    if len(way) > 1:
        return replaced(document, way[:1], renamed(document[way[0]], way[1:], key))
    return {key if name == way[0] else name: value for name, value in document.items()}


def doubled(document: Any, way: Way, value: Any) -> Any:
    """A copy in which that key stands twice, the second time with this value."""
    if len(way) > 1:
        return replaced(document, way[:1], doubled(document[way[0]], way[1:], value))
    return Pairs([*document.items(), (way[0], value)])


def other_values(value: Any, rng: random.Random) -> Any:
    """One of another kind or out of range."""
    general: list[Any] = [
        None,
        True,
        False,
        [],
        {},
        [value],
        {"a": value},
        0,
        -1,
        "",
        "text",
        Raw("NaN"),
        Raw("Infinity"),
    ]
    if isinstance(value, bool) or value is None:
        return rng.choice(general)
    if isinstance(value, (int, float)):
        texts = [str(value), f" {value} ", *NO_NUMBERS]
        raw = [Raw(sign) for sign in ("-Infinity", "1e999", "-1e999", "9" * 400, "1" + "0" * 5000, "-0.0", "1e-400")]
        return rng.choice([*general, *texts, *raw, -value, value * 1e6, value + 0.5, Raw("[" * 200_000), Raw("01")])
    if isinstance(value, str):
        names = [change(value) for change in (*SPELLINGS.values(), *UNFIT.values())]
        return rng.choice([*general, 1.5, " ", "\u200b", value * 300, *names, f"{value}\n{value}", Raw("'a'")])
    return rng.choice([*general, 1.5, Raw("{" * 3), Raw("[1,]")])


def changed(document: Any, rng: random.Random) -> tuple[str, Way, Any]:
    """A mutation at one place: its name, the way to it, and the new document."""
    way, value = rng.choice(list(places(document)))
    is_key = isinstance(way[-1], str)
    match rng.choice(("value", "value", "value", "removed", "doubled", "renamed", "nested")):
        case "doubled" if is_key:
            second = value if rng.random() < 0.5 else other_values(value, rng)
            return "key doubled", way, doubled(document, way, second)
        case "renamed" if is_key:
            name = rng.choice((*SPELLINGS.values(), *UNFIT.values(), str.upper, lambda key: key[:-1]))(str(way[-1]))
            return "key renamed", way, renamed(document, way, name)
        case "removed":
            return "key removed" if is_key else "item removed", way, removed(document, way)
        case "nested":
            depth = rng.choice((3, 900, 100_000))
            return "nested", way, replaced(document, way, Raw("[" * depth + "]" * depth))
        case _:
            return "another value", way, replaced(document, way, other_values(value, rng))


def spelled(document: Any, rng: random.Random) -> tuple[str, str]:
    """The same document otherwise: white space, order of keys, escapes, numbers. What was done, and the text."""
    order = rng.choice(("as it is", "keys sorted", "keys shuffled"))
    if order != "as it is":
        document = _ordered(document, rng if order == "keys shuffled" else None)
    numbers, ascii_only = rng.choice(list(NUMBERS)), rng.random() < 0.5
    space = rng.choice(("", " ", "\n", "\t", " \r\n "))
    text = written(document, space=space, ascii_only=ascii_only, numbers=numbers)
    return f"{order}, numbers {numbers}, space {space!r}{', escapes' if ascii_only else ''}", text


def _ordered(document: Any, rng: random.Random | None, *, keep: bool = False) -> Any:
    """Keys in another order, but for those of objects whose order counts."""
    if isinstance(document, dict):
        keys = list(document)
        if not keep:
            keys = sorted(keys) if rng is None else rng.sample(keys, len(keys))
        return {key: _ordered(document[key], rng, keep=key in _ORDERED) for key in keys}
    return [_ordered(item, rng) for item in document] if isinstance(document, list) else document


def written(value: Any, *, space: str = "", ascii_only: bool = False, numbers: str = "plain") -> str:
    """JSON as text."""

    def text_of(value: Any) -> str:
        if isinstance(value, Raw):
            return str(value)
        if isinstance(value, str):
            return json.dumps(value, ensure_ascii=ascii_only or not _storable(value))
        if isinstance(value, float):
            return NUMBERS[numbers](value)
        if isinstance(value, (dict, Pairs)):
            pairs: Sequence[tuple[str, Any]] = value if isinstance(value, Pairs) else list(value.items())
            return "{" + f",{space}".join(f"{text_of(key)}{space}:{space}{text_of(item)}" for key, item in pairs) + "}"
        if isinstance(value, list):
            return f"[{space}" + f"{space},{space}".join(map(text_of, value)) + f"{space}]"
        return json.dumps(value)

    return space + text_of(value) + space


def _storable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
