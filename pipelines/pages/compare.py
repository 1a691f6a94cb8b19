"""The comparison of several runs as one HTML page: mAP, classes, and which videos are better or worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from cache.wording import amount
from pipelines.pages.charts import SERIES, percents, share_marks
from pipelines.pages.charts_bars import Bar, stacked
from pipelines.pages.page import TABLES_SCRIPT, contents, figure, legend, page, section, select
from pipelines.pages.report.index import video_address
from pipelines.pages.report.page import map_section
from pipelines.pages.report.videos import JudgedVideo
from pipelines.pages.table import Cell, Column, Row, filters, percent, table
from pipelines.run_folder.metrics import Metrics

_SAME = 1e-9
"""Two F1 scores whose difference is smaller are equal."""


@dataclass(frozen=True)
class ComparedRun:
    """One run of the comparison."""

    name: str
    metrics: Metrics
    facts: str
    """Host, components and seed."""
    videos: dict[str, JudgedVideo]
    report: str = ""
    """URL of its report relative to the page; empty if it has none."""


def comparison(dataset: str, runs: Sequence[ComparedRun]) -> str:
    """The page. Differences are relative to the first run. All texts from data are escaped."""
    metrics, names = [run.metrics for run in runs], [run.name for run in runs]
    sections = [
        map_section(metrics, names, beside=_outcomes(runs)),
        _differences(runs),
        _classes(runs),
        _videos(runs),
    ]
    first = metrics[0]
    scored = f"{amount(first.videos, 'video')}, {amount(len(first.classes), 'class', 'classes')}"
    facts = f"{dataset} · {scored} · {first.protocol.describe()}"
    items = "".join(
        f'<li><i class="s{k % SERIES}"></i><b>{escape(run.name)}</b> {escape(run.facts)}{_link(run)}</li>'
        for k, run in enumerate(runs)
    )
    header = (
        f'<header><p class="eyebrow">MLLM4WTAL · comparison of runs</p><h1>{escape(" · ".join(names))}</h1>'
        f'<p>{escape(facts)}</p>{contents(sections)}<ul class="runs">{items}</ul></header>'
    )
    return page(
        title=f"{dataset}: {', '.join(names)}", styles=(), body=header + "".join(sections), scripts=[TABLES_SCRIPT]
    )


def _link(run: ComparedRun) -> str:
    return f' · <a href="{escape(run.report)}">report</a>' if run.report else ""


def _change(value: float) -> Cell:
    """A difference in points, coloured by its sign."""
    return percent(value, signed=True, style="up" if value > _SAME else "down" if value < -_SAME else "")


def _differences(runs: Sequence[ComparedRun]) -> str:
    first = runs[0]
    rows = []
    for run in runs[1:]:
        pairs = zip((*run.metrics.map, run.metrics.average), (*first.metrics.map, first.metrics.average), strict=True)
        rows.append(Row([Cell(run.name), *(_change(value - base) for value, base in pairs)]))
    if not rows:
        return ""
    heads = [Column("run", numbers=False), *(Column(f"{tiou:g}") for tiou in first.metrics.tious), Column("average")]
    note = f"<p>Difference to {escape(first.name)} in mAP points.</p>"
    return section("Differences", f"{note}{table('difference-table', heads, rows)}", name="differences")


def _classes(runs: Sequence[ComparedRun]) -> str:
    means = [
        {label: float(np.mean(row)) for label, row in zip(run.metrics.classes, run.metrics.ap, strict=True)}
        for run in runs
    ]
    rows = []
    for label in runs[0].metrics.classes:
        values = [mean[label] for mean in means]
        shown = ", ".join(f"{run.name}: {100 * value:.1f}" for run, value in zip(runs, values, strict=True))
        cells = [Cell(label), Cell(markup=share_marks(values, f"{label}, {shown}"), style="bar")]
        rows.append(Row([*cells, *map(percent, values), *(_change(value - values[0]) for value in values[1:])]))
    rows.sort(key=lambda row: -(row.cells[-1].value or 0.0))
    heads = [
        Column("class", numbers=False),
        Column("AP", numbers=False, sorts=False),
        *(Column(run.name) for run in runs),
        *_against(runs),
    ]
    keys = legend({f"s{k % SERIES}": run.name for k, run in enumerate(runs)})
    shown = table("class-table", heads, rows, by=len(heads) - 1, rises=False)
    note = "<p>Mean over tIoU in percent; differences in points.</p>"
    return section("Average precision of each class", f"{note}{keys}{shown}", name="classes")


def _against(runs: Sequence[ComparedRun]) -> list[Column]:
    return [Column(f"{run.name} − {runs[0].name}" if len(runs) > 2 else "difference") for run in runs[1:]]


def _videos(runs: Sequence[ComparedRun]) -> str:
    rows = []
    for video_id, judged in runs[0].videos.items():
        entry = judged.entry
        values = [run.videos[video_id].quality for run in runs]
        change = values[-1] - values[0]
        state = "better" if change > _SAME else "worse" if change < -_SAME else "same"
        cells = [Cell(video_id), Cell(", ".join(entry.labels), style="text"), _count(len(entry.segments))]
        for run, value in zip(runs, values, strict=True):
            cells.append(_quality(run, video_id, value))
        cells += [_change(value - values[0]) for value in values[1:]]
        rows.append(Row(cells, {"class": list(entry.labels), "state": [state]}, video_id))
    rows.sort(key=lambda row: row.cells[-1].value or 0.0)
    heads = [
        Column("video", numbers=False),
        Column("classes", numbers=False),
        Column("instances", title="ground-truth instances"),
        *(Column(f"F1 {run.name}") for run in runs),
        *_against(runs),
    ]
    labels = sorted({label for judged in runs[0].videos.values() for label in judged.entry.labels})
    outcomes = [(state, state) for state in ("better", "same", "worse")]
    fields = [select("class", "class", [(label, label) for label in labels]), select("state", "outcome", outcomes)]
    note = (
        "F1 of the N top-scoring detections of each class and run, N = number of the class's ground-truth instances. "
        f"The outcome compares {runs[-1].name} with {runs[0].name}. A score links to the video in the report of its "
        "run, if there is one."
    )
    shown = table("video-table", heads, rows, by=len(heads) - 1)
    body = f"<p>{escape(note)}</p>{filters('video-table', fields, noun='videos')}{shown}"
    return section("Videos", body, name="videos")


def _count(value: int) -> Cell:
    return Cell(str(value), value)


def _quality(run: ComparedRun, video_id: str, value: float) -> Cell:
    text = f"{100 * value:.0f}"
    if not run.report:
        return Cell(text, value)
    return Cell(markup=f'<a href="{escape(run.report + video_address(video_id))}">{text}</a>', value=value)


def _outcomes(runs: Sequence[ComparedRun]) -> str:
    """Chart for each run: how many videos are better, the same or worse than in the first run."""
    stacks = {}
    for run in runs[1:]:
        changes = [run.videos[video].quality - judged.quality for video, judged in runs[0].videos.items()]
        counts = {
            "worse": sum(change < -_SAME for change in changes),
            "the same": sum(abs(change) <= _SAME for change in changes),
            "better": sum(change > _SAME for change in changes),
        }
        stacks[run.name] = [
            Bar(count / max(len(changes), 1), f"{amount(count, 'video is', 'videos are')} {name}", style)
            for (name, count), style in zip(counts.items(), ("s1", "other", "s0"), strict=True)
        ]
    if not stacks:
        return ""
    chart = stacked(
        "Outcomes of the videos", f"compared with {runs[0].name}", percents("share of the videos [%]"), stacks
    )
    return figure(chart, "Videos by F1", legend({"s0": "better", "other": "the same", "s1": "worse"}))
