"""UM: weakly-supervised localization by uncertainty modeling (Lee et al., AAAI 2021).

Features of action snippets are to be long, those of background snippets short and their classes uncertain. Network and
losses are those of the public code; there is no other form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from training.batches.data import Targets
from training.hosts.host import Host, HostOutput, PooledHostRecipe
from training.nn.layers import Dropout, SnippetConv
from training.nn.losses import label_shares, top_weights
from training.nn.precision import full_precision

NO_BACKGROUND = -1e4
"""Logit of the background, a class that UM does not have."""


class UmRecipe(PooledHostRecipe):
    """UM. The defaults are those of the public code on THUMOS14."""

    title: ClassVar[str] = "UM"
    kind: Literal["um"] = "um"
    """Which host this is."""
    width: PositiveInt | None = None
    """Width of the embedding; as wide as the features when not given."""
    dropout: float = Field(default=0.7, ge=0, lt=1)
    """Dropout before the classifier, and of the snippets that may be chosen as action or background."""
    mil_ratio: PositiveInt = 9
    """The top t / mil_ratio snippets speak for a video, and the longest t / mil_ratio features are action."""
    background_ratio: PositiveInt = 4
    """The shortest t / background_ratio features are background."""
    uncertainty: NonNegativeFloat = 5e-4
    """Weight alpha of the lengths of features."""
    entropy: NonNegativeFloat = 1.0
    """Weight beta of the uncertainty of the background's class."""
    margin: PositiveFloat = 100.0
    """Length that features of action shall reach."""

    def build(self, *, streams: Mapping[str, int], num_classes: int) -> "Um":
        """See `BaseHostRecipe`."""
        return Um(self, width=sum(streams.values()), num_classes=num_classes)


@dataclass(frozen=True)
class UmOutput(HostOutput):
    """What the losses read besides."""

    action: Float[Tensor, "b t"]
    """Weights that average the snippets chosen as action; 0 at all others."""
    background: Float[Tensor, "b t"]
    """The same of those chosen as background."""


class Um(Host[UmOutput]):
    """A convolution embeds, a linear classifier reads the embedding, and its length is the attention."""

    def __init__(self, recipe: UmRecipe, *, width: int, num_classes: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.mil_ratio = recipe.mil_ratio
        self.pooling = recipe.pooling.build(ratio=recipe.mil_ratio, columns=num_classes + 1)
        self.width = recipe.width or width
        self.embed = SnippetConv(width, self.width)
        self.embed.linear.reset_parameters()  # torch's own start, as in the public code
        self.classifier = nn.Linear(self.width, num_classes, bias=False)
        self.dropout = Dropout(recipe.dropout)

    def forward(self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> UmOutput:
        """See `Host`. The attention says where a length lies on the way from the mean of the shortest features to that
        of the longest, cut to [0, 1]."""
        longest, shortest = self.recipe.mil_ratio, self.recipe.background_ratio
        embedding = self.embed(features, mask).relu() * mask.unsqueeze(-1)
        scores = self.classifier(self.dropout(embedding))
        length = torch.linalg.vector_norm(embedding.float(), dim=-1)
        shortness = length.amax(1, keepdim=True) - length
        low = (length * top_weights(shortness, mask, ratio=shortest)).sum(1, keepdim=True)
        high = (length * top_weights(length, mask, ratio=longest)).sum(1, keepdim=True)
        attention = ((length - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
        eligible = self.dropout(torch.ones_like(length))
        return UmOutput(
            embedding=embedding,
            cas=F.pad(scores, (0, 1), value=NO_BACKGROUND) * mask.unsqueeze(-1),
            attention=attention * mask,
            action=top_weights(length * eligible, mask, ratio=longest),
            background=top_weights(shortness * eligible, mask, ratio=shortest),
        )

    @full_precision()  # CUDA's autocast refuses binary_cross_entropy
    def loss(self, output: UmOutput, targets: Targets, *, step: int, total_steps: int) -> dict[str, Tensor]:
        """Classes of the video, uncertain classes of the background, and lengths of both."""
        recipe, labels = self.recipe, targets.labels
        video = self.video_scores(output, targets.mask)[:, :-1]
        background = torch.einsum("bt,btc->bc", output.background, output.cas[..., :-1]).softmax(dim=-1)
        long, short = (
            torch.linalg.vector_norm(torch.einsum("bt,bte->be", chosen, output.embedding), dim=-1)
            for chosen in (output.action, output.background)
        )
        uniform = torch.full_like(background, 1 / labels.shape[1])
        return {
            "mil": F.binary_cross_entropy(video, label_shares(labels)),
            "entropy": recipe.entropy * F.binary_cross_entropy(background, uniform),
            "uncertainty": recipe.uncertainty * (F.relu(recipe.margin - long) + short).square().mean(),
        }

    def suppressed(self, output: UmOutput) -> Float[Tensor, "b t k"]:
        """See `Host`; nothing is suppressed."""
        return output.cas

    def presence(self, output: UmOutput, mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b c"]:
        """See `Host`; without a background, against the video's best class: 0.5 is that of the best."""
        classes = self.pool(output.cas, output, mask)[:, :-1]
        return (classes - classes.amax(dim=-1, keepdim=True)).sigmoid()
