"""What every host method gives: an embedding, a T-CAM and an attention, and the losses that train them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

from cache.recipe import Recipe
from training.batches.data import Batch, Targets
from training.nn.losses import classification_loss, suppress
from training.nn.pooling import Pooling, PoolingRecipe, TopPooling
from training.nn.precision import as_float32


@dataclass(frozen=True)
class HostOutput:
    """One forward pass of a host over a padded batch; values at padding are zero (cas, attention) or unspecified.

    A host whose losses need more than this subclasses it. Axes: b videos, t snippets, e embedding, k = classes + 1.
    """

    embedding: Float[Tensor, "b t e"]
    """Fused snippet features F_e (eq 2); the queries of KSM and the localization head read them."""
    cas: Float[Tensor, "b t k"]
    """T-CAM S: raw logits of each class and, last, of the background."""
    attention: Float[Tensor, "b t"]
    """Foreground attention A in [0, 1] (eq 3). It is A_KSM when KSM is on."""

    def float(self) -> Self:
        """The same in float32, where the losses are computed whatever the precision of the forward pass."""
        return as_float32(self)


@dataclass(frozen=True)
class StreamsOutput(HostOutput):
    """Of a host that has an attention for each stream, too."""

    streams: tuple[Float[Tensor, "b t"], Float[Tensor, "b t"]]
    """Attention of the first and of the second stream by itself."""


class BaseHostRecipe(Recipe, ABC):
    """Settings of a host. Its field `kind` names the host in recipe.json; `recipes` lists those that there are."""

    title: ClassVar[str]
    """What tables call the host."""
    num_streams: ClassVar[int | None] = None
    """How many streams of features the host needs; None: it takes any number."""

    @abstractmethod
    def build(self, *, streams: Mapping[str, int], num_classes: int) -> "Host[Any]":
        """The host, freshly initialized, for features of these streams (widths by name, in their order)."""


class PooledHostRecipe(BaseHostRecipe, ABC):
    """Settings of a host that pools the scores of snippets into those of a video."""

    pooling: PoolingRecipe = PoolingRecipe()
    """Which snippets speak for a video, in training and in inference."""


OutputT = TypeVar("OutputT", bound=HostOutput)


class Host(nn.Module, ABC, Generic[OutputT]):
    """A host method. Its constructor sets `width` and `mil_ratio`, and `pooling` if it is another than the top
    snippets."""

    width: int
    """Width of the embedding."""
    mil_ratio: int
    """The top t / mil_ratio snippets speak for a video."""

    def __init__(self) -> None:
        super().__init__()
        self.pooling: Pooling | None = None

    @abstractmethod
    def forward(self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> OutputT:
        """Run on snippet features; `mask` is True at real snippets. Padding never changes the figures of real
        snippets."""

    @abstractmethod
    def loss(self, output: OutputT, targets: Targets, *, step: int, total_steps: int) -> dict[str, Tensor]:
        """Scalar terms by name, each already multiplied by its weight. `output` is float32, and autocast is off."""

    def reviews(self, step: int, total_steps: int) -> bool:
        """Whether the host looks at all training videos before `step`. Never, unless the host says otherwise."""
        return False

    def review(
        self, videos: Iterator[Batch], notes: Mapping[str, Tensor], *, step: int, total_steps: int
    ) -> dict[str, Tensor]:
        """Look at all training videos, in whole and in eval mode, and note (t, n) figures on the t snippets of each.

        Until the next review `loss` finds them in `Targets.notes`, laid on the snippets of its batch; `notes` are those
        of the review before, empty at the first. What a host keeps besides goes into buffers that are not persistent:
        checkpoints hold notes and such buffers, so that runs resume, and inference reads neither.
        """
        return {}

    def suppressed(self, output: OutputT) -> Float[Tensor, "b t k"]:
        """The T-CAM that video scores are read off: with the background suppressed by the attention, unless the host
        says otherwise."""
        return suppress(output.cas, output.attention)

    def pool(self, scores: Float[Tensor, "b t k"], output: OutputT, mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b k"]:
        """Scores of each video: those of its snippets, pooled."""
        pooling = TopPooling((self.mil_ratio,)) if self.pooling is None else self.pooling
        return pooling(scores, output.attention, mask)

    def mil(
        self, scores: Float[Tensor, "b t k"], output: OutputT, targets: Targets, *, background: float
    ) -> Float[Tensor, ""]:
        """Multiple-instance learning: `classification_loss` on the pooled scores."""
        return classification_loss(self.pool(scores, output, targets.mask), targets.labels, background=background)

    def video_scores(self, output: OutputT, mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b k"]:
        """Probability of each class, and last of the background, in each video: they share 1."""
        return self.pool(self.suppressed(output), output, mask).softmax(dim=-1)

    def presence(self, output: OutputT, mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b c"]:
        """Probability of each class in each video against the background alone, whatever else is in the video: about
        0.5 where the host has learned that the class is there."""
        pooled = self.pool(output.cas, output, mask)
        return (pooled[:, :-1] - pooled[:, -1:]).sigmoid()


def first_step(share: float, total_steps: int) -> int:
    """The first step at or behind this share of all; `total_steps` is never taken."""
    return math.ceil(round(share * total_steps, 6))
