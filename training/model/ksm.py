"""Key Semantic Matching (eqs 1 to 10): text queries of the classes, matched with every snippet.

Axes: b videos, t snippets, c action classes, k = c + 1 (last = background), r texts, n words, g word vector, e
embedding, x = 1 + N_context + n.

    (1)   D_key: the MLLM's one-sentence class description      words of `texts`       r n
    (2)   F_e = fuse(F_rgb, F_flow)                             the host's embedding   b t e
    (3)   A_KSM                                                 the host's attention   b t
    (4)   T_query = [START, context, GloVe(D_key)]              `encode`               r x g
    (5)   F_query = encoder(T_query) at START                   `queries`              k e
    (6)   M = F_e . F_query^T                                   `match`                b t k
    (7)   M^ = A_KSM * M                                        `suppressed`           b t k
    (8)   mean of the top t / mil_ratio snippets                `pooling`              b k
    (9)   softmax over the k classes                            `classification_loss`  b k
    (10)  L_KSM: cross-entropy, background in M, none in M^     `loss`                 a scalar each
"""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from cache.recipe import Recipe
from training.batches.texts import QuerySource
from training.nn.losses import classification_loss, suppress
from training.nn.pooling import PoolingRecipe
from training.nn.precision import full_precision
from training.nn.transformer import Block, sinusoids


class KsmRecipe(Recipe):
    """The text tower and the matching loss."""

    queries: QuerySource = "class_pool"
    """Text that represents a class: class_pool = one drawn at each step from the key descriptions of its training
    videos, class_name = its name, template = a template around the name. At inference the query is the mean over the
    same texts."""
    width: PositiveInt = 512
    """Width of the text encoder; its output is projected to the width of the host's embedding."""
    layers: PositiveInt = 1
    """Transformer layers over the words (eq 5)."""
    heads: PositiveInt = 8
    """Attention heads of each layer."""
    context: PositiveInt = 8
    """Learnable context vectors N_context between [START] and the words (eq 4)."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout inside the text encoder."""
    scale: bool = True
    """Divide the inner products of eq 6 by the square root of the embedding's width."""
    standardize: bool = False
    """Standardise F_query (eq 5) over the classes, number by number: what all descriptions share says nothing about a
    class. Descriptions of similar actions share most words, and their encodings would stay too alike to be told
    apart."""
    suppression: Literal["product", "suppress"] = "product"
    """How A_KSM suppresses M (eq 7): product = A_KSM * M as in the paper, where a low attention raises negative scores;
    suppress = `losses.suppress` as in the hosts, where a low attention moves every score towards the snippet's
    lowest."""
    mil_ratio: PositiveInt = 7
    """MIL top-k pooling over the snippets of a video with k = t / mil_ratio (eq 8)."""
    pooling: PoolingRecipe = PoolingRecipe()
    """Which snippets speak for a video (eq 8 has the top ones), in training and in inference."""
    weight: NonNegativeFloat = 1.0
    """Weight of L_KSM (eq 10)."""


class ClassMatching(nn.Module):
    """Matching scores M with stored class queries: the part of KSM that inference needs.

    `class_queries` are the means over each class's pool of texts, saved with the weights, so that inference needs no
    text.
    """

    class_queries: Float[Tensor, "k e"]

    def __init__(self, recipe: KsmRecipe, *, embedding_width: int, num_classes: int) -> None:
        super().__init__()
        self.recipe, self.embedding_width = recipe, embedding_width
        self.pooling = recipe.pooling.build(ratio=recipe.mil_ratio, columns=num_classes + 1)
        self.register_buffer("class_queries", torch.zeros(num_classes + 1, embedding_width))

    @full_precision()
    def match(self, embedding: Float[Tensor, "b t e"], queries: Float[Tensor, "k e"]) -> Float[Tensor, "b t k"]:
        """M = F_e . F_query^T (eq 6), in float32."""
        scores = embedding.float() @ queries.float().T
        return scores / self.embedding_width**0.5 if self.recipe.scale else scores

    def suppressed(self, matching: Float[Tensor, "b t k"], attention: Float[Tensor, "b t"]) -> Float[Tensor, "b t k"]:
        """M^: the scores with the background suppressed by A_KSM (eq 7)."""
        match self.recipe.suppression:
            case "product":
                return attention.unsqueeze(-1) * matching
            case "suppress":
                return suppress(matching, attention)


class KeySemanticMatching(ClassMatching):
    """Class queries encoded from texts by a small transformer, and the loss on their matching scores."""

    def __init__(self, recipe: KsmRecipe, *, word_width: int, embedding_width: int, num_classes: int) -> None:
        super().__init__(recipe, embedding_width=embedding_width, num_classes=num_classes)
        self.start = nn.Parameter(0.02 * torch.randn(1, word_width))
        self.context = nn.Parameter(0.02 * torch.randn(recipe.context, word_width))
        # the background's only word (eq 4: class c + 1 starts from zeros)
        self.background = nn.Parameter(torch.zeros(1, word_width))
        self.project = nn.Linear(word_width, recipe.width)
        self.blocks = nn.ModuleList(
            [Block(recipe.width, heads=recipe.heads, dropout=recipe.dropout) for _ in range(recipe.layers)]
        )
        self.norm = nn.LayerNorm(recipe.width)
        self.out = nn.Linear(recipe.width, embedding_width)

    def encode(self, words: Float[Tensor, "r n g"], mask: Bool[Tensor, "r n"]) -> Float[Tensor, "r e"]:
        """Query of each text: the encoder's output at [START] over [START], context, words (eqs 4 and 5)."""
        prompt = torch.cat((self.start, self.context)).expand(len(words), -1, -1)
        tokens = self.project(torch.cat((prompt, words), dim=1))
        x = tokens + sinusoids(tokens.shape[1], tokens.shape[2], device=tokens.device)
        full_mask = torch.cat((mask.new_ones(len(words), prompt.shape[1]), mask), dim=1)
        for block in self.blocks:
            x = block(x, mask=full_mask)
        return self.out(self.norm(x[:, 0]))

    def queries(self, words: Float[Tensor, "c n g"], mask: Bool[Tensor, "c n"]) -> Float[Tensor, "k e"]:
        """F_query of one text per class, and of the background."""
        return self._standardized(self._encode_with_background(words, mask))

    def _encode_with_background(self, words: Float[Tensor, "c n g"], mask: Bool[Tensor, "c n"]) -> Float[Tensor, "k e"]:
        background = torch.cat((self.background, self.background.new_zeros(words.shape[1] - 1, words.shape[2])))
        only_first = torch.arange(words.shape[1], device=mask.device) == 0
        return self.encode(torch.cat((words, background.unsqueeze(0))), torch.cat((mask, only_first.unsqueeze(0))))

    def _standardized(self, queries: Float[Tensor, "k e"]) -> Float[Tensor, "k e"]:
        """Queries with mean 0 and deviation 1 over the classes, if the recipe says so and there are several. The
        background's keeps its own."""
        classes = queries[:-1]
        if not self.recipe.standardize or len(classes) < 2:
            return queries
        deviation, mean = torch.std_mean(classes, dim=0, correction=0)
        return torch.cat(((classes - mean) / (deviation + 1e-5), queries[-1:]))

    @torch.no_grad()
    def store_queries(
        self,
        chunks: Iterable[tuple[Float[Tensor, "_ n g"], Bool[Tensor, "_ n"]]],
        classes: Int[Tensor, " r"],
        weights: Float[Tensor, " r"],
    ) -> None:
        """Set `class_queries` to the weighted sums of the encoded pool of each class. Encodes without dropout.

        `chunks` are words and mask of some of the r texts at a time, in order: all of them at once may not fit on a
        device.
        """
        was_training = self.training
        self.eval()
        encoded = [
            (self.encode(words, mask), self._encode_with_background(words[:1], mask[:1])[-1]) for words, mask in chunks
        ]
        pool = torch.cat([queries for queries, _ in encoded]) * weights.unsqueeze(1)
        self.class_queries.zero_().index_add_(0, classes, pool)
        self.class_queries[-1] = encoded[0][1]  # the background's, equal in all chunks
        self.class_queries.copy_(self._standardized(self.class_queries))
        self.train(was_training)

    def loss(
        self,
        matching: Float[Tensor, "b t k"],
        attention: Float[Tensor, "b t"],
        mask: Bool[Tensor, "b t"],
        labels: Float[Tensor, "b c"],
    ) -> dict[str, Tensor]:
        """L_KSM: M with the background present, M^ with it absent (eqs 7 to 10)."""
        suppressed = self.suppressed(matching, attention)
        present, absent = (self.pooling(scores, attention, mask) for scores in (matching, suppressed))
        weight = self.recipe.weight
        return {
            "matching": weight * classification_loss(present, labels, background=1),
            "matching_suppressed": weight * classification_loss(absent, labels, background=0),
        }
