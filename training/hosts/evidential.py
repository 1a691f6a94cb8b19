"""Evidential terms of DELU (Chen et al., ECCV 2022), which DDG-Net has, too.

Scores are evidence e of a Dirichlet distribution with parameters alpha = e + 1 over c classes; S = sum(alpha), and
c / S is the uncertainty. Axes: b videos, t snippets, c action classes, k = c + 1.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from cache.recipe import Recipe
from training.batches.data import Targets
from training.compat.forms import argsort_as_rank
from training.hosts.host import StreamsOutput
from training.nn.layers import masked_mean
from training.nn.losses import suppress, top_weights

MOST = 10.0
"""Exponents of evidence are clamped to -MOST .. MOST."""


class EvidentialRecipe(Recipe):
    """Evidence of videos, and a guide weighted by the uncertainty of snippets. The defaults are those of THUMOS14."""

    weight: NonNegativeFloat = 1.3
    """Weight of the evidential loss of videos (alpha edl)."""
    ratio: PositiveInt = 9
    """Evidence is read off the t / ratio snippets of highest attention (9 on THUMOS14, 5 on ActivityNet)."""
    evidence: Literal["exp", "relu"] = "exp"
    """exp: evidence exp(z) and a log likelihood (THUMOS14); relu: evidence max(z, 0) and squares (ActivityNet)."""
    guide: NonNegativeFloat = 0.4
    """Weight of the guide that goes from certain to uncertain snippets or back (alpha uct)."""
    amplitude: float = Field(default=0.7, ge=0, le=1)
    """The guide's weights lie within 1 - amplitude .. 1 + amplitude."""


ACTIVITYNET = EvidentialRecipe(weight=1.2, ratio=5, evidence="relu", guide=0.2, amplitude=0.2)
"""The public code's ActivityNet variant."""


def evidential_terms(
    output: StreamsOutput, targets: Targets, recipe: EvidentialRecipe, *, progress: float, official: bool
) -> dict[str, Tensor]:
    """Both terms by name, times their weights; `progress` is the share of the training that is over.

    With `official` the curriculum has the ranks of the public code.
    """
    mask, labels = targets.mask, targets.labels
    suppressed = suppress(output.cas, output.attention)
    attended = top_weights(output.attention, mask, ratio=recipe.ratio).unsqueeze(-1)
    logits = (attended * suppressed).sum(1)[:, : labels.shape[1]]
    video = likelihood_loss if recipe.evidence == "exp" else squares_loss
    rank = (argsort_as_rank if official else uncertainty_rank)(snippet_uncertainty(suppressed), mask)
    weights = curriculum(rank, mask, progress=progress, amplitude=recipe.amplitude)
    foreground = 1 - output.cas.softmax(dim=-1)[..., -1]
    attentions = torch.stack((output.attention, *output.streams))
    guide = (foreground - attentions).abs().mean(0)
    return {
        "evidence": recipe.weight * video(logits, labels),
        "uncertainty_guide": recipe.guide * masked_mean(weights * guide, mask).mean(),
    }


def likelihood_loss(logits: Float[Tensor, "b c"], labels: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """Negative log of the expected probability of the video's classes, the lesser in evidence first.

    A certain video counts less: the weights of its classes sum to their number times one minus the uncertainty.
    """
    alpha = logits.clamp(-MOST, MOST).exp() + 1
    total = alpha.sum(1, keepdim=True)
    shares = labels / alpha
    shares = shares / shares.sum(1, keepdim=True).clamp(min=torch.finfo(shares.dtype).tiny)
    certainty = 1 - (labels.shape[1] / total).detach()
    weights = shares * labels.sum(1, keepdim=True) * certainty
    return (weights * (total.log() - alpha.log())).sum(1).mean()


def squares_loss(logits: Float[Tensor, "b c"], labels: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """Squared distance of the expected probabilities from the labels."""
    alpha = logits.relu() + 1
    return (labels - alpha / alpha.sum(1, keepdim=True)).square().sum(1).mean()


def snippet_uncertainty(scores: Float[Tensor, "b t k"]) -> Float[Tensor, "b t"]:
    """c / S of each snippet, S over the background's column, too."""
    alpha = scores.clamp(-MOST, MOST).exp() + 1
    return (scores.shape[-1] - 1) / alpha.sum(-1)


def uncertainty_rank(uncertainty: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Int[Tensor, "b t"]:
    """Rank of each snippet in its video, the most certain one first; padding comes last."""
    return uncertainty.masked_fill(~mask, torch.inf).argsort(dim=1, stable=True).argsort(dim=1)


def curriculum(
    rank: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"], *, progress: float, amplitude: float
) -> Float[Tensor, "b t"]:
    """Weight of each snippet by the rank of its uncertainty in its video: 1 + amplitude tanh(theta delta).

    theta goes from -1 (certain) to 1 (uncertain), delta from 1 to -1 as the training progresses: uncertain snippets
    weigh more at first, certain ones at last.
    """
    theta = 2 * (rank + 0.5) / mask.sum(1, keepdim=True).clamp(min=1) - 1
    return amplitude * torch.tanh(theta * (1 - 2 * progress)) + 1
