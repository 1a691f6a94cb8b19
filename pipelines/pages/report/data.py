"""The videos of a report as JSON for video.js, small enough for a page with thousands of videos.

Axis letters: t snippets, p points (means of as many snippets as the number of videos asks for).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from cache.features import FeatureGrid
from pipelines.pages.marked_texts import Priors, PriorsShown
from pipelines.pages.report.content import VideoView
from pipelines.pages.report.videos import RIGHT, Judged

_POINTS = 4_000_000
"""Maximum number of points of all curves on a page, one byte each; longer curves are averaged over several snippets."""
_FEWEST, _MOST = 64, 1024
"""Minimum and maximum number of points of one curve."""
NO_PRIORS = PriorsShown({}, {})


def video_data(
    videos: Sequence[VideoView], *, classes: Sequence[str], grid: FeatureGrid, priors: PriorsShown = NO_PRIORS
) -> dict[str, Any]:
    """The data for the script: seconds with two decimals, classes as indices, curves as bytes."""
    curves = sum(len(view.cas) + 2 for view in videos)
    most = min(max(_POINTS // max(curves, 1), _FEWEST), _MOST)
    index = {label: place for place, label in enumerate(classes)}
    for view in videos:  # a results file may hold labels that the dataset does not know
        for item in (*view.judged.drawn, *view.judged.further):
            index.setdefault(item.detection.label, len(index))
    return {
        "classes": list(index),
        "scored": any(view.judged.entry.segments for view in videos),
        "right": RIGHT,
        "csr": any(view.attention_csr is not None for view in videos),
        "videos": [_video(view, grid, priors, index, most) for view in videos],
        "priors": {index[label]: list(map(_priors, said)) for label, said in priors.by_class.items() if said},
    }


def points(values: Float[np.ndarray, " t"], size: int) -> Float[np.ndarray, " p"]:
    """Means over `size` values each; the last one over the remaining values."""
    starts = np.arange(0, len(values), size)
    return np.add.reduceat(values, starts) / np.minimum(size, len(values) - starts)


def packed(values: Float[np.ndarray, " p"]) -> list[Any]:
    """The maximum (at least 0), and the values as base64 of one byte per point, from 0 (0) to 255 (the maximum)."""
    top = max(float(np.nan_to_num(values).max(initial=0.0)), 0.0)
    steps = np.rint(np.clip(np.nan_to_num(values), 0.0, top) / (top or 1.0) * 255).astype(np.uint8)
    return [_round(top, 4), base64.b64encode(steps.tobytes()).decode()]


def _video(view: VideoView, grid: FeatureGrid, priors: PriorsShown, index: dict[str, int], most: int) -> dict[str, Any]:
    entry, judged = view.judged.entry, view.judged
    curves = {index[label]: values for label, values in view.cas.items()}
    length = max((len(values) for values in (*curves.values(), view.attention) if values is not None), default=0)
    size = max(-(-length // most), 1)
    offset, step = _times(grid, size)

    def pack(values: np.ndarray | None) -> list[Any] | None:
        return None if values is None or not len(values) else packed(points(values, size))

    return {
        "id": entry.video_id,
        "duration": _round(view.duration),
        "labels": [index[label] for label in entry.labels],
        "f1": _round(judged.quality, 3),
        "truth": [
            [index[s.label], _round(s.start), _round(s.end), int(place in judged.hit)]
            for place, s in enumerate(entry.segments)
        ],
        "ambiguous": [[_round(start), _round(end)] for start, end in entry.ambiguous],
        "found": [_found(item, index) for item in judged.drawn],
        "further": [_found(item, index) for item in judged.further],
        "offset": _round(offset, 4),
        "step": _round(step, 4),
        "snippets": size,
        "tcam": {label: pack(values) for label, values in curves.items()},
        "ksm": pack(view.attention),
        "csr": pack(view.attention_csr),
        "pictures": list(view.pictures),
        "player": view.player,
        "problem": view.problem,
        "priors": [
            {"label": index[said.action_class], **_priors(said)}
            for said in priors.by_video.get(entry.video_id, ())
            if said.action_class in index
        ],
    }


def _times(grid: FeatureGrid, size: int) -> tuple[float, float]:
    """Middle of the first `size` snippets, and the distance to the middle of the next ones, in seconds."""
    return (grid.start_seconds(0) + grid.end_seconds(size - 1)) / 2, grid.boundary_seconds(size)


def _found(item: Judged, index: dict[str, int]) -> Sequence[float | None]:
    d = item.detection
    tiou = None if item.tiou is None else _round(item.tiou)
    return [index[d.label], _round(d.start), _round(d.end), _round(d.score, 4), tiou, int(item.right)]


def _priors(said: Priors) -> dict[str, Any]:
    return {"video": said.video_id, "key": said.key.pieces, "complete": said.complete.pieces}


def _round(value: float, digits: int = 2) -> float:
    return round(float(value), digits)
