"""From a video's outputs to detections in seconds: candidates of T-CAM or head, suppression, clamping, the grid.

The classic way thresholds attention or T-CAM; the head's way decodes its points (eq 18). Either works on
plain arrays over the real snippets of one video.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from cache.detections import Detection
from cache.features import FeatureGrid
from cache.recipe import Recipe
from training.localization.proposals import Candidates, mean_inside, outer_inner, propose, refine, stretch
from training.localization.suppression import Overlap, fuse, hard_nms, rank, soft_nms

Array = np.ndarray

PublicFamily = Literal["co2net", "um", "gaufuse"]
"""Public code that localizes in a way of its own: DELU, DDG-Net and Boosting-WTAL do as CO2-Net does."""


class LocalizeRecipe(Recipe):
    """How detections are read off. Defaults of the T-CAM way are those of the CO2-Net family, without its defects."""

    source: Literal["head", "cam", "head+cam"] = "head"
    """Who proposes: the localization head, the thresholded T-CAM, or both together."""
    official: PublicFamily | None = None
    """T-CAM way: repeat the public code of that family, its peculiarities included (`compat.localize` lists them);
    the settings that go with it are those of `official_recipe`. None: the corrected way."""
    class_threshold: float = Field(default=0.2, ge=0, le=1)
    """Classes whose video score reaches this are localized; if none does, the best one is."""
    curves: tuple[Literal["attention", "cas", "fused"], ...] = ("attention",)
    """T-CAM way: curves that are cut. attention (the same segments for every class), cas = the class's T-CAM, fused =
    T-CAM times attention."""
    thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """T-CAM way: where the curves are cut."""
    attention_thresholds: tuple[float, ...] | None = None
    """T-CAM way: where the attention is cut, if elsewhere than the other curves."""
    upsample: PositiveInt = 1
    """T-CAM way: curves are cut and scored at so many points a snippet, on straight lines between its neighbours."""
    snippets: PositiveInt | Literal["training"] | None = None
    """Longer videos are localized on so many evenly spread snippets of theirs; training = on as many as training laid
    them on (data.num_snippets, and with data.stretch shorter ones, too); None = on all, at a resolution that the
    model may never have seen."""
    relative: bool = True
    """Thresholds are shares of the way from the curve's minimum to its maximum in the video; else values of it."""
    margin: PositiveFloat = 0.25
    """Width of the outside in the outer-inner score, as a share of the segment's length."""
    video_weight: float = Field(default=0.2, ge=0)
    """T-CAM way: score = outer-inner + this * video score of the class."""
    gate: bool = True
    """Head's way: only the classes that the video score chose."""
    head_min_score: float = Field(default=0.01, ge=0, le=1)
    """Head's way: classes whose probability at a point is below this propose nothing there. min_score asks for more
    once overlaps are suppressed."""
    head_most: PositiveInt = 2000
    """Head's way: at most so many proposals a video, the best."""
    attention_power: float = Field(default=0.0, ge=0)
    """Head's way: score = sigmoid(logit) * (mean attention inside)^this; 0 leaves attention out."""
    cam_weight: PositiveFloat = 1.0
    """head+cam: T-CAM scores are multiplied by this before they compete with the head's."""
    suppression: Literal["soft", "hard", "fuse", "none"] = "soft"
    """What happens to overlapping detections of a class: scores fall, the better one stays, or they are averaged."""
    sigma: PositiveFloat = 0.3
    """Soft suppression: scores fall by exp(-tIoU^2 / sigma)."""
    tiou: float = Field(default=0.6, ge=0, lt=1)
    """Hard suppression: the most overlap that survives. Fusion: more of it makes one of two."""
    overlap: Overlap = "iou"
    """Hard suppression and fusion: overlap as a share of the union, or of the lower-scored segment alone."""
    temperature: PositiveFloat = 0.1
    """Fusion weighs by exp(score / temperature)."""
    longer_than: float = Field(default=0.0, ge=0)
    """Detections of so few snippets or fewer are not written."""
    min_score: float = 0.001
    """Detections below this are not written."""
    most: PositiveInt = 200
    """At most so many detections a video."""

    @model_validator(mode="after")
    def _public_code_has_no_head(self) -> LocalizeRecipe:
        if self.official is not None and self.source != "cam":
            raise ValueError(f"official: found {self.official!r} with source {self.source!r}, expected source 'cam'")
        return self


DEFAULT_RECIPE = LocalizeRecipe()


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
    step: float = 1.0,
) -> list[Detection]:
    """Detections of one video, best first.

    `video_scores` are class probabilities of the video, `cas` the T-CAM without background (probabilities or logits),
    both in the order of `classes`. `head` are the head's decoded candidates: needed unless `source` is "cam" (else
    ValueError). Without `duration` (seconds) detections are cut at the end of the last snippet. A video without
    snippets has no detections. `step` is the number of snippets from one row to the next.
    """
    if recipe.official is not None:
        raise ValueError(
            f"{video_id}: localize.official is {recipe.official!r}, which training.compat.localize follows"
        )
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
    last = grid.end_seconds(round(len(cas) * step) - 1) if duration is None else duration
    return write_out(video_id, kept, recipe=recipe, grid=grid, classes=classes, step=step, last=last)


def write_out(
    video_id: str,
    kept: Candidates,
    *,
    recipe: LocalizeRecipe,
    grid: FeatureGrid,
    classes: tuple[str, ...],
    step: float,
    last: float | None,
) -> list[Detection]:
    """The best of the ranked candidates that are good and long enough, in seconds, cut to [0, last].

    Their bounds are in rows of `step` snippets.
    """
    kept = Candidates(kept.segments * step, kept.labels, kept.scores)
    longer = kept.segments[:, 1] - kept.segments[:, 0] > recipe.longer_than
    kept = kept.take(longer & (kept.scores >= recipe.min_score))
    seconds = grid.boundary_seconds(kept.segments).clip(0.0, last)
    found = np.flatnonzero(seconds[:, 1] > seconds[:, 0])[: recipe.most]
    columns = kept.labels[found].tolist(), kept.scores[found].tolist(), seconds[found].tolist()
    return [Detection(video_id, classes[label], score, *span) for label, score, span in zip(*columns, strict=True)]


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
    labels = np.flatnonzero(chosen)
    own = refine(cas.T[labels], recipe.upsample)
    shared = refine(attention[None], recipe.upsample)
    fused = own * shared
    voting = {"attention": shared, "cas": own, "fused": fused}
    votes = [
        (stretch(voting[name]) if recipe.relative else voting[name], _thresholds(name, recipe))
        for name in recipe.curves
    ]
    row, segments = propose(votes, rows=len(labels))
    scores = outer_inner(fused, segments, row=row, margin=recipe.margin)
    scores += recipe.video_weight * video_scores[labels][row]
    return Candidates(segments / recipe.upsample, labels[row], scores)


def _thresholds(curve: str, recipe: LocalizeRecipe) -> tuple[float, ...]:
    own = recipe.attention_thresholds if curve == "attention" else None
    return recipe.thresholds if own is None else own


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
            return hard_nms(candidates, tiou=recipe.tiou, overlap=recipe.overlap)
        case "fuse":
            return fuse(candidates, tiou=recipe.tiou, temperature=recipe.temperature, overlap=recipe.overlap)
        case "none":
            return rank(candidates)
