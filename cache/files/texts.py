"""Text files that people bring: their encoding found out, lines with their numbers, and names that look alike.

Encodings: UTF-8 with or without a byte order mark, and UTF-16 and UTF-32, as Excel and Windows write them.
"""

from __future__ import annotations

import codecs
import json
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from cache.errors import CacheError

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))
"""Soft hyphen, zero-width space, marks of direction, word joiner, byte order mark."""
_DRAWN_ALIKE = str.maketrans("АВЕІЈКМНОРСТХаеіјорсухΑΒΕΗΙΚΜΝΟΡΤΧο", "ABEIJKMHOPCTXaeijopcyxABEHIKMNOPTXo")
"""Cyrillic and Greek letters that look like Latin ones (the clear cases of Unicode's confusables.txt)."""
_LONGEST_NAME = 200
"""Bytes of a name that a file can have, and leave room for suffixes and for the prefix of a file that is being written;
file systems take 255."""
_OTHER_FORMATS = {b"PK\x03\x04": "a ZIP archive, as an Excel workbook is", b"\xd0\xcf\x11\xe0": "an old Excel workbook"}


def read_text(path: Path) -> str:
    """The whole file, line ends as they are. Raises CacheError naming the line and column that cannot be read.

    A missing file stays a FileNotFoundError, for callers that know what would make it.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise CacheError(f"{path}: cannot be read: {error}") from error
    encoding = _encoding(path, raw[:4])
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode(encoding)
        found = f"found the byte 0x{raw[error.start]:02x}, which is no {encoding.upper().removesuffix('-SIG')}"
        raise CacheError(f"{path}: {place(before, len(before))}: {found}; save the file as UTF-8") from None


def open_text(path: Path) -> TextIO:
    """The file for reading line by line, line ends as they are. Bytes that are no text come through as lone surrogates,
    so that one bad line does not hide the others.

    Raises CacheError if it holds something else than text, OSError as `open` does.
    """
    with path.open("rb") as file:
        encoding = _encoding(path, file.read(4))
    return path.open(encoding=encoding, errors="surrogateescape" if "8" in encoding else "strict", newline="")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of every line that is not empty, without white space around it.

    Raises CacheError naming the line where it is no text, or holds a control character.
    """
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise CacheError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if stripped := line.strip():
            if (wrong := unfit(stripped.replace("\t", " "))) is not None:
                raise CacheError(f"{path}: line {number}: found {shown(stripped)}, {wrong}")
            yield number, stripped


def place(text: str, position: int) -> str:
    """Where a position is in a text, for messages: line and column, both from 1."""
    line_start = text.rfind("\n", 0, position) + 1
    return f"line {text.count(chr(10), 0, position) + 1}, column {position - line_start + 1}"


def unfit(name: str) -> str | None:
    """Why a name cannot be stored, or used in a prompt; None if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "which is no Unicode text (a lone surrogate, as a byte that is no UTF-8 becomes)"
    if found := next((sign for sign in name if unicodedata.category(sign) == "Cc"), None):
        return f"which holds the control character {found!r}"
    return None


def can_name_a_file(name: str) -> bool:
    """Whether files can be called by this name, an id, with a suffix behind it."""
    length = len(name.encode("utf-8", "surrogatepass"))
    return 0 < length <= _LONGEST_NAME and not name.startswith(".") and not any(sign in name for sign in "/\\\0")


def shown(name: object) -> str:
    """A name between quotes, in ASCII: what looks alike does not read alike, and every terminal can show it."""
    text = ascii(name)
    return text if len(text) <= 80 else text[:77] + "..."


def plain(name: str) -> str:
    """A name of a file as text that can be written: bytes that are no UTF-8 as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def tidy(name: str) -> str:
    """A name in Unicode's form NFC, each white space in it one space, none around it, and without invisible signs."""
    return " ".join(unicodedata.normalize("NFC", name).translate(_INVISIBLE).split())


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Names that a person could take for one another: they differ by case, spaces, hyphens, full-width letters, or by
    letters of another alphabet that are drawn the same."""
    groups: dict[str, dict[str, None]] = {}
    for name in names:
        drawn = unicodedata.normalize("NFKC", name).translate(_DRAWN_ALIKE).casefold()
        groups.setdefault("".join(filter(str.isalnum, drawn)) or drawn, {})[name] = None
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _encoding(path: Path, start: bytes) -> str:
    for sign, what in _OTHER_FORMATS.items():
        if start.startswith(sign):
            raise CacheError(f"{path}: found {what}, expected text; save the table as CSV (UTF-8)")
    for mark, encoding in ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")):
        if start.startswith(mark):
            return encoding
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Without a mark, by where the zero bytes of the first characters are (RFC 4627, section 3).
    return json.detect_encoding(start) if start.strip(b"\0") else "utf-8"
