"""MLLM4WTAL: a host with Key Semantic Matching, Complete Semantic Reconstruction and a localization head, each
optional.

Axes: b videos, t snippets, d features, c action classes, k = c + 1 (last = background), n words, g word vector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn

from cache.recipe import Recipe
from training.csr import CompleteSemanticReconstruction, CsrRecipe
from training.data import Batch, QueryPool
from training.distillation import DpidRecipe, Phase
from training.errors import TrainingError
from training.hosts.co2net import Co2NetRecipe
from training.hosts.host import Host, HostOutput
from training.hosts.recipes import HostRecipe
from training.ksm import KeySemanticMatching, KsmRecipe
from training.localization_head import HeadOutput, HeadRecipe, LocalizationHead, head_loss
from training.losses import attention_mse, topk_mean
from training.pseudo_labels import PseudoSegments
from training.texts import TextChoice


class ModelRecipe(Recipe):
    """Which parts there are (the rows of the paper's Table 3), and what each is like."""

    host: HostRecipe = Co2NetRecipe()
    """The host method that the branches are plugged on."""
    use_ksm: bool = True
    """Key Semantic Matching."""
    use_csr: bool = True
    """Complete Semantic Reconstruction."""
    use_dpid: bool = True
    """The attentions of host and CSR distil each other (eqs 19 and 20); without it CSR teaches the host nothing."""
    use_head: bool = True
    """The localization head (eq 18)."""
    ksm: KsmRecipe = KsmRecipe()
    """Key Semantic Matching."""
    csr: CsrRecipe = CsrRecipe()
    """Complete Semantic Reconstruction."""
    dpid: DpidRecipe = DpidRecipe()
    """Turns and weights of the distillation."""
    head: HeadRecipe = HeadRecipe()
    """The localization head."""
    head_weight: NonNegativeFloat = 1.0
    """mu 1: weight of L_loc in L_match (eq 19)."""
    fusion: float = Field(default=0.5, ge=0, le=1)
    """Share of KSM's probabilities in the fused T-CAM; the rest is the host's."""

    @property
    def needs_texts(self) -> bool:
        """Whether training needs descriptions and word vectors."""
        return self.use_ksm or self.use_csr

    @property
    def text_choice(self) -> TextChoice:
        """Which texts the branches read."""
        return TextChoice(queries=self.ksm.queries, sentences=self.csr.texts, mask=self.csr.mask)


@dataclass(frozen=True)
class Localization:
    """What inference knows of a batch; zero or meaningless at padding."""

    cas: Float[Tensor, "b t c"]
    """Fused T-CAM: class probabilities, background left out."""
    attention: Float[Tensor, "b t"]
    """The host's attention, A_KSM."""
    video_scores: Float[Tensor, "b c"]
    """Probability of each class in the video."""
    head: HeadOutput | None
    """The localization head's output, where there is a head."""
    logits: Float[Tensor, "b t k"]
    """The host's own T-CAM: raw scores, the background's last."""


class Mllm4Wtal(nn.Module):
    """The whole model. Training calls it on a batch; inference calls `localize_forward`, which reads no text."""

    word_vectors: Float[Tensor, "v g"] | None

    def __init__(
        self,
        recipe: ModelRecipe,
        *,
        streams: Mapping[str, int],
        num_classes: int,
        word_vectors: Float[Tensor, "v g"] | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        if recipe.use_head:
            _refuse_absent_voters(recipe)
        # the host comes first, so that equal seeds give equal hosts whatever is plugged on
        self.host: Host[Any] = recipe.host.build(streams=streams, num_classes=num_classes)
        if recipe.needs_texts and word_vectors is None:
            raise TrainingError(
                "word vectors: found none, expected those of the priors, for KSM and CSR; run `make priors`"
            )
        self.register_buffer("word_vectors", word_vectors if recipe.needs_texts else None)
        self.ksm: KeySemanticMatching | None = None
        self.csr: CompleteSemanticReconstruction | None = None
        if word_vectors is not None and recipe.use_ksm:
            self.ksm = KeySemanticMatching(
                recipe.ksm, word_width=word_vectors.shape[1], embedding_width=self.host.width, num_classes=num_classes
            )
        if word_vectors is not None and recipe.use_csr:
            self.csr = CompleteSemanticReconstruction(
                recipe.csr,
                feature_width=sum(streams.values()),
                word_width=word_vectors.shape[1],
                vocabulary=len(word_vectors),
            )
        self.head = LocalizationHead(self.host.width, num_classes, recipe.head) if recipe.use_head else None

    def forward(
        self,
        batch: Batch,
        *,
        phase: Phase,
        step: int,
        total_steps: int,
        pseudo: Sequence[PseudoSegments] | None = None,
    ) -> dict[str, Tensor]:
        """Weighted loss terms; their sum is L_match (eq 19), L_rec (eq 20), or with phase "joint" both.

        `pseudo` holds the pseudo segments of each video in the batch's own snippets; None leaves the head untrained.
        """
        features, mask = batch.features, batch.targets.mask
        matching, reconstructing = phase != "reconstruct", phase != "match"
        output = attention_csr = None
        if matching or self._distils:
            with torch.set_grad_enabled(matching):
                output = self.host(features, mask).float()
        if self.csr is not None and (reconstructing or self._distils):
            with torch.set_grad_enabled(reconstructing):
                attention_csr = self.csr.attention(features, mask).float()
        terms: dict[str, Tensor] = {}
        if matching and output is not None:
            terms |= self._match_terms(output, attention_csr, batch, pseudo, step=step, total_steps=total_steps)
        if reconstructing and attention_csr is not None:
            terms |= self._reconstruct_terms(attention_csr, output, batch)
        return terms

    @property
    def _distils(self) -> bool:
        return self.csr is not None and self.recipe.use_dpid

    def _match_terms(
        self,
        output: HostOutput,
        attention_csr: Float[Tensor, "b t"] | None,
        batch: Batch,
        pseudo: Sequence[PseudoSegments] | None,
        *,
        step: int,
        total_steps: int,
    ) -> dict[str, Tensor]:
        """L_host + L_KSM + l1 MSE(A_KSM, sg A_CSR) + mu1 L_loc."""
        targets = batch.targets
        host = self.host.loss(output, targets, step=step, total_steps=total_steps)
        terms = {f"host.{name}": value for name, value in host.items()}
        if self.ksm is not None and batch.key_texts is not None:
            queries = self.ksm.queries(self._vectors(batch.key_texts.ids), batch.key_texts.mask)
            scores = self.ksm.match(output.embedding, queries).float()
            losses = self.ksm.loss(scores, output.attention, targets.mask, targets.labels)
            terms |= {f"ksm.{name}": value for name, value in losses.items()}
        if attention_csr is not None and self._distils:
            weight = self.recipe.dpid.match_weight
            terms["dpid.match"] = weight * attention_mse(output.attention, attention_csr, targets.mask)
        if self.head is not None and pseudo is not None:
            losses = head_loss(
                self.head(output.embedding, targets.mask), pseudo, targets.labels, recipe=self.recipe.head
            )
            terms |= {f"head.{name}": self.recipe.head_weight * value for name, value in losses.items()}
        return terms

    def _reconstruct_terms(
        self, attention_csr: Float[Tensor, "b t"], output: HostOutput | None, batch: Batch
    ) -> dict[str, Tensor]:
        """L_CSR + l2 MSE(A_CSR, sg A_KSM)."""
        terms: dict[str, Tensor] = {}
        mask, sentences = batch.targets.mask, batch.sentences
        if self.csr is not None and sentences is not None:
            words = self._vectors(sentences.ids)
            losses = self.csr.loss(batch.features, mask, attention_csr, sentences, words)
            terms |= {f"csr.{name}": value for name, value in losses.items()}
        if output is not None and self._distils:
            weight = self.recipe.dpid.reconstruct_weight
            terms["dpid.reconstruct"] = weight * attention_mse(attention_csr, output.attention, mask)
        return terms

    def localize_forward(self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Localization:
        """Host, stored class queries and head: what inference needs, without text tower and CSR."""
        output = self.host(features, mask)
        cas, video_scores = self.fused(output, mask)
        head = None if self.head is None else self.head(output.embedding, mask)
        return Localization(cas, output.attention, video_scores, head, output.cas)

    def fused(
        self, output: HostOutput, mask: Bool[Tensor, "b t"], *, share: float | None = None
    ) -> tuple[Float[Tensor, "b t c"], Float[Tensor, "b c"]]:
        """Fused T-CAM and video scores: the host's probabilities and KSM's, weighted, background left out.

        A T-CAM is the softmax of the raw scores of a snippet; the host has its own video scores, and KSM's are the
        softmax of the top-k mean of its suppressed scores. KSM matches the stored class queries. `share` is KSM's, the
        recipe's `fusion` when not given.
        """
        cas = output.cas.softmax(dim=-1)
        video = self.host.video_scores(output, mask)
        if self.ksm is not None:
            matching = self.ksm.match(output.embedding, self.ksm.class_queries)
            suppressed = output.attention.unsqueeze(-1) * matching
            share = self.recipe.fusion if share is None else share
            cas = (1 - share) * cas + share * matching.softmax(dim=-1)
            own = topk_mean(suppressed, mask, ratio=self.recipe.ksm.mil_ratio).softmax(dim=-1)
            video = (1 - share) * video + share * own
        return cas[..., :-1], video[..., :-1]

    def store_queries(self, pool: QueryPool) -> None:
        """Encode the pool of key texts into KSM's class queries, which inference reads; without KSM nothing to do."""
        if self.ksm is not None:
            self.ksm.store_queries(self._vectors(pool.texts.ids), pool.texts.mask, pool.classes, pool.weights)

    def _vectors(self, ids: Int[Tensor, "r n"]) -> Float[Tensor, "r n g"]:
        if self.word_vectors is None:
            raise TrainingError("word vectors: found none, expected those of the priors; run `make priors`")
        return F.embedding(ids, self.word_vectors)


def _refuse_absent_voters(recipe: ModelRecipe) -> None:
    pseudo = recipe.head.pseudo_labels
    for field, votes, absent in (
        ("cams", set(pseudo.cams), set() if recipe.use_ksm else {"ksm"}),
        ("attentions", set(pseudo.attentions), set() if recipe.use_csr else {"csr"}),
    ):
        if votes <= absent:
            (alone,) = votes
            raise TrainingError(
                f"model.head.pseudo_labels.{field}: found {alone} alone, but model.use_{alone} is off; expected "
                "another voter beside it, or the branch switched on"
            )
