"""Word vectors as text, in GloVe's manner and word2vec's."""

from __future__ import annotations

import gzip
import io
import random
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzzing.mutations.noise import another, noise
from benchmarks.fuzzing.mutations.texts import NO_NUMBERS
from benchmarks.fuzzing.trials import Input, Read, Unreadable
from priors.words.word_files import WordFile, WordReader

_WORDS = (
    "the",
    "a",
    "person",
    "dives",
    "café",
    "été",
    "跳水",
    ".",
    ",",
    "1",
    "2.5",
    "at name@domain.com",
    "-",
    "x\u00a0y",
)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_HEADER_MISSES = 10
_SUFFIXES = (".txt", ".vec", ".txt.gz", ".zip")

Rows = dict[str, list[str]]


def draw_rows(rng: random.Random) -> Rows:
    """Words and their numbers as text."""
    width = rng.choice((3, 4, 5))
    words = rng.sample(_WORDS, rng.randint(3, len(_WORDS)))
    return {word: [f"{rng.uniform(-1, 1):.5f}" for _ in range(width)] for word in words}


def text_of(rows: Rows, *, gap: str = " ", after_word: str | None = None, header: str = "", end: str = "\n") -> str:
    """A row a line."""
    lines = [f"{word}{after_word or gap}{gap.join(numbers)}" for word, numbers in rows.items()]
    return "".join(f"{line}{end}" for line in ([header] if header else []) + lines)


def value_of(rows: Rows) -> dict[str, bytes]:
    """By construction."""
    return {word: np.array(numbers, np.float64).astype("<f4").tobytes() for word, numbers in rows.items()}


class Words:
    """See `Format`."""

    name = "words"
    share = 12

    def draw(self, rng: random.Random) -> Input:
        """See `Format`."""
        rows = draw_rows(rng)
        kind = rng.choice(("spelled", "spelled", "packed", "header", "a row", "a row", "noise", "noise", "another"))
        match kind:
            case "spelled":
                return self._spelled(rng, rows)
            case "packed":
                suffix = rng.choice(_SUFFIXES)
                return Input(
                    f"packed as {suffix}", {f"w{suffix}": _packed(text_of(rows).encode(), suffix)}, same=value_of(rows)
                )
            case "header":
                return self._header(rng, rows)
            case "a row":
                return self._row(rng, rows)
            case _:
                header = rng.choice(("", f"{len(rows)} {len(next(iter(rows.values())))}"))
                suffix = rng.choice((".txt", ".txt", ".txt", ".txt.gz", ".zip"))
                data = _packed(text_of(rows, header=header).encode(), suffix)
                done, data = (noise if kind == "noise" else another)(data, rng)
                return Input(f"{done}, {suffix}", {f"w{suffix}": data})

    def _spelled(self, rng: random.Random, rows: Rows) -> Input:
        """Separators, line ends, marks, numbers, a first word that stands there again."""
        if rng.random() < 0.3:
            rows = {word: [f"{float(one):e}" for one in numbers] for word, numbers in rows.items()}
        gap, after = rng.choice((" ", " ", "\t", "  ")), rng.choice((None, "\t", " "))
        end = rng.choice(("\n", "\r\n", " \n", "\n\n"))
        text = text_of(rows, gap=gap, after_word=after, end=end)
        told: tuple[str, ...] = ()
        if rng.random() < 0.3:
            word = rng.choice(list(rows))
            text += text_of({word: ["0.5"] * len(rows[word])})
            told = ("again",)
        if rng.random() < 0.3:
            text = text.rstrip("\r\n ")
        mark = b"\xef\xbb\xbf" if rng.random() < 0.3 else b""
        done = f"gap {gap!r}, after the word {after!r}, ends {end!r}{', BOM' if mark else ''}"
        return Input(done, {"w.txt": mark + text.encode()}, same=value_of(rows), told=told)

    def _header(self, rng: random.Random, rows: Rows) -> Input:
        """Right, a little wrong (told), far too many (cut short), another width, a comment."""
        count, width = len(rows), len(next(iter(rows.values())))
        same = value_of(rows)
        match rng.choice(("right", "few", "many", "width", "comment", "three")):
            case "right":
                return Input("header", {"w.txt": text_of(rows, header=f"{count} {width}").encode()}, same=same)
            case "few":
                said = count + rng.choice((-2, -1, 1, 2, _HEADER_MISSES))
                text = text_of(rows, header=f"{said} {width}")
                return Input("header that miscounts", {"w.txt": text.encode()}, same=same, told=("header",))
            case "many":
                text = text_of(rows, header=f"{count + rng.choice((11, 100, 10**9, 10**30))} {width}")
                return Input("header of more", {"w.txt": text.encode()}, unusable=True, told=("header",))
            case "width":
                text = text_of(rows, header=f"{count} {width + rng.choice((1, 2, 300, 10**12))}")
                return Input("header of another width", {"w.txt": text.encode()}, unusable=True, told=("header",))
            case "comment":
                text = text_of(rows, header=rng.choice(("# my vectors", f"# {count} {width}", "// made by x", "% y")))
                return Input("comment first", {"w.txt": text.encode()}, same=same, told=("first line",))
            case _:
                text = text_of(rows, header=f"{count} {width} 0")
                return Input("header of three", {"w.txt": text.encode()}, same=same, told=("first line",))

    def _row(self, rng: random.Random, rows: Rows) -> Input:
        """One row that is none."""
        index = rng.randrange(len(rows))
        word = list(rows)[index]
        numbers = list(rows[word])
        how = rng.choice(("no number", "too few", "too many", "no word", "beyond float32", "word of surrogates"))
        match how:
            case "no number":
                numbers[rng.randrange(len(numbers))] = rng.choice(
                    [sign for sign in NO_NUMBERS if sign.split() == [sign]]
                )
            case "too few":
                numbers = numbers[:-1]
            case "too many":
                numbers += ["0.5"]
            case "no word":
                word = "" if not word[0].isdigit() else "0.1"
            case "beyond float32":
                numbers[0] = rng.choice(("1e39", "-1e300", "1e400"))
        raw = b"\xed\xb3\xa9" if how == "word of surrogates" else word.encode()
        lines = [text_of({name: list(of)}).encode() for name, of in rows.items()]
        lines[index] = raw + b" " + " ".join(numbers).encode() + b"\n"
        return Input(f"row {index}: {how}", {"w.txt": b"".join(lines)}, named=("line ", "not finite"))

    def read(self, folder: Path) -> Read:
        """See `Format`."""
        path = next(path for path in folder.iterdir() if path.name.startswith("w."))
        reader = WordReader(WordFile.find(path))
        value = {}
        for block in reader.blocks():
            value |= {word: row.astype("<f4").tobytes() for word, row in zip(block.words, block.vectors, strict=True)}
        return Read(value, tuple(reader.odd))

    def plain(self, folder: Path) -> Any:
        """See `Format`."""
        path = next(path for path in folder.iterdir() if path.name.startswith("w."))
        try:
            lines = [line.strip(" \t\r\n") for line in _unpacked(path).decode("utf-8-sig").split("\n")]
        except UnicodeDecodeError as error:
            raise Unreadable("no UTF-8") from error
        return _value(lines)


def _value(lines: list[str]) -> dict[str, bytes]:
    """Rows by width, which is that of most lines."""
    # A carriage return inside a line is white space to a number.
    found = [
        (number, [part.strip("\r") for part in re.split("[ \t]+", line)])
        for number, line in enumerate(lines, start=1)
        if line
    ]
    if not found:
        raise Unreadable("nothing")
    first = found[0][1]
    promised = None
    counts = [part for part in first if part.isascii() and part.isdecimal()]
    if len(counts) == len(first) == 2:
        promised, found = tuple(map(int, counts)), found[1:]
    widths = [width for _, parts in found[:50] if (width := _numbers_behind(parts))]
    width = max(widths, key=widths.count, default=0)
    if promised and promised[1] != width:
        raise Unreadable("another width in the header")
    comment = first[0].startswith(("#", "//", "%")) and _numbers_behind(first) != width
    sized = len(first) == len(counts) > 2 and int(counts[1]) == width and set(map(int, counts[2:])) == {0}
    if (comment or sized) and not promised:
        sizes = [int(part) for part in counts]
        promised = tuple(sizes[:2]) if len(sizes) > 1 and sizes[1] == width and not any(sizes[2:]) else None
        found = found[1:]
    value: dict[str, bytes] = {}
    for _, parts in found:
        word, vector = " ".join(parts[:-width]), _vector(parts, width)
        value.setdefault(word, vector)
    if promised and promised[0] - len(found) > _HEADER_MISSES:
        raise Unreadable("cut short")
    if not value or width < 2:
        raise Unreadable("no rows")
    return value


def _vector(parts: list[str], width: int) -> bytes:
    if len(parts) <= width or not all(map(_NUMBER.fullmatch, parts[-width:])):
        raise Unreadable(f"no row of {width} numbers")
    if len(parts) > width + 1 and _NUMBER.fullmatch(parts[-width - 1]):
        raise Unreadable("a number too many")
    with np.errstate(over="ignore"):
        row = np.array(parts[-width:], np.float64).astype("<f4")
    if not np.isfinite(row).all():
        raise Unreadable("a number beyond float32")
    return row.tobytes()


def _numbers_behind(parts: list[str]) -> int:
    count = 0
    while count < len(parts) - 1 and _NUMBER.fullmatch(parts[-1 - count]):
        count += 1
    return count


def _packed(data: bytes, suffix: str) -> bytes:
    if suffix == ".txt.gz":
        return gzip.compress(data, mtime=0)
    if suffix != ".zip":
        return data
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("w.txt"), data)
    return file.getvalue()


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        if path.suffix == ".gz":
            return gzip.decompress(data)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                (name,) = (name for name in archive.namelist() if name.endswith((".txt", ".vec", ".bin")))
                return archive.read(name)
    except Exception as error:  # whatever the archive's reader raises
        raise Unreadable(f"no archive: {error}") from error
    return data


FORMAT = Words()
