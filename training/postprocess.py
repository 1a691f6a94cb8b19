"""From the outputs of a model for one video to its detections, in numpy alone: the part of inference without torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from cache.detections import Detection
from cache.features import FeatureGrid
from training.compat.localize import official_localize
from training.localization.curves import Curves
from training.localization.localize import LocalizeRecipe, localize
from training.localization.proposals import Candidates


def snippets_of(length: int, recipe: LocalizeRecipe, *, num_snippets: int | None, stretch: bool) -> int:
    """Number of snippets that a video of `length` snippets is localized on; `num_snippets` and `stretch` are those of
    the training (`DataRecipe`)."""
    wanted = num_snippets if recipe.snippets == "training" else recipe.snippets
    if wanted is None:
        return length
    return wanted if recipe.snippets == "training" and stretch else min(length, wanted)


def detections_of(
    curves: Curves,
    head: Candidates | None,
    *,
    recipe: LocalizeRecipe,
    grid: FeatureGrid,
    classes: tuple[str, ...],
    length: int,
    duration: float | None,
) -> list[Detection]:
    """Detections of one video in seconds, best first, by the post-processing that `recipe` chooses.

    `length` is the number of snippets of the video, of which the curves may hold evenly spread ones. Without `duration`
    (seconds) detections are clipped at the end of the last snippet.
    """
    drawn: dict[str, Any] = {
        "video_scores": curves.video_scores.astype(np.float64),
        "cas": curves.cas.astype(np.float64),
        "attention": curves.attention.astype(np.float64),
        "step": length / len(curves.cas),
        "grid": grid,
        "classes": classes,
    }
    if recipe.official is None:
        return localize(curves.video_id, recipe=recipe, duration=duration, head=head, **drawn)
    assert curves.logits is not None
    return official_localize(curves.video_id, recipe=recipe, logits=curves.logits.astype(np.float64), **drawn)
