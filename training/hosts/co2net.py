"""CO2-Net: cross-modal consensus of two feature streams (Hong et al., ACM MM 2021). `two_stream` says what differs
from the public code.

The channel descriptor has only the tap that an input of length 1 can reach.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.hosts.host import StreamsOutput
from training.hosts.two_stream import SLOPE, AttentionHead, TwoStreamHost, TwoStreamRecipe
from training.nn.layers import Dropout, SnippetConv


class Co2NetRecipe(TwoStreamRecipe):
    """CO2-Net. The defaults are those of the public code on THUMOS14."""

    title: ClassVar[str] = "CO2-Net"
    kind: Literal["co2net"] = "co2net"
    """Which host this is."""

    def build(self, *, streams: Mapping[str, int], num_classes: int) -> "Co2Net":
        """See `BaseHostRecipe`."""
        return Co2Net(self, streams=streams, num_classes=num_classes)


ACTIVITYNET = Co2NetRecipe(smoothing=13, mil_ratio=5)
"""The public code's ActivityNet variant."""


class ConsensusModule(nn.Module):
    """Cross-modal consensus: the main stream filtered by what its own average and the other stream agree upon."""

    def __init__(self, main: int, auxiliary: int, *, recipe: TwoStreamRecipe) -> None:
        super().__init__()
        self.channel = SnippetConv(main, main, kernel=1)
        self.local = SnippetConv(auxiliary, main)
        self.attention = AttentionHead(main, recipe=recipe)
        self.dropout = Dropout(recipe.attention_dropout)

    def forward(
        self, main: Float[Tensor, "b t m"], auxiliary: Float[Tensor, "b t a"], mask: Bool[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b t m"], Float[Tensor, "b t"]]:
        """Filtered main stream, and its attention in (0, 1)."""
        real = mask.unsqueeze(-1)
        average = (main * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
        channel = self.dropout(F.leaky_relu(self.channel(average, mask[:, :1]), SLOPE))
        local = self.dropout(F.leaky_relu(self.local(auxiliary, mask), SLOPE))
        filtered = (channel * local).float().sigmoid() * main
        return filtered, self.attention(filtered, mask)


class Co2Net(TwoStreamHost[StreamsOutput]):
    """CO2-Net on features of two streams, whatever their widths."""

    def build_streams(self, first: int, second: int) -> None:
        """See `TwoStreamHost`: a consensus module each."""
        self.first = ConsensusModule(first, second, recipe=self.recipe)
        self.second = ConsensusModule(second, first, recipe=self.recipe)

    def forward(self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> StreamsOutput:
        """See `Host`."""
        first, second = features.split(self.split, dim=-1)
        filtered_first, attention_first = self.first(first, second, mask)
        filtered_second, attention_second = self.second(second, first, mask)
        return self.fuse((filtered_first, filtered_second), (attention_first, attention_second), mask)
