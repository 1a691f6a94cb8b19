"""From a video's outputs to detections in seconds: candidates of T-CAM or head, suppression, clamping, the grid.

The classic way thresholds attention or T-CAM; the head's way decodes its points (eq 18). Either works on
plain arrays over the real snippets of one video.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field, PositiveFloat, PositiveInt

from cache.detections import Detection
from cache.features import FeatureGrid
from cache.recipe import Recipe
from training.proposals import Candidates, group_segments, mean_inside, outer_inner, stretch
from training.suppression import hard_nms, rank, soft_nms

Array = np.ndarray


class LocalizeRecipe(Recipe):
    """How detections are read off. Defaults of the T-CAM way are those of the CO2-Net family, without its defects."""

    source: Literal["head", "cam", "head+cam"] = "head"
    """Who proposes: the localization head, the thresholded T-CAM, or both together."""
    class_threshold: float = Field(default=0.2, ge=0, le=1)
    """Classes whose video score reaches this are localized; if none does, the best one is."""
    curves: tuple[Literal["attention", "cas", "fused"], ...] = ("attention",)
    """T-CAM way: curves that are cut. attention (the same segments for every class), cas = the class's T-CAM, fused =
    T-CAM times attention."""
    thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """T-CAM way: where the curves are cut."""
    relative: bool = True
    """Thresholds are shares of the way from the curve's minimum to its maximum in the video; else values of it."""
    margin: PositiveFloat = 0.25
    """Width of the outside in the outer-inner score, as a share of the segment's length."""
    video_weight: float = Field(default=0.2, ge=0)
    """T-CAM way: score = outer-inner + this * video score of the class."""
    gate: bool = True
    """Head's way: only the classes that the video score chose."""
    attention_power: float = Field(default=0.0, ge=0)
    """Head's way: score = sigmoid(logit) * (mean attention inside)^this; 0 leaves attention out."""
    cam_weight: PositiveFloat = 1.0
    """head+cam: T-CAM scores are multiplied by this before they compete with the head's."""
    suppression: Literal["soft", "hard", "none"] = "soft"
    """What happens to overlapping detections of a class."""
    sigma: PositiveFloat = 0.3
    """Soft suppression: scores fall by exp(-tIoU^2 / sigma)."""
    tiou: float = Field(default=0.6, ge=0, lt=1)
    """Hard suppression: the most overlap that survives."""
    min_score: float = 0.001
    """Detections below this are not written."""
    most: PositiveInt = 200
    """At most so many detections a video."""


def localize(
    video_id: str,
    *,
    recipe: LocalizeRecipe,
    grid: FeatureGrid,
    classes: tuple[str, ...],
    duration: float | None,
    video_scores: Float[Array, " c"],
    cas: Float[Array, "t c"],
    attention: Float[Array, " t"],
    head: Candidates | None = None,
) -> list[Detection]:
    """Detections of one video, best first.

    `video_scores` are class probabilities of the video, `cas` the T-CAM without background (probabilities or logits),
    both in the order of `classes`. `head` are the head's decoded candidates: needed unless `source` is "cam" (else
    ValueError). Without `duration` (seconds) detections are cut at the end of the last snippet. A video without
    snippets has no detections.
    """
    if recipe.source != "cam" and head is None:
        raise ValueError(f"{video_id}: localize.source is {recipe.source!r}, but the model has no localization head")
    if not len(cas):
        return []
    chosen = choose_classes(video_scores, threshold=recipe.class_threshold)
    parts: list[Candidates] = []
    if recipe.source != "cam" and head is not None:
        parts.append(_head_candidates(head, chosen, attention, recipe))
    if recipe.source != "head":
        cam = cam_candidates(cas, attention, chosen, video_scores, recipe=recipe)
        parts.append(Candidates(cam.segments, cam.labels, cam.scores * recipe.cam_weight) if len(parts) else cam)
    kept = _suppress(Candidates.concatenate(parts), recipe)
    last = grid.end_seconds(len(cas) - 1) if duration is None else duration
    found = [
        Detection(
            video_id,
            classes[label],
            float(score),
            min(max(grid.boundary_seconds(float(start)), 0.0), last),
            min(grid.boundary_seconds(float(end)), last),
        )
        for (start, end), label, score in zip(kept.segments, kept.labels, kept.scores, strict=True)
        if score >= recipe.min_score
    ]
    return [detection for detection in found if detection.end > detection.start][: recipe.most]


def choose_classes(video_scores: Float[Array, " c"], *, threshold: float) -> Bool[Array, " c"]:
    """The classes whose video score reaches the threshold, or the best one if none does."""
    chosen = video_scores >= threshold
    if not chosen.any():
        chosen[np.argmax(video_scores)] = True
    return chosen


def cam_candidates(
    cas: Float[Array, "t c"],
    attention: Float[Array, " t"],
    chosen: Bool[Array, " c"],
    video_scores: Float[Array, " c"],
    *,
    recipe: LocalizeRecipe,
) -> Candidates:
    """The T-CAM way: cut the curves of every chosen class; score = outer-inner of T-CAM times attention + video score.

    Segments in snippet units, each once a class.
    """
    parts = []
    for label in np.flatnonzero(chosen):
        fused = cas[:, label] * attention
        voting = {"attention": attention, "cas": cas[:, label], "fused": fused}
        cut = [
            group_segments(stretch(voting[name]) if recipe.relative else voting[name], recipe.thresholds)
            for name in recipe.curves
        ]
        segments = np.unique(np.concatenate(cut), axis=0)
        scores = outer_inner(fused, segments, margin=recipe.margin) + recipe.video_weight * video_scores[label]
        parts.append(Candidates(segments, np.full(len(segments), label, dtype=np.int64), scores))
    return Candidates.concatenate(parts)


def _head_candidates(
    head: Candidates, chosen: Bool[Array, " c"], attention: Float[Array, " t"], recipe: LocalizeRecipe
) -> Candidates:
    kept = head.take(chosen[head.labels]) if recipe.gate else head
    if not recipe.attention_power:
        return kept
    weight = mean_inside(attention, kept.segments) ** recipe.attention_power
    return Candidates(kept.segments, kept.labels, kept.scores * weight)


def _suppress(candidates: Candidates, recipe: LocalizeRecipe) -> Candidates:
    match recipe.suppression:
        case "soft":
            return soft_nms(candidates, sigma=recipe.sigma, min_score=recipe.min_score)
        case "hard":
            return hard_nms(candidates, tiou=recipe.tiou)
        case "none":
            return rank(candidates)
