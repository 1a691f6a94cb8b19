"""DDG-Net: snippets refined over a discriminability-driven graph (Tang et al., ICCV 2023), then trained as DELU is.

Snippets are action where both streams attend, background where neither does, else ambiguous. Action speaks with
action, background with background, and ambiguous snippets only listen. One matrix holds all these graphs: a row is who
a snippet listens to, and each snippet is in one graph alone.

The default is the corrected form; `official=True` reproduces the public code (`training.compat.forms`).
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
from training.hosts import evidential
from training.hosts.evidential import EvidentialRecipe, evidential_terms
from training.hosts.host import StreamsOutput
from training.hosts.two_stream import SLOPE, AttentionHead, TwoStreamHost, TwoStreamRecipe
from training.nn.layers import SnippetConv, masked_mean
from training.nn.losses import top_count
from training.nn.precision import full_precision


class DdgNetRecipe(TwoStreamRecipe):
    """DDG-Net. The defaults are those of the public code on THUMOS14."""

    title: ClassVar[str] = "DDG-Net"
    kind: Literal["ddgnet"] = "ddgnet"
    """Which host this is."""
    guide: NonNegativeFloat = 0.4
    """Weight alpha 2 of the agreement of attentions and background probability (0.8 on ActivityNet)."""
    evidential: EvidentialRecipe = EvidentialRecipe()
    """DELU's two terms."""
    consistency: NonNegativeFloat = 3.2
    """Weight alpha 5 of the agreement of averaged and convolved features (1.7 on ActivityNet)."""
    complementary: NonNegativeFloat = 1.0
    """Weight alpha 6 of the improbability of absent classes in every snippet (0.5 on ActivityNet)."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Attention from which on a stream takes a snippet for action."""
    similarity: float = Field(default=0.8, ge=0, lt=1)
    """Snippets less similar than this have no edge."""
    neighbour_ratio: PositiveInt = 10
    """A snippet listens to at most its t / neighbour_ratio most similar ones."""
    keep: PositiveInt = 2
    """Of the refined features, one part in so many is the original."""
    temperature: PositiveFloat = 0.5
    """Of the consistency's weights: lower leaves more of it to snippets of which the attention is sure."""

    def build(self, *, streams: Mapping[str, int], num_classes: int) -> "DdgNet":
        """See `BaseHostRecipe`."""
        return DdgNet(self, streams=streams, num_classes=num_classes)


ACTIVITYNET = DdgNetRecipe(
    smoothing=13, mil_ratio=5, guide=0.8, evidential=evidential.ACTIVITYNET, consistency=1.7, complementary=0.5
)
"""The public code's ActivityNet variant."""


@dataclass(frozen=True)
class DdgNetOutput(StreamsOutput):
    """What the consistency reads besides."""

    raw: tuple[Float[Tensor, "b t"], Float[Tensor, "b t"]]
    """Attentions of the streams as they came, before the graph."""
    gaps: tuple[Float[Tensor, "b t"], Float[Tensor, "b t"]]
    """Distance of a snippet's averaged and convolved features, in each stream."""


@dataclass(frozen=True)
class SnippetGraph:
    """Who listens to whom. Padding neither speaks nor listens."""

    weights: Float[Tensor, "b t t"]
    """[listener, speaker]; rows sum to one."""
    action: Bool[Tensor, "b t"]
    background: Bool[Tensor, "b t"]
    ambiguous: Bool[Tensor, "b t"]


class GraphConvolution(nn.Module):
    """Two layers over the graphs of action and of background, whose features the ambiguous snippets take up."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.action = nn.ModuleList([SnippetConv(width, width, kernel=1) for _ in range(2)])
        self.background = nn.ModuleList([SnippetConv(width, width, kernel=1) for _ in range(2)])

    def forward(
        self, stream: Float[Tensor, "b t d"], graph: SnippetGraph, mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t d"]:
        """Convolved features; an ambiguous snippet's own are untouched."""
        action, background, ambiguous = (m.unsqueeze(-1) for m in (graph.action, graph.background, graph.ambiguous))
        spoken = stream
        for of_action, of_background in zip(self.action, self.background, strict=True):
            spoken = of_action(spoken, mask) * action + of_background(spoken, mask) * background
            spoken = F.leaky_relu(graph.weights @ spoken, SLOPE) * ~ambiguous
        return spoken + (graph.weights @ (spoken + stream * ambiguous)) * ambiguous


class DdgNet(TwoStreamHost[DdgNetOutput]):
    """DDG-Net on features of two streams, whatever their widths."""

    def __init__(self, recipe: DdgNetRecipe, *, streams: Mapping[str, int], num_classes: int) -> None:
        super().__init__(recipe, streams=streams, num_classes=num_classes)
        self.ddg = recipe

    def build_streams(self, first: int, second: int) -> None:
        """See `TwoStreamHost`: an attention and a graph convolution each."""
        widths = (first, second)
        self.attentions = nn.ModuleList([AttentionHead(width, recipe=self.recipe) for width in widths])
        self.convolutions = nn.ModuleList([GraphConvolution(width) for width in widths])

    def forward(self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> DdgNetOutput:
        """See `Host`."""
        streams = features.split(self.split, dim=-1)
        raw = [attend(stream, mask) for attend, stream in zip(self.attentions, streams, strict=True)]
        graph = self.graph(streams, raw, mask)
        kept, refined, gaps = 1 / self.ddg.keep, [], []
        for stream, convolve in zip(streams, self.convolutions, strict=True):
            stream = stream * mask.unsqueeze(-1)
            averaged, convolved = graph.weights @ stream, convolve(stream, graph, mask)
            refined.append(kept * stream + (1 - kept) * (averaged + convolved) / 2)
            gaps.append(torch.linalg.vector_norm(averaged.float() - convolved.float(), dim=-1))
        attentions = [attend(stream, mask) for attend, stream in zip(self.attentions, refined, strict=True)]
        fused = self.fuse((refined[0], refined[1]), (attentions[0], attentions[1]), mask)
        return DdgNetOutput(
            embedding=fused.embedding,
            cas=fused.cas,
            attention=fused.attention,
            streams=fused.streams,
            raw=(raw[0], raw[1]),
            gaps=(gaps[0], gaps[1]),
        )

    @full_precision()
    def graph(
        self,
        streams: tuple[Float[Tensor, "b t _"], ...],
        attentions: list[Float[Tensor, "b t"]],
        mask: Bool[Tensor, "b t"],
    ) -> SnippetGraph:
        """The graph of these features under these attentions. In float32: cosines are ranked and cut at a threshold."""
        above = torch.stack([attention >= self.ddg.threshold for attention in attentions])
        action, background = above.all(0) & mask, ~above.any(0) & mask
        ambiguous = mask & ~action & ~background
        similarity = torch.stack([_cosines(stream) for stream in streams]).mean(0)
        own = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        edges = _nearest(similarity, mask, ratio=self.ddg.neighbour_ratio) & (similarity >= self.ddg.similarity) | own
        speakers = (
            action.unsqueeze(2) & action.unsqueeze(1)
            | background.unsqueeze(2) & background.unsqueeze(1)
            | ambiguous.unsqueeze(2) & ((action | background).unsqueeze(1) | own)
        )
        weights = F.normalize(similarity * (edges & speakers), p=1.0, dim=2)
        return SnippetGraph(weights, action, background, ambiguous)

    def loss(self, output: DdgNetOutput, targets: Targets, *, step: int, total_steps: int) -> dict[str, Tensor]:
        """DELU's terms, feature consistency, and complementary learning of absent classes."""
        recipe, mask = self.ddg, targets.mask
        shared = super().loss(output, targets, step=step, total_steps=total_steps)
        evidence = evidential_terms(
            output, targets, recipe.evidential, progress=step / total_steps, official=recipe.official
        )
        return (
            shared
            | evidence
            | {
                "consistency": recipe.consistency * self._consistency(output, mask),
                "complementary": recipe.complementary * complementary_loss(output.cas, mask, targets.labels),
            }
        )

    def _consistency(self, output: DdgNetOutput, mask: Bool[Tensor, "b t"]) -> Float[Tensor, ""]:
        """Mean gap over action and over background snippets, those first of which the attention is sure."""
        above = torch.stack([attention >= self.ddg.threshold for attention in output.raw])
        mean = torch.stack(output.raw).mean(0).detach()
        terms = []
        for chosen, sure in ((above.all(0) & mask, mean), (~above.any(0) & mask, 1 - mean)):
            weights = torch.exp((1 - 1 / sure.clamp(min=1e-6)) / self.ddg.temperature) * chosen
            videos = chosen.any(1).sum().clamp(min=1)
            for gap in output.gaps:
                video = (weights * gap).sum(1) / weights.sum(1).clamp(min=1e-3)
                terms.append(video.sum() / videos)
        return 0.5 * torch.stack(terms).sum()


def complementary_loss(
    cas: Float[Tensor, "b t k"], mask: Bool[Tensor, "b t"], labels: Float[Tensor, "b c"]
) -> Float[Tensor, ""]:
    """Every snippet speaks against the classes that its video lacks: -log(1 - p), summed over them."""
    absent = 1 - F.pad(labels, (0, 1), value=1.0)
    against = -torch.log((1 - cas.softmax(dim=-1)).clamp(min=1e-6))
    return masked_mean((against * absent.unsqueeze(1)).sum(-1), mask).mean()


def _cosines(stream: Float[Tensor, "b t d"]) -> Float[Tensor, "b t t"]:
    unit = F.normalize(stream, dim=-1)
    return unit @ unit.transpose(1, 2)


def _nearest(similarity: Float[Tensor, "b t t"], mask: Bool[Tensor, "b t"], *, ratio: int) -> Bool[Tensor, "b t t"]:
    """Each row's max(1, t // ratio) greatest among real snippets, t the video's own length; more where some tie."""
    count = top_count(mask, ratio=ratio)
    hidden = similarity.masked_fill(~mask.unsqueeze(1), -torch.inf)
    top = hidden.topk(max(1, mask.shape[1] // ratio), dim=2).values
    last = top.gather(2, (count - 1)[:, None, None].expand(-1, top.shape[1], 1))
    return hidden >= last
