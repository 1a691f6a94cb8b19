"""Complete Semantic Reconstruction (eqs 11 to 17): attended snippets restore the masked words of a description.

Axes: b videos, t snippets, d features, n words, g word vector, w width, v vocabulary.

    (11)  D_complete: the MLLM's detailed class description     words of `texts`        b n
    (12)  F = Linear(features), and masked words likewise       `Reconstructor`         b t w, b n w
    (13)  A_CSR                                                 `attention`             b t
    (14)  encoder over the snippets, gated by A_CSR             `Reconstructor`         b t w
    (15)  decoder over the words, which attends to it, gated    `Reconstructor`         b n w
    (16)  P(word) = softmax(Linear(decoder))                    `Reconstructor`         b n v
    (17)  L_CSR = -sum log P(word), as a mean over words        `word_nll`              b
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.func import functional_call

from cache.recipe import Recipe
from training.batches.data import Sentences
from training.batches.texts import MaskPolicy, SentenceSource
from training.nn.layers import Dropout, SnippetConv
from training.nn.losses import norm_loss
from training.nn.precision import full_precision
from training.nn.transformer import Block, Gating, sinusoids


class CsrRecipe(Recipe):
    """The reconstruction branch."""

    texts: SentenceSource = "complete"
    """Text whose masked words are predicted from a video: complete = a complete description of one of its classes,
    class_name = that class's name, template = a template around the name."""
    mask: MaskPolicy = "action_words"
    """Which words are masked more often: action_words = words of the action, then other content words; content_words =
    all content words alike; uniform = no preference."""
    width: PositiveInt = 512
    """Width of encoder and decoder (eq 12)."""
    encoder_layers: PositiveInt = 3
    """Transformer layers over the snippets (eq 14)."""
    decoder_layers: PositiveInt = 3
    """Transformer layers over the words (eq 15)."""
    heads: PositiveInt = 4
    """Attention heads of each layer."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the projected features and words, and inside the layers."""
    attention_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout between the two convolutions of the attention."""
    gating: Gating = "outside"
    """Where A_CSR enters the transformer's attention (eqs 14 and 15): outside = outside its softmax, renormalised;
    inside = inside, as the paper writes it."""
    decoder: Literal["causal", "bidirectional"] = "causal"
    """Words that the decoder sees when it predicts a word: causal = those before it, masked ones hidden;
    bidirectional = the whole masked sentence, so that unmasked words are merely copied."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each word's target spread over the vocabulary (0.1 in Boosting-WTAL; eq 17 has none)."""
    contrast: NonNegativeFloat = 0.0
    """Weight of two hinge losses: reconstruction with A_CSR has to be better than with the whole video, and better than
    with 1 - A_CSR, each by a margin. The reconstruction from the whole video is trained with the same weight."""
    contrast_margins: tuple[NonNegativeFloat, NonNegativeFloat] = (0.1, 0.15)
    """Margins of the hinge losses against the whole video and against 1 - A_CSR (Boosting-WTAL)."""
    contrast_trains: Literal["all", "attention"] = "all"
    """What the hinge losses train where A_CSR reconstructs: all = the reconstructor and the attention, so that videos
    short of a margin count up to three times in the likelihood; attention = the attention alone, at the cost of one
    more forward pass."""
    norm: NonNegativeFloat = 0.0
    """Weight of the mean of A_CSR as a loss, like the norm loss of the hosts' attentions (the paper has none). Without
    it nothing keeps A_CSR low: reconstruction does not depend on its overall level, and the contrast is lowest at 1
    everywhere, where 1 - A_CSR leaves no snippets to reconstruct from."""


class Reconstructor(nn.Module):
    """Snippet encoder and word decoder: logits of every word of a masked sentence."""

    def __init__(self, recipe: CsrRecipe, *, feature_width: int, word_width: int, vocabulary: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.mask_vector = nn.Parameter(0.02 * torch.randn(word_width))
        self.start = nn.Parameter(0.02 * torch.randn(word_width)) if recipe.decoder == "causal" else None
        self.project_features = nn.Linear(feature_width, recipe.width)
        self.project_words = nn.Linear(word_width, recipe.width)
        layer = {"heads": recipe.heads, "dropout": recipe.dropout, "gating": recipe.gating}
        self.encoder = nn.ModuleList([Block(recipe.width, **layer) for _ in range(recipe.encoder_layers)])
        self.decoder = nn.ModuleList([Block(recipe.width, **layer, cross=True) for _ in range(recipe.decoder_layers)])
        self.memory_norm = nn.LayerNorm(recipe.width)
        self.norm = nn.LayerNorm(recipe.width)
        self.classify = nn.Linear(recipe.width, vocabulary)
        self.dropout = Dropout(recipe.dropout)

    def forward(
        self,
        features: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"],
        gate: Float[Tensor, "b t"] | None,
        words: Float[Tensor, "b n g"],
        word_mask: Bool[Tensor, "b n"],
        masked: Bool[Tensor, "b n"],
    ) -> Float[Tensor, "b n v"]:
        """Eqs 12 to 16. `masked` words never reach the decoder; `gate` None is a gate of 1 everywhere."""
        memory = self._positioned(self.project_features(features))
        for block in self.encoder:
            memory = block(memory, mask=mask, gate=gate)
        memory = self.memory_norm(memory)
        seen = torch.where(masked.unsqueeze(-1), self.mask_vector, words)
        if self.start is not None:
            seen = torch.cat((self.start.expand(len(words), 1, -1), seen[:, :-1]), dim=1)
        x = self._positioned(self.project_words(seen))
        for block in self.decoder:
            x = block(
                x, mask=word_mask, causal=self.start is not None, source=memory, source_mask=mask, source_gate=gate
            )
        return self.classify(self.norm(x))

    def _positioned(self, x: Tensor) -> Tensor:
        return self.dropout(x + sinusoids(x.shape[1], x.shape[2], device=x.device))


class ReconstructionAttention(nn.Module):
    """The attention A_CSR, computed from the features by two convolutions of its own."""

    def __init__(self, recipe: CsrRecipe, *, feature_width: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.attend = nn.ModuleList([SnippetConv(feature_width, recipe.width), SnippetConv(recipe.width, 1)])
        self.attention_dropout = Dropout(recipe.attention_dropout)

    def attention(self, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """A_CSR in (0, 1), zero at padding (eq 13)."""
        hidden, last = self.attend
        x = self.attention_dropout(hidden(features, mask).relu())
        return last(x, mask).squeeze(-1).float().sigmoid() * mask


class CompleteSemanticReconstruction(ReconstructionAttention):
    """A_CSR, trained by how well the attended snippets restore a masked description."""

    def __init__(self, recipe: CsrRecipe, *, feature_width: int, word_width: int, vocabulary: int) -> None:
        super().__init__(recipe, feature_width=feature_width)
        self.reconstruct = Reconstructor(
            recipe, feature_width=feature_width, word_width=word_width, vocabulary=vocabulary
        )

    def loss(
        self,
        features: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"],
        attention: Float[Tensor, "b t"],
        sentences: Sentences,
        words: Float[Tensor, "b n g"],
    ) -> dict[str, Tensor]:
        """L_CSR (eq 17), and the contrast where it is on. `words` are the vectors of `sentences`.

        The contrast does not train the reconstructor on what A_CSR is compared with: the likelihood from the whole
        video is detached, and that from 1 - A_CSR is computed with detached weights. So is that from A_CSR itself with
        `contrast_trains` "attention". The likelihood from the whole video is a term of its own.
        """
        inputs = (words, sentences.mask, sentences.masked)
        smoothing = self.recipe.label_smoothing
        nll = word_nll(self.reconstruct(features, mask, attention, *inputs), sentences, smoothing=smoothing)
        rows = sentences.mask.any(1)
        terms = {"reconstruction": _mean(nll, rows)}
        if self.recipe.contrast:
            whole = word_nll(self.reconstruct(features, mask, None, *inputs), sentences, smoothing=smoothing)
            frozen = {name: value.detach() for name, value in self.reconstruct.named_parameters()}

            def frozen_nll(gate: Float[Tensor, "b t"]) -> Float[Tensor, " b"]:
                logits = functional_call(self.reconstruct, frozen, (features, mask, gate, *inputs))
                return word_nll(logits, sentences, smoothing=smoothing)

            rest = frozen_nll((1 - attention) * mask)
            attended = nll if self.recipe.contrast_trains == "all" else frozen_nll(attention)
            first, second = self.recipe.contrast_margins
            hinges = F.relu(attended - whole.detach() + first) + F.relu(attended - rest + second)
            weight = self.recipe.contrast
            terms |= {"whole": weight * _mean(whole, rows), "contrast": weight * _mean(hinges, rows)}
        if self.recipe.norm:
            terms["norm"] = self.recipe.norm * norm_loss([attention], mask)
        return terms


@full_precision()
def word_nll(logits: Float[Tensor, "b n v"], sentences: Sentences, *, smoothing: float) -> Float[Tensor, " b"]:
    """Mean negative log-likelihood of all words of each sentence, masked or not; 0 for a sentence without words."""
    targets: Int[Tensor, "b n"] = sentences.ids.masked_fill(~sentences.mask, -100)
    losses = F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), reduction="none", label_smoothing=smoothing
    )
    return losses.view(targets.shape).sum(1) / sentences.mask.sum(1).clamp(min=1)


def _mean(values: Float[Tensor, " b"], rows: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
    return (values * rows).sum() / rows.sum().clamp(min=1)
