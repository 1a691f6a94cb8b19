"""The vocabulary of the training texts: dense word ids and their vectors."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Int64

from cache.tables.embeddings import PriorTexts

PAD, MASK, UNKNOWN = 0, 1, 2
SPECIALS = 3


@dataclass(frozen=True)
class Vocabulary:
    """Words of the training texts that have a vector; id = position + 3.

    Id 0 is padding, 1 a masked word, 2 any word without a vector. Words are sorted by frequency, then by alphabet, so
    that the ids do not depend on the order of the texts.
    """

    words: tuple[str, ...]
    vectors: Float32[np.ndarray, "v w"]
    """One row per id; the rows of the three special ids are zero."""

    @classmethod
    def fit(cls, texts: Iterable[Sequence[str]], priors: PriorTexts) -> "Vocabulary":
        """Vocabulary of `texts`, restricted to the words that `priors` has vectors for."""
        known = {word: index for index, word in enumerate(priors.words)}
        counts = Counter(word for text in texts for word in text if word in known)
        words = tuple(sorted(counts, key=lambda word: (-counts[word], word)))
        vectors = np.zeros((SPECIALS + len(words), priors.vectors.shape[1]), np.float32)
        vectors[SPECIALS:] = priors.vectors[[known[word] for word in words]]
        return cls(words, vectors)

    def __len__(self) -> int:
        return SPECIALS + len(self.words)

    def encode(self, tokens: Sequence[str]) -> Int64[np.ndarray, " n"]:
        """Ids of `tokens`; words outside the vocabulary become `UNKNOWN`."""
        return np.array([self._index.get(token, UNKNOWN) for token in tokens], np.int64)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: SPECIALS + i for i, word in enumerate(self.words)}
