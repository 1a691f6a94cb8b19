"""The localization head (eq 18): an anchor-free detector on the host's embedding, trained on pseudo segments.

Axis letters: b videos, t snippets, e width of the host's embedding, c action classes (no background), l pyramid
levels, p points of all levels one after the other, s pseudo segments of a video. Positions are in snippet units:
snippet i covers [i, i + 1), its centre is i + 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from cache.recipe import Recipe
from training.localization.proposals import Candidates, best_points
from training.model.pseudo_labels import PseudoBatch, PseudoLabelRecipe
from training.nn.losses import cross_entropy, label_shares, top_count
from training.nn.precision import as_float32, full_precision


class HeadRecipe(Recipe):
    """The localization head and its loss. Defaults follow ActionFormer, with fewer channels and layers."""

    width: PositiveInt = 64
    """Channels of the pyramid and of both towers."""
    levels: PositiveInt = 5
    """Pyramid levels; level l has stride 2^l snippets (1, 2, 4, 8, 16). Actions of up to reach * 2^levels snippets fit
    the pyramid (`longest`); more levels than that cost little."""
    depth: PositiveInt = 1
    """Convolution blocks in each tower (class, boundary), shared by the levels."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the host's embedding dropped (whole channels) before the head."""
    prior: float = Field(default=0.01, gt=0, lt=1)
    """Class probability that the untrained head gives everywhere."""
    radius: float = Field(default=1.5, ge=0.5)
    """A point is positive within this many strides of the centre of a pseudo segment."""
    reach: float = Field(default=2.0, ge=2)
    """Regression range: a level takes the points whose farther boundary is reach / 2 to reach strides away; the first
    from 0, the last to infinity. With reach >= 2 and radius >= 0.5 every segment of at least one snippet has a positive
    point."""
    alpha: float = Field(default=0.25, gt=0, lt=1)
    """Focal loss: weight of positives against negatives."""
    gamma: float = Field(default=2.0, ge=0)
    """Focal loss: exponent on the distance between probability and target."""
    pool: PositiveInt = 8
    """MIL: top-k pooling of each class with k = points / pool."""
    diou_weight: PositiveFloat = 1.0
    """Weight of the DIoU term against focal and MIL (eq 18 gives all three weight 1)."""
    mil_weight: float = Field(default=1.0, ge=0)
    """Weight of the MIL term."""
    pseudo_labels: PseudoLabelRecipe = PseudoLabelRecipe()
    """Pseudo segments that the head is trained on."""

    @property
    def longest(self) -> float:
        """Length in snippets of the longest segment whose bounds are at most `reach` strides of the top level from its
        centre. Longer ones are learned, too, but from points that see neither bound."""
        return self.reach * 2**self.levels


@dataclass(frozen=True)
class HeadOutput:
    """Output of the head at every point of its pyramid."""

    logits: Float[Tensor, "b p c"]
    offsets: Float[Tensor, "b p 2"]
    """Distances >= 0 from the point to the start and to the end, in snippet units."""
    points: Float[Tensor, " p"]
    strides: Float[Tensor, " p"]
    mask: Bool[Tensor, "b p"]
    """Valid mask: False where the point lies in the padding; its logits and offsets are meaningless."""

    def float(self) -> Self:
        """The same in float32, which losses and geometry need with any precision of the forward pass."""
        return as_float32(self)


class ConvBlock(nn.Module):
    """Depthwise then pointwise convolution over time, LayerNorm over channels, ReLU.

    Normalising over channels alone, and zeros wherever the mask is False, make a padded batch give the numbers that
    each video gives alone.
    """

    def __init__(self, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        # a convolution over (1, t) in channels-last layout: on CPUs eight times faster than Conv1d here
        self.depthwise = nn.Conv2d(
            channels, channels, (1, 3), stride=(1, stride), padding=(0, 1), groups=channels, bias=False
        )
        self.pointwise = nn.Linear(channels, channels, bias=False)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Float[Tensor, "b t w"], mask: Float[Tensor, "b u 1"]) -> Float[Tensor, "b u w"]:
        """`mask` (1 on real points, else 0) has the length of the output: ceil(t / stride)."""
        mixed = self.depthwise(x.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
        return F.relu(self.norm(self.pointwise(mixed))) * mask


class LocalizationHead(nn.Module):
    """Class logits and boundary distances at every point of a light pyramid over the host's embedding."""

    def __init__(self, width: int, num_classes: int, recipe: HeadRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        inner = recipe.width
        self.dropout = nn.Dropout1d(recipe.dropout)
        self.embed = nn.Linear(width, inner, bias=False)
        self.stem = ConvBlock(inner)
        self.downs = nn.ModuleList(ConvBlock(inner, stride=2) for _ in range(recipe.levels - 1))
        self.class_tower = nn.ModuleList(ConvBlock(inner) for _ in range(recipe.depth))
        self.boundary_tower = nn.ModuleList(ConvBlock(inner) for _ in range(recipe.depth))
        self.classify = nn.Linear(inner, num_classes)
        self.regress = nn.Linear(inner, 2)
        self.scales = nn.Parameter(torch.ones(recipe.levels))
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.constant_(self.classify.bias, -math.log((1 - recipe.prior) / recipe.prior))

    def forward(self, embedding: Float[Tensor, "b t e"], mask: Bool[Tensor, "b t"]) -> HeadOutput:
        """`mask` is True on the real snippets of each video, which come first."""
        x = self.dropout(embedding.transpose(1, 2)).transpose(1, 2) if self.recipe.dropout else embedding
        level_masks = [mask[:, :: 2**level] for level in range(self.recipe.levels)]
        weights = [level_mask[..., None].to(x.dtype) for level_mask in level_masks]
        features = [self.stem(self.embed(x) * weights[0], weights[0])]
        for down, weight in zip(self.downs, weights[1:], strict=True):
            features.append(down(features[-1], weight))
        # One sequence of all levels with a zero point after each: the towers' kernels never reach the next level.
        joined = torch.cat([F.pad(level, (0, 0, 0, 1)) for level in features], dim=1)
        real = torch.cat([F.pad(weight, (0, 0, 0, 1)) for weight in weights], dim=1)
        lengths = [level_mask.shape[1] for level_mask in level_masks]
        level_of, step = _positions(lengths, mask.device)
        keep = torch.arange(level_of.shape[0], device=mask.device) + level_of
        logits = self.classify(_through(self.class_tower, joined, real)[:, keep])
        boundaries = _through(self.boundary_tower, joined, real)[:, keep]
        strides = (2**level_of).float()
        with full_precision():
            raw = self.regress(boundaries.float())
            offsets = F.softplus(self.scales[level_of, None] * raw) * strides[:, None]
        return HeadOutput(logits, offsets, step * strides + 0.5, strides, torch.cat(level_masks, dim=1))


def _positions(lengths: list[int], device: torch.device) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"]]:
    """Level of every point, and its place within the level."""
    levels = torch.cat([torch.full((length,), level, device=device) for level, length in enumerate(lengths)])
    return levels, torch.cat([torch.arange(length, device=device) for length in lengths])


def _through(tower: nn.ModuleList, x: Tensor, mask: Tensor) -> Tensor:
    for block in tower:
        x = block(x, mask)
    return x


def head_loss(
    output: HeadOutput, pseudo: PseudoBatch, labels: Float[Tensor, "b c"], *, recipe: HeadRecipe
) -> dict[str, Float[Tensor, ""]]:
    """L_loc = L_focal + L_DIoU + L_MIL (eq 18), the terms already weighted: keys focal, diou, head_mil.

    A video without any pseudo segment still has all its points as negatives of the focal term, and its MIL term. Focal
    and DIoU are divided by the number of positive points of the batch (at least 1).
    """
    targets = assign(output, pseudo, recipe=recipe)
    positives = targets.positive.sum().clamp(min=1)
    focal = focal_loss(output.logits, targets.classes, alpha=recipe.alpha, gamma=recipe.gamma)
    focal = (focal * (output.mask[..., None] & ~targets.ignored)).sum() / positives
    diou = (diou_loss(output.offsets, targets.offsets) * targets.weight).sum() / positives
    mil = pooled_mil(output.logits, output.mask, labels, pool=recipe.pool)
    return {"focal": focal, "diou": recipe.diou_weight * diou, "head_mil": recipe.mil_weight * mil}


@dataclass(frozen=True)
class PointTargets:
    """Training targets of every point."""

    classes: Float[Tensor, "b p c"]
    """0, or the weight of the pseudo segment of that class."""
    ignored: Bool[Tensor, "b p c"]
    """True where a segment of this class also claims the point, but a shorter one of another class has it: neither a
    positive nor a negative."""
    offsets: Float[Tensor, "b p 2"]
    positive: Bool[Tensor, "b p"]
    weight: Float[Tensor, "b p"]
    """Weight of the segment that a positive point belongs to; 0 elsewhere."""


def assign(output: HeadOutput, pseudo: PseudoBatch, *, recipe: HeadRecipe) -> PointTargets:
    """Which pseudo segment each point belongs to.

    A segment claims the points that lie inside it, within `radius` strides of its centre, and whose farther boundary
    is in the range of their level. Of several claims the shortest segment wins; segments of the same length (Diving
    and CliffDiving are annotated together) give the point several classes.
    """
    start, end, weight = pseudo.start, pseudo.end, pseudo.weight
    left = output.points[:, None] - start[:, None]  # b p s
    right = end[:, None] - output.points[:, None]
    farther = torch.maximum(left, right)
    low, high = _ranges(output.strides, recipe)
    off_centre = (left - right).abs() / 2
    claimed = (torch.minimum(left, right) >= 0) & (off_centre <= recipe.radius * output.strides[:, None])
    claimed &= (farther >= low[:, None]) & (farther < high[:, None]) & output.mask[..., None] & (weight > 0)[:, None]
    length = torch.where(claimed, (end - start)[:, None], torch.inf)
    shortest, owner = length.min(dim=2)
    taken = claimed & (length <= shortest[..., None] + 1e-3)
    index = pseudo.label[:, None].expand_as(claimed)
    zeros = torch.zeros_like(output.logits, dtype=weight.dtype)
    classes = zeros.scatter_reduce(2, index, taken * weight[:, None], "amax")
    holds = zeros.scatter_reduce(2, index, claimed.to(zeros.dtype), "amax") > 0
    positive = shortest < torch.inf
    offsets = torch.stack([left, right], dim=-1).take_along_dim(owner[..., None, None], dim=2)[:, :, 0]
    # any harmless target where there is none: a zero-weighted NaN would still be NaN
    offsets = torch.where(positive[..., None], offsets, torch.ones_like(offsets))
    own_weight = weight[:, None].expand_as(claimed).take_along_dim(owner[..., None], dim=2)[..., 0] * positive
    return PointTargets(classes, holds & (classes == 0), offsets, positive, own_weight)


def _ranges(strides: Float[Tensor, " p"], recipe: HeadRecipe) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    """Regression range of each point: low <= distance to the farther boundary < high."""
    low = torch.where(strides == strides.min(), 0.0, strides * recipe.reach / 2)
    return low, torch.where(strides == strides.max(), torch.inf, strides * recipe.reach)


def focal_loss(
    logits: Float[Tensor, "*n"], target: Float[Tensor, "*n"], *, alpha: float, gamma: float
) -> Float[Tensor, "*n"]:
    """Sigmoid focal loss for targets in [0, 1] (Lin et al. 2017; between 0 and 1 as Li et al. 2020).

    |target - p|^gamma times the cross-entropy, positives weighted alpha and negatives 1 - alpha (in between linearly).
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    balance = alpha * target + (1 - alpha) * (1 - target)
    return balance * (target - logits.sigmoid()).abs().pow(gamma) * cross_entropy


def diou_loss(offsets: Float[Tensor, "*n 2"], target: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    """1 - IoU + (distance of centres / enclosing length)^2 of two segments around one point (Zheng et al. 2020)."""
    inner = torch.minimum(offsets, target).sum(dim=-1)
    outer = torch.maximum(offsets, target).sum(dim=-1).clamp(min=1e-6)
    union = (offsets.sum(dim=-1) + target.sum(dim=-1) - inner).clamp(min=1e-6)
    to_start, to_end = (offsets - target).unbind(dim=-1)
    shift = (to_end - to_start) / 2
    return 1 - inner / union + (shift / outer).square()


def pooled_mil(
    logits: Float[Tensor, "b p c"], mask: Bool[Tensor, "b p"], labels: Float[Tensor, "b c"], *, pool: int
) -> Float[Tensor, ""]:
    """Cross-entropy between the softmax of each class's mean over its best 1/pool points, and the video's labels.

    The softmax makes it a ranking of classes; how many points are action at all is left to the focal loss. A video
    without labels contributes 0.
    """
    count = top_count(mask, ratio=pool)
    # `nn.losses.topk_mean` differs in its layout, and so in the order of its sums: equal to rounding, not to the bit
    per_class = logits.masked_fill(~mask[..., None], -torch.inf).transpose(1, 2).contiguous()
    best = per_class.topk(max(logits.shape[1] // pool, 1), dim=2).values
    within = torch.arange(best.shape[2], device=best.device) < count[:, None]
    pooled = best.masked_fill(~within[:, None], 0.0).sum(dim=2) / count[:, None]
    return cross_entropy(pooled, label_shares(labels)).mean()


def boundaries(output: HeadOutput) -> Float[Tensor, "b p 2"]:
    """[start, end) of the segment around each point, clipped to its video, in snippet units."""
    of_snippets = output.mask & (output.strides == output.strides[0])
    segments = torch.stack([output.points - output.offsets[..., 0], output.points + output.offsets[..., 1]], dim=-1)
    return torch.minimum(segments.clamp(min=0), of_snippets.sum(dim=1)[:, None, None])


def decode(output: HeadOutput, index: int, *, min_score: float, top: int) -> Candidates:
    """Scored proposals of video `index`: every valid point and class whose sigmoid reaches `min_score`, at most the
    best `top`."""
    real = output.mask[index]
    scores, segments = output.logits[index, real].sigmoid(), boundaries(output)[index, real]
    return best_points(segments.detach().cpu().numpy(), scores.detach().cpu().numpy(), min_score=min_score, top=top)
