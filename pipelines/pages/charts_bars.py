"""Bar charts as inline SVG: columns, stacked columns, and two-sided horizontal bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from pipelines.pages.charts import WIDTH, Axis, Frame, short, svg, text

_ROW = 24.0


@dataclass(frozen=True)
class Bar:
    """One bar, or one segment of a stacked bar."""

    value: float | None
    """None without a value."""
    title: str
    """Tooltip."""
    style: str = "s0"


def columns(
    name: str, x_label: str, y_axis: Axis, bars: Mapping[str, Bar], *, reference: tuple[str, float] | None = None
) -> str:
    """One column per name with its value above it, and a dashed line at `reference` (name, value)."""
    frame = Frame(Axis(x_label, 0, max(len(bars), 1)), y_axis)
    parts = frame.axes()
    figures = []  # drawn after the reference line, which may cross them
    for place, (label, bar) in enumerate(bars.items()):
        middle = frame.x(place + 0.5)
        wide = min((frame.right - frame.left) / len(bars) * 0.6, 54.0)
        parts.append(text(middle, frame.floor + 18, short(label, 14), "tick middle"))
        if bar.value is None:
            parts.append(text(middle, frame.floor - 6, "–", "value middle"))
            continue
        y = frame.y(bar.value)
        parts.append(_rect(middle - wide / 2, y, wide, frame.floor - y, bar))
        figures.append(text(middle, y - 5, y_axis.show(bar.value), "value middle"))
    if reference is not None:
        y = frame.y(reference[1])
        title = f"{reference[0]} {y_axis.show(reference[1])}"
        parts.append(
            f'<g><title>{escape(title)}</title><line class="reference" x1="{frame.left}" x2="{frame.right}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/></g>'
        )
    return svg(WIDTH, frame.floor + 46, name, [*parts, *figures])


def stacked(name: str, x_label: str, y_axis: Axis, stacks: Mapping[str, Sequence[Bar]]) -> str:
    """Stacked columns; the first bar of each is at the bottom."""
    frame = Frame(Axis(x_label, 0, max(len(stacks), 1)), y_axis)
    parts = frame.axes()
    for place, (label, bars) in enumerate(stacks.items()):
        middle = frame.x(place + 0.5)
        wide = min((frame.right - frame.left) / len(stacks) * 0.76, 54.0)
        below = 0.0
        for bar in bars:
            low, high = frame.y(below), frame.y(below + (bar.value or 0.0))
            parts.append(_rect(middle - wide / 2, high, wide, low - high, bar))
            below += bar.value or 0.0
        parts.append(text(middle, frame.floor + 18, label, "tick middle"))
    return svg(WIDTH, frame.floor + 46, name, parts)


def two_sided(
    name: str, labels: tuple[str, str], high: float, rows: Mapping[str, tuple[Sequence[Bar], Sequence[Bar]]]
) -> str:
    """Rows with stacked bars to the left and to the right of a middle line; each side reaches up to `high`."""
    width, names, edge, top = 760.0, 170.0, 40.0, 30.0
    middle = (names + width) / 2
    half = (width - names) / 2 - edge
    parts = [text(middle - 8, 16, labels[0], "label end"), text(middle + 8, 16, labels[1], "label")]
    for place, (label, sides) in enumerate(rows.items()):
        y = top + place * _ROW
        title = f"<title>{escape(label)}</title>"
        parts.append(f"<g>{title}{text(names - 14, y + 15, short(label, 22), 'name end')}</g>")
        for sign, bars in zip((-1, 1), sides, strict=True):
            at = 0.0
            for bar in bars:
                long = (bar.value or 0.0) / high * half
                left = middle + sign * at - (long if sign < 0 else 0.0)
                parts.append(_rect(left, y + 3, long, _ROW - 8, bar))
                at += long
            total = sum(bar.value or 0.0 for bar in bars)
            shown = f"{100 * total:.0f}" if any(bar.value is not None for bar in bars) else "–"
            parts.append(text(middle + sign * (at + 7), y + 15, shown, "value end" if sign < 0 else "value"))
    height = top + len(rows) * _ROW
    parts.append(f'<line class="axis" x1="{middle}" x2="{middle}" y1="{top - 4}" y2="{height:.0f}"/>')
    return svg(width, height + 6, name, parts)


def _rect(x: float, y: float, width: float, height: float, bar: Bar) -> str:
    return (
        f'<rect class="fill {bar.style}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
        f'height="{max(height, 0):.1f}"><title>{escape(bar.title)}</title></rect>'
    )
