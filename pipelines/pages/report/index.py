"""The videos of a report: the table of all of them, and the place where report_video.js shows one."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from pipelines.pages.page import legend, section, select
from pipelines.pages.report.content import ReportContent, VideoView
from pipelines.pages.report.videos import RIGHT
from pipelines.pages.table import Cell, Column, Row, filters, table

VIDEO_PAGE = '<div id="video" hidden></div>'
"""Filled by the script, shown instead of everything else."""
_STATES = (("right", "all right"), ("missed", "something missed"), ("false", "something false"))


def video_address(video_id: str) -> str:
    """Where in the page a video is."""
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
            Column("F1", title="2 found / (truths + drawn detections), percent"),
            Column("truths", title="true segments"),
            Column("found", title=f"truths that a drawn detection of their class overlaps by {RIGHT:g} or more"),
            Column("missed", title="truths that no drawn detection found"),
            Column("false", title="drawn detections that found nothing, or a truth that a better one had found"),
        ]
    else:
        columns.append(Column("found", title="drawn detections"))
    columns.append(Column("truth above, found below" if scored else "where", numbers=False, sorts=False))
    rows = [_row(view, scored) for view in content.videos]
    present = {label for row in rows for label in row.fits["class"]}
    fields = [select("class", "class", [(label, label) for label in sorted(present)])]
    if scored:
        fields.append(select("state", "outcome", _STATES))
    note = (
        "Of each class as many of its best detections are drawn, over all videos, as it has true segments. "
        if scored
        else "Of each class those detections are drawn that reach half of its best score. "
    )
    note += "Each video opens on a page of its own: its timeline, curves and texts."
    index = table("video-table", columns, rows, by=2 if scored else None)
    nothing = "<noscript><p>Sorting, filtering and the pages of the videos need JavaScript.</p></noscript>"
    body = f"<p>{note}</p>{nothing}{filters('video-table', fields, noun='videos')}{index}"
    return section("Videos", body, name="videos")


def video_legend(content: ReportContent) -> str:
    """What the marks of a timeline mean; the script shows it on the page of a video."""
    keys = {"found": "found"}
    if content.scored:
        keys = {
            "truth": "truth, found",
            "truth missed": "truth, missed",
            "found": f"detection with a truth of its own, tIoU at least {RIGHT:g}",
            "wrong": "detection without one",
            "further": "below the cut-off",
        }
    if any(view.judged.entry.ambiguous for view in content.videos):
        keys["ambiguous"] = "left undecided by the annotators"
    keys |= {"tcam": "T-CAM of the class", "ksm": "A_KSM, the host's attention"}
    note = ""
    if any(view.attention_csr is not None for view in content.videos):
        keys["csr"] = "A_CSR"
    elif content.run.recipe.train.model.use_csr:
        note = "The curves of this run hold no A_CSR: evaluate with --csr-curves to draw it."
    else:
        note = "There is no A_CSR: this run has no CSR branch."
    note = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<template id="legend">{legend(keys)}{note}</template>'


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
