"""Pseudo segments for the localization head, out of the teacher's T-CAM and attention.

Proposals come from several thresholds on the voting curves of every class that the video is labelled with; the
outer-inner score on the fused curve ranks them; overlapping ones are joined or suppressed; those near the best of
their class stay, with a soft weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cache.recipe import RUN_ONLY, Recipe
from training.localization.proposals import Candidates, outer_inner, propose, stretch
from training.localization.suppression import fuse, hard_nms


class PseudoLabelRecipe(Recipe):
    """Who votes for pseudo segments, how they are read off the votes, and when.

    The teacher is a moving average of the model. Its T-CAM (class probabilities) and its attention are the means of
    those that vote.
    """

    cams: tuple[Literal["host", "ksm"], ...] = Field(default=("host", "ksm"), min_length=1)
    """T-CAMs that vote: the host's, KSM's, or both, mixed as model.fusion says. Without KSM, the host's."""
    attentions: tuple[Literal["ksm", "csr"], ...] = Field(default=("ksm", "csr"), min_length=1)
    """Attentions that vote: A_KSM (the host's), A_CSR, or the mean of both. Without CSR, A_KSM."""
    curves: tuple[Literal["fused", "attention", "cas"], ...] = Field(default=("fused",), min_length=1)
    """Curves that propose: fused = T-CAM times attention; attention alone (the same for all classes); cas = T-CAM
    alone. The score is always taken on the fused curve."""
    thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Where a curve, stretched between its minimum and maximum over the video, is cut."""
    margin: PositiveFloat = 0.25
    """Width of the outside on either side, as a share of the segment's length."""
    merge: Literal["fuse", "nms"] = "fuse"
    """Overlapping proposals of a class are averaged (weighted by score) or suppressed by the best."""
    tiou: float = Field(default=0.3, ge=0, lt=1)
    """Two proposals that overlap more than this are one."""
    temperature: PositiveFloat = 0.1
    """Fusion weighs by exp(score / temperature), scores being shares of the class's best."""
    keep: float = Field(default=0.4, ge=0, le=1)
    """A segment stays if its score reaches this share of the best of its class in the video."""
    most: PositiveInt = 64
    """At most so many segments a class and video."""
    warmup: float = Field(default=0.3, ge=0, lt=1)
    """Share of loop.steps before the first pseudo segments; the head's loss is off until then."""
    refresh: float = Field(default=0.1, gt=0, le=1)
    """Share of loop.steps from one set of pseudo segments to the next."""
    teacher_decay: float = Field(default=0.999, ge=0, lt=1)
    """Share of the old average that a step keeps; less in the first steps: min(decay, (1 + step) / (10 + step))."""
    batch_snippets: Annotated[PositiveInt, RUN_ONLY] = 8192
    """Whole videos go together when pseudo segments are made, up to so many snippets with their padding; a longer video
    goes alone."""

    @model_validator(mode="before")
    @classmethod
    def _drop_batch_size(cls, values: Any) -> Any:
        """Recipes of version 0.1 counted the videos that go together, which changed no result."""
        if isinstance(values, dict) and "batch_size" in values:
            return {name: value for name, value in values.items() if name != "batch_size"}
        return values


@dataclass(frozen=True)
class PseudoSegments:
    """Segments that teach the head, of one video, on the CPU; bounds in snippet units, [start, end)."""

    start: Float[Tensor, " s"]
    end: Float[Tensor, " s"]
    label: Int[Tensor, " s"]
    """Class index."""
    weight: Float[Tensor, " s"]
    """0 to 1: the class target at the segment's points, and the weight of its DIoU."""


@dataclass(frozen=True)
class PseudoBatch:
    """Those of several videos, padded by segments of weight 0: each video has at least one of these."""

    start: Float[Tensor, "b s"]
    end: Float[Tensor, "b s"]
    label: Int[Tensor, "b s"]
    weight: Float[Tensor, "b s"]

    @classmethod
    def pad(cls, videos: Sequence[PseudoSegments], *, device: torch.device | str = "cpu") -> PseudoBatch:
        """On `device`, by one copy that no one waits for."""
        rows = [torch.stack([v.start, v.end, v.weight, v.label.float()], dim=1) for v in videos]  # labels stay exact
        packed = F.pad(pad_sequence(rows, batch_first=True), (0, 0, 0, 1)).permute(2, 0, 1).contiguous()
        if torch.device(device).type == "cuda":
            packed = packed.pin_memory()
        start, end, weight, label = packed.to(device, non_blocking=packed.is_pinned())
        return cls(start, end, label.long(), weight)


def pseudo_segments(
    cas_probability: Float[Tensor, "t c"],
    attention: Float[Tensor, " t"],
    labels: Float[Tensor, " c"],
    recipe: PseudoLabelRecipe,
) -> PseudoSegments:
    """Pseudo segments of one video, of its own classes (`labels` > 0) alone, ordered by class and then by weight.

    `cas_probability` holds class probabilities without the background column, `attention` values in (0, 1), both over
    the real snippets only (no padding). The weight is the share of the class's best outer-inner score, in 0 to 1.
    A class whose curve nowhere stands out (no positive score) gives no segment. Bounds are in snippet units.
    """
    probability = cas_probability.detach().cpu().numpy().astype(np.float64)
    gate = attention.detach().cpu().numpy().astype(np.float64)
    present = labels.detach().cpu().numpy().nonzero()[0]
    found = _of_classes(probability.T[present], gate, recipe)
    return PseudoSegments(
        torch.from_numpy(found.segments[:, 0].astype(np.float32)),
        torch.from_numpy(found.segments[:, 1].astype(np.float32)),
        torch.from_numpy(present[found.labels].astype(np.int64)),
        torch.from_numpy(found.scores.astype(np.float32)),
    )


def _of_classes(
    probability: Float[np.ndarray, "p t"], attention: Float[np.ndarray, " t"], recipe: PseudoLabelRecipe
) -> Candidates:
    """Of all present classes at once; labels are rows."""
    fused = probability * attention
    voting = {"fused": fused, "attention": attention[None], "cas": probability}
    row, segments = propose(
        [(stretch(voting[name]), recipe.thresholds) for name in recipe.curves], rows=len(probability)
    )
    scores = outer_inner(fused, segments, row=row, margin=recipe.margin)
    largest = np.zeros(len(probability))
    np.maximum.at(largest, row, scores)
    good = scores > 0
    proposals = Candidates(segments[good], row[good], scores[good] / largest[row[good]])
    match recipe.merge:
        case "fuse":
            merged = fuse(proposals, tiou=recipe.tiou, temperature=recipe.temperature)
        case "nms":
            merged = hard_nms(proposals, tiou=recipe.tiou)
    merged = merged.take(merged.scores >= recipe.keep)
    merged = merged.take(np.argsort(merged.labels, kind="stable"))  # best first within a class
    place = np.arange(len(merged)) - np.searchsorted(merged.labels, merged.labels)
    return merged.take(place < recipe.most)
