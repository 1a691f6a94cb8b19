"""The public code's own ways from T-CAM to detections, its peculiarities included, to evaluate its published weights.

`official_recipe(method)` gives the settings, `official_localize` follows them where `LocalizeRecipe.official` names the
family. The corrected way, which is the default, is `training.localization.localize`. In what the families differ from
it:

co2net (CO2-Net, DELU, DDG-Net, Boosting-WTAL)
- Segments are scored on raw logits times attention, and the video's scores are the softmax over classes and background
  of the mean of their highest tenth, whatever the training took.
- A value equal to a threshold is below it.
- Every threshold leaves its segments: those cut alike stay as many, and survive soft suppression with their score times
  exp(-1 / sigma).
- A threshold that only snippet 0 exceeds counts as exceeded by none: the guard asks whether any index, not whether any
  value, is there.
- Margins are cut to whole snippets: a segment of three snippets or fewer has no outside, which then counts as 0.
- Overlaps are taken of lengths + 1.
- Soft suppression drops nothing, and lets negative scores rise.
- DELU alone drops segments of one snippet in the end.

um (UM)
- Curves get 24 values a snippet, the first one at its start; after the last snippet they go on as they went before.
- What lies below the threshold is 0 while a segment of the T-CAM is scored, outside of it, too; not where the attention
  made the segment.
- Segments of one of the 24 parts are dropped; the guard above, which is there as well, only ever loses such.
- Hard suppression takes seconds, and lengths + 1 s: a segment of one second counts as two. An overlap equal to tiou is
  too much. Of equal scores the last one goes first.

gaufuse (Zhou et al.)
- A segment ends one snippet later than the curve falls, and its mean inside counts that snippet.
- Margins are 0.0785 length^0.9, cut to whole snippets, and begin one snippet after the fall.
- A video may have no class at all. Segments of one snippet are dropped. Overlaps are taken of lengths + 1.
- The overlap is a share of the lower-scored segment. Only the best of a group stays; the fusion that teaches the
  network (bounds and scores averaged with weights exp(mean inside / temperature)) is `suppression="fuse"`.

None of them cuts segments at the video's duration.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from cache.detections import Detection
from cache.features import FeatureGrid
from training.localization.localize import LocalizeRecipe, choose_classes, write_out
from training.localization.proposals import Candidates, find_runs, mean_inside
from training.localization.suppression import average_groups, leaders, rank, soft_scores

Array = np.ndarray

PublicMethod = Literal["co2net", "delu", "ddgnet", "boosting", "um", "gaufuse"]
"""Methods whose public code is repeated here; each belongs to a `PublicFamily`."""

ONE_LONGER = np.array([0.0, 1.0])
"""Added to [start, end]: the public code's length is end - start + 1."""
VIDEO_SHARE = 10
"""co2net: the highest t / VIDEO_SHARE logits speak for a video."""
GAUFUSE_POWER = 0.9
"""gaufuse: margins grow with the length to this power."""


def official_recipe(method: PublicMethod) -> LocalizeRecipe:
    """The settings with which the public code of a method localizes in THUMOS14."""
    keep_all = LocalizeRecipe(source="cam", relative=False, min_score=-1e6, most=1_000_000)
    match method:
        case "co2net" | "ddgnet" | "boosting" | "delu":
            steps, shortest = (20, 1.0) if method == "delu" else (10, 0.0)
            family = {"official": "co2net", "thresholds": tuple(np.linspace(0.1, 0.9, steps).tolist())}
            return keep_all.model_copy(update={**family, "longer_than": shortest})
        case "um":
            family = {"official": "um", "curves": ("fused", "attention"), "upsample": 24, "snippets": 750}
            cuts = {"thresholds": np.arange(0.0, 0.25, 0.025), "attention_thresholds": np.arange(0.4, 0.625, 0.025)}
            cut = {name: tuple(values.tolist()) for name, values in cuts.items()}
            return keep_all.model_copy(update={**family, **cut, "suppression": "hard", "tiou": 0.6})
        case "gaufuse":
            family = {"official": "gaufuse", "curves": ("fused",), "class_threshold": 0.16, "margin": 0.0785}
            family |= {"thresholds": tuple(np.arange(0.001, 0.04, 0.002).tolist()), "video_weight": 0.0}
            suppression = {"suppression": "hard", "overlap": "lower", "tiou": 0.25, "temperature": 0.2}
            return keep_all.model_copy(update={**family, **suppression})


def official_localize(
    video_id: str,
    *,
    recipe: LocalizeRecipe,
    grid: FeatureGrid,
    classes: tuple[str, ...],
    video_scores: Float[Array, " c"],
    cas: Float[Array, "t c"],
    attention: Float[Array, " t"],
    logits: Float[Array, "t k"],
    step: float = 1.0,
) -> list[Detection]:
    """Detections of one video as the public code of the family `recipe.official` makes them, best first.

    Beside what `localize` takes, the host's `logits`, the background's last: co2net reads these and no probabilities.
    `step` is the number of snippets from one row to the next.
    """
    if not len(cas):
        return []
    found = official_candidates(recipe, video_scores, cas, attention, logits, seconds=grid.boundary_seconds(step))
    return write_out(video_id, rank(found), recipe=recipe, grid=grid, classes=classes, step=step, last=None)


def official_candidates(
    recipe: LocalizeRecipe,
    video_scores: Float[Array, " c"],
    cas: Float[Array, "t c"],
    attention: Float[Array, " t"],
    logits: Float[Array, "t k"],
    *,
    seconds: float,
) -> Candidates:
    """What is left after suppression, in rows of `cas`; `seconds` is the time from one row to the next."""
    match recipe.official:
        case "co2net":
            return _soften(_co2net(logits * attention[:, None], attention, recipe), recipe)
        case "um":
            return _suppress_in_seconds(_um(cas, attention, video_scores, recipe), recipe, seconds)
        case "gaufuse":
            return _keep_or_fuse(*_gaufuse(cas * attention[:, None], video_scores, recipe), recipe)
        case None:
            raise ValueError("localize.official: found None, expected a family of public code")


def _co2net(weighted: Float[Array, "t k"], attention: Float[Array, " t"], recipe: LocalizeRecipe) -> Candidates:
    video_scores = co2net_video_scores(weighted)
    labels = np.flatnonzero(choose_classes(video_scores, threshold=recipe.class_threshold))
    _, place, start, end = find_runs(attention[None], np.nextafter(recipe.thresholds, np.inf))
    alone = np.bincount(place, minlength=len(recipe.thresholds))[place] == 1
    seen = ~(alone & (end == 1))
    segments = np.tile(np.stack([start, end], axis=1)[seen], (len(labels), 1)).astype(np.float64)
    row = np.repeat(np.arange(len(labels)), seen.sum())
    width = recipe.margin * (segments[:, 1] - segments[:, 0])
    contrast = _contrast(weighted.T[labels], row, segments, width)
    return Candidates(segments, labels[row], contrast + recipe.video_weight * video_scores[labels][row])


def co2net_video_scores(weighted: Float[Array, "t k"]) -> Float[Array, " c"]:
    """Probabilities of the classes in the video, out of logits times attention."""
    highest = np.sort(weighted, axis=0)[-max(1, len(weighted) // VIDEO_SHARE) :].mean(axis=0)
    exponential = np.exp(highest - highest.max())
    return (exponential / exponential.sum())[:-1]


def _um(
    cas: Float[Array, "t c"], attention: Float[Array, " t"], video_scores: Float[Array, " c"], recipe: LocalizeRecipe
) -> Candidates:
    labels = np.flatnonzero(choose_classes(video_scores, threshold=recipe.class_threshold))
    own = extend(_unit((cas * attention[:, None]).T[labels]), recipe.upsample)
    thresholds = np.asarray(recipe.thresholds)
    cut = np.where(own[:, None] >= thresholds[:, None], own[:, None], 0.0).reshape(-1, own.shape[1])
    positive = np.nextafter(0.0, 1.0)
    row, place, start, end = find_runs(own, np.maximum(thresholds, positive))
    parts = [_um_part(cut, row * len(thresholds) + place, row, start, end, recipe)]
    shared = extend(attention[None], recipe.upsample)
    _, _, start, end = find_runs(shared, np.maximum(recipe.attention_thresholds or (), positive))
    row = np.repeat(np.arange(len(labels)), len(start))
    parts.append(_um_part(own, row, row, np.tile(start, len(labels)), np.tile(end, len(labels)), recipe))
    every = Candidates.concatenate(parts)
    scores = every.scores + recipe.video_weight * video_scores[labels][every.labels]
    return Candidates(every.segments / recipe.upsample, labels[every.labels], scores)


def _um_part(
    curves: Float[Array, "r t"],
    curve: Int[Array, " n"],
    row: Int[Array, " n"],
    start: Int[Array, " n"],
    end: Int[Array, " n"],
    recipe: LocalizeRecipe,
) -> Candidates:
    """Runs scored on the curves that `curve` names; the label is the row."""
    long = end - start >= 2
    segments = np.stack([start, end], axis=1)[long].astype(np.float64)
    width = recipe.margin * (segments[:, 1] - segments[:, 0])
    return Candidates(segments, row[long], _contrast(curves, curve[long], segments, width))


def _gaufuse(
    fused: Float[Array, "t c"], video_scores: Float[Array, " c"], recipe: LocalizeRecipe
) -> tuple[Candidates, Float[Array, " n"]]:
    """Candidates, and the mean inside each."""
    labels = np.flatnonzero(video_scores >= recipe.class_threshold)
    row, _, start, end = find_runs(fused.T[labels], np.nextafter(recipe.thresholds, np.inf))
    long = end - start >= 2
    row, segments = row[long], np.stack([start, end + 1], axis=1)[long].astype(np.float64)
    curves = fused.T[labels]
    # one snippet further than the others: what starts at the later end stops before the last snippet
    width = recipe.margin * (segments[:, 1] - segments[:, 0] - 1) ** GAUFUSE_POWER
    contrast = _contrast(
        curves, row, segments, width, last=np.minimum(np.trunc(segments[:, 1] + width), len(fused) - 1)
    )
    return Candidates(segments, labels[row], contrast), mean_inside(curves, segments, row=row)


def _contrast(
    curves: Float[Array, "r t"],
    row: Int[Array, " n"],
    segments: Float[Array, "n 2"],
    width: Float[Array, " n"],
    *,
    last: Float[Array, " n"] | None = None,
) -> Float[Array, " n"]:
    """Mean inside minus mean of the whole snippets in the margins of `width`; the later margin ends at `last`."""
    start, end = segments.T
    before = np.stack([np.trunc(start - width).clip(min=0), start], axis=1)
    stop = np.minimum(np.trunc(end - 1 + width) + 1, curves.shape[1]) if last is None else last
    after = np.stack([end, np.maximum(stop, end)], axis=1)
    lengths = [side[:, 1] - side[:, 0] for side in (before, after)]
    means = [mean_inside(curves, side, row=row) for side in (before, after)]
    room = lengths[0] + lengths[1]
    total = lengths[0] * means[0] + lengths[1] * means[1]
    outside = np.divide(total, room, out=np.zeros_like(total), where=room > 0)
    return mean_inside(curves, segments, row=row) - outside


def extend(curves: Float[Array, "r t"], times: int) -> Float[Array, "r t_fine"]:
    """`times` values a snippet on straight lines from start to start of snippets; the last line goes on at the end."""
    if curves.shape[1] == 1:
        return np.repeat(curves, times, axis=1)
    position = np.arange(curves.shape[1] * times) / times
    left = np.minimum(position.astype(np.int64), curves.shape[1] - 2)
    return curves[:, left] + (curves[:, left + 1] - curves[:, left]) * (position - left)


def _unit(curves: Float[Array, "r t"]) -> Float[Array, "r t"]:
    """Between 0 at the minimum and 1 at the maximum of each curve; a flat one is 0."""
    low, high = curves.min(axis=1, keepdims=True), curves.max(axis=1, keepdims=True)
    return (curves - low) / np.where(high > low, high - low, 1.0)


def _soften(candidates: Candidates, recipe: LocalizeRecipe) -> Candidates:
    ranked = rank(candidates)
    longer = Candidates(ranked.segments + ONE_LONGER, ranked.labels, ranked.scores)
    return Candidates(ranked.segments, ranked.labels, soft_scores(longer, sigma=recipe.sigma))


def _suppress_in_seconds(candidates: Candidates, recipe: LocalizeRecipe, seconds: float) -> Candidates:
    ranked = rank(candidates.take(slice(None, None, -1)))
    longer = Candidates(ranked.segments * seconds + ONE_LONGER, ranked.labels, ranked.scores)
    leader = leaders(longer, tiou=np.nextafter(recipe.tiou, 0.0), overlap="iou")
    return ranked.take(leader == np.arange(len(ranked)))


def _keep_or_fuse(candidates: Candidates, inside: Float[Array, " n"], recipe: LocalizeRecipe) -> Candidates:
    order = np.argsort(candidates.scores, kind="stable")[::-1]
    ranked, inside = candidates.take(order), inside[order]
    longer = Candidates(ranked.segments + ONE_LONGER, ranked.labels, ranked.scores)
    leader = leaders(longer, tiou=recipe.tiou, overlap=recipe.overlap)
    if recipe.suppression == "fuse":
        return average_groups(ranked, leader, weigh_by=inside, temperature=recipe.temperature)
    return ranked.take(leader == np.arange(len(ranked)))
