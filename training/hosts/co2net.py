"""CO2-Net: cross-modal consensus of two feature streams (Hong et al., ACM MM 2021).

Default is the corrected form; `official=True` reproduces the public code. They differ in three places:

- the public code drops out the *logit* of each attention, so that half of all attentions are exactly 0.5 in training;
- at test time it localizes on A S, though it trained on A (S - m) + m;
- its smoothing (ActivityNet variant) counts zeros beyond both ends of a video.

In either form the channel descriptor has only the tap that an input of length 1 can reach, and the public code's unused
12.6 million parameters (`feat_encoder`) are not there.
"""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator
from torch import Tensor, nn

from cache.recipe import Recipe
from training.data import Targets
from training.errors import TrainingError
from training.hosts.host import Host, HostOutput
from training.layers import Dropout, SnippetConv, average_pool
from training.losses import guide_loss, mil_loss, mutual_loss, norm_loss, pair_loss, suppress

SLOPE = 0.2


class Co2NetRecipe(Recipe):
    """CO2-Net. The defaults are those of the public code on THUMOS14."""

    kind: Literal["co2net"] = "co2net"
    """Which host this is."""
    official: bool = False
    """Reproduce the public code, its defects included (see the module)."""
    width: PositiveInt | None = None
    """Width of the fused embedding; as wide as both streams together when not given."""
    attention_width: PositiveInt | None = None
    """Hidden width of the attention heads; half of a stream when not given (512 on I3D)."""
    attention_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout inside the consensus modules."""
    dropout: float = Field(default=0.7, ge=0, lt=1)
    """Dropout of the fused embedding and inside the classifier."""
    smoothing: PositiveInt = 1
    """Odd number of snippets over which T-CAM and attentions are averaged (13 in the ActivityNet variant; 1: off)."""
    mil_ratio: PositiveInt = 7
    """The top t / mil_ratio snippets speak for a video (7 on THUMOS14, 5 on ActivityNet)."""
    norm: NonNegativeFloat = 0.8
    """Weight alpha 1 of the sparsity of the attentions."""
    guide: NonNegativeFloat = 0.8
    """Weight alpha 2 of the agreement of attentions and background probability."""
    pair: NonNegativeFloat = 1.0
    """Weight alpha 3 of the co-activity loss over pairs."""
    mutual: NonNegativeFloat = 1.0
    """Weight alpha 4 of the mutual learning of the two streams."""

    @field_validator("smoothing")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"smoothing: found {value}, expected an odd number of snippets")
        return value


class ConsensusModule(nn.Module):
    """Cross-modal consensus: the main stream filtered by what its own average and the other stream agree upon."""

    def __init__(self, main: int, auxiliary: int, *, recipe: Co2NetRecipe) -> None:
        super().__init__()
        hidden = recipe.attention_width or max(1, main // 2)
        self.channel = SnippetConv(main, main, kernel=1)
        self.local = SnippetConv(auxiliary, main)
        self.attention = nn.ModuleList(
            [SnippetConv(main, hidden), SnippetConv(hidden, hidden), SnippetConv(hidden, 1, kernel=1)]
        )
        self.dropout = Dropout(recipe.attention_dropout)
        self.logit_dropout = Dropout(recipe.attention_dropout if recipe.official else 0.0)

    def forward(
        self, main: Float[Tensor, "b t m"], auxiliary: Float[Tensor, "b t a"], mask: Bool[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b t m"], Float[Tensor, "b t"]]:
        """Filtered main stream, and its attention in (0, 1)."""
        real = mask.unsqueeze(-1)
        average = (main * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
        channel = self.dropout(F.leaky_relu(self.channel(average, mask[:, :1]), SLOPE))
        local = self.dropout(F.leaky_relu(self.local(auxiliary, mask), SLOPE))
        filtered = (channel * local).sigmoid() * main
        first, second, last = self.attention
        hidden = self.dropout(F.leaky_relu(first(filtered, mask), SLOPE))
        hidden = F.leaky_relu(second(hidden, mask), SLOPE)
        return filtered, self.logit_dropout(last(hidden, mask)).squeeze(-1).sigmoid()


class Co2Net(Host):
    """CO2-Net on features of two streams, whatever their widths."""

    def __init__(self, recipe: Co2NetRecipe, *, streams: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        if len(streams) != 2:
            raise TrainingError(
                f"features.json, streams: found {dict(streams)}, expected two (rgb and flow) for the "
                "host co2net; encode both streams, or choose the host plain"
            )
        self.recipe = recipe
        self.split = list(streams.values())
        first, second = self.split
        total = first + second
        self.width = recipe.width or total
        self.first = ConsensusModule(first, second, recipe=recipe)
        self.second = ConsensusModule(second, first, recipe=recipe)
        self.fusion = SnippetConv(total, self.width, kernel=1)
        self.classifier = nn.ModuleList(
            [SnippetConv(self.width, self.width), SnippetConv(self.width, num_classes + 1, kernel=1)]
        )
        self.dropout = Dropout(recipe.dropout)

    def forward(self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> HostOutput:
        """See `Host`; `streams` are the attentions of the first and the second stream."""
        first, second = features.split(self.split, dim=-1)
        filtered_first, attention_first = self.first(first, second, mask)
        filtered_second, attention_second = self.second(second, first, mask)
        fused = torch.cat((filtered_first, filtered_second), dim=-1)
        embedding = self.dropout(F.leaky_relu(self.fusion(fused, mask), SLOPE))
        hidden, last = self.classifier
        cas = last(self.dropout(F.leaky_relu(hidden(self.dropout(embedding), mask), SLOPE)), mask)
        attentions = torch.stack((attention_first, attention_second), dim=-1)
        joint = torch.cat((cas, attentions.mean(-1, keepdim=True), attentions), dim=-1) * mask.unsqueeze(-1)
        joint = average_pool(joint, mask, kernel=self.recipe.smoothing, official=self.recipe.official)
        return HostOutput(
            embedding=embedding,
            cas=joint[..., :-3],
            attention=joint[..., -3],
            streams=(joint[..., -2], joint[..., -1]),
        )

    def loss(self, output: HostOutput, targets: Targets, *, step: int, total_steps: int) -> dict[str, Tensor]:
        """MIL on S and on suppressed S, co-activity over pairs, mutual learning, sparsity, guide."""
        recipe, mask, labels = self.recipe, targets.mask, targets.labels
        suppressed = suppress(output.cas, output.attention)
        attentions = (output.attention, *output.streams)
        return {
            "mil": mil_loss(output.cas, mask, labels, background=1, ratio=recipe.mil_ratio),
            "mil_suppressed": mil_loss(suppressed, mask, labels, background=0, ratio=recipe.mil_ratio),
            "pair": recipe.pair * pair_loss(output.embedding, suppressed, mask, labels, targets.pairs),
            "mutual": recipe.mutual * mutual_loss(output.streams[0], output.streams[1], mask),
            "norm": recipe.norm * norm_loss(attentions, mask),
            "guide": recipe.guide * guide_loss(output.cas, attentions, mask),
        }

    def suppressed(self, output: HostOutput) -> Float[Tensor, "b t k"]:
        """See `Host`; the plain product A S when official."""
        if self.recipe.official and not self.training:
            return output.attention.unsqueeze(-1) * output.cas
        return suppress(output.cas, output.attention)
