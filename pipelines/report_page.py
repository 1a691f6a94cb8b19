"""The report as one HTML page without anything fetched: what was run, how well it did, how it trained, what it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from cache.annotations import VideoEntry
from cache.features import FeatureGrid
from pipelines.evaluate import Metrics
from pipelines.page import BASE_STYLE, page
from pipelines.report_charts import Bar, ClassLanes, Curve, class_bars, timeline, training_curve
from pipelines.report_videos import RIGHT, Judged
from pipelines.train import TrainRun

_CLASSES_SHOWN = 3


@dataclass(frozen=True)
class RunResult:
    """What a run folder holds."""

    name: str
    recipe: TrainRun
    metrics: Metrics | None
    """None where there was no truth to compare with."""
    history: tuple[Mapping[str, float], ...]
    """Lines of metrics.jsonl."""


@dataclass(frozen=True)
class VideoView:
    """One video of the timeline section."""

    entry: VideoEntry
    duration: float
    judged: tuple[Judged, ...]
    """The detections that are drawn."""
    cas: Mapping[str, np.ndarray]
    """T-CAM of the classes, over snippets."""
    attention: np.ndarray | None
    attention_csr: np.ndarray | None
    pictures: tuple[str, ...]
    """Frames as data URIs; empty where `problem` says why."""
    problem: str = ""


@dataclass(frozen=True)
class Said:
    """What the describer said about a class, in one training video."""

    video_id: str
    key: str
    complete: str


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page."""

    dataset: str
    run: RunResult
    other: RunResult | None
    """The run that stands beside it, such as the host alone."""
    grid: FeatureGrid
    videos: tuple[VideoView, ...]
    said: Mapping[str, Said]
    """By class."""


def report(content: ReportContent) -> str:
    """The page. Every text that comes from data is escaped; styles, drawings and pictures are inside."""
    sections = [_header(content), _scores(content), _classes(content), _videos(content), _training(content)]
    title = f"{content.run.name} · {content.dataset}"
    return page(title=title, style=BASE_STYLE.read_text(encoding="utf-8"), body="".join(sections))


def _header(content: ReportContent) -> str:
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
        facts.insert(1, f"{metrics.videos} {metrics.subset} videos, {len(metrics.classes)} classes")
        facts.insert(2, f"{metrics.detections:,} detections ({metrics.localize.source})")
        tiles = _tiles(metrics, content.other.metrics if content.other else None)
    return (
        f'<header><p class="eyebrow">MLLM4WTAL · run report</p><h1>{escape(run.name)}</h1>'
        f"<p>{escape(' · '.join(facts))}</p><p>{''.join(chips)}</p>{tiles}{_recipe(run)}</header>"
    )


def _tiles(metrics: Metrics, other: Metrics | None) -> str:
    span = f"{metrics.tious[0]:g}–{metrics.tious[-1]:g}"
    figures = [(f"average mAP, tIoU {span}", metrics.average, other.average if other else None)]
    for tiou, value in zip(metrics.tious, metrics.map, strict=True):
        if tiou in (0.3, 0.5, 0.7):
            beside = dict(zip(other.tious, other.map, strict=True)).get(tiou) if other else None
            figures.append((f"mAP at {tiou:g}", value, beside))
    tiles = []
    for name, value, beside in figures:
        change = ""
        if beside is not None and other is not None:
            points = 100 * (value - beside)
            change = f'<span class="{"up" if points >= 0 else "down"}">{points:+.1f}</span> against {escape(other.run)}'
        tiles.append(
            f'<div class="tile"><b>{100 * value:.1f}</b><span>{escape(name)}</span><small>{change}</small></div>'
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _recipe(run: RunResult) -> str:
    text = run.recipe.model_dump_json(indent=2)
    if run.metrics is not None:
        text += "\n\nlocalize " + run.metrics.localize.model_dump_json(indent=2)
    return f"<details><summary>The whole recipe</summary><pre>{escape(text)}</pre></details>"


def _scores(content: ReportContent) -> str:
    rows = [one.metrics for one in (content.other, content.run) if one is not None and one.metrics is not None]
    if content.run.metrics is None:
        return _section("Scores", "<p>The annotations hold no segments of this subset, so there is no mAP.</p>")
    head = "".join(f"<th>{tiou:g}</th>" for tiou in content.run.metrics.tious)
    best = [max(values) for values in zip(*((*one.map, one.average) for one in rows), strict=True)]
    body = ""
    for one in rows:
        cells = "".join(
            f'<td class="{"best" if len(rows) > 1 and value == top else ""}">{100 * value:.1f}</td>'
            for value, top in zip((*one.map, one.average), best, strict=True)
        )
        body += f"<tr><th>{escape(one.run)}</th>{cells}</tr>"
    note = (
        "mAP in percent at each temporal IoU, as ActivityNet's official evaluator counts it; last, the mean over tIoU."
    )
    table = f"<table><thead><tr><th>tIoU</th>{head}<th>average</th></tr></thead><tbody>{body}</tbody></table>"
    return _section("Mean average precision", f'<p>{note}</p><div class="wide">{table}</div>')


def _classes(content: ReportContent) -> str:
    metrics = content.run.metrics
    if metrics is None:
        return ""
    values = {label: float(np.mean(row)) for label, row in zip(metrics.classes, metrics.ap, strict=True)}
    beside = content.other.metrics if content.other else None
    other = {label: float(np.mean(row)) for label, row in zip(beside.classes, beside.ap, strict=True)} if beside else {}
    titles, rows = {}, ""
    for label, row in zip(metrics.classes, metrics.ap, strict=True):
        steps = ", ".join(f"{tiou:g}: {100 * value:.1f}" for tiou, value in zip(metrics.tious, row, strict=True))
        titles[label] = f"{label}, AP at tIoU {steps}"
        rows += f"<tr><th>{escape(label)}</th>{''.join(f'<td>{100 * value:.1f}</td>' for value in row)}</tr>"
    keys = {"bar": metrics.run} | ({"mark": beside.run} if beside else {})
    head = "".join(f"<th>{tiou:g}</th>" for tiou in metrics.tious)
    numbers = f"<table><thead><tr><th>tIoU</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    numbers = f'<details><summary>The same as numbers</summary><div class="wide">{numbers}</div></details>'
    chart = f'<div class="wide">{class_bars(values, other, titles)}</div>'
    unscored = "".join(
        f"<p>{count} detections of {escape(name)}, which has no truth here, are in no average.</p>"
        for name, count in metrics.unscored.items()
    )
    return _section(
        "Average precision of each class",
        f"<p>Mean over tIoU, percent.</p>{_keys(keys)}{chart}{numbers}{unscored}",
    )


def _videos(content: ReportContent) -> str:
    if not content.videos:
        return ""
    scored = any(view.entry.segments for view in content.videos)
    keys = {"truth": "truth", "found": f"found, tIoU at least {RIGHT:g}", "wrong": "found, but wrong"}
    keys = keys if scored else {"found": "found"}
    keys |= {"tcam": "T-CAM of the class", "ksm": "A_KSM, the host's attention", "csr": "A_CSR"}
    note = "Evenly spaced over the subset. Of each class those detections are drawn that reach half of its best score. "
    if scored:
        note = (
            "Evenly spaced from the best to the worst video of the subset. Of each class as many of its best "
            "detections are drawn, over all videos, as it has true segments. "
        )
    note += "Rest the pointer on a bar for its numbers."
    cards = "".join(_card(view, content) for view in content.videos)
    return _section("Videos", f"<p>{note}</p>{_keys(keys)}{cards}")


def _card(view: VideoView, content: ReportContent) -> str:
    strange = [item.detection.label for item in view.judged if item.detection.label not in view.entry.labels]
    labels = list(dict.fromkeys([*view.entry.labels, *strange]))[:_CLASSES_SHOWN]
    drawing = timeline(
        name=view.entry.video_id,
        duration=view.duration,
        pictures=view.pictures,
        classes=[_lanes(label, view, content.grid) for label in labels],
        attention=_attentions(view, content.grid),
    )
    right = sum(item.right for item in view.judged)
    counts = f"{right} of {len(view.entry.segments)} found, {len(view.judged) - right} wrong"
    if all(item.tiou is None for item in view.judged) and not view.entry.segments:
        counts = f"{len(view.judged)} found"
    problem = f'<p class="problem">No frames: {escape(view.problem)}</p>' if view.problem else ""
    return (
        f"<article><h3>{escape(view.entry.video_id)}<span>{view.duration:.1f} s · {counts}</span></h3>"
        f'{problem}<div class="wide">{drawing}</div>{"".join(_said(label, content.said) for label in labels)}</article>'
    )


def _said(label: str, said: Mapping[str, Said]) -> str:
    if label not in said:
        return ""
    one = said[label]
    return (
        f'<details class="said"><summary><b>{escape(label)}</b> {escape(one.key)}</summary>'
        f"<p>{escape(one.complete)}</p>"
        f"<small>Key and complete description of training video {escape(one.video_id)}.</small></details>"
    )


def _lanes(label: str, view: VideoView, grid: FeatureGrid) -> ClassLanes:
    truth = [
        Bar(s.start, s.end, f"truth {label}: {s.start:.1f} to {s.end:.1f} s")
        for s in view.entry.segments
        if s.label == label
    ]
    found = []
    for item in view.judged:
        d = item.detection
        if d.label == label:
            title = f"{label}: {d.start:.1f} to {d.end:.1f} s, score {d.score:.3f}"
            title += "" if item.tiou is None else f", tIoU {item.tiou:.2f}"
            found.append(Bar(d.start, d.end, title, item.right))
    cas = view.cas.get(label)
    return ClassLanes(label, tuple(truth), tuple(found), None if cas is None else _curve("T-CAM", "tcam", cas, grid))


def _attentions(view: VideoView, grid: FeatureGrid) -> list[Curve]:
    both = (("A_KSM", "ksm", view.attention), ("A_CSR", "csr", view.attention_csr))
    return [_curve(name, colour, values, grid) for name, colour, values in both if values is not None]


def _curve(name: str, colour: str, values: np.ndarray, grid: FeatureGrid) -> Curve:
    middles = [(grid.start_seconds(index) + grid.end_seconds(index)) / 2 for index in range(len(values))]
    return Curve(name, colour, np.array(middles), values)


def _training(content: ReportContent) -> str:
    if not content.run.history:
        return ""
    beside = _terms(content.other.history) if content.other else {}
    charts = "".join(
        training_curve(name, *points, beside.get(name)) for name, points in _terms(content.run.history).items()
    )
    beside_name = content.other.name if content.other and content.other.history else ""
    keys = {"line": content.run.name} | ({"other": beside_name} if beside_name else {})
    note = "Learning rate and loss terms, each already with its weight: means between two lines of metrics.jsonl."
    return _section("Training", f'<p>{note}</p>{_keys(keys)}<div class="curves">{charts}</div>')


def _terms(history: Sequence[Mapping[str, float]]) -> dict[str, tuple[list[float], list[float]]]:
    """Steps and values of every term that the lines hold; the clock is none."""
    terms: dict[str, tuple[list[float], list[float]]] = {}
    for line in history:
        for name, value in line.items():
            if name not in ("step", "seconds"):
                steps, values = terms.setdefault(name, ([], []))
                steps.append(line["step"])
                values.append(value)
    return terms


def _keys(names: Mapping[str, str]) -> str:
    """A legend: style of the mark -> what it means."""
    items = (f'<span><i class="{style}"></i>{escape(name)}</span>' for style, name in names.items())
    return f'<p class="keys">{"".join(items)}</p>'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"
