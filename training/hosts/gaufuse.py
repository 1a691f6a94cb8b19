"""Zhou et al. (CVPR 2023, "GauFuse"): snippets reallocated over representative ones, as in RSKP (CVPR 2022).

A few tokens are fitted to each video by expectation maximization, and its snippets move towards the tokens in a random
walk. Both the original and the moved snippets are classified, and the moved ones teach the original ones. This is
the first stage of the public code's training. Its later stages, a memory of tokens over videos and pseudo labels by
linear programmes, are not here: in MLLM4WTAL the localization head learns from pseudo segments instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from training.data import Targets
from training.hosts.host import BaseHostRecipe, Host, HostOutput
from training.layers import Dropout, masked_mean
from training.losses import topk_mean


class GauFuseRecipe(BaseHostRecipe):
    """Zhou et al. The defaults are those of the public code on THUMOS14."""

    kind: Literal["gaufuse"] = "gaufuse"
    """Which host this is."""
    width: PositiveInt | None = None
    """Width of the embedding; as wide as the features when not given."""
    dropout: float = Field(default=0.6, ge=0, lt=1)
    """Dropout of the embedding."""
    tokens: PositiveInt = 8
    """Representative snippets a video."""
    iterations: PositiveInt = 2
    """Rounds of expectation maximization."""
    sharpness: PositiveFloat = 5.0
    """Factor of the cosines by which snippets are assigned to tokens."""
    walk: float = Field(default=0.5, gt=0, lt=1)
    """Chance that the random walk goes on."""
    scale: PositiveFloat = 20.0
    """Factor of every cosine that is a logit."""
    mil_ratio: PositiveInt = 8
    """The t / mil_ratio snippets of highest and of lowest attention are driven apart."""
    background: NonNegativeFloat = 0.2
    """Weight of the class-wise pooled classification."""
    contrast: NonNegativeFloat = 0.1
    """Weight of the gap between highest and lowest attention."""
    teach: NonNegativeFloat = 1.0
    """Weight of what the original snippets learn from the moved ones."""
    temperature: PositiveFloat = 0.2
    """Of that teaching."""
    moved_cas: float = Field(default=0.15, ge=0, le=1)
    """Share of the moved snippets' probabilities in the T-CAM."""
    moved_video: float = Field(default=0.4, ge=0, le=1)
    """Share of the moved snippets' probabilities in the video scores."""

    def build(self, *, streams: Mapping[str, int], num_classes: int) -> "GauFuse":
        """See `BaseHostRecipe`."""
        return GauFuse(self, width=sum(streams.values()), num_classes=num_classes)


@dataclass(frozen=True)
class Prediction:
    """What is read off the snippets of one branch."""

    cas: Float[Tensor, "b t k"]
    """Logits of every snippet."""
    attention: Float[Tensor, "b t"]
    attended: Float[Tensor, "b k"]
    """Logits of the features that the attention pools."""
    classwise: Float[Tensor, "b k"]
    """Logit of each class for the features that its own scores pool."""


@dataclass(frozen=True)
class GauFuseOutput(HostOutput):
    """What the losses read besides; `attention` is that of the original snippets, and `cas` holds the logarithms of
    both branches' mixed probabilities."""

    original: Prediction
    moved: Prediction


class GauFuse(Host[GauFuseOutput]):
    """Zhou et al. on features of any streams."""

    def __init__(self, recipe: GauFuseRecipe, *, width: int, num_classes: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.mil_ratio = recipe.mil_ratio
        self.width = recipe.width or width
        self.embed = nn.Linear(width, self.width)
        self.tokens = nn.Parameter(torch.empty(recipe.tokens, self.width))
        self.classes = nn.Parameter(torch.empty(num_classes + 1, self.width))
        for weight in (self.embed.weight, self.tokens, self.classes):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(self.embed.bias)
        self.foreground = nn.Parameter(-self.classes.detach()[-1:])  # what is least like the background
        self.dropout = Dropout(recipe.dropout)

    def forward(self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> GauFuseOutput:
        """See `Host`."""
        embedding = self.dropout(self.embed(features).relu()) * mask.unsqueeze(-1)
        tokens = self.fit_tokens(embedding, mask)
        original = self.predict(embedding, mask)
        moved = self.predict(self.reallocate(embedding, tokens, mask), mask)
        share = self.recipe.moved_cas
        mixed = (1 - share) * original.cas.softmax(dim=-1) + share * moved.cas.softmax(dim=-1)
        cas = mixed.clamp(min=torch.finfo(mixed.dtype).tiny).log() * mask.unsqueeze(-1)
        return GauFuseOutput(embedding, cas, original.attention, original, moved)

    def fit_tokens(self, embedding: Float[Tensor, "b t e"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b m e"]:
        """Tokens of each video: expectation maximization from those that were learned for all."""
        tokens = self.tokens.expand(len(embedding), -1, -1)
        for _ in range(self.recipe.iterations):
            tokens = _shares(self._assignments(embedding, tokens, mask)) @ embedding
        return tokens

    def reallocate(
        self, embedding: Float[Tensor, "b t e"], tokens: Float[Tensor, "b m e"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t e"]:
        """Where a random walk between snippets and tokens leads: (1 - w) (I - w^2 Z' Z_n)^-1 (w Z' M + X).

        Z' Z_n has t x t figures, but only as many ranks as there are tokens m: the inverse is that of an m x m matrix.
        """
        walk, assigned = self.recipe.walk, self._assignments(embedding, tokens, mask)
        shares = _shares(assigned)
        start = walk * assigned.transpose(1, 2) @ tokens + embedding
        small = torch.eye(tokens.shape[1], device=tokens.device) - walk**2 * (shares @ assigned.transpose(1, 2)).float()
        returned = torch.linalg.solve(small, (shares @ start).float()).to(start.dtype)
        return (1 - walk) * (start + walk**2 * assigned.transpose(1, 2) @ returned)

    def _assignments(
        self, embedding: Float[Tensor, "b t e"], tokens: Float[Tensor, "b m e"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b m t"]:
        """Share of each token in each snippet; none of padding."""
        cosines = F.normalize(tokens, dim=-1) @ F.normalize(embedding, dim=-1).transpose(1, 2)
        return (self.recipe.sharpness * cosines).softmax(dim=1) * mask.unsqueeze(1)

    def predict(self, embedding: Float[Tensor, "b t e"], mask: Bool[Tensor, "b t"]) -> Prediction:
        """Logits are scaled cosines to the centres of the classes, the attention that to the foreground's centre."""
        scale, real = self.recipe.scale, mask.unsqueeze(-1)
        unit, centres = F.normalize(embedding, dim=-1), F.normalize(self.classes, dim=-1)
        cas = scale * unit @ centres.T
        attention = (scale * unit @ F.normalize(self.foreground, dim=-1).T).sigmoid() * real
        attended = F.normalize((embedding * attention).sum(1), dim=-1)
        classwise = F.normalize((cas.sigmoid() * real).transpose(1, 2) @ embedding, dim=-1)
        return Prediction(
            cas=cas * real,
            attention=attention.squeeze(-1),
            attended=scale * attended @ centres.T,
            classwise=scale * (classwise * centres).sum(-1),
        )

    def loss(self, output: GauFuseOutput, targets: Targets, *, step: int, total_steps: int) -> dict[str, Tensor]:
        """Both poolings of both branches, the gap of the attention, and what the moved snippets teach."""
        recipe, mask, labels = self.recipe, targets.mask, targets.labels
        branches = (output.original, output.moved)
        attention = output.original.attention.unsqueeze(-1)
        highest = topk_mean(attention, mask, ratio=recipe.mil_ratio)
        lowest = -topk_mean(-attention, mask, ratio=recipe.mil_ratio)
        teacher = (output.moved.cas.detach() / recipe.temperature).softmax(dim=-1)
        taught = -(teacher * F.log_softmax(output.original.cas / recipe.temperature, dim=-1)).sum(-1)
        pooled = [_cross_entropy(branch.attended, labels, background=0.0) for branch in branches]
        classwise = [_cross_entropy(branch.classwise, labels, background=1.0) for branch in branches]
        return {
            "mil": torch.stack(pooled).sum(),
            "mil_background": recipe.background * torch.stack(classwise).sum(),
            "contrast": recipe.contrast * (lowest - highest).mean(),
            "teach": recipe.teach * masked_mean(taught, mask).mean(),
        }

    def video_scores(self, output: GauFuseOutput, mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b k"]:
        """See `Host`; both branches' attended features."""
        share = self.recipe.moved_video
        return (1 - share) * output.original.attended.softmax(-1) + share * output.moved.attended.softmax(-1)


def _shares(assigned: Float[Tensor, "b m t"]) -> Float[Tensor, "b m t"]:
    """Assignments divided by their sum over the snippets."""
    return assigned / assigned.sum(dim=2, keepdim=True).clamp(min=1e-9)


def _cross_entropy(
    logits: Float[Tensor, "b k"], labels: Float[Tensor, "b c"], *, background: float
) -> Float[Tensor, ""]:
    """Of a softmax and the labels with that background, divided by their sum."""
    targets = F.pad(labels, (0, 1), value=background)
    targets = targets / targets.sum(1, keepdim=True).clamp(min=1)
    return -(targets * F.log_softmax(logits, dim=1)).sum(1).mean()
