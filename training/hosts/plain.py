"""A host with nothing but the essentials: an embedding, an attention and a classifier over snippets.

It has what every attention-based method shares (BaS-Net, HAM-Net and their descendants), so what a branch adds to it is
easy to see, and it runs fast on a CPU.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from training.batches.data import Targets
from training.hosts.host import Host, HostOutput, PooledHostRecipe
from training.nn.layers import Dropout, SnippetConv
from training.nn.losses import guide_loss, norm_loss


class PlainRecipe(PooledHostRecipe):
    """The plain host."""

    title: ClassVar[str] = "plain"
    kind: Literal["plain"] = "plain"
    """Which host this is."""
    width: PositiveInt | None = None
    """Width of the embedding; as wide as the features when not given."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout after each convolution of the embedding and before the classifier."""
    mil_ratio: PositiveInt = 7
    """The top t / mil_ratio snippets speak for a video (k = 7 in the CO2 family on THUMOS14)."""
    norm: NonNegativeFloat = 0.8
    """Weight of the sparsity of the attention (alpha 1 of CO2-Net)."""
    guide: NonNegativeFloat = 0.8
    """Weight of the agreement of attention and background probability (alpha 2 of CO2-Net)."""

    def build(self, *, streams: Mapping[str, int], num_classes: int) -> "PlainHost":
        """See `BaseHostRecipe`."""
        return PlainHost(self, width=sum(streams.values()), num_classes=num_classes)


class PlainHost(Host[HostOutput]):
    """Two convolutions embed; an attention head and a classifier read the embedding."""

    def __init__(self, recipe: PlainRecipe, *, width: int, num_classes: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.mil_ratio = recipe.mil_ratio
        self.pooling = recipe.pooling.build(ratio=recipe.mil_ratio, columns=num_classes + 1)
        self.width = recipe.width or width
        self.embed = nn.ModuleList([SnippetConv(width, self.width), SnippetConv(self.width, self.width)])
        self.attention_hidden = SnippetConv(self.width, max(1, self.width // 4))
        self.attention_logit = SnippetConv(max(1, self.width // 4), 1, kernel=1)
        self.classifier = SnippetConv(self.width, num_classes + 1)
        self.dropout = Dropout(recipe.dropout)

    def forward(self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> HostOutput:
        """See `Host`."""
        x = features
        for conv in self.embed:
            x = self.dropout(conv(x, mask).relu())
        hidden = self.attention_hidden(x, mask).relu()
        attention = self.attention_logit(hidden, mask).squeeze(-1).float().sigmoid()
        cas = self.classifier(x, mask)
        return HostOutput(embedding=x, cas=cas * mask.unsqueeze(-1), attention=attention * mask)

    def loss(self, output: HostOutput, targets: Targets, *, step: int, total_steps: int) -> dict[str, Tensor]:
        """MIL on S with background, MIL on suppressed S without, sparsity and guide."""
        recipe, mask = self.recipe, targets.mask
        return {
            "mil": self.mil(output.cas, output, targets, background=1),
            "mil_suppressed": self.mil(self.suppressed(output), output, targets, background=0),
            "norm": recipe.norm * norm_loss([output.attention], mask),
            "guide": recipe.guide * guide_loss(output.cas, [output.attention], mask),
        }
