"""Mutations of text: encodings, line ends, spellings of names and numbers."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Sequence

ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "plain": lambda text: text.encode(),
    "BOM": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 big end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
}
"""All of which say what they are."""

LINE_ENDS: dict[str, Callable[[str], str]] = {
    "LF": lambda text: text,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "no last line end": lambda text: text.rstrip("\n"),
    "empty lines behind": lambda text: text + "\n\n",
}

LOOK_ALIKE = str.maketrans("aeopcxiABEHKMOPCT", "аеорсхіАВЕНКМОРСТ")
"""Latin letters to Cyrillic ones that are drawn the same."""

SPELLINGS: dict[str, Callable[[str], str]] = {
    "NFD": lambda name: unicodedata.normalize("NFD", name),
    "white space around": lambda name: f" {name}\u00a0",
    "no-break space": lambda name: name.replace(" ", "\u00a0"),
    "two spaces": lambda name: name.replace(" ", "  "),
    "zero-width space": lambda name: f"{name[:1]}\u200b{name[1:]}",
    "soft hyphen": lambda name: f"{name[:2]}\u00ad{name[2:]}",
    "byte order mark": lambda name: f"\ufeff{name}",
    "mark of direction": lambda name: f"{name}\u200e",
}
"""Of a name, by Unicode's form, white space and invisible signs alone."""

UNFIT: dict[str, Callable[[str], str]] = {
    "NUL": lambda name: f"{name[:1]}\0{name[1:]}",
    "control character": lambda name: f"{name}\x07",
    "next line": lambda name: f"{name[:1]}\x85{name[1:]}",
    "escape": lambda name: f"\x1b[31m{name}",
    "lone surrogate": lambda name: f"{name}\udce9",
    "half a pair": lambda name: f"\ud83d{name}",
    "halves the wrong way round": lambda name: f"{name}\udc00\ud800",
}
"""Names that cannot be stored or written."""

NO_FILE_NAMES = ("", ".", "..", "a/b", "../a", "/etc/passwd", "a\\b", ".hidden", "a" * 300, "é" * 150)

NUMBERS: dict[str, Callable[[float], str]] = {
    "plain": repr,
    "exponent": lambda value: f"{value!r}e0" if "e" not in repr(value) else repr(value),
    "shifted": lambda value: f"{_shifted(value)}",
    "zeros behind": lambda value: f"{value!r}000" if "." in repr(value) and "e" not in repr(value) else repr(value),
    "17 digits": lambda value: f"{value:.17g}",
}
"""Spellings of one number in JSON."""

NO_NUMBERS = ("", "x", "1_0", "0x10", "1,5", "1.5s", "nan", "inf", "-inf", "1e999", "1 2", "--1", "1e", "½")
"""Texts in the place of a number."""


def _shifted(value: float) -> str:
    text = repr(value)
    if "e" in text or "." not in text:
        return text
    whole, _, rest = text.partition(".")
    return f"{int(whole + rest)}e-{len(rest)}"


def encoded(text: str, rng: random.Random, *, encodings: Sequence[str] = tuple(ENCODINGS)) -> tuple[str, bytes]:
    """A text in another encoding or with other line ends, and what was done."""
    encoding, ends = rng.choice(encodings), rng.choice(list(LINE_ENDS))
    return f"{encoding}, {ends}", ENCODINGS[encoding](LINE_ENDS[ends](text))
