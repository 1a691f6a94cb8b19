"""Tables of the pages, which tables.js sorts and filters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    numbers: bool = True
    """Whether it is sorted as numbers, the greatest first; otherwise as text."""
    title: str = ""
    """Tooltip."""
    sorts: bool = True


@dataclass(frozen=True)
class Cell:
    """A cell: text, which is escaped here, or markup whose texts are escaped already."""

    text: str = ""
    value: float | None = None
    """Sort key in a column of numbers; cells without one come last."""
    markup: str = ""
    style: str = ""
    """CSS classes of the cell."""


@dataclass(frozen=True)
class Row:
    """A row; its first cell is its header."""

    cells: Sequence[Cell]
    fits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Field of the filter form -> choices under which this row is shown."""
    name: str = ""
    """Name of the row for scripts."""


def percent(value: float | None, *, style: str = "", signed: bool = False) -> Cell:
    """A share as percent with one decimal; a dash for None."""
    if value is None:
        return Cell("–", style=style)
    return Cell(f"{100 * value:{'+' if signed else ''}.1f}", value, style=style)


def table(
    name: str, columns: Sequence[Column], rows: Sequence[Row], *, by: int | None = None, rises: bool = True
) -> str:
    """A sortable table; `by` is the index of the column by which `rows` are sorted already."""
    heads = []
    for place, column in enumerate(columns):
        order = f' aria-sort="{"ascending" if rises else "descending"}"' if place == by else ""
        title = f' title="{escape(column.title)}"' if column.title else ""
        kind = ' data-type="number"' if column.numbers else ""
        shown = f'<button type="button">{escape(column.name)}</button>' if column.sorts else escape(column.name)
        heads.append(f'<th scope="col"{kind}{order}{title}>{shown}</th>')
    body = "".join(map(_row, rows))
    return (
        f'<div class="wide"><table class="sortable" id="{escape(name)}"><thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def filters(table_name: str, fields: Sequence[str], *, noun: str) -> str:
    """The filter form above a table: a search, `fields` (see page.select), number of rows. Hidden without script."""
    return (
        f'<form class="filters" data-table="{escape(table_name)}" data-noun="{escape(noun)}" hidden>'
        f'<label class="wide-field">search<input type="search" name="text" placeholder="words in a row"></label>'
        f'{"".join(fields)}<button type="reset">clear</button><output aria-live="polite"></output></form>'
    )


def _row(row: Row) -> str:
    data = f' data-name="{escape(row.name)}"' if row.name else ""
    data += "".join(f' data-{name}="{escape(json.dumps(list(choices)))}"' for name, choices in row.fits.items())
    cells = []
    for place, cell in enumerate(row.cells):
        tag = 'th scope="row"' if place == 0 else "td"
        value = "" if cell.value is None else f' data-value="{cell.value:.6g}"'
        style = f' class="{cell.style}"' if cell.style else ""
        cells.append(f"<{tag}{style}{value}>{cell.markup or escape(cell.text)}</{tag.split()[0]}>")
    return f"<tr{data}>{''.join(cells)}</tr>"
