"""The model at inference: host, KSM's class queries and localization head. No text, no language model, no CSR.

Axes: b videos, t snippets, d features, c action classes, k = c + 1 (last = background).
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.hosts.host import Host, HostOutput
from training.localization.localize import VideoScores
from training.model.ksm import ClassMatching
from training.model.localization_head import HeadOutput, LocalizationHead
from training.nn.precision import full_precision

MatchingT = TypeVar("MatchingT", bound=ClassMatching)


@dataclass(frozen=True)
class Localization:
    """Outputs for a batch at inference; zero or meaningless at padding."""

    cas: Float[Tensor, "b t c"]
    """Fused T-CAM: class probabilities, background left out."""
    attention: Float[Tensor, "b t"]
    """The host's attention, A_KSM."""
    video_scores: Float[Tensor, "b c"]
    """Probability of each class in the video, of the kind that was asked for."""
    head: HeadOutput | None
    """The localization head's output, if there is a head."""
    logits: Float[Tensor, "b t k"]
    """The host's own T-CAM: logits, the background's last."""


class Localizer(nn.Module, Generic[MatchingT]):
    """Everything that inference runs. `fusion` is KSM's share in the fused T-CAM."""

    def __init__(self, host: Host[Any], ksm: MatchingT | None, head: LocalizationHead | None, *, fusion: float) -> None:
        super().__init__()
        self.host, self.ksm, self.head, self.fusion = host, ksm, head, fusion

    def localize_forward(
        self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"], *, kind: VideoScores = "softmax"
    ) -> Localization:
        """Run host, matching with the stored class queries, and head; outputs are float32. `kind` is that of the video
        scores."""
        output = self.host(features, mask).float()
        cas, video_scores = self.fused(output, mask, kind=kind)
        head = None if self.head is None else self.head(output.embedding, mask).float()
        return Localization(cas, output.attention, video_scores, head, output.cas)

    @full_precision()
    def fused(
        self,
        output: HostOutput,
        mask: Bool[Tensor, "b t"],
        *,
        share: float | None = None,
        kind: VideoScores = "softmax",
    ) -> tuple[Float[Tensor, "b t c"], Float[Tensor, "b c"]]:
        """Fused T-CAM and video scores: the host's probabilities and KSM's, weighted, background left out.

        A T-CAM is the softmax of the raw scores of a snippet; the host has its own video scores, and KSM's are the
        softmax of its pooled suppressed scores, or with `kind` "against_background" the sigmoid of its pooled scores
        minus the background's. KSM matches the stored class queries. `share` is KSM's, `fusion` when not given.
        """
        cas = output.cas.softmax(dim=-1)
        shared = kind == "softmax"
        video = self.host.video_scores(output, mask)[:, :-1] if shared else self.host.presence(output, mask)
        if self.ksm is not None:
            matching = self.ksm.match(output.embedding, self.ksm.class_queries)
            share = self.fusion if share is None else share
            cas = (1 - share) * cas + share * matching.softmax(dim=-1)
            scores = self.ksm.suppressed(matching, output.attention) if shared else matching
            pooled = self.ksm.pooling(scores, output.attention, mask)
            of_ksm = pooled.softmax(dim=-1)[:, :-1] if shared else (pooled[:, :-1] - pooled[:, -1:]).sigmoid()
            video = (1 - share) * video + share * of_ksm
        return cas[..., :-1], video
