"""Post-processing in plain Python, built as the public code is: one threshold, one segment, one candidate at a time.

An independent second form of `training.localization.proposals` and `training.localization.suppression`: tests compare
the results, `python -m benchmarks proposals` the time. With `official` it has that code's margins of whole snippets,
its guard and its repeated segments; `extra` is what it adds to lengths.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

Row = list[float]
"""[label, score, start, end]."""


def group(indices: np.ndarray) -> list[np.ndarray]:
    """Runs of consecutive indices."""
    return np.split(indices, np.where(np.diff(indices) != 1)[0] + 1)


def outside_of(indices: np.ndarray, length: int, margin: float, *, official: bool) -> tuple[list[int], list[float]]:
    """Snippets on either side of a run, and how much of each counts."""
    first, last, width = int(indices[0]), int(indices[-1]), margin * len(indices)
    if official:
        low, high = max(0, int(first - width)), min(length - 1, int(last + width))
        snippets = list(range(low, first)) + list(range(last + 1, high + 1))
        return snippets, [1.0] * len(snippets)
    low, high = max(0.0, first - width), min(float(length), last + 1 + width)
    snippets = list(range(math.floor(low), first)) + list(range(last + 1, math.ceil(high)))
    return snippets, [min(t + 1, high) - max(t, low) for t in snippets]


def propose(
    curve: np.ndarray,
    scored: np.ndarray,
    thresholds: Sequence[float],
    *,
    label: int,
    bonus: float,
    margin: float = 0.25,
    official: bool = False,
) -> list[Row]:
    """Segments of one class: the runs of `curve` over each threshold, scored on `scored`."""
    rows: list[Row] = []
    seen: set[tuple[float, ...]] = set()
    for threshold in thresholds:
        indices = np.where(curve > threshold)[0] if official else np.where(curve >= threshold)[0]
        if len(indices) == 0 or (official and not indices.any()):
            continue
        for run in group(indices):
            span = (float(run[0]), float(run[-1] + 1))
            if span in seen and not official:
                continue
            seen.add(span)
            inner = np.mean(scored[run])
            snippets, weights = outside_of(run, len(scored), margin, official=official)
            outer = np.average(scored[snippets], weights=weights) if sum(weights) > 1e-9 else 0.0
            rows.append([float(label), float(inner - outer + bonus), *span])
    return rows


def soft_nms(
    rows: list[Row],
    *,
    sigma: float = 0.3,
    extra: float = 0.0,
    method: Literal["gaussian", "linear", "hard"] = "gaussian",
    tiou: float = 0.7,
) -> list[Row]:
    """Suppression of one class that drops none; scores that are not positive are left alone unless `extra` is given.

    `method` is gaussian wherever anybody uses it; the public code also knows 1 - tIoU, and 0, beyond `tiou`.
    """
    waiting, kept = np.array(rows, dtype=np.float64).reshape(-1, 4), []
    while len(waiting):
        best = int(np.argmax(waiting[:, 1]))
        waiting[[0, best]] = waiting[[best, 0]]
        kept.append(waiting[0].tolist())
        overlap = _overlap(waiting[0], waiting[1:], extra)
        match method:
            case "gaussian":
                decay = np.exp(-(overlap * overlap) / sigma)
            case "linear":
                decay = np.where(overlap > tiou, 1 - overlap, 1.0)
            case "hard":
                decay = np.where(overlap > tiou, 0.0, 1.0)
        waiting[1:, 1] *= decay if extra else np.where(waiting[1:, 1] > 0, decay, 1.0)
        waiting = waiting[1:]
    return kept


def hard_nms(rows: list[Row], *, tiou: float, lower: bool = False) -> list[Row]:
    """The best of one class, and whatever overlaps none of those kept by more than `tiou`."""
    waiting, kept = _ranked(rows), []
    while len(waiting):
        kept.append(waiting[0].tolist())
        waiting = waiting[1:][_overlap(waiting[0], waiting[1:], lower=lower) <= tiou]
    return kept


def fuse(rows: list[Row], *, tiou: float, temperature: float, lower: bool = False) -> list[Row]:
    """Groups around the best of one class, their bounds averaged with weights exp(score / temperature)."""
    waiting, kept = _ranked(rows), []
    while len(waiting):
        joined = np.concatenate([[True], _overlap(waiting[0], waiting[1:], lower=lower) > tiou])
        total, start, end = 0.0, 0.0, 0.0
        for _, score, first, last in waiting[joined]:
            weight = math.exp((score - waiting[0, 1]) / temperature)
            total, start, end = total + weight, start + weight * first, end + weight * last
        kept.append([waiting[0, 0], waiting[0, 1], start / total, end / total])
        waiting = waiting[~joined]
    return kept


def _ranked(rows: list[Row]) -> np.ndarray:
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return table[np.argsort(-table[:, 1], kind="stable")]


def _overlap(best: np.ndarray, others: np.ndarray, extra: float = 0.0, *, lower: bool = False) -> np.ndarray:
    start = np.maximum(best[2], others[:, 2])
    end = np.minimum(best[3], others[:, 3])
    inner = np.maximum(end - start + extra, 0.0)
    lengths = others[:, 3] - others[:, 2] + extra
    whole = lengths if lower else best[3] - best[2] + extra + lengths - inner
    return np.divide(inner, whole, out=np.zeros_like(inner), where=whole > 0)
