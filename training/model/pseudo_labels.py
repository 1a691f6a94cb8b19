"""Pseudo segments for the localization head, from the teacher's T-CAM and attention.

For every class that a video is labelled with, its curves are cut at several thresholds to make proposals, which are
scored by the outer-inner score on the fused curve and by how far the thresholds agree on them. Overlapping proposals
are averaged or suppressed, or all of them vote; segments with a score near the best of their class are kept, with a
soft weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cache.recipe import RUN_ONLY, Recipe
from training.localization.proposals import Candidates, outer_inner, propose, stretch
from training.localization.suppression import fuse, hard_nms, rank
from training.localization.votes import ricker, support


class PseudoLabelRecipe(Recipe):
    """Which curves pseudo segments are made from, how, and when.

    The teacher is a moving average of the model. Its T-CAM (class probabilities) and its attention are means of those
    that are listed here.
    """

    cams: tuple[Literal["host", "ksm"], ...] = Field(default=("host", "ksm"), min_length=1)
    """T-CAMs that are averaged: the host's, KSM's, or both, weighted by model.fusion. Without KSM, the host's."""
    attentions: tuple[Literal["ksm", "csr"], ...] = Field(default=("ksm", "csr"), min_length=1)
    """Attentions that are averaged: ksm = A_KSM (the host's), csr = A_CSR. Without CSR, A_KSM."""
    curves: tuple[Literal["fused", "attention", "cas"], ...] = Field(default=("fused",), min_length=1)
    """Curves that are cut into proposals: fused = T-CAM times attention; attention alone (the same for all classes);
    cas = T-CAM alone. The score is always taken on the fused curve."""
    thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Thresholds on a curve, which is first normalised to [0, 1] (its minimum and maximum over the video)."""
    margin: PositiveFloat = 0.25
    """Outer-inner score: width of the outer region on either side, as a share of the segment's length."""
    agreement: NonNegativeFloat = 0.0
    """Scores are multiplied by (agreement of the proposal)^this before proposals are merged; 0 ignores it. The
    agreement is the tIoU with what each threshold on each curve proposes there, averaged over all of them: 1 where all
    propose the same segment, low where few propose anything."""
    merge: Literal["fuse", "nms", "ricker"] = "fuse"
    """Proposals of a class: fuse = overlapping ones are averaged, weighted by score; nms = suppressed by the best;
    ricker = each votes, with its score, for its extent and against what is around it (a Ricker wavelet), and segments
    are where the sum is positive."""
    tiou: float = Field(default=0.3, ge=0, lt=1)
    """merge=fuse or nms: tIoU above which two proposals are averaged, or one of them suppressed."""
    temperature: PositiveFloat = 0.1
    """merge=fuse: weights are exp(score / temperature), with scores as shares of the best of the class."""
    keep: float = Field(default=0.4, ge=0, le=1)
    """A segment is kept if its score reaches this share of the best of its class in the video."""
    most: PositiveInt = 64
    """At most this many segments per class and video."""
    warmup: float = Field(default=0.3, ge=0, lt=1)
    """Share of loop.steps before the first pseudo segments; the head's loss is off until then."""
    refresh: float = Field(default=0.1, gt=0, le=1)
    """Share of loop.steps from one set of pseudo segments to the next."""
    teacher_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the moving average. In the first steps it is lower: min(teacher_decay, (1 + step) / (10 + step))."""
    batch_snippets: Annotated[PositiveInt, RUN_ONLY] = 8192
    """Batch size when pseudo segments are made from whole videos: at most this many snippets, padding included; a
    longer video alone."""

    @model_validator(mode="before")
    @classmethod
    def _drop_batch_size(cls, values: Any) -> Any:
        """Recipes of version 0.1 have `batch_size`, in videos, which affects no result."""
        if isinstance(values, dict) and "batch_size" in values:
            return {name: value for name, value in values.items() if name != "batch_size"}
        return values


@dataclass(frozen=True)
class PseudoSegments:
    """Pseudo segments of one video, on the CPU; bounds in snippet units, [start, end)."""

    start: Float[Tensor, " s"]
    end: Float[Tensor, " s"]
    label: Int[Tensor, " s"]
    """Class index."""
    weight: Float[Tensor, " s"]
    """0 to 1: the class target at the segment's points, and the weight of its DIoU loss."""


@dataclass(frozen=True)
class PseudoBatch:
    """Pseudo segments of several videos, padded with segments of weight 0, of which every video has at least one."""

    start: Float[Tensor, "b s"]
    end: Float[Tensor, "b s"]
    label: Int[Tensor, "b s"]
    weight: Float[Tensor, "b s"]

    @classmethod
    def pad(cls, videos: Sequence[PseudoSegments], *, device: torch.device | str = "cpu") -> PseudoBatch:
        """Pad the segments of `videos`, and copy them to `device` in one asynchronous copy."""
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
    """Pseudo segments of one video, for its labelled classes (`labels` > 0) only, ordered by class and then by weight.

    `cas_probability` holds class probabilities without the background column, `attention` values in (0, 1), both over
    the real snippets only (no padding). The weight is the share of the class's best outer-inner score, in 0 to 1. A
    class without a proposal of positive score gives no segment. Bounds are in snippet units.
    """
    probability = cas_probability.detach().cpu().numpy().astype(np.float64)
    gate = attention.detach().cpu().numpy().astype(np.float64)
    present = labels.detach().cpu().numpy().nonzero()[0]
    selected = _of_classes(probability.T[present], gate, recipe)
    return PseudoSegments(
        torch.from_numpy(selected.segments[:, 0].astype(np.float32)),
        torch.from_numpy(selected.segments[:, 1].astype(np.float32)),
        torch.from_numpy(present[selected.labels].astype(np.int64)),
        torch.from_numpy(selected.scores.astype(np.float32)),
    )


def _of_classes(
    probability: Float[np.ndarray, "p t"], attention: Float[np.ndarray, " t"], recipe: PseudoLabelRecipe
) -> Candidates:
    """Pseudo segments of all present classes at once; their labels are row indices."""
    fused = probability * attention
    curves = {"fused": fused, "attention": attention[None], "cas": probability}
    votes = [(stretch(curves[name]), recipe.thresholds) for name in recipe.curves]
    row, segments = propose(votes, rows=len(probability))
    scores = outer_inner(fused, segments, row=row, margin=recipe.margin)
    ballots = np.ones(len(scores))
    if recipe.agreement or recipe.merge == "ricker":
        supported = support(row, segments, votes)
        scores = scores * supported.mean(axis=1) ** recipe.agreement
        ballots = (supported == 1).sum(axis=1)
    positive = scores > 0
    proposals = _shares(Candidates(segments[positive], row[positive], scores[positive]))
    match recipe.merge:
        case "fuse":
            merged = fuse(proposals, tiou=recipe.tiou, temperature=recipe.temperature)
        case "nms":
            merged = hard_nms(proposals, tiou=recipe.tiou)
        case "ricker":
            cast = Candidates(proposals.segments, proposals.labels, proposals.scores * ballots[positive])
            merged = rank(_shares(ricker(cast, length=probability.shape[1])))
    merged = merged.take(merged.scores >= recipe.keep)
    merged = merged.take(np.argsort(merged.labels, kind="stable"))  # best first within a class
    place = np.arange(len(merged)) - np.searchsorted(merged.labels, merged.labels)
    return merged.take(place < recipe.most)


def _shares(candidates: Candidates) -> Candidates:
    """Scores, which are positive, as shares of the best of their class."""
    largest = np.zeros(candidates.labels.max(initial=-1) + 1)
    np.maximum.at(largest, candidates.labels, candidates.scores)
    return Candidates(candidates.segments, candidates.labels, candidates.scores / largest[candidates.labels])
