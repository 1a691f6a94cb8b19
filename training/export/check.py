"""Writing an exported model: the file appears only if onnxruntime computes from it what PyTorch computes.

Axes: b videos, t snippets, d features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from cache.files.atomic import atomic_path
from training.errors import TrainingError
from training.export.exported import METADATA, ExportedModel, ModelCard
from training.export.graph import InferenceGraph, write_graph
from training.model.localizer import Localizer

Array = np.ndarray

TOLERANCE = 1e-4
"""Largest difference of an output: absolute below 1, relative above."""
NUDGE = 1e-6
"""Relative change of features in their last bits."""
SHAPES = ((1, 1), (1, 2), (1, 7), (2, 33), (1, 64), (1, 333))
"""Videos and snippets of the made-up features."""
_ATTEMPTS = 5
"""Made-up features of each shape until outputs do not depend on their last bits."""


@dataclass(frozen=True)
class Check:
    """What was compared, and the largest difference of each output."""

    shapes: tuple[tuple[int, int], ...]
    """Videos and snippets of each comparison."""
    unstable: int
    """Features that were left out, since PyTorch's own outputs for them depend on the last bits of the features."""
    differences: dict[str, float]


def export(
    model: Localizer[Any],
    card: ModelCard,
    path: Path,
    *,
    factors: Float[Array, " d"] | None = None,
    videos: Sequence[Float[Array, "_ d"]] = (),
) -> Check:
    """Write the inference part of a model (on the CPU) as an ONNX file, checked on made-up features and on `videos`.
    `factors` scale the columns of the features.

    Raises `TrainingError`, and writes nothing, if a package is missing or an output differs by more than `TOLERANCE`.
    """
    width = card.grid.width
    graph = InferenceGraph(model, kind=card.localize.video_scores, factors=factors)
    with atomic_path(path) as unfinished:
        write_graph(graph, unfinished, width=width, metadata={METADATA: card.model_dump_json()})
        check = compare(graph, ExportedModel.open(unfinished), width=width, videos=videos)
        if wrong := {name: value for name, value in check.differences.items() if not value <= TOLERANCE}:
            told = ", ".join(f"{name} by {value:.1e}" for name, value in wrong.items())
            raise TrainingError(
                f"{path}: not written: onnxruntime's outputs differ from PyTorch's ({told}), expected at most "
                f"{TOLERANCE:g}; other versions of torch, onnxscript and onnxruntime may export the host {card.host}"
            )
    return check


def compare(
    graph: InferenceGraph, exported: ExportedModel, *, width: int, videos: Sequence[Float[Array, "_ d"]] = ()
) -> Check:
    """Differences between both on features of every shape in `SHAPES` and on `videos`."""
    offered = [(made_up(shape, width, seed=seed) for seed in range(_ATTEMPTS)) for shape in SHAPES]
    offered += [iter([np.asarray(video, np.float32)[None]]) for video in videos]
    shapes: list[tuple[int, int]] = []
    worst: dict[str, float] = {}
    for choice in offered:
        stable = next((features for features in choice if _is_stable(graph, features)), None)
        if stable is None:
            continue
        shapes.append(stable.shape[:2])
        found = exported.outputs(stable)
        for name, value in _outputs(graph, stable).items():
            worst[name] = max(worst.get(name, 0.0), difference(found[name], value))
    return Check(tuple(shapes), len(offered) - len(shapes), worst)


def difference(found: Array, expected: Array) -> float:
    """The largest difference, absolute below 1 and relative above; infinite where shapes differ or a number is none."""
    if found.shape != expected.shape:
        return float("inf")
    gap = np.abs(found.astype(np.float64) - expected) / np.maximum(1, np.abs(expected))
    return float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0))


def made_up(shape: tuple[int, int], width: int, *, seed: int) -> Float[Array, "b t d"]:
    """Features as of videos: a few scenes that follow each other, whose snippets are alike but not equal; not
    negative."""
    draw = np.random.default_rng(seed)
    scenes = draw.gamma(0.5, size=(4, width))
    scene = np.cumsum(draw.random(shape) < 0.15, axis=1) % len(scenes)
    return (scenes[scene] * draw.uniform(0.7, 1.3, (*shape, width))).astype(np.float32)


def _is_stable(graph: InferenceGraph, features: Float[Array, "b t d"]) -> bool:
    """Whether PyTorch's own outputs stay within the tolerance when features change in their last bits.

    DDG-Net cuts cosines and attentions at thresholds: about a number that equals one to the last bits no two
    programmes agree.
    """
    draw = np.random.default_rng(0)
    nudged = features * (1 + NUDGE * draw.uniform(-1, 1, features.shape)).astype(np.float32)
    expected, moved = _outputs(graph, features), _outputs(graph, nudged)
    return all(difference(moved[name], value) <= TOLERANCE for name, value in expected.items())


@torch.inference_mode()
def _outputs(graph: InferenceGraph, features: Float[Array, "b t d"]) -> dict[str, Array]:
    return {name: value.numpy() for name, value in graph(torch.from_numpy(features)).items()}
