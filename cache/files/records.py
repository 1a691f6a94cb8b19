"""Reads external tables (JSONL, CSV, Parquet) row by row, with line numbers."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import CacheError
from cache.wording import amount

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet")
LONGEST_LINE = 1 << 20
"""Longest line that is read, in characters; a longer one is no description."""
_ROWS = 256


@dataclass(frozen=True)
class Record:
    """One row of a table."""

    line: int
    """Line number of its beginning, from 1; in Parquet, the number of the row."""
    values: dict[str, Any]
    """Values by column; None and missing are the same. Text that is not UTF-8 holds lone surrogates."""
    problem: str | None = None
    """Why the row cannot be read."""


def read_records(path: Path) -> Iterator[Record]:
    """Every row of `path`, in constant memory; the suffix gives the format.

    A line that cannot be read becomes a Record with its problem. Raises CacheError if the file is missing, of another
    format, or unreadable as a whole.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise CacheError(f"{path}: found suffix {suffix or 'none'!r}, expected one of {', '.join(SUFFIXES)}")
    try:
        if suffix == ".parquet":
            yield from _parquet(path)
            return
        # Bytes that are not UTF-8 become lone surrogates, so that one bad line does not affect the others.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from _csv(path, file) if suffix == ".csv" else _jsonl(file)
    except (OSError, pa.ArrowException) as error:
        raise CacheError(f"{path}: cannot be read: {error}") from error


def file_sha256(path: Path) -> str:
    """sha256 of a file as hex digits. Raises CacheError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CacheError(f"{path}: cannot be read: {error}") from error


def _jsonl(file: TextIO) -> Iterator[Record]:
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith("\n"):
                pass
            yield Record(number, {}, f"is longer than {LONGEST_LINE} characters")
        elif line.strip():
            yield _parsed(number, line)


def _parsed(number: int, line: str) -> Record:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Record(number, {}, f"is no JSON: {error}")
    if not isinstance(values, dict):
        return Record(number, {}, f"found {type(values).__name__}, expected a JSON object")
    return Record(number, {name: value for name, value in values.items() if value is not None})


def _csv(path: Path, file: TextIO) -> Iterator[Record]:
    header: list[str] | None = None
    for number, row in csv_rows(file):
        if header is None:
            if isinstance(row, str):
                raise CacheError(f"{path}: line 1: {row}")
            if len(set(row)) != len(row):
                raise CacheError(f"{path}: line 1: two columns have the same name: {row}")
            header = row
        elif isinstance(row, str):
            yield Record(number, {}, row)
        elif len(row) != len(header):
            yield Record(number, {}, f"found {amount(len(row), 'field')}, expected {len(header)} as in the header")
        else:
            yield Record(number, {name: value for name, value in zip(header, row, strict=True) if value != ""})


def csv_rows(file: TextIO) -> Iterator[tuple[int, list[str] | str]]:
    """Each non-empty row with the line where it begins; a string in place of the row says why it cannot be read."""
    rows = csv.reader(file, strict=True)
    while True:
        number = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield number, f"is no CSV: {error}"
            continue
        if row is None:
            return
        if row:
            yield number, row


def _parquet(path: Path) -> Iterator[Record]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            for values in batch.to_pylist():
                number += 1
                yield Record(number, {name: value for name, value in values.items() if value is not None})
