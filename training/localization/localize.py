"""Post-processing: detections in seconds from a video's T-CAM or head outputs (proposals, suppression, clipping).

Proposals come from curves (attention, T-CAM) cut at thresholds, or from the decoded points of the localization head
(eq 18). All functions work on plain arrays over the real snippets of one video.
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
"""Hosts whose public code has post-processing of its own; DELU, DDG-Net and Boosting-WTAL have that of CO2-Net."""


VideoScores = Literal["softmax", "against_background"]
"""Kinds of video scores: shared by all classes and the background, or of each class by itself."""


class LocalizeRecipe(Recipe):
    """Post-processing. Defaults for T-CAM proposals are those of the CO2-Net family, without its defects."""

    source: Literal["head", "cam", "head+cam"] = "head"
    """Where proposals come from: the localization head, the thresholded T-CAM, or both."""
    official: PublicFamily | None = None
    """T-CAM: use the post-processing of this host's public code, with its defects (listed in `compat.localize`);
    `official_recipe` has the settings that go with it. None: the corrected post-processing."""
    video_scores: VideoScores = "softmax"
    """Probability of each class in the video: softmax = shared by all classes and the background, so that each of n
    classes that are there has about 1 / n; against_background = of each class against the background alone, about 0.5
    where it is there, however many others are (the host UM has no background: against the best class)."""
    class_choice: Literal["absolute", "relative"] = "absolute"
    """Which classes are localized: absolute = those whose video score reaches class_threshold, or the best one if none
    does; relative = those whose video score reaches class_threshold times the best one's."""
    class_threshold: float = Field(default=0.2, ge=0, le=1)
    """Classes whose video score reaches this (see class_choice) are localized."""
    curves: tuple[Literal["attention", "cas", "fused"], ...] = ("attention",)
    """T-CAM: curves that are cut into proposals. attention (the same segments for every class), cas = the class's
    T-CAM, fused = T-CAM times attention."""
    thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """T-CAM: thresholds on the curves."""
    attention_thresholds: tuple[float, ...] | None = None
    """T-CAM: thresholds on the attention, if other than those on the other curves."""
    upsample: PositiveInt = 1
    """T-CAM: curves are linearly interpolated to this many points per snippet before they are cut and scored."""
    snippets: PositiveInt | Literal["training"] | None = None
    """Longer videos are localized on this many evenly spaced snippets; training = on as many as in training
    (data.num_snippets; with data.stretch shorter videos, too); None = on all snippets, a resolution that the model may
    not have been trained on."""
    relative: bool = True
    """Thresholds are relative to the range of the curve in the video (0 = minimum, 1 = maximum); else they are
    absolute."""
    margin: PositiveFloat = 0.25
    """Outer-inner score: width of the outer region on either side, as a share of the segment's length."""
    video_weight: float = Field(default=0.2, ge=0)
    """T-CAM: score = outer-inner + this * video score of the class."""
    gate: bool = True
    """Head: keep only classes chosen by their video score (class_threshold)."""
    head_min_score: float = Field(default=0.01, ge=0, le=1)
    """Head: a point proposes only classes whose probability reaches this. min_score is applied later, after
    suppression."""
    head_most: PositiveInt = 2000
    """Head: at most this many proposals per video, the best ones."""
    attention_power: float = Field(default=0.0, ge=0)
    """Head: score = sigmoid(logit) * (mean attention inside)^this; 0 ignores the attention."""
    cam_weight: PositiveFloat = 1.0
    """head+cam: factor on T-CAM scores before they are ranked together with the head's."""
    suppression: Literal["soft", "hard", "fuse", "none"] = "soft"
    """Overlapping detections of a class: soft = their scores are lowered (soft-NMS), hard = only the better one is kept
    (NMS), fuse = they are averaged, none = all are kept."""
    sigma: PositiveFloat = 0.3
    """suppression=soft: scores are multiplied by exp(-tIoU^2 / sigma)."""
    tiou: float = Field(default=0.6, ge=0, lt=1)
    """suppression=hard or fuse: largest overlap of two detections that are both kept."""
    overlap: Overlap = "iou"
    """suppression=hard or fuse: overlap as a share of the union (iou) or of the lower-scored segment (lower)."""
    temperature: PositiveFloat = 0.1
    """suppression=fuse: weights are exp(score / temperature)."""
    longer_than: float = Field(default=0.0, ge=0)
    """Detections of at most this many snippets are dropped."""
    min_score: float = 0.001
    """Detections with a lower score are dropped."""
    most: PositiveInt = 200
    """At most this many detections per video."""

    @model_validator(mode="after")
    def _public_code_has_no_head(self) -> LocalizeRecipe:
        if self.official is not None and self.source != "cam":
            raise ValueError(f"official: found {self.official!r} with source {self.source!r}, expected source 'cam'")
        if self.official is not None and (self.video_scores, self.class_choice) != ("softmax", "absolute"):
            raise ValueError(
                f"official: found {self.official!r} with video_scores {self.video_scores!r} and class_choice "
                f"{self.class_choice!r}, expected 'softmax' and 'absolute', as the public code has them"
            )
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
    both in the order of `classes`. `head` are the head's decoded proposals: needed unless `source` is "cam" (else
    ValueError). Without `duration` (seconds) detections are clipped at the end of the last snippet. A video without
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
    chosen = choose_classes(video_scores, threshold=recipe.class_threshold, choice=recipe.class_choice)
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
    """The best ranked candidates that have the minimum score and length, in seconds, clipped to [0, last].

    Their bounds are in rows of `step` snippets.
    """
    kept = Candidates(kept.segments * step, kept.labels, kept.scores)
    longer = kept.segments[:, 1] - kept.segments[:, 0] > recipe.longer_than
    kept = kept.take(longer & (kept.scores >= recipe.min_score))
    seconds = grid.boundary_seconds(kept.segments).clip(0.0, last)
    best = np.flatnonzero(seconds[:, 1] > seconds[:, 0])[: recipe.most]
    columns = kept.labels[best].tolist(), kept.scores[best].tolist(), seconds[best].tolist()
    return [Detection(video_id, classes[label], score, *span) for label, score, span in zip(*columns, strict=True)]


def choose_classes(
    video_scores: Float[Array, " c"], *, threshold: float, choice: Literal["absolute", "relative"] = "absolute"
) -> Bool[Array, " c"]:
    """The classes whose video score reaches the threshold, relative to the best one's if `choice` says so; the best one
    if none does."""
    chosen = video_scores >= (threshold if choice == "absolute" else threshold * video_scores.max())
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
    """T-CAM proposals: cut the curves of every chosen class; score = outer-inner of T-CAM times attention + video
    score.

    Segments in snippet units, without duplicates within a class.
    """
    labels = np.flatnonzero(chosen)
    tcam = refine(cas.T[labels], recipe.upsample)
    gate = refine(attention[None], recipe.upsample)
    fused = tcam * gate
    curves = {"attention": gate, "cas": tcam, "fused": fused}
    votes = [
        (stretch(curves[name]) if recipe.relative else curves[name], _thresholds(name, recipe))
        for name in recipe.curves
    ]
    row, segments = propose(votes, rows=len(labels))
    scores = outer_inner(fused, segments, row=row, margin=recipe.margin)
    scores += recipe.video_weight * video_scores[labels][row]
    return Candidates(segments / recipe.upsample, labels[row], scores)


def _thresholds(curve: str, recipe: LocalizeRecipe) -> tuple[float, ...]:
    of_attention = recipe.attention_thresholds if curve == "attention" else None
    return recipe.thresholds if of_attention is None else of_attention


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
