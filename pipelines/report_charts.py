"""Charts of the report as inline SVG: bars per class, training curves, and the timeline of a video.

Colours are CSS variables of report.css, so that one drawing reads in light and dark. Every text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH = 1000.0
_GUTTER, _RIGHT = 126.0, 12.0
_CURVE, _BAR, _THIN = 44.0, 14.0, 10.0
_ROWS = 4
"""At most so many rows of overlapping detections."""


@dataclass(frozen=True)
class Bar:
    """A segment on a timeline, in seconds."""

    start: float
    end: float
    title: str
    """Shown where the pointer rests."""
    right: bool = True
    """False for a detection that fits no truth."""


@dataclass(frozen=True)
class Curve:
    """Values over seconds, named and coloured."""

    name: str
    colour: str
    seconds: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class ClassLanes:
    """What the timeline shows of one class."""

    label: str
    truth: tuple[Bar, ...]
    found: tuple[Bar, ...]
    curve: Curve | None


def timeline(
    *, name: str, duration: float, pictures: Sequence[str], classes: Sequence[ClassLanes], attention: Sequence[Curve]
) -> str:
    """The picture strip, and below it truth, detections and T-CAM of every class, the attentions and the time axis.

    `pictures` are data URIs of frames at the midpoints of equal slices of the duration.
    """
    canvas = _Canvas(duration)
    top = canvas.strip(pictures) if pictures else 4.0
    bands = [bar for lanes in classes for bar in lanes.truth]
    for lanes in classes:
        top = canvas.of_class(lanes, top)
    if attention:
        canvas.curves(attention, top + 6, bands, fill=False)
        top += 6 + _CURVE + 6
    height = canvas.axis(top)
    return _svg(WIDTH, height, f"Timeline of {name}", canvas.parts)


def class_bars(values: Mapping[str, float], other: Mapping[str, float], titles: Mapping[str, str]) -> str:
    """One horizontal bar a class (0 to 1, best first); a mark where `other` has the class."""
    row, left, right = 26.0, 190.0, 64.0
    span = WIDTH - left - right
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + tick * span
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{len(values) * row:.0f}"/>')
        parts.append(_text(x, len(values) * row + 16, f"{100 * tick:.0f}", "tick middle"))
    for place, (label, value) in enumerate(sorted(values.items(), key=lambda item: -item[1])):
        y = place * row
        title = f"<title>{escape(titles.get(label, label))}</title>"
        parts.append(f"<g>{title}" + _text(left - 10, y + 17, _short(label, 24), "name end"))
        parts.append(
            f'<rect class="hit" x="0" y="{y:.0f}" width="{WIDTH:.0f}" height="{row}"/>'
            f'<rect class="bar" x="{left}" y="{y + 6:.0f}" width="{max(value * span, 1):.1f}" height="14" rx="2"/>'
        )
        shown = max(value, other.get(label, 0.0))
        if label in other:
            x = left + other[label] * span
            parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 2:.0f}" y2="{y + 24:.0f}"/>')
        parts.append(_text(left + shown * span + 8, y + 17, f"{100 * value:.1f}", "value") + "</g>")
    return _svg(WIDTH, len(values) * row + 24, "Average precision of each class", parts)


def training_curve(
    name: str, steps: Sequence[float], values: Sequence[float], other: tuple[Sequence[float], Sequence[float]] | None
) -> str:
    """One loss term over steps; the same term of another run in grey behind it."""
    width, height, left, top, bottom = 300.0, 120.0, 40.0, 26.0, 18.0
    drawn = [(steps, values, "line")]
    if other is not None:
        drawn.insert(0, (*other, "line other"))
    last = max(max(xs) for xs, _, _ in drawn)
    low = min(0.0, *(min(ys) for _, ys, _ in drawn))
    high = max(max(ys) for _, ys, _ in drawn)
    high = high if high > low else low + 1

    def place(x: float, y: float) -> str:
        across = left + x / max(last, 1) * (width - left - 8)
        return f"{across:.1f},{height - bottom - (y - low) / (high - low) * (height - top - bottom):.1f}"

    parts = [_text(left, 14, _short(name, 26), "name"), _text(width - 8, 14, f"{values[-1]:.3g}", "value end")]
    for value, y in ((high, top), (low, height - bottom)):
        parts.append(f'<line class="grid" x1="{left}" x2="{width - 8}" y1="{y:.0f}" y2="{y:.0f}"/>')
        parts.append(_text(left - 6, y + 4, f"{value:.2g}", "tick end"))
    parts.append(_text(left, height - 4, "0", "tick"))
    parts.append(_text(width - 8, height - 4, f"step {last:,.0f}", "tick end"))
    for xs, ys, style in drawn:
        points = " ".join(place(x, y) for x, y in zip(xs, ys, strict=True))
        parts.append(f'<polyline class="{style}" points="{points}"/>')
    return _svg(width, height, f"Training curve of {name}", parts)


class _Canvas:
    """Where the timeline's parts gather; turns seconds into positions."""

    def __init__(self, duration: float) -> None:
        self.duration = max(duration, 1e-6)
        self.parts: list[str] = []

    def x(self, seconds: float) -> float:
        return _GUTTER + min(max(seconds / self.duration, 0.0), 1.0) * (WIDTH - _GUTTER - _RIGHT)

    def strip(self, pictures: Sequence[str]) -> float:
        """Frames side by side, each over the slice of time that it is the middle of; the height used."""
        wide = (WIDTH - _GUTTER - _RIGHT) / len(pictures)
        tall = min(wide, 90.0)
        for place, uri in enumerate(pictures):
            left = _GUTTER + place * wide
            self.parts.append(
                f'<image href="{escape(uri)}" x="{left + 1:.1f}" y="0" width="{wide - 2:.1f}" height="{tall:.1f}" '
                'preserveAspectRatio="xMidYMid slice"/>'
            )
        return tall + 6

    def of_class(self, lanes: ClassLanes, top: float) -> float:
        """Truth, detections and T-CAM of one class; where the next lane starts."""
        self.parts.append(f"<g><title>{escape(lanes.label)}</title>")
        self.parts.append(_text(0, top + 13, _short(lanes.label, 18), "name") + "</g>")
        top += 20
        self._row_name("truth", top + 11)
        for bar in lanes.truth:
            self._bar(bar, top, _BAR, "truth")
        top += _BAR + 5
        rows = _pack(lanes.found)
        self._row_name("found", top + 9)
        for bar, row in zip(lanes.found, rows, strict=True):
            self._bar(bar, top + row * (_THIN + 2), _THIN, "found" if bar.right else "found wrong")
        top += (max(rows, default=0) + 1) * (_THIN + 2) + 5
        if lanes.curve is None:
            return top + 6
        self.curves([lanes.curve], top, lanes.truth, fill=True)
        return top + _CURVE + 10

    def curves(self, curves: Sequence[Curve], top: float, bands: Sequence[Bar], *, fill: bool) -> None:
        """Curves in one lane whose top is their greatest value (at least 0.5), over the truth as a pale band."""
        high = max(0.5, *(float(curve.values.max(initial=0.0)) for curve in curves))
        floor = top + _CURVE
        for bar in bands:
            left, right = self.x(bar.start), self.x(bar.end)
            self.parts.append(
                f'<rect class="band" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{_CURVE}"/>'
            )
        for y in (top, floor):
            self.parts.append(f'<line class="grid" x1="{_GUTTER}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        self.parts.append(_text(_GUTTER - 6, top + 8, f"{high:.2g}", "tick end"))
        for place, curve in enumerate(curves):
            level = top + 15 + 16 * place
            self.parts.append(f'<circle cx="20" cy="{level - 4:.1f}" r="4" fill="var(--{curve.colour})"/>')
            self.parts.append(_text(30, level, curve.name, "row"))
            xy = [
                (self.x(float(second)), floor - max(float(value), 0.0) / high * _CURVE)
                for second, value in zip(curve.seconds, curve.values, strict=True)
            ]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in xy)
            if fill and xy:
                area = f"{xy[0][0]:.1f},{floor:.1f} {line} {xy[-1][0]:.1f},{floor:.1f}"
                self.parts.append(f'<polygon class="area" points="{area}" fill="var(--{curve.colour})"/>')
            self.parts.append(f'<polyline class="curve" points="{line}" stroke="var(--{curve.colour})"/>')

    def axis(self, top: float) -> float:
        """Seconds below everything; the height of the whole drawing."""
        end = WIDTH - _RIGHT
        self.parts.append(f'<line class="axis" x1="{_GUTTER}" x2="{end}" y1="{top:.1f}" y2="{top:.1f}"/>')
        for second in _ticks(self.duration):
            x = self.x(second)
            self.parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{top + 4:.1f}"/>')
            self.parts.append(_text(x, top + 17, f"{second:g} s", "tick middle"))
        return top + 22

    def _bar(self, bar: Bar, top: float, height: float, style: str) -> None:
        left, right = self.x(bar.start), self.x(bar.end)
        self.parts.append(
            f'<rect class="{style}" x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 1.5):.1f}" '
            f'height="{height}" rx="2"><title>{escape(bar.title)}</title></rect>'
        )

    def _row_name(self, name: str, baseline: float) -> None:
        self.parts.append(_text(12, baseline, name, "row"))


def _pack(bars: Sequence[Bar]) -> list[int]:
    """The first row in which each bar overlaps no earlier one; what finds none shares the last row."""
    free: list[float] = []
    rows = [0] * len(bars)
    for place in sorted(range(len(bars)), key=lambda index: bars[index].start):
        bar = bars[place]
        row = next((row for row, end in enumerate(free) if end <= bar.start), len(free))
        row = min(row, _ROWS - 1)
        free[row : row + 1] = [max(bar.end, free[row]) if row < len(free) else bar.end]
        rows[place] = row
    return rows


def _ticks(duration: float) -> list[float]:
    """Round seconds, at most about ten."""
    rough = duration / 10
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough - 1e-9)
    return [round(k * step, 6) for k in range(math.floor(duration / step + 1e-9) + 1)]


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(label)}">'
    return "".join([head, *parts, "</svg>"])
