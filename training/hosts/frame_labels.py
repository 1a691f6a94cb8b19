"""Frame labels out of a host's own localization, after Zhou et al. (CVPR 2023): fused proposals and a linear programme.

The programme asks for the least label over a video with which, for every fused segment, the label inside minus the
label around it is the segment's score. Axes: t snippets, c action classes, p present classes, n segments, a runs of
snippets.
"""

import numpy as np
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from cache.recipe import Recipe
from training.errors import TrainingError
from training.hosts.host import first_step
from training.localization.proposals import Candidates, mean_inside, outer_inner, propose
from training.localization.suppression import fuse
from training.nn.layers import masked_mean

Array = np.ndarray

SHORTEST = 2
"""Snippets of the shortest proposal."""
SLACK_PRICE = 1e3
"""Costs of missing a score by 1, in units of label, where segments contradict each other."""


class FrameLabelRecipe(Recipe):
    """When frame labels are made, how, and what they weigh. The defaults are those of the public code on THUMOS14."""

    reviews: tuple[float, ...] = Field(default=(200 / 350, 230 / 350, 245 / 350, 260 / 350, 275 / 350, 300 / 350))
    """Shares of loop.steps before which all training videos are labelled anew, rising; the first starts this loss."""
    temperatures: tuple[PositiveFloat, ...] = (0.02, 0.02, 0.02, 0.002, 0.002, 0.0016)
    """Of each review: fusion weighs by exp(mean inside / temperature)."""
    moved: float = Field(default=0.2, ge=0, le=1)
    """Share of the reallocated snippets in the curves that are cut, and in this loss."""
    thresholds: tuple[float, ...] = tuple(np.arange(0.001, 0.04, 0.002).round(3).tolist())
    """Where the curves are cut: class probability times attention."""
    margin: PositiveFloat = 0.0785
    """Snippets around a segment of one snippet that count as its outside, on either side."""
    margin_power: PositiveFloat = 0.9
    """The outside grows with the segment's length to this power."""
    overlap: float = Field(default=0.25, ge=0, lt=1)
    """Proposals are fused with a better one that covers more than this share of them."""
    weight: NonNegativeFloat = 10.0
    """Weight of the loss at first."""
    rise: PositiveFloat = 1.035
    """Factor by which the weight grows with every epoch since."""
    epochs: PositiveInt = 350
    """Epochs that loop.steps stand for in this growth."""
    most: NonNegativeFloat = 50.0
    """Greatest weight."""
    growth_starts: tuple[float, ...] = (251 / 350, 301 / 350)
    """Shares of loop.steps from which on the labels are what they have grown by since the review before."""
    growth_factors: tuple[PositiveFloat, ...] = (2.0, 2.15)
    """What the growth is multiplied by, from each of these on."""

    @model_validator(mode="after")
    def _pairs_belong_together(self) -> "FrameLabelRecipe":
        for one, other in (("reviews", "temperatures"), ("growth_starts", "growth_factors")):
            shares, others = getattr(self, one), getattr(self, other)
            if len(shares) != len(others):
                raise ValueError(f"{other}: found {len(others)}, expected one for each of the {len(shares)} {one}")
            if list(shares) != sorted(shares) or not all(0 <= share <= 1 for share in shares):
                raise ValueError(f"{one}: found {shares}, expected shares of 0 to 1, rising")
        return self

    def is_due(self, step: int, total_steps: int) -> bool:
        """Whether there is a review before `step`."""
        return step in {first_step(share, total_steps) for share in self.reviews}

    def temperature(self, step: int, total_steps: int) -> float | None:
        """That of the last review before `step`; None before the first."""
        return _last(self.reviews, self.temperatures, step, total_steps)

    def growth(self, step: int, total_steps: int) -> float | None:
        """What the growth of the labels is multiplied by; None while the labels themselves teach."""
        return _last(self.growth_starts, self.growth_factors, step, total_steps)

    def weight_at(self, step: int, total_steps: int) -> float:
        """min(weight * rise^e, most), e the epochs since the first review; 0 before it."""
        if self.temperature(step, total_steps) is None:
            return 0.0
        since = max(0.0, self.epochs * (step / total_steps - self.reviews[0]))
        return min(self.weight * self.rise**since, self.most)


def frame_labels(
    curves: Float[Array, "t c"], present: Int[Array, " p"], *, recipe: FrameLabelRecipe, temperature: float
) -> Float[Array, "t c"]:
    """Labels in [0, 1] of the classes `present`; those of all others are 0. No segment, no label.

    `curves` are class probabilities times attention over the real snippets of one video. The classes are those that the
    video is labelled with, whatever its score for them: the public code takes all that score 0.16, the wrong ones, too,
    though the weak label is at hand. Each run of snippets that several thresholds cut counts once. Bounds, scores and
    margins are exact where the public code has them one snippet late; segments that do not stand out (score not above
    0) are left out: the programme would label their outside.
    """
    rows = np.ascontiguousarray(curves.T[present], dtype=np.float64)
    row, segments = propose([(rows, recipe.thresholds)], rows=len(rows))
    length = segments[:, 1] - segments[:, 0]
    scores = outer_inner(rows, segments, row=row, margin=recipe.margin * length ** (recipe.margin_power - 1))
    good = (length >= SHORTEST) & (scores > 0)
    proposals, inside = Candidates(segments, row, scores), mean_inside(rows, segments, row=row)
    fused = fuse(
        proposals.take(good),
        tiou=recipe.overlap,
        temperature=temperature,
        overlap="lower",
        weigh_by=inside[good],
        mean_score=True,
    )
    labels = np.zeros_like(curves, dtype=np.float64)
    for place, label in enumerate(present.tolist()):
        own = fused.take(fused.labels == place)
        labels[:, label] = least_label(own.segments, own.scores, len(curves), recipe=recipe)
    return labels


def frame_label_loss(
    original: Float[Tensor, "b t k"],
    moved: Float[Tensor, "b t k"],
    notes: Float[Tensor, "b t n"],
    mask: Bool[Tensor, "b t"],
    *,
    recipe: FrameLabelRecipe,
    step: int,
    total_steps: int,
) -> Float[Tensor, ""]:
    """-sum p log softmax(S) over the classes of both branches' logits, k = c + 1; times its weight.

    `notes` hold the frame labels and those of the review before, n = 2 c. p are the labels or, late, how much they have
    grown: where they have fallen it is negative, and the probability is pushed down.
    """
    labels, before = notes.chunk(2, dim=-1)
    factor = recipe.growth(step, total_steps)
    wanted = labels if factor is None else factor * (labels - before)
    fits = [F.log_softmax(cas, dim=-1)[..., :-1] for cas in (original, moved)]
    loss = -(wanted * ((1 - recipe.moved) * fits[0] + recipe.moved * fits[1])).sum(-1)
    return recipe.weight_at(step, total_steps) * masked_mean(loss, mask).mean()


def least_label(
    segments: Float[Array, "n 2"], scores: Float[Array, " n"], length: int, *, recipe: FrameLabelRecipe
) -> Float[Array, " t"]:
    """min sum p, where 0 <= p <= 1 and for each segment (sum of p inside) - (sum of p around) = score.

    Bounds are rounded to whole snippets, and the outside reaches up to whole ones. Snippets that no bound lies between
    are alike to every segment: they are one unknown, and share it evenly. So the label depends on no solver's choice
    among them (the interior points of the public code's scipy 1.8 spread it, too), and the programme stays small. Where
    segments contradict each other, the public code gets NaN; here each score is missed by as little as possible.
    """
    if not len(segments):
        return np.zeros(length)
    start, end = np.rint(segments).astype(np.int64).clip(0, length).T
    width = np.ceil(recipe.margin * (end - start).astype(np.float64) ** recipe.margin_power).astype(np.int64)
    before, after = np.maximum(start - width, 0), np.minimum(end + width, length)
    cuts = np.unique(np.concatenate([[0, length], start, end, before, after]))
    first, size = cuts[:-1], np.diff(cuts)
    inside = (first >= start[:, None]) & (first < end[:, None])
    around = (first >= before[:, None]) & (first < after[:, None]) & ~inside
    return np.repeat(_least(inside.astype(np.float64) - around, scores, size) / size, size)


def _least(sides: Float[Array, "n a"], scores: Float[Array, " n"], room: Int[Array, " a"]) -> Float[Array, " a"]:
    """min sum q, where 0 <= q <= room and sides @ q = scores; where that can not be, as nearly as can be."""
    for slack in (False, True):
        found = solve(sides, scores, room, slack=slack)
        if found is not None:
            return found
    raise TrainingError(f"frame labels: found no solution of the linear programme of {len(scores)} segments")


def solve(
    sides: Float[Array, "n a"], scores: Float[Array, " n"], room: Int[Array, " a"], *, slack: bool
) -> Float[Array, " a"] | None:
    """The least q, 0 <= q <= room, with sides @ q = scores, or None; with `slack` a score may be missed, at a price."""
    from scipy.optimize import linprog  # takes half a second, and inference never comes here

    count, runs = sides.shape
    price, bounds = np.ones(runs), [(0.0, float(most)) for most in room]
    if slack:
        missed = np.eye(count)
        sides = np.hstack([sides, missed, -missed])
        price = np.concatenate([price, np.full(2 * count, SLACK_PRICE)])
        bounds += [(0.0, None)] * (2 * count)
    found = linprog(price, A_eq=sides, b_eq=scores, bounds=bounds, method="highs")
    return found.x[:runs].clip(0, room) if found.success else None


def _last(starts: tuple[float, ...], values: tuple[float, ...], step: int, total_steps: int) -> float | None:
    """The value that belongs to the last start not behind `step`."""
    begun = [value for share, value in zip(starts, values, strict=True) if first_step(share, total_steps) <= step]
    return begun[-1] if begun else None
