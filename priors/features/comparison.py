"""Compares snippet features of a video with those that somebody else made of it: length, scale, cosine, and hints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from cache.features import FeatureGrid

_LAGS = range(-4, 5)
_GAIN = 0.05
"""By how much another reading of the file has to fit better before it is told."""
_SCALE = 1.1
"""Ratio of norms from which another scale is told."""
_SPARE = 2
"""Snippets by which lengths may differ: the last one, incomplete, and flow's, which is a frame short."""


@dataclass(frozen=True)
class StreamComparison:
    """How the columns of one stream fit."""

    stream: str
    scale: float
    """Median norm of theirs, divided by that of ours."""
    cosine: float
    """Mean over snippets at the same index."""
    by_chance: float
    """Mean cosine of snippets half of the video apart: what features have in common that have nothing in common."""
    hints: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """How the features of one video fit."""

    ours: int
    """Snippets."""
    theirs: int
    streams: tuple[StreamComparison, ...]
    hints: tuple[str, ...]

    @property
    def same_length(self) -> bool:
        """Whether the lengths differ by no more than conventions do."""
        return abs(self.ours - self.theirs) <= _SPARE


def compare(ours: np.ndarray, theirs: np.ndarray, grid: FeatureGrid) -> Comparison:
    """Compare (T, D) features of the grid with other ones: of all its streams, or of one of them; crops are averaged.

    Raises ValueError saying what was found if the shape of theirs is none of features.
    """
    ours, theirs, told = np.asarray(ours, np.float64), *_oriented(np.asarray(theirs, np.float64), grid)
    length = _length_hint(len(ours), len(theirs), grid)
    aligned = _resampled(theirs, len(ours)) if length and "stride" in length else theirs
    known = _columns(grid)
    if theirs.shape[1] == grid.width:
        parts = {name: aligned[:, columns] for name, columns in known.items()}
    else:
        alike = {name: columns for name, columns in known.items() if grid.streams[name] == theirs.shape[1]}
        best = max(alike, key=lambda name: _fit(ours[:, alike[name]], aligned))
        parts = {best: aligned}
        told = (*told, f"it holds one stream, taken for {best}, which fits best")
    streams = tuple(_stream(name, ours, part, parts, known, grid) for name, part in parts.items())
    return Comparison(len(ours), len(theirs), streams, (*told, *([length] if length else [])))


def _oriented(theirs: np.ndarray, grid: FeatureGrid) -> tuple[Float[np.ndarray, "t d"], tuple[str, ...]]:
    """Theirs as (T, D), and what was done for that."""
    widths = {grid.width, *grid.streams.values()}
    told: tuple[str, ...] = ()
    if theirs.ndim == 3 and theirs.shape[2] in widths:
        told = (f"it holds {theirs.shape[1]} crops a snippet, whose mean is compared",)
        theirs = theirs.mean(axis=1)
    if theirs.ndim == 2 and theirs.shape[1] not in widths and theirs.shape[0] in widths:
        theirs, told = theirs.T, (*told, "its axes are swapped: found (width, snippets)")
    if theirs.ndim != 2 or theirs.shape[1] not in widths or not len(theirs):
        raise ValueError(f"found shape {theirs.shape}, expected (snippets, {' or '.join(map(str, sorted(widths)))})")
    return theirs, told


def _length_hint(ours: int, theirs: int, grid: FeatureGrid) -> str | None:
    """Why the lengths differ, if they differ by more than a convention."""
    if abs(ours - theirs) <= _SPARE:
        return None
    ratio = Fraction(theirs, ours).limit_denominator(8)
    if 0 < ratio < 32 and abs(theirs / ours - ratio) * ours <= _SPARE + ratio and ratio != 1:
        stride = float(grid.snippet_stride / ratio)
        return (
            f"other stride: {float(ratio):g} times as many snippets, one every {stride:g} frames at {grid.fps:g} fps "
            "(or another frame rate); cosines are of the nearest ones"
        )
    return "other length: resized to a fixed number of snippets, or of another cut of the video?"


def _resampled(rows: np.ndarray, length: int) -> np.ndarray:
    """The row nearest to each of `length` places."""
    return rows[np.minimum((np.arange(length) * len(rows) / length).round().astype(int), len(rows) - 1)]


def _columns(grid: FeatureGrid) -> dict[str, slice]:
    """The columns of each stream."""
    ends = np.cumsum(list(grid.streams.values())).tolist()
    return {name: slice(end - width, end) for (name, width), end in zip(grid.streams.items(), ends, strict=True)}


def _stream(
    name: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    parts: Mapping[str, np.ndarray],
    known: Mapping[str, slice],
    grid: FeatureGrid,
) -> StreamComparison:
    mine = ours[:, known[name]]
    count = min(len(mine), len(theirs))
    norms = [np.linalg.norm(rows[:count], axis=1) for rows in (mine, theirs)]
    scale = float(np.median(norms[1]) / max(np.median(norms[0]), 1e-12))
    half = count // 2
    hints = [
        *_scale_hint(scale, norms[1]),
        *_order_hint(name, mine, theirs, parts),
        *_shift_hint(mine, theirs, grid),
    ]
    return StreamComparison(
        name, scale, _cosine(mine, theirs), _cosine(np.roll(mine[:count], half, axis=0), theirs), tuple(hints)
    )


def _scale_hint(scale: float, norms: np.ndarray) -> list[str]:
    if np.ptp(norms) < 1e-3 * max(norms.max(), 1e-12) and len(norms) > 1:
        return [f"other scale: its rows are normalised to length {norms.mean():.3g}"]
    if not 1 / _SCALE < scale < _SCALE:
        return [f"other scale: its numbers are {scale:.3g} times as large"]
    return []


def _order_hint(name: str, mine: np.ndarray, theirs: np.ndarray, parts: Mapping[str, np.ndarray]) -> list[str]:
    """Whether another stream's columns fit better, of those that are as wide."""
    fits = {other: _fit(mine, part) for other, part in parts.items() if part.shape[1] == mine.shape[1]}
    best = max(fits, key=lambda other: fits[other])
    if best == name or fits[best] < _fit(mine, theirs) + _GAIN:
        return []
    return [f"order of streams: {name} fits its columns of {best} better (cosine {_cosine(mine, parts[best]):.3f})"]


def _shift_hint(mine: np.ndarray, theirs: np.ndarray, grid: FeatureGrid) -> list[str]:
    """Whether a few snippets earlier or later fit better."""
    fits = {lag: _fit(*_shifted(mine, theirs, lag)) for lag in _LAGS if abs(lag) < min(len(mine), len(theirs)) // 2}
    best = max(fits, key=lambda lag: fits[lag], default=0)
    if best == 0 or fits[best] < fits[0] + _GAIN:
        return []
    seconds = best * grid.snippet_stride / grid.fps
    cosine = _cosine(*_shifted(mine, theirs, best))
    return [f"shifted grid: it fits better {best:+d} snippets ({seconds:+.2f} s) away (cosine {cosine:.3f})"]


def _shifted(mine: np.ndarray, theirs: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Ours beside theirs `lag` snippets later."""
    return mine[max(0, -lag) :], theirs[max(0, lag) :]


def _cosine(mine: np.ndarray, theirs: np.ndarray) -> float:
    """Mean cosine of rows at the same index."""
    count = min(len(mine), len(theirs))
    a, b = mine[:count], theirs[:count]
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean((a * b).sum(axis=1) / np.maximum(norms, 1e-12)))


def _fit(mine: np.ndarray, theirs: np.ndarray) -> float:
    """As the cosine, but of what changes over time: features of rectified networks are all alike otherwise."""
    count = min(len(mine), len(theirs))
    a, b = mine[:count], theirs[:count]
    return _cosine(a - a.mean(axis=0), b - b.mean(axis=0))
