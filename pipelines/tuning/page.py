"""The page of a search: the trials as a table, the criterion by trial, and over each field that was searched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from cache.wording import amount
from pipelines.pages.charts import Axis, Series, counts, line_chart
from pipelines.pages.page import TABLES_SCRIPT, contents, figure, legend, page, section
from pipelines.pages.table import Cell, Column, Row, table
from pipelines.run_folder.tuned import setting_text
from pipelines.tuning.recipe import TuneRun
from pipelines.tuning.trials import Best, Trial, choose


def search_page(recipe: TuneRun, trials: Sequence[Trial], best: Best) -> str:
    """The page."""
    name = recipe.criterion
    of_each = [choose([trial], name) for trial in trials]
    sections = [_progress(of_each, name), _fields(of_each, name), _table(of_each)]
    facts = f"{amount(len(trials), 'trial')} · {recipe.steps} steps · {amount(recipe.folds, 'fold')} · {name}"
    chosen = {**best.trial.settings, **best.localize}
    items = "".join(f"<li>{escape(field)} <b>{escape(setting_text(value))}</b></li>" for field, value in chosen.items())
    header = (
        f'<header><p class="eyebrow">MLLM4WTAL · settings</p><h1>{escape(recipe.train.run.name)}</h1>'
        f'<p>{escape(facts)}</p>{contents(sections)}<ul class="runs">{items}</ul></header>'
    )
    body = header + "".join(sections)
    return page(title=f"Settings of {recipe.train.run.name}", styles=(), body=body, scripts=[TABLES_SCRIPT])


def _progress(of_each: Sequence[Best], name: str) -> str:
    numbers = [one.trial.number for one in of_each]
    values = [one.score for one in of_each]
    so_far = [max(values[: place + 1]) for place in range(len(values))]
    axis = counts("trial", max([*numbers, 1]))
    lines = [Series("trial", numbers, values, 0), Series("best so far", numbers, so_far, 1, marks=False)]
    chart = line_chart(f"{name} by trial", axis, _axis(name, values), lines)
    keys = legend({"s0": "best post-processing of a trial", "line s1": "best so far"})
    return section("Trials", figure(chart, f"{name} by trial", keys), name="trials")


def _fields(of_each: Sequence[Best], name: str) -> str:
    """A chart for each field with numbers: the criterion over its value."""
    charts = []
    for field in dict.fromkeys(field for one in of_each for field in one.trial.settings):
        points = sorted((one.trial.settings[field], one.score) for one in of_each if field in one.trial.settings)
        if not all(isinstance(value, (int, float)) for value, _ in points):
            continue
        places = [math.log10(max(value, 1e-12)) for value, _ in points]
        low, high = min(places), max(places)
        ticks = [low, (low + high) / 2, high]
        axis = Axis(field, low - 0.05, high + 0.05, ticks, lambda value: f"{10**value:.2g}")
        series = [Series(field, places, [score for _, score in points], 0)]
        y_axis = _axis(name, [score for _, score in points])
        charts.append(figure(line_chart(f"{name} over {field}", axis, y_axis, series), field))
    return section("Fields", "".join(charts), name="fields") if charts else ""


def _axis(name: str, values: Sequence[float]) -> Axis:
    low, high = min([*values, 0.0]), max([*values, 1e-9])
    ticks = [low + (high - low) * k / 4 for k in range(5)]
    return Axis(name, low, high, ticks, lambda value: f"{value:.2f}")


def _table(of_each: Sequence[Best]) -> str:
    fields = list(dict.fromkeys(field for one in of_each for field in one.trial.settings))
    reads = list(of_each[0].localize)
    rows = []
    for one in sorted(of_each, key=lambda one: -one.score):
        scores = one.trial.scores()[[dict(own) for own in one.trial.run.candidates].index(one.localize)]
        cells = [Cell(str(one.trial.number), one.trial.number)]
        cells += [_cell(one.trial.settings.get(field)) for field in fields]
        cells += [Cell(setting_text(one.localize[field])) for field in reads]
        cells += [Cell(f"{value:.3f}", value) for value in scores.values()]
        rows.append(Row(cells))
    names = list(of_each[0].trial.scores()[0])
    columns = [
        Column("trial"),
        *(Column(field.rpartition(".")[2], title=field) for field in fields),
        *(Column(field, numbers=False) for field in reads),
        *map(Column, names),
    ]
    return section("All trials", table("trial-table", columns, rows), name="all")


def _cell(value: object) -> Cell:
    return Cell(setting_text(value), value) if isinstance(value, (int, float)) else Cell("–")
