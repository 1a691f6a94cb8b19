"""One mutated input, what is to come of it, and the verdict on what came of it."""

from __future__ import annotations

import logging
import random
import re
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from cache.errors import UserError

Outcome = Literal["right", "refused", "wrong"]
UNKNOWN: Any = object()
"""The value of an input of which only a plain reader can tell."""
_LONGEST = 4000
_MEMORY = re.compile(r"MemoryError|allocate|not enough memory|bad_alloc")


class Unreadable(Exception):
    """A plain reader finds no value in an input: it is to be refused."""


@dataclass(frozen=True)
class Input:
    """Files, and what is known about them by the way they were made."""

    mutation: str
    files: Mapping[str, bytes]
    """By their path in a folder."""
    same: Any = UNKNOWN
    """The value that it has to be read as, because the mutation leaves the meaning."""
    unusable: bool = False
    """Whether it is to be refused whatever a plain reader finds."""
    told: tuple[str, ...] = ()
    """Of these, a refusal or a note has to name one: the item at fault."""
    named: tuple[str, ...] = ()
    """The same of refusals alone."""


@dataclass(frozen=True)
class Read:
    """What the project made of an input."""

    value: Any
    told: tuple[str, ...] = ()
    """Warnings, rows of problems, data issues."""


class Format(Protocol):
    """A kind of input."""

    name: str
    share: int
    """Its share of the inputs, beside those of the others."""

    def draw(self, rng: random.Random) -> Input:
        """A sound input, mutated."""
        ...

    def read(self, folder: Path) -> Read:
        """By the project's reader. Raises UserError to refuse."""
        ...

    def plain(self, folder: Path) -> Any:
        """By the plain reader. Raises Unreadable."""
        ...


@dataclass(frozen=True)
class Verdict:
    """What came of one input."""

    format: str
    number: int
    mutation: str
    outcome: Outcome
    why: str
    """The message of a refusal, or what is wrong."""


def drawn(form: Format, seed: int, number: int) -> Input:
    """The input of this number: the same in every process."""
    return form.draw(random.Random(f"{seed} {form.name} {number}"))


def tried(form: Format, seed: int, number: int, *, keep: Path | None = None) -> Verdict:
    """Make the input in a temporary folder, read it, and judge; those that end wrong are kept in `keep`."""
    given = drawn(form, seed, number)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as made:
        folder = Path(made)
        write(given, folder)
        try:
            outcome, why = _judged(form, given, folder)
        except Exception:  # of the plain reader, or of the comparison
            outcome, why = "wrong", f"the benchmark itself: {traceback.format_exc()[-1500:]}"
    if outcome == "wrong" and keep is not None:
        kept(given, keep / f"{form.name}-{seed}-{number}")
    return Verdict(form.name, number, given.mutation, outcome, why)


def write(given: Input, folder: Path) -> None:
    """The files of an input below `folder`."""
    for name, content in given.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def kept(given: Input, folder: Path) -> None:
    """The same in a folder that stays."""
    shutil.rmtree(folder, ignore_errors=True)
    write(given, folder)


def _judged(form: Format, given: Input, folder: Path) -> tuple[Outcome, str]:
    try:
        with _warnings() as warned:
            found = form.read(folder)
    except UserError as error:
        return _refused(given, folder, str(error))
    except MemoryError:
        return "wrong", "memory: MemoryError"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "wrong", f"traceback: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"[:600]
    if given.unusable:
        return "wrong", f"expected a refusal, read as {_short(found.value)}"
    try:
        plain = form.plain(folder)
    except Unreadable as why:
        if given.same is not UNKNOWN:
            return "wrong", f"the benchmark itself: the plain reader refuses: {why}"
        return "wrong", f"expected a refusal ({why}), read as {_short(found.value)}"
    if given.same is not UNKNOWN and not equal(plain, given.same):
        return "wrong", f"the benchmark itself: plain {_difference(plain, given.same)}"
    if not equal(found.value, plain):
        return "wrong", f"another value: {_difference(found.value, plain)}"
    told = "\n".join((*found.told, *warned))
    if given.told and not any(name in told for name in given.told):
        return "wrong", f"read without a word about {' or '.join(given.told)}: told {told[:300]!r}"
    return "right", ""


def _refused(given: Input, folder: Path, message: str) -> tuple[Outcome, str]:
    if given.same is not UNKNOWN:
        return "wrong", f"refused, though it means the same: {message[:300]}"
    if _MEMORY.search(message):
        return "wrong", f"memory: {message[:300]}"
    try:
        message.encode()
    except UnicodeEncodeError:
        return "wrong", f"its message cannot be written: {message[:300]!a}"
    if not message.strip() or len(message) > _LONGEST:
        return "wrong", f"its message has {len(message)} characters: {message[:300]}"
    if str(folder) not in message and not any(Path(name).name in message for name in given.files):
        return "wrong", f"its message names no file: {message[:300]}"
    for names in (given.told, given.named):
        if names and not any(name in message for name in names):
            return "wrong", f"refused without a word about {' or '.join(names)}: {message[:300]}"
    return "refused", message


def equal(a: Any, b: Any) -> bool:
    """Of plain values: numbers that are not finite are equal to themselves."""
    return bool(a == b) or repr(a) == repr(b)


def _difference(found: Any, expected: Any) -> str:
    """The first place where two values differ."""
    if type(found) is type(expected) and isinstance(found, dict):
        if list(found) != list(expected):
            return f"keys {_short(list(found))}, expected {_short(list(expected))}"
        key = next(key for key in found if not equal(found[key], expected[key]))
        return f"{key!a}: {_difference(found[key], expected[key])}"
    if type(found) is type(expected) and isinstance(found, (tuple, list)) and len(found) == len(expected):
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            if not equal(one, other):
                return f"[{index}]: {_difference(one, other)}"
    return f"found {_short(found)}, expected {_short(expected)}"


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What is logged meanwhile as a warning or worse."""
    said: list[str] = []
    handler = _Collect(said.append)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield said
    finally:
        root.removeHandler(handler)


class _Collect(logging.Handler):
    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take(record.getMessage())
