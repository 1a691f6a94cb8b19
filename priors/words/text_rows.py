"""Lines of word vectors as text, in GloVe's manner and word2vec's: which numbers a line holds, and of which word."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

_LOOK = 50  # lines whose lengths tell the width
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_GAPS = re.compile(r"[ \t]+")  # a no-break space belongs to its word
_FEW, _SHARE = 10, 0.001
"""Words that may be missing beside the count of a header, or their share: fastText's own files lack a few."""


class Refused(Exception):
    """A line that cannot be read: its number, and why."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"line {number}: {why}")


class Line(NamedTuple):
    """A line that is not empty, cut at its gaps."""

    number: int
    parts: list[str]
    plain: bool
    """Nothing in it is more than ASCII, or an underscore: both of which Python takes in numbers."""


class TextRows:
    """The rows of a table as text. What was passed over or differs from its header is in `odd` when all is read."""

    def __init__(self) -> None:
        self.width = 0
        self.odd: list[str] = []
        self._empty = 0

    def read(self, lines: Iterable[bytes]) -> Iterator[tuple[str, np.ndarray]]:
        """Word and vector of each row. Raises Refused where a line is neither a row nor a header."""
        split = self._split(lines)
        first = list(islice(split, _LOOK))
        if not first:
            return
        promised, rows = self._head(first)
        count = 0
        for line in chain(rows, split):
            yield self._row(line)
            count += 1
        if self._empty:
            self.odd.append(f"{self._empty} empty lines passed over")
        if promised is not None and promised != count:
            if promised - count > max(_FEW, _SHARE * promised):
                raise Refused(1, f"found {count} words, expected the {promised} of its header: it was cut short")
            self.odd.append(f"its header says {promised} words, found {count}")

    def _split(self, lines: Iterable[bytes]) -> Iterator[Line]:
        for number, raw in enumerate(lines, start=1):
            if number == 1:
                if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    raise Refused(1, "is UTF-16 (it is no UTF-8 text); save it as UTF-8")
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                text = raw.decode("utf-8").strip(" \t\r\n")
            except UnicodeDecodeError as error:
                raise Refused(number, f"is no UTF-8 text: {error.reason} at its byte {error.start}") from error
            if text:
                parts = _GAPS.split(text) if "\t" in text or "  " in text else text.split(" ")
                yield Line(number, parts, plain=text.isascii() and "_" not in text)
            else:
                self._empty += 1

    def _head(self, lines: list[Line]) -> tuple[int | None, list[Line]]:
        """The count that a header promises, and the lines that are rows."""
        first, rest = lines[0], lines[1:]
        numbers = [int(part) for part in first.parts if part.isascii() and part.isdecimal()]
        named = len(first.parts) == len(numbers) == 2  # word2vec's header
        sizes = Counter(size for line in (rest if named else lines) if (size := _most_numbers(line.parts)) > 0)
        if not sizes:
            if named and not rest:
                return numbers[0], []
            line = rest[0] if named else first
            raise Refused(line.number, f"found {_shown(line)}, expected a word and numbers between spaces or tabs")
        # Of widths that are as frequent, that of the earlier line.
        self.width = max(sizes, key=lambda size: sizes[size])
        if named and numbers[1] != self.width:
            raise Refused(
                first.number, f"its header says {numbers[1]} numbers a word, found {self.width} in most lines"
            )
        if self.width < 2:
            raise Refused(lines[-1].number, f"found {_shown(lines[-1])}, expected a word and at least 2 numbers")
        if named:
            return numbers[0], rest
        if _is_row(first, self.width) and _most_numbers(first.parts) >= self.width:
            return None, lines
        sized = len(numbers) > 1 and numbers[1] == self.width and not any(numbers[2:])
        if first.parts[0].startswith(("#", "//", "%")) or (sized and len(numbers) == len(first.parts)):
            self.odd.append(f"its first line is no row, and was passed over: {' '.join(first.parts)[:60]!r}")
            return numbers[0] if sized else None, rest
        return None, lines  # it is refused as the row that it is not

    def _row(self, line: Line) -> tuple[str, np.ndarray]:
        parts, width = line.parts, self.width
        if not _is_row(line, width):
            raise Refused(line.number, f"found {_shown(line)}, expected a word and {width} numbers")
        try:
            with np.errstate(over="ignore"):
                row = np.fromiter(map(float, parts[-width:]), np.float32, width)
        except ValueError:
            raise Refused(line.number, f"found {_shown(line)}, expected a word and {width} numbers") from None
        word = " ".join(parts[:-width])
        if not np.isfinite(row).all():
            raise Refused(line.number, f"the vector of {word!r} is not finite, or beyond the range of float32")
        return word, row


def _is_row(line: Line, width: int) -> bool:
    """Whether a line may be a row; words of GloVe 840B hold spaces, but none ends with a number of its own."""
    extra = len(line.parts) - width
    if extra < 1 or (extra > 1 and _NUMBER.fullmatch(line.parts[extra - 1])):
        return False
    return line.plain or all(part.isascii() and "_" not in part for part in line.parts[extra:])


def _most_numbers(parts: list[str]) -> int:
    """How many numbers a line ends with, its word left out."""
    count = 0
    while count < len(parts) - 1 and _NUMBER.fullmatch(parts[len(parts) - 1 - count]):
        count += 1
    return count


def _shown(line: Line) -> str:
    text = " ".join(line.parts)
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
