"""What every host method gives: an embedding, a T-CAM and an attention, and the losses that train them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.data import Targets


@dataclass(frozen=True)
class HostOutput:
    """One forward pass of a host over a padded batch; values at padding are zero (cas, attention) or unspecified.

    Axes: b videos, t snippets, e embedding, k = classes + 1.
    """

    embedding: Float[Tensor, "b t e"]
    """Fused snippet features F_e (eq 2); the queries of KSM and the localization head read them."""
    cas: Float[Tensor, "b t k"]
    """T-CAM S: raw logits of each class and, last, of the background."""
    attention: Float[Tensor, "b t"]
    """Foreground attention A in (0, 1) (eq 3). It is A_KSM when KSM is on."""
    streams: tuple[Float[Tensor, "b t"], ...] = ()
    """Attention of each stream by itself, for hosts that have one."""

    def float(self) -> "HostOutput":
        """The same in float32, where the losses are computed whatever the precision of the forward pass."""
        streams = tuple(stream.float() for stream in self.streams)
        return HostOutput(self.embedding.float(), self.cas.float(), self.attention.float(), streams)


class Host(nn.Module, ABC):
    """A host method. `width` is the width of its embedding."""

    width: int

    @abstractmethod
    def forward(self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> HostOutput:
        """Run on snippet features; `mask` is True at real snippets. Padding never changes the figures of real
        snippets."""

    @abstractmethod
    def loss(self, output: HostOutput, targets: Targets, *, step: int, total_steps: int) -> dict[str, Tensor]:
        """Scalar terms by name, each already multiplied by its weight."""

    @abstractmethod
    def suppressed(self, output: HostOutput) -> Float[Tensor, "b t k"]:
        """The T-CAM with the background suppressed by the attention, as localization reads it."""
