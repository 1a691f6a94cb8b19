"""What CO2-Net and its descendants DELU and DDG-Net share: two streams, filtered and fused, and six loss terms.

The default is the corrected form; `official=True` takes the forms of the public code from `training.compat.forms`. In
either form the public code's unused 12.6 million parameters (`feat_encoder`) are not there, and the co-activity loss
reads its pairs from `Targets.pairs`, not from places in the batch.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator
from torch import Tensor, nn

from training.batches.data import Targets
from training.compat.forms import LogitDropout, average_with_zeros, product_scores
from training.hosts.host import Host, PooledHostRecipe, StreamsOutput
from training.nn.layers import Dropout, SnippetConv, average_pool
from training.nn.losses import guide_loss, mutual_loss, norm_loss, pair_loss, suppress

SLOPE = 0.2
"""Of every leaky ReLU."""


class TwoStreamRecipe(PooledHostRecipe):
    """Settings that the hosts of this family share. The defaults are CO2-Net's on THUMOS14."""

    num_streams: ClassVar[int | None] = 2

    official: bool = False
    """Reproduce the host's public code, its defects included (`training.compat.forms` lists them)."""
    width: PositiveInt | None = None
    """Width of the fused embedding; as wide as both streams together when not given."""
    attention_width: PositiveInt | None = None
    """Hidden width of the attention heads; half of a stream when not given (512 on I3D)."""
    attention_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout where the streams are filtered and attended."""
    dropout: float = Field(default=0.7, ge=0, lt=1)
    """Dropout of the fused embedding and inside the classifier."""
    smoothing: PositiveInt = 1
    """Odd number of snippets over which T-CAM and attentions are averaged (13 in the ActivityNet variants; 1: off)."""
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


class AttentionHead(nn.ModuleList):
    """Three convolutions from a stream to its attention."""

    def __init__(self, width: int, *, recipe: TwoStreamRecipe) -> None:
        hidden = recipe.attention_width or max(1, width // 2)
        convolutions = [SnippetConv(width, hidden), SnippetConv(hidden, hidden), SnippetConv(hidden, 1, kernel=1)]
        logit_dropout = LogitDropout(recipe.attention_dropout) if recipe.official else nn.Identity()
        super().__init__([*convolutions, Dropout(recipe.attention_dropout), logit_dropout])

    def forward(self, stream: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """Attention in (0, 1)."""
        first, second, last, dropout, logit_dropout = self
        hidden = dropout(F.leaky_relu(first(stream, mask), SLOPE))
        hidden = F.leaky_relu(second(hidden, mask), SLOPE)
        return logit_dropout(last(hidden, mask)).squeeze(-1).float().sigmoid()


OutputT = TypeVar("OutputT", bound=StreamsOutput)


class TwoStreamHost(Host[OutputT], Generic[OutputT]):
    """Filtered streams are concatenated and fused into the embedding, which a classifier reads."""

    def __init__(self, recipe: TwoStreamRecipe, *, streams: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.mil_ratio = recipe.mil_ratio
        self.pooling = recipe.pooling.build(ratio=recipe.mil_ratio, columns=num_classes + 1)
        self.split = list(streams.values())
        self.width = recipe.width or sum(self.split)
        self.build_streams(*self.split)
        self.fusion = SnippetConv(sum(self.split), self.width, kernel=1)
        self.classifier = nn.ModuleList(
            [SnippetConv(self.width, self.width), SnippetConv(self.width, num_classes + 1, kernel=1)]
        )
        self.dropout = Dropout(recipe.dropout)

    @abstractmethod
    def build_streams(self, first: int, second: int) -> None:
        """Make the modules that filter the streams, which are so wide."""

    def fuse(
        self,
        streams: tuple[Float[Tensor, "b t m"], Float[Tensor, "b t a"]],
        attentions: tuple[Float[Tensor, "b t"], Float[Tensor, "b t"]],
        mask: Bool[Tensor, "b t"],
    ) -> StreamsOutput:
        """Embedding, T-CAM and attentions from the filtered streams and the attention of each."""
        embedding = self.dropout(F.leaky_relu(self.fusion(torch.cat(streams, dim=-1), mask), SLOPE))
        hidden, last = self.classifier
        cas = last(self.dropout(F.leaky_relu(hidden(self.dropout(embedding), mask), SLOPE)), mask)
        both = torch.stack(attentions, dim=-1)
        joint = torch.cat((cas, both.mean(-1, keepdim=True), both), dim=-1) * mask.unsqueeze(-1)
        average = average_with_zeros if self.recipe.official else average_pool
        joint = average(joint, mask, kernel=self.recipe.smoothing)
        return StreamsOutput(
            embedding=embedding,
            cas=joint[..., :-3],
            attention=joint[..., -3],
            streams=(joint[..., -2], joint[..., -1]),
        )

    def loss(self, output: OutputT, targets: Targets, *, step: int, total_steps: int) -> dict[str, Tensor]:
        """MIL on S and on suppressed S, co-activity over pairs, mutual learning, sparsity, guide."""
        recipe, mask, labels = self.recipe, targets.mask, targets.labels
        suppressed = suppress(output.cas, output.attention)
        attentions = (output.attention, *output.streams)
        return {
            "mil": self.mil(output.cas, output, targets, background=1),
            "mil_suppressed": self.mil(suppressed, output, targets, background=0),
            "pair": recipe.pair * pair_loss(output.embedding, suppressed, mask, labels, targets.pairs),
            "mutual": recipe.mutual * mutual_loss(output.streams[0], output.streams[1], mask),
            "norm": recipe.norm * norm_loss(attentions, mask),
            "guide": recipe.guide * guide_loss(output.cas, attentions, mask),
        }

    def suppressed(self, output: OutputT) -> Float[Tensor, "b t k"]:
        """See `Host`."""
        if self.recipe.official and not self.training:
            return product_scores(output.cas, output.attention)
        return suppress(output.cas, output.attention)
