"""Results JSON of any program, read by the evaluation."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.formats.annotations import IDS, LABELS
from benchmarks.fuzzing.mutations.json_values import changed, doubled, renamed, replaced, spelled, written
from benchmarks.fuzzing.mutations.noise import another, noise
from benchmarks.fuzzing.mutations.texts import UNFIT, encoded
from benchmarks.fuzzing.plain.plain_json import (
    document_of,
    lists_joined,
    name_of,
    number_of,
    objects_of,
    stretch_of,
)
from benchmarks.fuzzing.trials import Input, Read, Unreadable
from cache.detections import DetectionTable

FILE = "detections.json"
_INFINITY = float("inf")


def draw_document(rng: random.Random) -> dict[str, Any]:
    """A few rows a video."""
    results = {}
    for name in rng.sample(IDS, rng.randint(1, 5)):
        rows = []
        for _ in range(rng.randint(0, 4)):
            start = rng.randrange(-4, 80) / 4
            row = {
                "label": rng.choice(LABELS),
                "score": rng.random(),
                "segment": [start, start + rng.randrange(20) / 4],
            }
            rows.append(row)
        results[name] = rows
    return {"version": "VERSION 1.3", "results": results, "external_data": {"used": False}}


def value_of(results: dict[str, Any]) -> dict[str, tuple]:
    """By construction."""
    return {
        name: tuple((row["label"], row["score"], *row["segment"]) for row in rows) for name, rows in results.items()
    }


class Detections:
    """See `Format`."""

    name = "detections"
    share = 12

    def draw(self, rng: random.Random) -> Input:
        """See `Format`."""
        document = draw_document(rng)
        same = value_of(document["results"])
        kind = rng.choice(("spelled", "encoded", "changed", "changed", "changed", "names", "noise", "another"))
        match kind:
            case "spelled":
                done, text = spelled(document, rng)
                return Input(f"spelled: {done}", {FILE: text.encode()}, same=same)
            case "encoded":
                done, data = encoded(written(document, space=" "), rng)
                return Input(f"encoded: {done}", {FILE: data}, same=same)
            case "changed":
                done, way, mutated = changed(document, rng)
                named = (str(way[1]), ascii(way[1])[1:-1], "line ", "nested", "name") if len(way) > 1 else ()
                named = named if way[0] == "results" else ()
                where = ".".join(map(str, way))
                return Input(f"{done} at {where}", {FILE: written(mutated).encode()}, named=named)
            case "names":
                return self._names(rng, document)
            case _:
                done, data = (noise if kind == "noise" else another)(written(document, space=" ").encode(), rng)
                return Input(done, {FILE: data})

    def _names(self, rng: random.Random, document: dict[str, Any]) -> Input:
        name = rng.choice(list(document["results"]))
        how = rng.choice(list(UNFIT))
        row = {"label": "Dive", "score": 0.5, "segment": [95.0, 96.0]}
        match rng.choice(("id", "label", "twice")):
            case "id":
                mutated = renamed(document, ("results", name), UNFIT[how](name))
                return Input(f"id with {how}", {FILE: written(mutated).encode()}, unusable=True, told=("name", "key"))
            case "label":
                bad = [*document["results"][name], {**row, "label": UNFIT[how]("Dive")}]
                mutated = replaced(document, ("results", name), bad)
                return Input(
                    f"label with {how}", {FILE: written(mutated).encode()}, unusable=True, told=("name", "label")
                )
            case _:
                mutated = doubled(document, ("results", name), [row])
                return Input("a video twice", {FILE: written(mutated).encode()}, told=(name, ascii(name)))

    def read(self, folder: Path) -> Read:
        """See `Format`."""
        table = DetectionTable.read(folder / FILE)
        value: dict[str, list] = {name: [] for name in table.videos}
        for row in table.rows():
            value[row.video_id].append((row.label, row.score, row.start, row.end))
        return Read({name: tuple(rows) for name, rows in value.items()})

    def plain(self, folder: Path) -> Any:
        """See `Format`."""
        results = objects_of(document_of(folder / FILE), "results", _joined)
        return {_name(name): tuple(map(_row, _list(rows))) for name, rows in results.items()}


def _joined(first: Any, second: Any) -> Any:
    return lists_joined(_list(first), _list(second))


def _list(rows: Any) -> list:
    if not isinstance(rows, list):
        raise Unreadable("rows that are no list")
    return rows


def _name(name: str) -> str:
    return name_of(name)


def _row(row: Any) -> tuple:
    if not isinstance(row, dict):
        raise Unreadable("a row that is no object")
    start, end = stretch_of(row.get("segment"), least=-_INFINITY)
    return name_of(row.get("label")), number_of(row.get("score")), start, end


FORMAT = Detections()
