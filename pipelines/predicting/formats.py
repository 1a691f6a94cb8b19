"""Segments as a table (CSV) and as subtitles (WebVTT)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from cache.detections import Detection
from cache.files.atomic import atomic_path

COLUMNS = ("video", "label", "start", "end", "score")


def write_csv(path: Path, detections: Iterable[Detection]) -> None:
    """One line a segment, with a header; times in seconds."""
    with atomic_path(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for one in detections:
            table.writerow((one.video_id, one.label, f"{one.start:.3f}", f"{one.end:.3f}", f"{one.score:.4f}"))


def web_vtt(detections: Sequence[Detection]) -> str:
    """A WebVTT file: one cue a segment, in order of time, with class and score."""
    cues = ["WEBVTT\n"]
    for one in sorted(detections, key=lambda one: (one.start, one.end, one.label)):
        start, end = round(1000 * one.start), round(1000 * one.end)
        # a cue has to end after it starts; its text is markup, in which a line break would begin another cue
        text = escape(" ".join(one.label.split()), quote=False)
        cues.append(f"{_clock(start)} --> {_clock(max(end, start + 1))}\n{text} {one.score:.2f}\n")
    return "\n".join(cues)


def _clock(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"
