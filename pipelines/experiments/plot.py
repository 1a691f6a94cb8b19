"""Plot a table: averages and gains with their confidence intervals, and mAP over tIoU for each group of rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cache.files.atomic import atomic_path
from cache.wording import amount
from pipelines.experiments.grid import TableRun
from pipelines.experiments.published import AVERAGE, PublishedRows
from pipelines.experiments.results import Results, Row
from training.evaluation.protocol import tiou_key

_WIDTH = 11.0
_BESIDE = 4
"""Panels of curves side by side."""
_BASELINE = "0.25"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Palette for colour-blind readers (Okabe and Ito)."""
_STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "table",
}


def draw(recipe: TableRun, results: Results, *, published: PublishedRows) -> list[Path]:
    """Write <table>.png and <table>.svg into the table's folder."""
    with mpl.rc_context(_STYLE):
        figure = table_figure(recipe.plan.title, results, published=published)
        paths = [recipe.folder / f"{recipe.table}.{suffix}" for suffix in ("png", "svg")]
        for path in paths:
            with atomic_path(path) as unfinished:
                figure.savefig(unfinished, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


def table_figure(title: str, results: Results, *, published: PublishedRows) -> Figure:
    """The plot: above, a line for each row; below, a panel of curves for each group."""
    rows = [row for row in results.rows if row.own is not None]
    groups = list(dict.fromkeys(row.arm.group for row in rows if row.arm.group)) or [""]
    across = min(_BESIDE, len(groups)) if len(groups) > 1 else 1
    down = -(-len(groups) // across)
    above, below = 1.0 + 0.27 * len(rows), 2.5 * down
    figure = Figure(figsize=(_WIDTH, above + below), layout="constrained")
    figure.suptitle(f"{title}, {results.protocol.subset} ({amount(results.videos, 'video')})", fontsize=10.5)
    top, bottom = figure.subfigures(2, 1, height_ratios=(above, below), squeeze=False).flat
    averages, gains = top.subplots(1, 2, sharey=True)
    _averages(averages, rows, published)
    _gains(gains, rows)
    panels = list(bottom.subplots(down, across, sharey=True, squeeze=False).flat)
    for place, (panel, group) in enumerate(zip(panels, groups, strict=False)):
        own = [row for row in rows if row.arm.group == group]
        others = [results.row(name) for name in dict.fromkeys(row.arm.baseline for row in own) if name]
        shown = [*(row for row in others if row not in own and row.own), *own]
        _curves(panel, shown, results.protocol.tious, columns=len(shown) if across == 1 else 1)
        if place % across == 0:
            panel.set_ylabel("mAP [%]")
    # scaled to the means: the intervals of few seeds may be far wider
    panels[0].set_ylim(0, 105 * max(max(row.own.mean) for row in rows if row.own is not None) + 1)
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    return figure


def _averages(axes: Axes, rows: Sequence[Row], published: PublishedRows) -> None:
    for place, row in enumerate(rows):
        assert row.own is not None
        mean, low, high = (100 * values[-1] for values in (row.own.mean, row.own.low, row.own.high))
        colour = _BASELINE if row.arm.baseline is None else _COLOURS[0]
        low, high = max(low, 0.0), min(high, 100.0)
        axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
        axes.plot(mean, place, "o", color=colour, markersize=5)
        for one in published.get(row.arm.name, ()):
            if AVERAGE in one.values:
                axes.plot(one.values[AVERAGE], place, "D", color=_COLOURS[1], markersize=5, fillstyle="none")
    axes.set_yticks(range(len(rows)), [row.arm.title for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    label = "average mAP [%] with confidence interval"
    axes.set_xlabel(f"{label} (◇ published)" if published else label)
    axes.grid(axis="x", linewidth=0.4)


def _gains(axes: Axes, rows: Sequence[Row]) -> None:
    axes.axvline(0, color=_BASELINE, linewidth=0.8)
    for place, row in enumerate(rows):
        if row.gain is None or row.same:
            continue
        mean, low, high = (100 * values[-1] for values in (row.gain.mean, row.gain.low, row.gain.high))
        colour = _COLOURS[2] if low > 0 else _COLOURS[1] if high < 0 else "0.55"
        axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
        axes.plot(mean, place, "o", color=colour, markersize=5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("paired difference of average mAP with confidence interval")
    axes.grid(axis="x", linewidth=0.4)


def _curves(axes: Axes, rows: Sequence[Row], tious: Sequence[float], *, columns: int) -> None:
    colours = iter(_COLOURS)
    for row in rows:
        assert row.own is not None
        colour = _BASELINE if row.arm.baseline is None else next(colours)
        mean, low, high = (100 * values[:-1] for values in (row.own.mean, row.own.low, row.own.high))
        axes.plot(tious, mean, color=colour, linewidth=1.4, marker=".", label=row.arm.title)
        axes.fill_between(tious, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set_xlabel("tIoU")
    axes.set_xticks(tious, [tiou_key(tiou) if place % 2 == 0 else "" for place, tiou in enumerate(tious)])
    axes.grid(linewidth=0.4)
    axes.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, borderpad=0.2)
