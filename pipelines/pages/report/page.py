"""The report as one self-contained HTML page: settings, scores, diagnosis, training curves and videos of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np

from cache.wording import amount
from pipelines.pages.charts import SERIES, Axis, Series, counts, line_chart, percents, share_bar, training_curve
from pipelines.pages.charts_bars import Bar, columns
from pipelines.pages.page import TABLES_SCRIPT, contents, figure, legend, page, section
from pipelines.pages.report.content import ReportContent, RunResult
from pipelines.pages.report.data import video_data
from pipelines.pages.report.diagnosis import diagnosis_sections
from pipelines.pages.report.index import (
    LANES_SCRIPT,
    PLAYED,
    VIDEO_PAGE,
    VIDEO_SCRIPTS,
    VIDEO_STYLES,
    video_index,
    video_legend,
)
from pipelines.pages.table import Cell, Column, Row, percent, table
from pipelines.run_folder.metrics import Metrics
from training.evaluation.protocol import tiou_key
from training.logs.logs import CLOCK

_HERE = Path(__file__).parent
_SCRIPTS = (TABLES_SCRIPT, *VIDEO_SCRIPTS, _HERE / "route.js", LANES_SCRIPT)


def report(content: ReportContent) -> str:
    """The page. All texts from data are escaped; styles, charts and frames are embedded."""
    diagnosis = diagnosis_sections(content.diagnosis) if content.diagnosis else ""
    sections = [_scores(content), _classes(content), diagnosis, _training(content), video_index(content)]
    overview = [_header(content, contents(sections)), *sections]
    keys = video_legend(content.videos, note=_about_csr(content))
    return page(
        title=f"{content.run.name} · {content.dataset}",
        styles=VIDEO_STYLES,
        body=f'<div id="overview">{"".join(overview)}</div>{VIDEO_PAGE}{keys}',
        scripts=_SCRIPTS,
        data=video_data(content.videos, classes=content.classes, grid=content.grid, priors=content.priors),
        media=PLAYED if any(view.player for view in content.videos) else "",
    )


def _about_csr(content: ReportContent) -> str:
    """Why the timelines show no A_CSR; empty if they do."""
    if any(view.attention_csr is not None for view in content.videos):
        return ""
    if content.run.recipe.train.model.use_csr:
        return "The curves of this run hold no A_CSR; evaluate with --csr-curves to show it."
    return "There is no A_CSR, because this run has no CSR."


def _header(content: ReportContent, links: str) -> str:
    run, metrics = content.run, content.run.metrics
    model, loop = run.recipe.train.model, run.recipe.train.loop
    parts = {"KSM": model.use_ksm, "CSR": model.use_csr, "DPID": model.use_dpid, "head": model.use_head}
    chips = [f'<span class="chip">host {escape(model.host.kind)}</span>']
    chips += [
        f'<span class="chip {"" if on else "off"}">{name} {"on" if on else "off"}</span>' for name, on in parts.items()
    ]
    chips += [f'<span class="chip">{loop.steps:,} steps</span><span class="chip">seed {run.recipe.train.seed}</span>']
    streams = " + ".join(f"{name} {width}" for name, width in content.grid.streams.items())
    facts = [content.dataset, f"features {streams}", f"{1 / content.grid.boundary_seconds(1):.3g} snippets a second"]
    tiles = ""
    if metrics is not None:
        videos = amount(metrics.videos, f"{metrics.subset} video")
        facts.insert(1, f"{videos}, {amount(len(metrics.classes), 'class', 'classes')}")
        facts.append(metrics.protocol.describe())
        facts.insert(2, f"{metrics.detections:,} detections ({metrics.localize.source})")
        tiles = _tiles(metrics, content.other.metrics if content.other else None)
    return (
        f'<header><p class="eyebrow">MLLM4WTAL · run report</p><h1>{escape(run.name)}</h1>'
        f"<p>{escape(' · '.join(facts))}</p>{_warnings(run)}"
        f"<p>{''.join(chips)}</p>{links}{tiles}{_recipe(run)}</header>"
    )


def _warnings(run: RunResult) -> str:
    return "".join(f'<p class="warning"><b>Warning:</b> {escape(warning)}.</p>' for warning in run.warnings)


def _tiles(metrics: Metrics, other: Metrics | None) -> str:
    span = f"{metrics.tious[0]:g}–{metrics.tious[-1]:g}"
    figures = [(f"average mAP, tIoU {span}", metrics.average, other.average if other else None)]
    shown = ("0.3", "0.5", "0.7") if metrics.tious[0] < 0.5 else ("0.5", "0.75", "0.95")
    for tiou, value in zip(metrics.tious, metrics.map, strict=True):
        if tiou_key(tiou) in shown:
            beside = dict(zip(other.tious, other.map, strict=True)).get(tiou) if other else None
            figures.append((f"mAP at {tiou_key(tiou)}", value, beside))
    tiles = []
    for name, value, beside in figures:
        change = ""
        if beside is not None and other is not None:
            points = 100 * (value - beside)
            change = f'<span class="{"up" if points >= 0 else "down"}">{points:+.1f}</span> vs. {escape(other.run)}'
        tiles.append(
            f'<div class="tile"><b>{100 * value:.1f}</b><span>{escape(name)}</span><small>{change}</small></div>'
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _recipe(run: RunResult) -> str:
    text = run.recipe.model_dump_json(indent=2)
    if run.metrics is not None:
        text += "\n\nlocalize " + run.metrics.localize.model_dump_json(indent=2)
    return f"<details><summary>Full config (recipe.json)</summary><pre>{escape(text)}</pre></details>"


def _scores(content: ReportContent) -> str:
    if content.run.metrics is None:
        return section("Scores", "<p>The videos were localized without ground truth, so there is no mAP.</p>")
    rows = [one.metrics for one in (content.other, content.run) if one is not None and one.metrics is not None]
    return map_section(rows, beside=_qualities([view.judged.quality for view in content.videos]))


def _qualities(values: Sequence[float]) -> str:
    """Histogram of the videos by F1."""
    edges = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    bars = {"0": Bar(sum(value == 0 for value in values), "videos without a true positive")}
    for low, high in pairwise(edges):
        bars[f"≤ {100 * high:.0f}"] = Bar(sum(low < value <= high for value in values), f"F1 above {100 * low:.0f}")
    most = max((bar.value or 0 for bar in bars.values()), default=0)
    chart = columns("Videos by F1", "F1 of the video [%]", counts("videos", most), bars)
    return figure(chart, "Videos by F1")


def map_section(runs: Sequence[Metrics], names: Sequence[str] = (), *, beside: str = "") -> str:
    """The mAP of runs with the same thresholds, as a table and as curves; `beside` is a figure next to the curves."""
    names, tious = names or [one.run for one in runs], runs[0].tious
    note = "In percent, computed as in ActivityNet's official evaluator; average: mean over all tIoU."
    best = [max(values) for values in zip(*((*one.map, one.average) for one in runs), strict=True)]
    rows = []
    for name, one in zip(names, runs, strict=True):
        values = zip((*one.map, one.average), best, strict=True)
        cells = [percent(value, style="best" if len(runs) > 1 and value == top else "") for value, top in values]
        rows.append(Row([Cell(name), *cells]))
    heads = [Column("run", numbers=False), *(Column(f"{tiou:g}") for tiou in tious), Column("average")]
    series = [Series(name, tious, one.map, k) for k, (name, one) in enumerate(zip(names, runs, strict=True))]
    x_axis = Axis("temporal IoU", min(tious), max(max(tious), min(tious) + 0.01), tious)
    chart = line_chart("mAP over temporal IoU", x_axis, percents("mAP [%]"), series)
    keys = {f"line s{k % SERIES}": name for k, name in enumerate(names)}
    curves = figure(chart, "mAP over temporal IoU", legend(keys))
    body = f'<p>{note}</p>{table("map-table", heads, rows)}<div class="charts two">{curves}{beside}</div>'
    return section("Mean average precision", body, name="map")


def _classes(content: ReportContent) -> str:
    metrics = content.run.metrics
    if metrics is None:
        return ""
    beside = content.other.metrics if content.other else None
    other = {label: float(np.mean(row)) for label, row in zip(beside.classes, beside.ap, strict=True)} if beside else {}
    rows = []
    for label, row in zip(metrics.classes, metrics.ap, strict=True):
        mean = float(np.mean(row))
        bar = Cell(markup=share_bar(mean, other.get(label), f"{label}: {100 * mean:.1f}"), value=mean, style="bar")
        change = [percent(mean - other[label], signed=True) if label in other else Cell("–")] if other else []
        rows.append(Row([Cell(label), bar, percent(mean), *change, *map(percent, row)]))
    rows.sort(key=lambda row: -(row.cells[1].value or 0.0))
    against = [Column("change", title=f"difference to {beside.run} in points")] if beside else []
    heads = [Column("class", numbers=False), Column("AP", numbers=False, sorts=False), Column("mean"), *against]
    heads += [Column(f"{tiou:g}") for tiou in metrics.tious]
    keys = legend({"bar": metrics.run} | ({"mark": beside.run} if beside else {}))
    unscored = "".join(
        f"<p>{amount(count, 'detection')} of {escape(name)}, a class without ground truth here: not in the average.</p>"
        for name, count in metrics.unscored.items()
    )
    unscored += "".join(
        f"<p>{amount(count, 'detection is', 'detections are')} left out under the protocol: {escape(reason)}.</p>"
        for reason, count in metrics.left_out.items()
    )
    note = "In percent: mean over tIoU, then at each tIoU."
    shown = table("class-table", heads, rows, by=2, rises=False)
    return section("Average precision of each class", f"<p>{note}</p>{keys}{shown}{unscored}", name="classes")


def _training(content: ReportContent) -> str:
    if not content.run.history:
        return ""
    beside = _terms(content.other.history) if content.other else {}
    charts = "".join(
        training_curve(name, *points, beside.get(name)) for name, points in _terms(content.run.history).items()
    )
    beside_name = content.other.name if content.other and content.other.history else ""
    keys = {"line s0": content.run.name} | ({"line other": beside_name} if beside_name else {})
    note = "Learning rate and weighted loss terms, averaged between two lines of metrics.jsonl."
    return section("Training", f'<p>{note}</p>{legend(keys)}<div class="curves">{charts}</div>', name="training")


def _terms(history: Sequence[Mapping[str, float]]) -> dict[str, tuple[list[float], list[float]]]:
    """Term -> steps and values, from the lines of metrics.jsonl; times are left out."""
    terms: dict[str, tuple[list[float], list[float]]] = {}
    for line in history:
        for name, value in line.items():
            if name not in ("step", *CLOCK):
                steps, values = terms.setdefault(name, ([], []))
                steps.append(line["step"])
                values.append(value)
    return terms
