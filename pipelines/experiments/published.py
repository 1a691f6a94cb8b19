"""Figures that others published, for the rows and columns of a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.schema import CacheError
from pipelines.experiments.arms import TABLES, plan_of

FIELDS = ("table", "row", "column", "value", "source")
AVERAGE = "average"


@dataclass(frozen=True)
class Published:
    """The figures of one row from one source, in percent, by column."""

    source: str
    values: dict[str, float]


def load_published(path: Path, table: str) -> dict[str, list[Published]]:
    """By row of the table; a row may have figures from several sources.

    Raises CacheError naming the line and what is wrong in it.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    for number, line in _lines(path):
        known = {name: [arm.name for arm in plan_of(name).arms] for name in TABLES}
        _expect(path, number, "table", line["table"], tuple(known))
        _expect(path, number, "row", line["row"], known[line["table"]])
        if line["column"] != AVERAGE and not line["column"].startswith("@"):
            raise CacheError(f"{path}: line {number}: column: found {line['column']!r}, expected @0.5 or {AVERAGE}")
        try:
            value = float(line["value"])
        except ValueError:
            raise CacheError(
                f"{path}: line {number}: value: found {line['value']!r}, expected mAP in percent"
            ) from None
        if line["table"] == table:
            found.setdefault((line["row"], line["source"]), {})[line["column"]] = value
    published: dict[str, list[Published]] = {}
    for (row, source), values in found.items():
        published.setdefault(row, []).append(Published(source, values))
    return published


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, restval="")
            if tuple(reader.fieldnames or ()) != FIELDS:
                raise CacheError(f"{path}: found the columns {reader.fieldnames}, expected {', '.join(FIELDS)}")
            return [(reader.line_num, line) for line in reader]
    except OSError as error:
        raise CacheError(f"{path}: cannot be read: {error}") from error


def _expect(path: Path, number: int, field: str, found: str, expected: Sequence[str]) -> None:
    if found not in expected:
        raise CacheError(f"{path}: line {number}: {field}: found {found!r}, expected one of {', '.join(expected)}")
