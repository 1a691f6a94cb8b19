"""Detections as objects and as columns; reading and writing of ActivityNet's results JSON."""

from __future__ import annotations

import json
import logging
import math
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from cache.errors import CacheError
from cache.files.atomic import atomic_path
from cache.files.json_text import finite_number, joined_lists, read_json
from cache.files.texts import shown, tidy, unfit

_log = logging.getLogger(__name__)
_EXPECTED = "{results: {video_id: [{label, score, segment: [start, end]}]}}"


@dataclass(frozen=True)
class Detection:
    """One predicted instance of an action; start and end in seconds."""

    video_id: str
    label: str
    score: float
    start: float
    end: float


@dataclass(frozen=True)
class DetectionTable:
    """Detections as columns, in the given order: for hundreds of thousands of them, without an object for each.

    `video` and `label` are indices into `videos` and `labels`.
    """

    videos: tuple[str, ...]
    """Distinct ids; some may have no detection."""
    labels: tuple[str, ...]
    """Distinct labels; some may have no detection."""
    video: Int[np.ndarray, " n"]
    label: Int[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    segments: Float[np.ndarray, "n 2"]
    """[start, end], in seconds."""

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def of(cls, detections: Iterable[Detection]) -> DetectionTable:
        """Make a table of single detections."""
        rows = list(detections)
        videos, video = _numbered([row.video_id for row in rows])
        labels, label = _numbered([row.label for row in rows])
        score = np.array([row.score for row in rows], dtype=np.float64)
        segments = np.array([(row.start, row.end) for row in rows], dtype=np.float64).reshape(-1, 2)
        return cls(videos, labels, video, label, score, segments)

    @classmethod
    def read(cls, path: Path) -> DetectionTable:
        """Read results JSON, of this project or another: only `results` is required, numbers may be text, and unknown
        fields are ignored.

        Raises CacheError naming the file, the video and the row, what was found and what was expected.
        """
        results = _results(path)
        rows = list(chain.from_iterable(results.values()))
        try:
            names = [row["label"] for row in rows]
            score = np.array([float(row["score"]) for row in rows], dtype=np.float64)
            times = [(float(start), float(end)) for start, end in [row["segment"] for row in rows]]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise _first_problem(path, results) from None
        segments = np.array(times, dtype=np.float64).reshape(-1, 2)
        kinds = {type(number) for row in rows for number in (row["score"], *row["segment"])}
        sound = np.isfinite(score) & np.isfinite(segments).all(axis=1) & (segments[:, 0] <= segments[:, 1])
        typed = all(isinstance(row["label"], str) and isinstance(row["segment"], list) for row in rows)
        # Text may be a number, and truth values are none, though Python takes them for 0 and 1.
        if not sound.all() or not typed or (kinds - {float, int} and _has_problem(results)):
            raise _first_problem(path, results)
        labels, label = _numbered(names)
        video = np.repeat(np.arange(len(results)), [len(rows_of) for rows_of in results.values()])
        _check_names(path, (*results, *labels))
        return cls(tuple(results), labels, video, label, score, segments)

    def rows(self) -> list[Detection]:
        """The detections as objects."""
        columns = zip(
            self.video.tolist(), self.label.tolist(), self.score.tolist(), self.segments.tolist(), strict=True
        )
        return [Detection(self.videos[v], self.labels[c], score, start, end) for v, c, score, (start, end) in columns]

    def take(self, rows: Bool[np.ndarray, " n"]) -> DetectionTable:
        """The selected rows, with all names."""
        return replace(
            self, video=self.video[rows], label=self.label[rows], score=self.score[rows], segments=self.segments[rows]
        )

    def named_as(self, video_ids: Collection[str]) -> tuple[DetectionTable, int]:
        """Rename videos whose ids differ from those in `video_ids` only by a prefix "v_" (YouTube ids), by Unicode form
        or by white space around them. Returns the table and the number of renamed videos.

        Raises CacheError if two forms of an id have detections.
        """
        known = {_plain_id(video): video for video in video_ids}
        renamed = [_known_as(video, video_ids, known) for video in self.videos]
        if len(set(renamed)) < len(renamed):
            twice = next(name for name in renamed if renamed.count(name) > 1)
            both = [shown(old) for old, new in zip(self.videos, renamed, strict=True) if new == twice]
            how = "both with and without 'v_' in front" if twice.isascii() else "in two spellings"
            raise CacheError(f"detections: found video {twice!r} {how}: {', '.join(both)}")
        changed = sum(old != new for old, new in zip(self.videos, renamed, strict=True))
        return replace(self, videos=tuple(renamed)), changed

    def labelled_as(self, classes: Sequence[str]) -> tuple[DetectionTable, dict[str, str]]:
        """With the classes' own spelling of labels that differ from it by Unicode's form or white space alone, and
        which those are. Labels that are no class are one where they differ by no more among themselves."""
        known = {tidy(label): label for label in reversed([*classes, *self.labels])}
        known |= {tidy(label): label for label in reversed(classes)}
        renamed = [label if label in classes else known[tidy(label)] for label in self.labels]
        changed = {old: new for old, new in zip(self.labels, renamed, strict=True) if old != new}
        labels, numbers = _numbered(renamed)
        return replace(self, labels=labels, label=numbers[self.label]), changed


def _plain_id(video: str) -> str:
    return unicodedata.normalize("NFC", video).strip()


def _known_as(video: str, video_ids: Collection[str], plain_ids: Mapping[str, str]) -> str:
    if video in video_ids:
        return video
    plain = _plain_id(video)
    others = (plain, plain.removeprefix("v_"), f"v_{plain}")
    return next((plain_ids[name] for name in others if name in plain_ids), video)


def _numbered(names: Sequence[str]) -> tuple[tuple[str, ...], Int[np.ndarray, " n"]]:
    """The distinct names in the order of their first appearance, and the index of each."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return tuple(numbers), np.array([numbers[name] for name in names], dtype=np.int64)


def write_detections(path: Path, detections: Iterable[Detection], *, external_data: dict | None = None) -> None:
    """Write `{version, results: {video_id: [{label, score, segment}]}, external_data}`, best score first, atomically.

    Raises CacheError if a number is not finite.
    """
    results: dict[str, list[dict]] = {}
    for one in sorted(detections, key=lambda d: (d.video_id, -d.score, d.start, d.end, d.label)):
        if not all(math.isfinite(number) for number in (one.score, one.start, one.end)):
            raise CacheError(f"{path}: {one}: expected finite numbers")
        row = {"label": one.label, "score": one.score, "segment": [one.start, one.end]}
        results.setdefault(one.video_id, []).append(row)
    document = {"version": "VERSION 1.3", "results": results, "external_data": external_data or {}}
    with atomic_path(path) as unfinished:
        unfinished.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")


def read_detections(path: Path) -> list[Detection]:
    """Read results JSON, of this project or another. Raises CacheError naming the file and what is wrong in it."""
    return DetectionTable.read(path).rows()


def _results(path: Path) -> dict[str, list]:
    try:
        document, joined = read_json(path, joins={"results": _together})
    except FileNotFoundError:
        raise CacheError(f"{path}: no such file of detections") from None
    for one in joined:
        _log.warning("%s: %s stands there more than once (%s): %s", path, one.field, "; ".join(one.places), one.done)
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, dict):
        raise CacheError(f"{path}: results: found {type(results).__name__}, expected {_EXPECTED}")
    for video, rows in results.items():
        if not isinstance(rows, list):
            raise CacheError(f"{path}: results.{video}: found {type(rows).__name__}, expected {_EXPECTED}")
    return results


def _together(first: object, second: object) -> object:
    """Two lists of detections of one video as one: equal ones, or those that have none in common."""
    return joined_lists(first, second) if isinstance(first, list) and isinstance(second, list) else None


def _check_names(path: Path, names: Iterable[str]) -> None:
    for name in names:
        if (wrong := unfit(name)) is not None:
            raise CacheError(f"{path}: results: found the name {shown(name)}, {wrong}")
        if not tidy(name):
            raise CacheError(f"{path}: results: found the name {shown(name)}, in which nothing shows")


def _first_problem(path: Path, results: dict[str, list]) -> CacheError:
    """The error for the first row that is no valid detection."""
    problems = ((video, index, _problem(row)) for video, rows in results.items() for index, row in enumerate(rows))
    video, index, problem = next(found for found in problems if found[2])
    return CacheError(f"{path}: results.{video}[{index}]{problem}")


def _has_problem(results: dict[str, list]) -> bool:
    return any(_problem(row) for rows in results.values() for row in rows)


def _problem(row: object) -> str | None:
    if not isinstance(row, dict):
        return f": found {row!r}, expected {{label, score, segment: [start, end]}}"
    if not isinstance(row.get("label"), str):
        return f".label: found {row.get('label')!r}, expected the name of a class"
    if finite_number(row.get("score")) is None:
        return f".score: found {row.get('score')!r}, expected a finite number"
    segment = row.get("segment")
    times = [finite_number(value) for value in segment] if isinstance(segment, list) else []
    start, end = times if len(times) == 2 else (None, None)
    if start is None or end is None or end < start:
        return f".segment: found {segment!r}, expected [start, end] in seconds, finite, the end not before the start"
    return None
