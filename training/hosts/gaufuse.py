"""Zhou et al. (CVPR 2023, "GauFuse"): snippets reallocated over representative ones, as in RSKP (CVPR 2022).

A few tokens are fitted to each video by expectation maximization, and its snippets move towards the tokens in a random
walk. Both the original and the moved snippets are classified, and the moved ones teach the original ones. Later in the
training the snippets move towards the clearest tokens of their classes in all videos, too (class_memory.py), and then
both learn from frame labels that the host makes of its own localization (frame_labels.py). Inference has the first two
branches alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from training.batches.data import Batch, Targets
from training.hosts.class_memory import ClassMemory, ClassMemoryRecipe
from training.hosts.frame_labels import FrameLabelRecipe, frame_label_loss, frame_labels
from training.hosts.host import BaseHostRecipe, Host, HostOutput, first_step
from training.nn.layers import Dropout, masked_mean
from training.nn.losses import cross_entropy, label_shares, topk_mean
from training.nn.precision import full_precision


class GauFuseRecipe(BaseHostRecipe):
    """Zhou et al. The defaults are those of the public code on THUMOS14."""

    title: ClassVar[str] = "Zhou et al."
    kind: Literal["gaufuse"] = "gaufuse"
    """Which host this is."""
    width: PositiveInt | None = None
    """Width of the embedding; as wide as the features when not given."""
    dropout: float = Field(default=0.6, ge=0, lt=1)
    """Dropout of the embedding."""
    tokens: PositiveInt = 8
    """Representative snippets a video."""
    iterations: PositiveInt = 2
    """Rounds of expectation maximization."""
    sharpness: PositiveFloat = 5.0
    """Factor of the cosines by which snippets are assigned to tokens."""
    walk: float = Field(default=0.5, gt=0, lt=1)
    """Chance that the random walk goes on."""
    scale: PositiveFloat = 20.0
    """Factor of every cosine that is a logit."""
    mil_ratio: PositiveInt = 8
    """The t / mil_ratio snippets of highest and of lowest attention are driven apart."""
    background: NonNegativeFloat = 0.2
    """Weight of the class-wise pooled classification."""
    contrast: NonNegativeFloat = 0.1
    """Weight of the gap between highest and lowest attention."""
    teach: NonNegativeFloat = 1.0
    """Weight of what the original snippets learn from the moved ones."""
    temperature: PositiveFloat = 0.2
    """Of that teaching."""
    moved_cas: float = Field(default=0.15, ge=0, le=1)
    """Share of the moved snippets' probabilities in the T-CAM."""
    moved_video: float = Field(default=0.4, ge=0, le=1)
    """Share of the moved snippets' probabilities in the video scores."""
    use_memory: bool = True
    """The third branch: a walk over the memory's tokens."""
    use_frame_labels: bool = True
    """Labels of snippets that the host makes of its own localization."""
    memory: ClassMemoryRecipe = ClassMemoryRecipe()
    """Tokens of each class over all training videos."""
    frame_labels: FrameLabelRecipe = FrameLabelRecipe()
    """When these are made, how, and how much they weigh."""

    def build(self, *, streams: Mapping[str, int], num_classes: int) -> "GauFuse":
        """See `BaseHostRecipe`."""
        return GauFuse(self, width=sum(streams.values()), num_classes=num_classes)


@dataclass(frozen=True)
class Prediction:
    """What is read off the snippets of one branch."""

    cas: Float[Tensor, "b t k"]
    """Logits of every snippet."""
    attention: Float[Tensor, "b t"]
    attended: Float[Tensor, "b k"]
    """Logits of the features that the attention pools."""
    classwise: Float[Tensor, "b k"]
    """Logit of each class for the features that its own scores pool."""


@dataclass(frozen=True)
class GauFuseOutput(HostOutput):
    """What the losses read besides; `attention` is that of the original snippets, and `cas` holds the logarithms of
    both branches' mixed probabilities."""

    original: Prediction
    moved: Prediction
    tokens: Float[Tensor, "b m e"]
    """The video's own, fitted by expectation maximization."""


class GauFuse(Host[GauFuseOutput]):
    """Zhou et al. on features of any streams."""

    def __init__(self, recipe: GauFuseRecipe, *, width: int, num_classes: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.mil_ratio = recipe.mil_ratio
        self.width = recipe.width or width
        self.embed = nn.Linear(width, self.width)
        self.tokens = nn.Parameter(torch.empty(recipe.tokens, self.width))
        self.classes = nn.Parameter(torch.empty(num_classes + 1, self.width))
        for weight in (self.embed.weight, self.tokens, self.classes):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(self.embed.bias)
        self.foreground = nn.Parameter(-self.classes.detach()[-1:])  # what is least like the background
        self.dropout = Dropout(recipe.dropout)
        self.memory = ClassMemory(num_classes, recipe.memory.slots, self.width) if recipe.use_memory else None

    def forward(self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> GauFuseOutput:
        """See `Host`."""
        embedding = self.dropout(self.embed(features).float().relu()) * mask.unsqueeze(-1)
        tokens = self.fit_tokens(embedding, mask)
        original = self.predict(embedding, mask)
        moved = self.predict(self.reallocate(embedding, tokens, mask), mask)
        mixed = _mixed(original.cas, moved.cas, share=self.recipe.moved_cas)
        cas = mixed.clamp(min=torch.finfo(mixed.dtype).tiny).log() * mask.unsqueeze(-1)
        return GauFuseOutput(embedding, cas, original.attention, original, moved, tokens)

    @full_precision()
    def fit_tokens(self, embedding: Float[Tensor, "b t e"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b m e"]:
        """Tokens of each video: expectation maximization from those that were learned for all."""
        tokens = self.tokens.expand(embedding.shape[0], -1, -1)
        for _ in range(self.recipe.iterations):
            tokens = _shares(self._assignments(embedding, tokens, mask)) @ embedding
        return tokens

    @full_precision()
    def reallocate(
        self,
        embedding: Float[Tensor, "b t e"],
        tokens: Float[Tensor, "b m e"],
        mask: Bool[Tensor, "b t"],
        there: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b t e"]:
        """Where a random walk between snippets and tokens leads: (1 - w) (I - w^2 Z' Z_n)^-1 (w Z' M + X).

        Z' Z_n has t x t figures, but only as many ranks as there are tokens m: the inverse is that of an m x m matrix.
        `there` is False at tokens that pad; without it all are real.
        """
        walk, assigned = self.recipe.walk, self._assignments(embedding, tokens, mask, there)
        shares = _shares(assigned)
        start = walk * assigned.transpose(1, 2) @ tokens + embedding
        small = torch.eye(tokens.shape[1], device=tokens.device) - walk**2 * (shares @ assigned.transpose(1, 2))
        # never singular, as no row of shares @ assigned' sums to more than 1: not checked, which a device waits for
        returned = torch.linalg.solve_ex(small, shares @ start).result
        return (1 - walk) * (start + walk**2 * assigned.transpose(1, 2) @ returned)

    def _assignments(
        self,
        embedding: Float[Tensor, "b t e"],
        tokens: Float[Tensor, "b m e"],
        mask: Bool[Tensor, "b t"],
        there: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b m t"]:
        """Share of each token in each snippet; none of padding."""
        logits = self.recipe.sharpness * F.normalize(tokens, dim=-1) @ F.normalize(embedding, dim=-1).transpose(1, 2)
        if there is None:
            return logits.softmax(dim=1) * mask.unsqueeze(1)
        real = there.unsqueeze(-1)
        least = torch.finfo(logits.dtype).min  # a video without any token has no share of one, rather than NaN
        return logits.masked_fill(~real, least).softmax(dim=1) * (real & mask.unsqueeze(1))

    @full_precision()
    def predict(self, embedding: Float[Tensor, "b t e"], mask: Bool[Tensor, "b t"]) -> Prediction:
        """Logits are scaled cosines to the centres of the classes, the attention that to the foreground's centre."""
        scale, real = self.recipe.scale, mask.unsqueeze(-1)
        unit, centres = F.normalize(embedding, dim=-1), F.normalize(self.classes, dim=-1)
        cas = scale * unit @ centres.T
        attention = (scale * unit @ F.normalize(self.foreground, dim=-1).T).sigmoid() * real
        attended = F.normalize((embedding * attention).sum(1), dim=-1)
        classwise = F.normalize((cas.sigmoid() * real).transpose(1, 2) @ embedding, dim=-1)
        return Prediction(
            cas=cas * real,
            attention=attention.squeeze(-1),
            attended=scale * attended @ centres.T,
            classwise=scale * (classwise * centres).sum(-1),
        )

    def loss(self, output: GauFuseOutput, targets: Targets, *, step: int, total_steps: int) -> dict[str, Tensor]:
        """Both poolings of both branches, the gap of the attention, and what the moved snippets teach; later the
        memory's branch, and the frame labels. In training the memory takes in the batch's tokens."""
        recipe, mask, labels = self.recipe, targets.mask, targets.labels
        branches = (output.original, output.moved)
        attention = output.original.attention.unsqueeze(-1)
        highest = topk_mean(attention, mask, ratio=recipe.mil_ratio)
        lowest = -topk_mean(-attention, mask, ratio=recipe.mil_ratio)
        pooled = [cross_entropy(branch.attended, _with_background(labels, 0.0)).mean() for branch in branches]
        classwise = [cross_entropy(branch.classwise, _with_background(labels, 1.0)).mean() for branch in branches]
        terms = {
            "mil": torch.stack(pooled).sum(),
            "mil_background": recipe.background * torch.stack(classwise).sum(),
            "contrast": recipe.contrast * (lowest - highest).mean(),
        }
        teacher, weight = output.moved.cas, recipe.teach
        if self.memory is not None and recipe.memory.is_on(step, total_steps):
            recalled, known = self._recall(self.memory, output.embedding, targets)
            terms |= self._memory_terms(recalled, known, labels)
            share = recipe.memory.share * known[:, None, None]
            teacher = (1 - share) * teacher + share * recalled.cas
            if not recipe.use_frame_labels or recipe.frame_labels.temperature(step, total_steps) is None:
                weight *= recipe.memory.teach
            if self.training:
                self.memory.update(output.tokens, self.token_scores(output.tokens), labels)
        wanted = (teacher.detach() / recipe.temperature).softmax(dim=-1)
        taught = cross_entropy(output.original.cas / recipe.temperature, wanted)
        terms["teach"] = weight * masked_mean(taught, mask).mean()
        if recipe.use_frame_labels and targets.notes is not None:
            terms["frame_labels"] = frame_label_loss(
                output.original.cas,
                output.moved.cas,
                targets.notes,
                mask,
                recipe=recipe.frame_labels,
                step=step,
                total_steps=total_steps,
            )
        return terms

    @full_precision()
    def token_scores(self, tokens: Float[Tensor, "b m e"]) -> Float[Tensor, "b m c"]:
        """Probability of each class for each token; that of the background is left out."""
        cosines = F.normalize(tokens, dim=-1) @ F.normalize(self.classes, dim=-1).T
        return (self.recipe.scale * cosines).softmax(dim=-1)[..., :-1]

    def _recall(
        self,
        memory: ClassMemory,
        embedding: Float[Tensor, "b t e"],
        targets: Targets,
    ) -> tuple[Prediction, Float[Tensor, " b"]]:
        """The branch that the memory of each video's own classes moves, and 1 for videos that it has tokens for."""
        mask = targets.mask
        tokens, there = memory.of_classes(targets.labels, most=targets.most_labels)
        recalled = self.predict(self.reallocate(embedding, tokens, mask, there), mask)
        return recalled, there.any(dim=1).to(embedding.dtype)

    def _memory_terms(
        self, recalled: Prediction, known: Float[Tensor, " b"], labels: Float[Tensor, "b c"]
    ) -> dict[str, Tensor]:
        """Both poolings of the memory's branch, of the videos that it has tokens for."""
        weight = self.recipe.memory.weight
        attended = cross_entropy(recalled.attended, _with_background(labels, 0.0))
        classwise = cross_entropy(recalled.classwise, _with_background(labels, 1.0))
        return {
            "memory": weight * (known * attended).mean(),
            "memory_background": weight * self.recipe.background * (known * classwise).mean(),
        }

    def reviews(self, step: int, total_steps: int) -> bool:
        """See `Host`; where the memory starts, and before new frame labels."""
        recipe = self.recipe
        fills = recipe.use_memory and step == first_step(recipe.memory.start, total_steps)
        return fills or (recipe.use_frame_labels and recipe.frame_labels.is_due(step, total_steps))

    def review(
        self, videos: Iterator[Batch], notes: Mapping[str, Tensor], *, step: int, total_steps: int
    ) -> dict[str, Tensor]:
        """See `Host`. Fills the memory anew; notes are (t, 2 c): frame labels, and those of the review before."""
        recipe, found = self.recipe, dict[str, Tensor]()
        temperature = recipe.frame_labels.temperature(step, total_steps) if recipe.use_frame_labels else None
        memory = self.memory if recipe.memory.is_on(step, total_steps) else None
        if memory is not None:
            memory.clear()
        for batch in videos:
            output = self(batch.features, batch.targets.mask)
            if memory is not None:
                memory.update(output.tokens, self.token_scores(output.tokens), batch.targets.labels)
            if temperature is None:
                continue
            for video_id, labels in self._label(output, batch, temperature).items():
                before = notes[video_id].chunk(2, dim=-1)[0] if video_id in notes else torch.zeros_like(labels)
                found[video_id] = torch.cat([labels, before], dim=-1)
        return found

    def _label(self, output: GauFuseOutput, batch: Batch, temperature: float) -> dict[str, Float[Tensor, "t c"]]:
        """Frame labels of whole videos, on the CPU."""
        recipe = self.recipe.frame_labels
        mixed = _mixed(output.original.cas, output.moved.cas, share=recipe.moved)
        curves = (mixed[..., :-1] * output.attention.unsqueeze(-1)).cpu().numpy().astype(np.float64)
        present, lengths = batch.targets.labels.cpu().numpy() > 0, batch.targets.mask.sum(1).tolist()
        found = {}
        for place, video_id in enumerate(batch.video_ids):
            labels = frame_labels(
                curves[place, : lengths[place]], present[place].nonzero()[0], recipe=recipe, temperature=temperature
            )
            found[video_id] = torch.from_numpy(labels.astype(np.float32))
        return found

    def video_scores(self, output: GauFuseOutput, mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b k"]:
        """See `Host`; both branches' attended features."""
        return _mixed(output.original.attended, output.moved.attended, share=self.recipe.moved_video)

    def presence(self, output: GauFuseOutput, mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b c"]:
        """See `Host`; the class-wise pooled features, which are trained with the background present, of both
        branches."""
        share = self.recipe.moved_video
        pooled = (1 - share) * output.original.classwise + share * output.moved.classwise
        return (pooled[:, :-1] - pooled[:, -1:]).sigmoid()


def _mixed(original: Float[Tensor, "*b k"], moved: Float[Tensor, "*b k"], *, share: float) -> Float[Tensor, "*b k"]:
    """Probabilities of both branches' logits; `share` is that of the moved snippets."""
    return (1 - share) * original.softmax(dim=-1) + share * moved.softmax(dim=-1)


def _shares(assigned: Float[Tensor, "b m t"]) -> Float[Tensor, "b m t"]:
    """Assignments divided by their sum over the snippets."""
    return assigned / assigned.sum(dim=2, keepdim=True).clamp(min=1e-9)


def _with_background(labels: Float[Tensor, "b c"], background: float) -> Float[Tensor, "b k"]:
    """Target of a softmax: the labels and that background, divided by their sum."""
    return label_shares(F.pad(labels, (0, 1), value=background))
