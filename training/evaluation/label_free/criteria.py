"""All criteria of one trial under one post-processing, by name, and their combination.

Axes: v videos, c classes, t snippets, d feature width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from training.evaluation.label_free.evidence import (
    erasing,
    label_contrast,
    log_likelihood,
    predictability,
    video_map,
)
from training.evaluation.label_free.relevance import mean_agreement

Array = np.ndarray
Criterion = Literal[
    "evidence",
    "detected_map",
    "stability",
    "video_map",
    "likelihood",
    "predictability",
    "cams",
    "agreement",
    "erasing",
    "contrast",
]
"""What settings can be chosen by; `criteria` says what each is."""


@dataclass(frozen=True)
class Model:
    """What one model says about all held-out videos."""

    held_out: slice
    """The videos that it was not trained on."""
    video_scores: Float[Array, "v c"]
    cams: Sequence[Float[Array, "t c"]]
    attentions: Sequence[Float[Array, " t"]]


@dataclass(frozen=True)
class Candidate:
    """The models of a trial, and the relevance maps of their detections under one post-processing."""

    models: Sequence[Model]
    maps: Sequence[Sequence[Float[Array, "t c"]]]
    """For each model, of each video."""
    again: Sequence[Sequence[Float[Array, "t c"]]]
    """The same of the videos at half the resolution in time, each second snippet standing for the next one, too."""
    labels: Bool[Array, "v c"]
    features: Sequence[Float[Array, "t d"]]


def criteria(one: Candidate) -> dict[str, float]:
    """Every criterion, as a mean over the models, from their video scores and detections.

    - video_map, likelihood: of the video scores of held-out videos;
    - detected_map: mAP of held-out videos, where the score of a class is that of its best detection;
    - agreement: correlation over time of the detections of two models that were trained on different videos;
    - predictability: of the detections from the features, across videos, by one linear map;
    - erasing, contrast: of a model's detections in the T-CAM of another model;
    - cams: agreement of a model's attention with its T-CAM;
    - stability: correlation over time of the detections with those at half the resolution in time;
    - evidence: detected_map times stability: the right classes, at places that do not depend on single snippets.

    Those that compare two models are taken over all pairs; with a single model they are left out.
    """
    own = [np.flatnonzero(row) for row in one.labels]
    count = len(one.models)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    held = [(model, maps, one.labels[model.held_out]) for model, maps in zip(one.models, one.maps, strict=True)]
    found = {
        "stability": _mean(mean_agreement(a, b, own) for a, b in zip(one.maps, one.again, strict=True)),
        "video_map": _mean(video_map(model.video_scores[model.held_out], labels) for model, _, labels in held),
        "likelihood": _mean(log_likelihood(model.video_scores[model.held_out], labels) for model, _, labels in held),
        "detected_map": _mean(
            video_map(np.stack([best.max(0) for best in maps[model.held_out]]), labels) for model, maps, labels in held
        ),
        "predictability": _mean(predictability(one.features, maps, own) for maps in one.maps),
        "cams": _mean(
            mean_agreement([a[:, None] * np.ones_like(c) for a, c in _curves(m)], [c for _, c in _curves(m)], own)
            for m in one.models
        ),
    }
    if pairs:
        found |= {
            "agreement": _mean(mean_agreement(one.maps[i], one.maps[j], own) for i, j in pairs if i < j),
            "erasing": _mean(erasing(one.models[j].cams, one.maps[i], one.labels) for i, j in pairs),
            "contrast": _mean(label_contrast(one.models[j].cams, one.maps[i], one.labels) for i, j in pairs),
        }
    return {"evidence": found["detected_map"] * max(found["stability"], 0.0), **found}


def _curves(model: Model) -> list[tuple[Array, Array]]:
    return list(zip(model.attentions, model.cams, strict=True))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
