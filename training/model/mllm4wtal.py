"""MLLM4WTAL: a host with Key Semantic Matching, Complete Semantic Reconstruction and a localization head, each
optional.

Axes: b videos, t snippets, d features, c action classes, k = c + 1 (last = background), n words, g word vector.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from cache.recipe import Recipe
from training.batches.data import Batch, QueryPool
from training.batches.texts import TextChoice
from training.errors import TrainingError
from training.hosts.co2net import Co2NetRecipe
from training.hosts.host import HostOutput
from training.hosts.recipes import HostRecipe, build_host
from training.model.csr import CompleteSemanticReconstruction, CsrRecipe
from training.model.distillation import DpidRecipe, Phase, match_distance, reconstruct_distance
from training.model.ksm import ClassMatching, KeySemanticMatching, KsmRecipe
from training.model.localization_head import HeadRecipe, LocalizationHead, head_loss
from training.model.localizer import Localizer
from training.model.pseudo_labels import PseudoBatch
from training.nn.precision import full_precision

POOL_CHUNK = 256
"""Key texts whose words are looked up and encoded at once."""


class ModelRecipe(Recipe):
    """Which components are used (the rows of the paper's Table 3), and their settings."""

    host: HostRecipe = Co2NetRecipe()
    """The host: the existing WTAL method that the branches are plugged into."""
    use_ksm: bool = True
    """Key Semantic Matching."""
    use_csr: bool = True
    """Complete Semantic Reconstruction."""
    use_dpid: bool = True
    """Dual Prior Interactive Distillation between the attentions of host and CSR (eqs 19 and 20); without it CSR does
    not affect the host."""
    use_head: bool = True
    """The localization head (eq 18)."""
    ksm: KsmRecipe = KsmRecipe()
    """Key Semantic Matching."""
    csr: CsrRecipe = CsrRecipe()
    """Complete Semantic Reconstruction."""
    dpid: DpidRecipe = DpidRecipe()
    """Schedule and weights of the distillation."""
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
    def average_teaches(self) -> bool:
        """Whether training needs the moving average for the distillation."""
        return self.use_csr and self.use_dpid and self.dpid.teacher == "average"

    @property
    def text_choice(self) -> TextChoice:
        """Which texts the branches read."""
        return TextChoice(queries=self.ksm.queries, sentences=self.csr.texts, mask=self.csr.mask)


class Mllm4Wtal(Localizer[KeySemanticMatching]):
    """The whole model in training: the localizer and the branches that train it. Called on a batch, it gives loss
    terms."""

    word_vectors: Float[Tensor, "v g"] | None

    def __init__(
        self,
        recipe: ModelRecipe,
        *,
        streams: Mapping[str, int],
        num_classes: int,
        word_vectors: Float[Tensor, "v g"] | None = None,
    ) -> None:
        if recipe.use_head:
            _refuse_absent_branches(recipe)
        if recipe.needs_texts and word_vectors is None:
            raise TrainingError(
                "word vectors: found none, expected those of the priors, for KSM and CSR; run `make priors`"
            )
        # the host is built first, so that equal seeds initialise it equally whichever branches are used
        host = build_host(recipe.host, streams=streams, num_classes=num_classes)
        ksm = csr = None
        if word_vectors is not None and recipe.use_ksm:
            ksm = KeySemanticMatching(
                recipe.ksm, word_width=word_vectors.shape[1], embedding_width=host.width, num_classes=num_classes
            )
        if word_vectors is not None and recipe.use_csr:
            csr = CompleteSemanticReconstruction(
                recipe.csr,
                feature_width=sum(streams.values()),
                word_width=word_vectors.shape[1],
                vocabulary=len(word_vectors),
            )
        head = LocalizationHead(host.width, num_classes, recipe.head) if recipe.use_head else None
        super().__init__(host, ksm, head, fusion=recipe.fusion)
        self.recipe, self.csr = recipe, csr
        self.register_buffer("word_vectors", word_vectors if recipe.needs_texts else None)

    def forward(
        self,
        batch: Batch,
        *,
        phase: Phase,
        step: int,
        total_steps: int,
        pseudo: PseudoBatch | None = None,
        average: Mllm4Wtal | None = None,
    ) -> dict[str, Tensor]:
        """Weighted loss terms; their sum is L_match (eq 19), L_rec (eq 20), or with phase "joint" both.

        Forward passes run under the caller's autocast, if there is one, and the losses in float32. `pseudo` holds the
        pseudo segments of each video in the batch's own snippets; None leaves the head untrained. `average` is the
        moving average of this model in eval mode; with `dpid.teacher` "average" it is required (else ValueError).
        """
        features, mask = batch.features, batch.targets.mask
        matching, reconstructing = phase != "reconstruct", phase != "match"
        teaches_itself = self._distils and self.recipe.dpid.teacher == "self"
        output = attention_csr = None
        if matching or teaches_itself:
            with torch.set_grad_enabled(matching):
                output = self.host(features, mask).float()
        if self.csr is not None and (reconstructing or teaches_itself):
            with torch.set_grad_enabled(reconstructing):
                attention_csr = self.csr.attention(features, mask)
        if teaches_itself:
            teacher_ksm, teacher_csr = None if output is None else output.attention, attention_csr
        else:
            teacher_ksm, teacher_csr = self._attentions_of(average, batch, phase)
        terms: dict[str, Tensor] = {}
        if matching and output is not None:
            terms |= self._match_terms(output, teacher_csr, batch, pseudo, step=step, total_steps=total_steps)
        if reconstructing and attention_csr is not None:
            terms |= self._reconstruct_terms(attention_csr, teacher_ksm, batch)
        return terms

    @property
    def _distils(self) -> bool:
        return self.csr is not None and self.recipe.use_dpid

    @torch.no_grad()
    def _attentions_of(
        self, average: Mllm4Wtal | None, batch: Batch, phase: Phase
    ) -> tuple[Float[Tensor, "b t"] | None, Float[Tensor, "b t"] | None]:
        """A_KSM and A_CSR of the average, as far as the phase distils them."""
        if not self._distils:
            return None, None
        if average is None or average.csr is None:
            raise ValueError("average: found None, expected the moving average that dpid.teacher names")
        features, mask = batch.features, batch.targets.mask
        ksm = None if phase == "match" else average.host(features, mask).attention.float()
        csr = None if phase == "reconstruct" else average.csr.attention(features, mask).float()
        return ksm, csr

    def _match_terms(
        self,
        output: HostOutput,
        teacher_csr: Float[Tensor, "b t"] | None,
        batch: Batch,
        pseudo: PseudoBatch | None,
        *,
        step: int,
        total_steps: int,
    ) -> dict[str, Tensor]:
        """L_host + L_KSM + l1 MSE(A_KSM, sg A_CSR) + mu1 L_loc."""
        targets = batch.targets
        with full_precision():
            host = self.host.loss(output, targets, step=step, total_steps=total_steps)
        terms = {f"host.{name}": value for name, value in host.items()}
        if self.ksm is not None and batch.key_texts is not None:
            queries = self.ksm.queries(self._vectors(batch.key_texts.ids), batch.key_texts.mask)
            with full_precision():
                scores = self.ksm.match(output.embedding, queries)
                losses = self.ksm.loss(scores, output.attention, targets.mask, targets.labels)
            terms |= {f"ksm.{name}": value for name, value in losses.items()}
        if teacher_csr is not None:
            dpid = self.recipe.dpid
            distance = match_distance(output.attention, teacher_csr, targets.mask, dpid)
            terms["dpid.match"] = dpid.match_weight * distance
        if self.head is not None and pseudo is not None:
            points = self.head(output.embedding, targets.mask).float()
            with full_precision():
                losses = head_loss(points, pseudo, targets.labels, recipe=self.recipe.head)
            terms |= {f"head.{name}": self.recipe.head_weight * value for name, value in losses.items()}
        return terms

    def _reconstruct_terms(
        self, attention_csr: Float[Tensor, "b t"], teacher_ksm: Float[Tensor, "b t"] | None, batch: Batch
    ) -> dict[str, Tensor]:
        """L_CSR + l2 MSE(A_CSR, sg A_KSM)."""
        terms: dict[str, Tensor] = {}
        mask, sentences = batch.targets.mask, batch.sentences
        if self.csr is not None and sentences is not None:
            words = self._vectors(sentences.ids)
            losses = self.csr.loss(batch.features, mask, attention_csr, sentences, words)
            terms |= {f"csr.{name}": value for name, value in losses.items()}
        if teacher_ksm is not None:
            dpid = self.recipe.dpid
            distance = reconstruct_distance(attention_csr, teacher_ksm, mask, dpid)
            terms["dpid.reconstruct"] = dpid.reconstruct_weight * distance
        return terms

    def store_queries(self, pool: QueryPool) -> None:
        """Encode the pool of key texts into KSM's class queries, which inference uses; does nothing without KSM."""
        if self.ksm is not None:
            texts = zip(pool.texts.ids.split(POOL_CHUNK), pool.texts.mask.split(POOL_CHUNK), strict=True)
            chunks = ((self._vectors(ids), mask) for ids, mask in texts)
            self.ksm.store_queries(chunks, pool.classes, pool.weights)

    def _vectors(self, ids: Int[Tensor, "r n"]) -> Float[Tensor, "r n g"]:
        if self.word_vectors is None:
            raise TrainingError("word vectors: found none, expected those of the priors; run `make priors`")
        return F.embedding(ids, self.word_vectors)


def inference_model(recipe: ModelRecipe, *, streams: Mapping[str, int], num_classes: int) -> Localizer[ClassMatching]:
    """The model for inference: no text tower, no CSR, no word vectors. Weights have the same names as in training."""
    host = build_host(recipe.host, streams=streams, num_classes=num_classes)
    ksm = head = None
    if recipe.use_ksm:
        ksm = ClassMatching(recipe.ksm, embedding_width=host.width, num_classes=num_classes)
    if recipe.use_head:
        head = LocalizationHead(host.width, num_classes, recipe.head)
    return Localizer(host, ksm, head, fusion=recipe.fusion)


def _refuse_absent_branches(recipe: ModelRecipe) -> None:
    pseudo = recipe.head.pseudo_labels
    for field, votes, absent in (
        ("cams", set(pseudo.cams), set() if recipe.use_ksm else {"ksm"}),
        ("attentions", set(pseudo.attentions), set() if recipe.use_csr else {"csr"}),
    ):
        if votes <= absent:
            (alone,) = votes
            raise TrainingError(
                f"model.head.pseudo_labels.{field}: found {alone} alone, but model.use_{alone} is off; expected "
                "another one beside it, or the branch switched on"
            )
