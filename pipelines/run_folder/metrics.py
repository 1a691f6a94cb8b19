"""metrics.json: the scores of a run."""

from __future__ import annotations

from pydantic import NonNegativeInt

from cache.recipe import Recipe
from training.checkpoints.footprint import Footprint
from training.evaluation.protocol import Protocol
from training.localization.localize import LocalizeRecipe


class Metrics(Recipe):
    """metrics.json: the scores of one run on one subset, and the settings they were computed with."""

    run: str
    protocol: Protocol
    """Evaluation protocol; scores under different protocols are not comparable."""
    subset: str
    checkpoint: str = "last"
    """Which checkpoint: "last", or "best by ..." with the step."""
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
    """Number of detections of each class without ground truth in the subset."""
    left_out: dict[str, int]
    """Number of detections that the protocol leaves out, by reason."""
    localize: LocalizeRecipe
    footprint: Footprint | None = None
    """Parameters and FLOPs of inference on a video of median length."""
