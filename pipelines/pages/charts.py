"""Line charts as inline SVG, and what all charts share.

Colours are CSS variables of page.css, so charts work in light and dark mode. Series differ in colour and in dashes or
markers, for colour-blind readers and black-and-white printers. All texts are escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460.0, 290.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 14.0, 46.0
SERIES = 6
"""Number of colours."""


@dataclass(frozen=True)
class Axis:
    """One axis of a chart."""

    label: str
    """Label with unit."""
    low: float
    high: float
    ticks: Sequence[float] = ()
    show: Callable[[float], str] = "{:g}".format

    def share(self, value: float) -> float:
        """Relative position of a value: 0 at the low end, 1 at the high end."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    style: int
    """Index of colour and marker: 0, 1, ..."""
    marks: bool = True


def percents(label: str, high: float = 1.0, *, digits: int = 0) -> Axis:
    """An axis of shares from 0 to `high`, shown in percent."""
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if high / step <= 6 or step == 0.25)
    top = math.ceil(high / step - 1e-9) * step
    ticks = [step * k for k in range(round(top / step) + 1)]
    return Axis(label, 0.0, top, ticks, lambda value: f"{100 * value:.{digits}f}")


def counts(label: str, most: float) -> Axis:
    """An axis of counts from 0 to a round number."""
    power = 10 ** math.floor(math.log10(max(most, 1)))
    step = next(step for step in (power / 5, power / 2, power, 2 * power) if most / step <= 6)
    step = max(round(step), 1)
    top = max(math.ceil(most / step), 1) * step
    return Axis(label, 0.0, top, range(0, top + 1, step))


def line_chart(name: str, x_axis: Axis, y_axis: Axis, series: Sequence[Series]) -> str:
    """Lines over labelled axes; points show their values as tooltips."""
    frame = Frame(x_axis, y_axis)
    parts = frame.axes()
    for one in series:
        style = f"s{one.style % SERIES}"
        at = [(frame.x(x), frame.y(y)) for x, y in zip(one.xs, one.ys, strict=True)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        parts.append(f'<polyline class="line {style}" points="{points}"/>')
        if not one.marks:
            continue
        for (x, y), first, second in zip(at, one.xs, one.ys, strict=True):
            title = f"{one.name}: {y_axis.show(second)} at {x_axis.show(first)}"
            parts.append(f'<g class="point {style}"><title>{escape(title)}</title>{_mark(one.style, x, y)}</g>')
    return svg(WIDTH, HEIGHT, name, parts)


class Frame:
    """The plot area of a chart with its axes."""

    def __init__(self, x_axis: Axis, y_axis: Axis) -> None:
        self.x_axis, self.y_axis = x_axis, y_axis
        self.left, self.right, self.top, self.floor = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM

    def x(self, value: float) -> float:
        """Position of a value."""
        return self.left + self.x_axis.share(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Position of a value."""
        return self.floor - self.y_axis.share(value) * (self.floor - self.top)

    def axes(self) -> list[str]:
        """Grid, ticks and labels of both axes."""
        parts = []
        for value in self.y_axis.ticks:
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(text(self.left - 7, y + 4, self.y_axis.show(value), "tick end"))
        for value in self.x_axis.ticks:
            x = self.x(value)
            parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{self.floor}" y2="{self.floor + 4}"/>')
            parts.append(text(x, self.floor + 18, self.x_axis.show(value), "tick middle"))
        parts.append(f'<line class="axis" x1="{self.left}" x2="{self.right}" y1="{self.floor}" y2="{self.floor}"/>')
        parts.append(text((self.left + self.right) / 2, HEIGHT - 6, self.x_axis.label, "label middle"))
        middle = (self.top + self.floor) / 2
        parts.append(
            f'<text class="label middle" transform="translate(13 {middle:.1f}) rotate(-90)">'
            f"{escape(self.y_axis.label)}</text>"
        )
        return parts


def training_curve(
    name: str, steps: Sequence[float], values: Sequence[float], other: tuple[Sequence[float], Sequence[float]] | None
) -> str:
    """One loss term over steps, with the same term of another run in grey."""
    width, height, left, top, bottom = 300.0, 120.0, 40.0, 26.0, 18.0
    drawn = [(steps, values, "line s0")]
    if other is not None:
        drawn.insert(0, (*other, "line other"))
    last = max(max(xs) for xs, _, _ in drawn)
    low = min(0.0, *(min(ys) for _, ys, _ in drawn))
    high = max(max(ys) for _, ys, _ in drawn)
    high = high if high > low else low + 1

    def place(x: float, y: float) -> str:
        across = left + x / max(last, 1) * (width - left - 8)
        return f"{across:.1f},{height - bottom - (y - low) / (high - low) * (height - top - bottom):.1f}"

    parts = [text(left, 14, short(name, 26), "name"), text(width - 8, 14, f"{values[-1]:.3g}", "value end")]
    for value, y in ((high, top), (low, height - bottom)):
        parts.append(f'<line class="grid" x1="{left}" x2="{width - 8}" y1="{y:.0f}" y2="{y:.0f}"/>')
        parts.append(text(left - 6, y + 4, f"{value:.2g}", "tick end"))
    parts.append(text(left, height - 4, "0", "tick"))
    parts.append(text(width - 8, height - 4, f"step {last:,.0f}", "tick end"))
    for xs, ys, style in drawn:
        points = " ".join(place(x, y) for x, y in zip(xs, ys, strict=True))
        parts.append(f'<polyline class="{style}" points="{points}"/>')
    return svg(width, height, f"Training curve of {name}", parts)


def share_bar(value: float, beside: float | None = None, title: str = "") -> str:
    """A bar from 0 to 1 for a table cell, with a mark at the value of another run."""
    mark = ""
    if beside is not None:
        x = 100 * min(max(beside, 0.0), 1.0)
        mark = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="16"/>'
    return (
        f'<svg class="share" viewBox="0 0 100 16" preserveAspectRatio="none"><title>{escape(title)}</title>'
        '<rect class="rail" x="0" y="3" width="100" height="10"/>'
        f'<rect class="bar" x="0" y="3" width="{100 * min(max(value, 0.0), 1.0):.1f}" height="10"/>{mark}</svg>'
    )


def share_marks(values: Sequence[float | None], title: str = "") -> str:
    """One mark per run on a line from 0 to 1, for a table cell."""
    marks = (
        f'<line class="stroke s{run % SERIES}" x1="{100 * value:.1f}" x2="{100 * value:.1f}" y1="1" y2="15"/>'
        for run, value in enumerate(values)
        if value is not None
    )
    return (
        f'<svg class="share" viewBox="0 0 100 16" preserveAspectRatio="none"><title>{escape(title)}</title>'
        f'<rect class="rail" x="0" y="6" width="100" height="4"/>{"".join(marks)}</svg>'
    )


def short(name: str, most: int) -> str:
    """The name, cut to at most `most` characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def text(x: float, y: float, words: str, style: str) -> str:
    """A text element; `words` are escaped."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """An SVG as wide as its container; `label` describes it for screen readers and is escaped."""
    head = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(label)}">'
    return "".join([head, *parts, "</svg>"])


def _mark(style: int, x: float, y: float) -> str:
    """A marker at a point: circle, square, triangle, diamond, ..."""
    sides = style % SERIES
    if sides == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    corners, turn = {1: (4, 0.25), 2: (3, 0.75), 3: (4, 0.0), 4: (3, 0.25), 5: (6, 0.0)}[sides]
    angles = (2 * math.pi * (k / corners + (turn / 2 if corners == 4 else turn)) for k in range(corners))
    points = " ".join(f"{x + 5 * math.cos(angle):.1f},{y + 5 * math.sin(angle):.1f}" for angle in angles)
    return f'<polygon points="{points}"/>'
