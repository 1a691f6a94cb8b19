"""Tables and subtitles hold the segments, whatever classes are called."""

import csv
import re
from pathlib import Path

import av
from hypothesis import given
from hypothesis import strategies as st

from cache.detections import Detection
from pipelines.predicting.formats import COLUMNS, web_vtt, write_csv

segments = st.lists(
    st.builds(
        lambda label, start, length, score: Detection("v", label, score, start, start + length),
        st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1).filter(str.strip),
        st.floats(0, 40_000),
        st.floats(0, 500),
        st.floats(0, 1),
    ),
    max_size=8,
)


def seconds(clock: str) -> float:
    """HH:MM:SS.mmm as a number."""
    hours, minutes, rest = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


@given(segments)
def test_subtitles_follow_the_standard(found: list[Detection]) -> None:
    """A header, then blocks of a line of times and one of text, in order; times to a millisecond; markup is text."""
    header, *blocks = web_vtt(found).split("\n\n")
    assert header.strip() == "WEBVTT"
    assert len(blocks) == len(found)
    starts = []
    for block in blocks:
        times, text = block.strip("\n").split("\n")
        start, end = re.fullmatch(r"(\d\d+:\d\d:\d\d\.\d{3}) --> (\d\d+:\d\d:\d\d\.\d{3})", times).groups()  # pyright: ignore[reportOptionalMemberAccess]
        assert seconds(end) > seconds(start)
        assert "<" not in text
        assert "-->" not in text
        starts.append(seconds(start))
    assert starts == sorted(starts)
    for start, one in zip(starts, sorted(found, key=lambda one: one.start), strict=True):
        assert abs(start - one.start) <= 0.0006


def test_a_player_reads_the_subtitles(tmp_path: Path) -> None:
    """FFmpeg's reader of WebVTT gives every cue with its times."""
    found = [Detection("v", "A & B", 0.5, 3601.25, 3602.5), Detection("v", "Dive\n\nx", 0.25, 0.0, 0.0)]
    path = tmp_path / "v.vtt"
    path.write_text(web_vtt(found), encoding="utf-8")
    with av.open(str(path)) as file:
        cues = [(float(p.pts * p.time_base), bytes(p).decode()) for p in file.demux() if p.size and p.pts is not None]
    assert cues == [(0.0, "Dive x 0.25"), (3601.25, "A &amp; B 0.50")]


def test_tables_come_back(tmp_path: Path) -> None:
    """Separators, quotes and line breaks in names stay in their cells."""
    found = [Detection('a,"b"', "x\ny;z", 0.123456, 1.0, 2.34567)]
    write_csv(tmp_path / "s.csv", found)
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [list(COLUMNS), ['a,"b"', "x\ny;z", "1.000", "2.346", "0.1235"]]
