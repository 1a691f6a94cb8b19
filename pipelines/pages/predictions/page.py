"""Predictions as HTML: a page for each video (player, frames, timeline, curves), and an index of all videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from cache.features import FeatureGrid
from cache.wording import amount
from pipelines.pages.page import TABLES_SCRIPT, page, section, select
from pipelines.pages.report.content import VideoView
from pipelines.pages.report.data import video_data
from pipelines.pages.report.index import (
    LANES_SCRIPT,
    PLAYED,
    VIDEO_PAGE,
    VIDEO_SCRIPTS,
    VIDEO_STYLES,
    video_legend,
)
from pipelines.pages.table import Cell, Column, Row, filters, table

_ALONE = Path(__file__).with_name("alone.js")
VIDEOS_FOLDER = "videos"
"""Folder of the pages of videos, beside the index."""


@dataclass(frozen=True)
class PredictionIndex:
    """The contents of the index."""

    run: str
    facts: Sequence[str]
    """What the predictions were made with, in words."""
    classes: tuple[str, ...]
    grid: FeatureGrid
    videos: Sequence[VideoView]
    failures: Sequence[tuple[str, str]]
    """Name and reason of what could not be used."""


def video_page(view: VideoView, *, run: str, classes: Sequence[str], grid: FeatureGrid) -> str:
    """The page of one video. All texts from data are escaped."""
    nothing = "<noscript><p>This page needs JavaScript.</p></noscript>"
    return page(
        title=f"{view.judged.entry.video_id} · {run}",
        styles=VIDEO_STYLES,
        body=f"{nothing}{VIDEO_PAGE}{video_legend([view])}",
        scripts=(*VIDEO_SCRIPTS, _ALONE),
        data=video_data([view], classes=classes, grid=grid),
        media=PLAYED if view.player else "",
    )


def index_page(content: PredictionIndex) -> str:
    """The index: a table of all videos with small timelines, and what could not be used."""
    found = sum(len(view.judged.drawn) for view in content.videos)
    videos = amount(len(content.videos), "video")
    facts = [f"{amount(found, 'segment')} in {videos}", *content.facts]
    header = (
        f'<header><p class="eyebrow">MLLM4WTAL · predictions</p><h1>{escape(content.run)}</h1>'
        f"<p>{escape(' · '.join(facts))}</p></header>"
    )
    sections = _failures(content.failures) + _videos(content.videos)
    return page(
        title=f"predictions · {content.run}",
        styles=VIDEO_STYLES,
        body=f'{header}{sections}<div id="video" hidden></div>',
        scripts=(TABLES_SCRIPT, *VIDEO_SCRIPTS, LANES_SCRIPT),
        data=video_data(content.videos, classes=content.classes, grid=content.grid),
    )


def _failures(failures: Sequence[tuple[str, str]]) -> str:
    if not failures:
        return ""
    rows = [Row([Cell(name), Cell(reason, style="text")], name=name) for name, reason in failures]
    heads = [Column("file", numbers=False), Column("reason", numbers=False)]
    return section("Not used", table("failure-table", heads, rows), name="failures")


def _videos(videos: Sequence[VideoView]) -> str:
    if not videos:
        return ""
    heads = [
        Column("video", numbers=False),
        Column("classes", numbers=False),
        Column("segments"),
        Column("best score"),
        Column("seconds", title="duration of the video"),
        Column("timeline", numbers=False, sorts=False),
    ]
    rows = [_row(view) for view in videos]
    labels = sorted({label for row in rows for label in row.fits["class"]})
    fields = [select("class", "class", [(label, label) for label in labels])]
    shown = table("video-table", heads, rows)
    return section("Videos", f"{filters('video-table', fields, noun='videos')}{shown}", name="videos")


def _row(view: VideoView) -> Row:
    name, drawn = view.judged.entry.video_id, view.judged.drawn
    labels = list(dict.fromkeys(item.detection.label for item in drawn))
    best = max((item.detection.score for item in drawn), default=None)
    address = f"{VIDEOS_FOLDER}/{quote(name, safe='')}.html"
    cells = [
        Cell(markup=f'<a href="{escape(address)}">{escape(name)}</a>'),
        Cell(", ".join(labels), style="text"),
        Cell(str(len(drawn)), len(drawn), style="" if drawn else "none"),
        Cell("–" if best is None else f"{best:.2f}", best),
        Cell(f"{view.duration:.1f}", view.duration),
        Cell(style="lane"),
    ]
    return Row(cells, {"class": labels}, name)
