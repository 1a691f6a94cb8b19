"""Tables as text, row by row, second reader: the separator is the one that the first line has most of."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from benchmarks.fuzzing.plain.plain_json import text_of
from benchmarks.fuzzing.trials import Unreadable

_SEPARATORS = (",", ";", "\t")


def text_of_table(path: Path) -> str:
    """In the encoding that it says; bytes that are no UTF-8 stand as lone surrogates, and spoil their row alone."""
    data = path.read_bytes()
    try:
        return text_of(data)
    except Unreadable:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")) or 0 in data[:4]:
            raise
        return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def rows_of(path: Path) -> list[list[str] | str]:
    """The cells of each row that is not empty; text where it is none."""
    lines = text_of_table(path).splitlines(keepends=True)
    said = lines[0].rstrip("\r\n") if lines else ""
    separator = said[4:] if said[:4] == "sep=" and said[4:] in _SEPARATORS else ""
    if separator:
        lines = lines[1:]
    first = next((line for line in lines if line.strip()), "")
    text = io.StringIO("".join(lines), newline="")
    reader = csv.reader(text, delimiter=separator or max(_SEPARATORS, key=first.count), strict=True)
    rows: list[list[str] | str] = []
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            rows.append(str(error))
            continue
        if row is None:
            return rows
        if any(map(str.strip, row)):
            rows.append(row)


def header_of(row: list[str]) -> list[str]:
    """The names of columns, without the empty cells behind."""
    names = [cell.strip() for cell in row]
    while names and not names[-1]:
        names.pop()
    return names


def fits(row: list[str], columns: int) -> bool:
    """Whether there is a cell for each column, and nothing behind."""
    return len(row) >= columns and not any(map(str.strip, row[columns:]))
