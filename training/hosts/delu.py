"""DELU: dual-evidential learning (Chen et al., ECCV 2022), CO2-Net's network with two more loss terms.

The default is the corrected form; `official=True` reproduces the public code (`training.compat.forms`).
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from training.batches.data import Targets
from training.hosts import evidential
from training.hosts.co2net import Co2Net
from training.hosts.evidential import EvidentialRecipe, evidential_terms
from training.hosts.host import StreamsOutput
from training.hosts.two_stream import TwoStreamRecipe


class DeluRecipe(TwoStreamRecipe):
    """DELU. The defaults are those of the public code on THUMOS14."""

    title: ClassVar[str] = "DELU"
    kind: Literal["delu"] = "delu"
    """Which host this is."""
    guide: float = 0.4
    """Weight alpha 2 of the agreement of attentions and background probability (0.8 on ActivityNet)."""
    evidential: EvidentialRecipe = EvidentialRecipe()
    """The two terms that DELU adds to CO2-Net's."""

    def build(self, *, streams: Mapping[str, int], num_classes: int) -> "Delu":
        """See `BaseHostRecipe`."""
        return Delu(self, streams=streams, num_classes=num_classes)


ACTIVITYNET = DeluRecipe(smoothing=13, mil_ratio=5, guide=0.8, evidential=evidential.ACTIVITYNET)
"""The public code's ActivityNet variant."""


class Delu(Co2Net):
    """CO2-Net's network under DELU's losses."""

    def __init__(self, recipe: DeluRecipe, *, streams: Mapping[str, int], num_classes: int) -> None:
        super().__init__(recipe, streams=streams, num_classes=num_classes)
        self.evidential = recipe.evidential

    def loss(self, output: StreamsOutput, targets: Targets, *, step: int, total_steps: int) -> dict[str, Tensor]:
        """CO2-Net's terms, the evidence of videos, and the guide of its curriculum."""
        shared = super().loss(output, targets, step=step, total_steps=total_steps)
        return shared | evidential_terms(
            output, targets, self.evidential, progress=step / total_steps, official=self.recipe.official
        )
