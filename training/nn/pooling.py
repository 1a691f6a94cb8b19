"""Pooling over time: how the scores of a video's snippets become the score of the video, for each class by itself.

Hosts and KSM classify whole videos by pooled scores, in training (multiple-instance learning) and in inference, by one
and the same pooling. Axes: b videos, t snippets, k classes, the background's column included.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import PositiveFloat
from torch import Tensor, nn

from cache.recipe import Recipe
from training.nn.losses import top_count, topk_mean

SPREAD = (2, 4, 8, 16, 32)
"""Ratios that kind=spread takes the mean over."""


class PoolingRecipe(Recipe):
    """Pooling of snippets' scores over a video."""

    kind: Literal["top", "spread", "fitted", "log_sum_exp", "attention", "auto"] = "top"
    """Which snippets speak for a video, class by class: top = the mean of the top t / mil_ratio, as the hosts' public
    code does; spread = the mean of top for the ratios 2, 4, 8, 16 and 32; fitted = the mean of as many top snippets as
    the class's probabilities add up to, but of no fewer than top (the background: as top); log_sum_exp = a smooth
    maximum; attention = the mean weighted by the attention (the background's by 1 - attention); auto = the mean
    weighted by a softmax over time, whose sharpness is learned for each class (McFee et al. 2018)."""
    sharpness: PositiveFloat = 1.0
    """log_sum_exp: its factor r in log(mean(exp(r s))) / r, near 0 a mean, large a maximum; auto: where the learned
    sharpness starts."""

    def build(self, *, ratio: int, columns: int) -> "Pooling":
        """The pooling of scores of so many columns; `ratio` is the mil_ratio that stands beside this recipe."""
        match self.kind:
            case "top":
                return TopPooling((ratio,))
            case "spread":
                return TopPooling(SPREAD)
            case "fitted":
                return FittedPooling(ratio)
            case "log_sum_exp":
                return LogSumExpPooling(self.sharpness)
            case "attention":
                return AttentionPooling()
            case "auto":
                return AutoPooling(self.sharpness, columns)


class Pooling(nn.Module):
    """A pooling; padding has no part in it."""

    def forward(
        self, scores: Float[Tensor, "b t k"], attention: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b k"]:
        """Pooled scores. `attention` is the host's, in [0, 1]; `mask` is True at real snippets."""
        raise NotImplementedError


class TopPooling(Pooling):
    """The mean of the top t / ratio scores, and the mean of that over several ratios."""

    def __init__(self, ratios: tuple[int, ...]) -> None:
        super().__init__()
        self.ratios = ratios

    def forward(
        self, scores: Float[Tensor, "b t k"], attention: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b k"]:
        """See `Pooling`."""
        first, *others = (topk_mean(scores, mask, ratio=ratio) for ratio in self.ratios)
        return sum(others, first) / len(self.ratios) if others else first


class FittedPooling(Pooling):
    """The mean of the top n scores of a class, n the sum of its probabilities over the video.

    n need not be whole: the last score counts as much as is left. It gets no gradient. It is at least t / ratio, and
    so much for the background: where this one is fitted, too, it is the first to be learned, everywhere, and attention
    and classes may go out.
    """

    def __init__(self, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio

    def forward(
        self, scores: Float[Tensor, "b t k"], attention: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b k"]:
        """See `Pooling`."""
        real = mask.unsqueeze(-1)
        least = top_count(mask, ratio=self.ratio)[:, None, None]
        shares = (scores.detach().softmax(dim=-1) * real).sum(1, keepdim=True)
        count = torch.cat([shares[..., :-1].maximum(least), least.expand_as(shares[..., -1:])], dim=-1)
        ranked = scores.masked_fill(~real, -torch.inf).sort(dim=1, descending=True).values
        before = torch.arange(scores.shape[1], device=scores.device)[:, None]
        weights = (count - before).clamp(0, 1) * real  # real snippets are ranked first
        return (weights * ranked.masked_fill(~real, 0)).sum(1) / weights.sum(1).clamp(min=1e-6)


class LogSumExpPooling(Pooling):
    """log(mean(exp(r s))) / r."""

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(
        self, scores: Float[Tensor, "b t k"], attention: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b k"]:
        """See `Pooling`."""
        hidden = (self.sharpness * scores).masked_fill(~mask.unsqueeze(-1), -torch.inf)
        return (hidden.logsumexp(dim=1) - mask.sum(1, keepdim=True).log()) / self.sharpness


class AttentionPooling(Pooling):
    """The mean weighted by the attention; that of the last column, the background, by 1 - attention."""

    def forward(
        self, scores: Float[Tensor, "b t k"], attention: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b k"]:
        """See `Pooling`."""
        real = mask.to(scores.dtype)
        return torch.cat(
            [
                _weighted(scores[..., :-1], (attention * real).unsqueeze(-1)),
                _weighted(scores[..., -1:], ((1 - attention) * real).unsqueeze(-1)),
            ],
            dim=-1,
        )


class AutoPooling(Pooling):
    """The mean weighted by softmax(a s) over time, a learned for each column."""

    def __init__(self, sharpness: float, columns: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.full((columns,), sharpness))

    def forward(
        self, scores: Float[Tensor, "b t k"], attention: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b k"]:
        """See `Pooling`."""
        hidden = (self.sharpness * scores).masked_fill(~mask.unsqueeze(-1), -torch.inf)
        return (hidden.softmax(dim=1) * scores).sum(1)


def _weighted(scores: Float[Tensor, "b t k"], weights: Float[Tensor, "b t 1"]) -> Float[Tensor, "b k"]:
    return (weights * scores).sum(1) / weights.sum(1).clamp(min=1e-6)
