"""Write a table as Markdown and as CSV with every run, and print it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from cache.files.atomic import atomic_path
from cache.wording import amount
from pipelines.console import say, table
from pipelines.experiments.grid import Cell, TableRun
from pipelines.experiments.published import AVERAGE, PublishedRows
from pipelines.experiments.results import Results, Row
from training.evaluation.intervals import Interval
from training.evaluation.protocol import tiou_key


def write_table(
    recipe: TableRun, results: Results, cells: Sequence[Cell], *, published: PublishedRows, others: PublishedRows
) -> list[Path]:
    """Write <table>.md, <table>.csv and recipe.json into the table's folder, and print the table.

    `published` are figures of the table's protocol, shown below their rows; `others`, of other protocols, are only
    named in a note.
    """
    header, rows = main_table(results, published=published)
    more_header, more = further_table(results)
    lines = [f"# {recipe.plan.title}", "", *_markdown(header, rows), ""]
    if more:
        lines += [*_markdown(more_header, more), ""]
    notes = _notes(recipe, results, cells, published, others)
    paths = [recipe.folder / f"{recipe.table}.{suffix}" for suffix in ("md", "csv")]
    _write(paths[0], "\n".join([*lines, *notes, ""]))
    _write(paths[1], _csv(cells))
    recipe.save(recipe.folder / "recipe.json")
    table(recipe.plan.title, header, rows)
    if more:
        table("Further differences", more_header, more)
    for note in notes:
        say(note)
    return paths


def main_table(results: Results, *, published: PublishedRows) -> tuple[list[str], list[list[str]]]:
    """Header and rows: mAP in percent, difference to the row's baseline with its interval, published figures."""
    columns = [*(f"@{tiou_key(tiou)}" for tiou in results.protocol.tious), AVERAGE]
    header = ["", *columns, "gain"]
    if results.validation is not None:
        header.append(f"average on {results.validation}")
    rows = []
    for row in results.rows:
        rows.append(_own_row(row, results))
        for one in published.get(row.arm.name, ()):
            values = ["" if (value := one.values.get(column)) is None else f"{value:.1f}" for column in columns]
            rows.append([f"  published: {one.source}", *values, *[""] * (len(header) - len(values) - 1)])
    return header, rows


def _own_row(row: Row, results: Results) -> list[str]:
    beside = [] if results.validation is None else [""]
    if row.own is None:
        return [row.arm.title, *[""] * len(results.protocol.tious), "failed", "", *beside]
    cells = [row.arm.title, *(f"{100 * value:.1f}" for value in row.own.mean[:-1]), _spread(row.own)]
    cells.append("same as baseline" if row.same else "" if row.gain is None else difference(row.gain))
    if results.validation is not None:
        cells.append("" if row.validation is None else _spread(row.validation))
    return cells


def further_table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the further differences."""
    told = [one for one in results.further if one.gain is not None]
    rows = [[f"{one.arm.title} − {one.other.title}", difference(one.gain)] for one in told if one.gain is not None]
    return ["difference of average mAP", ""], rows


def difference(interval: Interval) -> str:
    """A paired difference of averages with its interval: +3.1 [+1.2, +5.0]."""
    mean, low, high = (100 * float(values[-1]) for values in (interval.mean, interval.low, interval.high))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def _spread(interval: Interval) -> str:
    shown = f"{100 * interval.mean[-1]:.1f}"
    return shown if interval.seeds == 1 else f"{shown} ± {100 * interval.spread[-1]:.1f}"


def _notes(
    recipe: TableRun, results: Results, cells: Sequence[Cell], published: PublishedRows, others: PublishedRows
) -> list[str]:
    baselines = [
        recipe.plan.arm(name).title for name in dict.fromkeys(arm.baseline for arm in recipe.plan.arms) if name
    ]
    against = baselines[0] if len(baselines) == 1 else "the same host alone"
    several = len(recipe.parts) > 1
    over = "test videos and seeds" if several else "test videos only; one seed does not show the variance over seeds"
    each = amount(len(recipe.parts), "fold") if recipe.folds else amount(recipe.seeds, "seed")
    notes = [
        f"mAP [%], mean of {each}, ± standard deviation; {amount(results.videos, 'video')}; "
        f"{results.protocol.describe()}. gain: mean difference of the average to {against} with the same seed; in "
        f"brackets: {100 * recipe.bootstrap.level:g}% confidence interval (bootstrap over {over})."
    ]
    elsewhere = [
        f"{one.source} for {arm.title} ({one.protocol.name})"
        for arm in recipe.plan.arms
        for one in others.get(arm.name, ())
    ]
    if elsewhere:
        notes.append(
            f"Published figures of other protocols are left out: {'; '.join(elsewhere)}. This table has protocol "
            f"{results.protocol.name}; --evaluate.protocol chooses another."
        )
    elif not any(published.get(arm.name) for arm in recipe.plan.arms) and recipe.published is not None:
        notes.append(f"{recipe.published} has no published figures of this table.")
    if left := [cell.name for cell in cells if not cell.done]:
        notes.append(f"Missing runs, not in the means: {'; '.join(left)}.")
    return notes


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _csv(cells: Sequence[Cell]) -> str:
    """One line for each run and subset; mAP from 0 to 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    done = [(cell, metrics) for cell in cells if cell.done for metrics in cell.metrics()]
    tious = [f"mAP@{tiou_key(tiou)}" for tiou in done[0][1].tious]
    writer.writerow(["arm", "seed", "subset", *tious, "average", "run"])
    for cell, one in done:
        writer.writerow([cell.arm.name, cell.seed, one.subset, *one.map, one.average, cell.run.train.run])
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
