"""Published figures for the rows and columns of a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cache.errors import CacheError
from pipelines.experiments.arms import TABLES, plan_of
from training.evaluation.protocol import PROTOCOLS, Protocol, differences, tiou_grid

FIELDS = ("table", "row", "column", "value", "protocol", "source")
AVERAGE = "average"


@dataclass(frozen=True)
class Published:
    """The figures of one row from one source, in percent, by column."""

    source: str
    protocol: Protocol
    """Their evaluation protocol; an average is over its thresholds."""
    values: Mapping[str, float]


PublishedRows = Mapping[str, Sequence[Published]]
"""Name of a row -> its published figures."""


def comparable(published: PublishedRows, protocol: Protocol) -> tuple[PublishedRows, PublishedRows]:
    """The figures that are comparable under this protocol, and those of other protocols.

    If only the thresholds differ, figures at shared thresholds are comparable, but averages are not.
    """
    shown: dict[str, list[Published]] = {}
    others: dict[str, list[Published]] = {}
    for row, figures in published.items():
        for one in figures:
            if differences(one.protocol.model_copy(update={"tious": protocol.tious}), protocol):
                others.setdefault(row, []).append(one)
            elif one.protocol.tious == protocol.tious:
                shown.setdefault(row, []).append(one)
            else:
                values = {column: value for column, value in one.values.items() if column != AVERAGE}
                shown.setdefault(row, []).append(replace(one, values=values))
    return shown, others


def load_published(path: Path, table: str) -> dict[str, list[Published]]:
    """Name of a row -> its figures, from one or several sources.

    Raises CacheError naming the invalid line and field.
    """
    found: dict[tuple[str, str, Protocol], dict[str, float]] = {}
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
        protocol = _protocol(path, number, line["protocol"])
        if line["table"] == table:
            found.setdefault((line["row"], line["source"], protocol), {})[line["column"]] = value
    published: dict[str, list[Published]] = {}
    for (row, source, protocol), values in found.items():
        published.setdefault(row, []).append(Published(source, protocol, values))
    return published


def _protocol(path: Path, number: int, text: str) -> Protocol:
    """Protocol from its name, optionally with other thresholds: "thumos14-co2 0.1:0.1:0.7"."""
    name, _, tious = text.partition(" ")
    _expect(path, number, "protocol", name, tuple(PROTOCOLS))
    (protocol,) = [one for one in PROTOCOLS.values() if one.name == name]
    if not tious:
        return protocol
    try:
        return protocol.model_copy(update={"tious": tiou_grid(tious)})
    except ValueError as error:
        raise CacheError(f"{path}: line {number}: protocol: {error}") from None


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
