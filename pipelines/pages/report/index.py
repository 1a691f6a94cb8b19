"""The videos of a report: the table of all videos, and the element in which video.js shows one."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from pipelines.pages.page import legend, section, select
from pipelines.pages.report.content import ReportContent, VideoView
from pipelines.pages.report.videos import RIGHT
from pipelines.pages.table import Cell, Column, Row, filters, table

_HERE = Path(__file__).parent
VIDEO_STYLES = (_HERE / "video.css",)
VIDEO_SCRIPTS = (_HERE / "timeline.js", _HERE / "video.js")
"""Draw a video of the page's data into the element `VIDEO_PAGE`, when another script calls `fill`."""
LANES_SCRIPT = _HERE / "lanes.js"
"""Draws a small timeline into every row of the table of videos."""
PLAYED = "'self' file:"
"""Allowed sources of a player: the origin of the page, opened as a file or served."""
VIDEO_PAGE = '<div id="video" hidden></div>'
"""Filled by the script, and shown instead of the overview."""
_STATES = (
    ("right", "no errors"),
    ("missed", "with false negatives"),
    ("false", "with false positives"),
)


def video_address(video_id: str) -> str:
    """Fragment of the URL that shows a video."""
    return f"#video/{quote(video_id, safe='')}"


def video_index(content: ReportContent) -> str:
    """The section with the table of all videos."""
    if not content.videos:
        return ""
    scored = content.scored
    columns = [
        Column("video", numbers=False),
        Column("classes", numbers=False),
    ]
    if scored:
        columns += [
            Column("F1", title="2 TP / (instances + drawn detections), percent"),
            Column("instances", title="ground-truth instances"),
            Column(
                "TP", title=f"true positives: instances matched by a drawn detection with a tIoU of {RIGHT:g} or more"
            ),
            Column("FN", title="false negatives: instances without a matching drawn detection"),
            Column("FP", title="false positives: drawn detections without a match, or duplicates"),
        ]
    else:
        columns.append(Column("detections", title="drawn detections"))
    columns.append(Column("ground truth above, detections below" if scored else "timeline", numbers=False, sorts=False))
    rows = [_row(view, scored) for view in content.videos]
    present = {label for row in rows for label in row.fits["class"]}
    fields = [select("class", "class", [(label, label) for label in sorted(present)])]
    if scored:
        fields.append(select("state", "outcome", _STATES))
    note = (
        "For each class the N top-scoring detections over all videos are drawn, N = number of its ground-truth "
        "instances. "
        if scored
        else "For each class the detections with at least half of its highest score are drawn. "
    )
    note += "Click a video for its timeline, curves and descriptions."
    index = table("video-table", columns, rows, by=2 if scored else None)
    nothing = "<noscript><p>Sorting, filtering and the pages of the videos need JavaScript.</p></noscript>"
    body = f"<p>{note}</p>{nothing}{filters('video-table', fields, noun='videos')}{index}"
    return section("Videos", body, name="videos")


def video_legend(videos: Sequence[VideoView], *, note: str = "") -> str:
    """The legend of a timeline, which the script shows on the page of a video; `note` is a sentence below it."""
    keys = {"found": "detection"}
    if any(view.judged.further for view in videos):
        keys["further"] = "below the score threshold"
    if any(view.judged.entry.segments for view in videos):
        keys = {
            "truth": "ground truth, detected",
            "truth missed": "ground truth, missed (false negative)",
            "found": f"true positive (tIoU of {RIGHT:g} or more)",
            "wrong": "false positive",
            "further": "below the score threshold",
        }
    if any(view.judged.entry.ambiguous for view in videos):
        keys["ambiguous"] = "ambiguous segment"
    keys |= {"tcam": "T-CAM of the class", "ksm": "A_KSM, the host's attention"}
    if any(view.attention_csr is not None for view in videos):
        keys["csr"] = "A_CSR, the attention of CSR"
    shown = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<template id="legend">{legend(keys)}{shown}</template>'


def _row(view: VideoView, scored: bool) -> Row:
    judged, entry = view.judged, view.judged.entry
    labels = dict.fromkeys([*entry.labels, *(item.detection.label for item in judged.drawn)])
    link = f'<a href="{escape(video_address(entry.video_id))}">{escape(entry.video_id)}</a>'
    cells = [Cell(markup=link), Cell(", ".join(entry.labels or labels), style="text")]
    counts = [len(judged.drawn)]
    states = []
    if scored:
        cells.append(Cell(f"{100 * judged.quality:.0f}", judged.quality))
        counts = [len(entry.segments), len(judged.hit), judged.missed, judged.false]
        states = ["missed"] * bool(judged.missed) + ["false"] * bool(judged.false) or ["right"]
    cells += [Cell(str(count), count, style="" if count else "none") for count in counts]
    cells.append(Cell(style="lane"))
    return Row(cells, {"class": list(labels), "state": states}, entry.video_id)
