"""Detections, in and out of ActivityNet's results JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cache.atomic import atomic_path
from cache.schema import CacheError


@dataclass(frozen=True)
class Detection:
    """One found instance of an action; start and end in seconds."""

    video_id: str
    label: str
    score: float
    start: float
    end: float


def write_detections(path: Path, detections: Iterable[Detection], *, external_data: dict | None = None) -> None:
    """Write `{version, results: {video_id: [{label, score, segment}]}, external_data}`, best score first, atomically.

    Raises CacheError if a number is not finite.
    """
    results: dict[str, list[dict]] = {}
    for found in sorted(detections, key=lambda d: (d.video_id, -d.score, d.start, d.end, d.label)):
        if not all(math.isfinite(number) for number in (found.score, found.start, found.end)):
            raise CacheError(f"{path}: {found}: expected finite numbers")
        row = {"label": found.label, "score": found.score, "segment": [found.start, found.end]}
        results.setdefault(found.video_id, []).append(row)
    document = {"version": "VERSION 1.3", "results": results, "external_data": external_data or {}}
    with atomic_path(path) as unfinished:
        unfinished.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")


def read_detections(path: Path) -> list[Detection]:
    """Read results JSON, of this project or of any other. Raises CacheError naming the file and what is wrong in it."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        return [
            Detection(video_id, str(row["label"]), _finite(row["score"]), *map(_finite, _pair(row["segment"])))
            for video_id, rows in results.items()
            for row in rows
        ]
    except FileNotFoundError:
        raise CacheError(f"{path}: no such file of detections") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        expected = "{results: {video_id: [{label, score, segment: [start, end]}]}}"
        raise CacheError(f"{path}: {type(error).__name__}: {error}; expected {expected}") from error


def _pair(value: list) -> list:
    if len(value) != 2:
        raise ValueError(f"segment {value!r} is not [start, end]")
    return value


def _finite(value: object) -> float:
    number = float(value)  # pyright: ignore[reportArgumentType]  # checked by the caller's except
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number
