"""metrics.json: the scores of a run."""

from __future__ import annotations

from pydantic import NonNegativeInt

from cache.recipe import Recipe
from training.checkpoints.footprint import Footprint
from training.evaluation.protocol import Protocol
from training.localization.localize import LocalizeRecipe


class Metrics(Recipe):
    """metrics.json: the scores of one run on one subset, and what they were computed with."""

    run: str
    protocol: Protocol
    """What the figures were computed under; those of another protocol are not comparable."""
    subset: str
    checkpoint: str = "last"
    """Which weights: "last", or "best by ..." and the step."""
    videos: NonNegativeInt
    detections: NonNegativeInt
    tious: tuple[float, ...]
    map: tuple[float, ...]
    """mAP at each tIoU, 0 to 1."""
    average: float
    """Mean of `map`."""
    classes: tuple[str, ...]
    ap: tuple[tuple[float, ...], ...]
    """Average precision by class and tIoU."""
    unscored: dict[str, int]
    """Detections of classes without any truth in the subset."""
    left_out: dict[str, int]
    """Detections that the protocol leaves out, by reason."""
    localize: LocalizeRecipe
    footprint: Footprint | None = None
    """What inference costs, for a video of median length."""
