"""Tables as text that people bring: CSV with commas, semicolons or tabs, as spreadsheets of any country write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import TextIO

from cache.wording import amount

SEPARATORS = (",", ";", "\t")
_SNIFFED = 20  # rows
_LONGEST_SNIFF = 1 << 16  # characters
_EXCEL = "sep="  # how a first line says it to Excel


def csv_rows(file: TextIO) -> Iterator[tuple[int, list[str] | str]]:
    """Each row that is not empty, with the line that it begins in; text instead says why a row cannot be read.

    Cells are as they stand. The separator is found by the first rows. `file` is opened with `newline=""` and can seek.
    """
    separator, begins = _separator(file)
    rows = csv.reader(file, strict=True, delimiter=separator)
    while True:
        number = rows.line_num + begins
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield number, f"is no CSV: {error}"
            continue
        if row is None:
            return
        if any(cell.strip() for cell in row):
            yield number, row


def fitted(row: list[str], columns: int) -> list[str] | str:
    """A row without the empty cells that a spreadsheet puts behind it; text says why it does not fit the columns."""
    if len(row) > columns and not any(cell.strip() for cell in row[columns:]):
        row = row[:columns]
    if len(row) != columns:
        return f"found {amount(len(row), 'field')}, expected {columns} as in the header"
    return row


def named_columns(header: list[str]) -> list[str]:
    """The header without the empty cells behind it."""
    return header[: max((number for number, cell in enumerate(header, start=1) if cell.strip()), default=0)]


def _separator(file: TextIO) -> tuple[str, int]:
    """The separator, and the number of the first line of the table; `file` stands there afterwards.

    It is what most of the first rows hold; of several, the one that comes first in the first row.
    """
    start = file.tell()
    sample = file.read(_LONGEST_SNIFF)
    file.seek(start)
    first = sample.splitlines()[0] if sample.strip() else ""
    first = first if first[len(_EXCEL) :] in SEPARATORS else first.strip()
    if first.lower().startswith(_EXCEL) and first[len(_EXCEL) :] in SEPARATORS:
        file.readline()
        return first[len(_EXCEL) :], 2
    shares = {}
    for separator in SEPARATORS:
        rows = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
        rows = [row for row in islice(rows, _SNIFFED) if any(cell.strip() for cell in row)]
        several = [len(row) > 1 for row in rows]
        ends = len(rows[0][0]) if rows else 0
        shares[separator] = (sum(several), bool(several) and several[0], -ends)
    return max(SEPARATORS, key=lambda separator: shares[separator]), 1
