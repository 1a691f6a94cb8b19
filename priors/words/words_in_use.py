"""Writer of the vocabulary table: the vectors of all words in the texts, with those made for unknown words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int64

from cache.tables.schema import VocabularyRow
from cache.tables.store import PartStore
from priors.words.glove import WordVectors
from priors.words.unknown_words import made_vector

_NONE = -1


class WordsInUse:
    """Assigns ids to words, and writes the vector of each id once.

    An id of 0 or more is a row of the word vector file. An id below -1 is a word that the file lacks but that has a
    made vector; these are assigned in order of occurrence. -1 is a word without a vector. Use it under the lock of the
    tables.
    """

    def __init__(self, store: PartStore, vectors: WordVectors) -> None:
        self._store, self._vectors = store, vectors
        self._written: set[int] = set()
        self._made: dict[str, int] = {}
        for row in store.rows(["token_id", "word"]):
            self._written.add(row["token_id"])
            if row["token_id"] < _NONE:
                self._made[row["word"]] = row["token_id"]
        self._next = min(self._made.values(), default=_NONE) - 1
        self._new: list[tuple[int, str]] = []
        self._made_vector = lru_cache(maxsize=10_000)(lambda word: made_vector(word, vectors))

    def ids(self, tokens: Sequence[str]) -> Int64[np.ndarray, " n"]:
        """Id of each word, -1 if it has no vector."""
        ids = self._vectors.lookup(tokens)
        for place in np.flatnonzero(ids < 0).tolist():
            ids[place] = self._id_of_unknown(tokens[place])
        for token, token_id in zip(tokens, ids.tolist(), strict=True):
            if token_id != _NONE and token_id not in self._written:
                self._written.add(token_id)
                self._new.append((token_id, token))
        return ids

    def flush(self) -> None:
        """Write the vectors of ids that are new since the last call. Call it before rows that use them are written."""
        if not self._new:
            return
        rows = [VocabularyRow(token_id=i, word=word, vector=self._vector(i, word)) for i, word in sorted(self._new)]
        self._store.append(rows)
        self._new = []

    def in_place(self, tokens: Sequence[str], token_ids: Sequence[int], dtype: np.dtype) -> Float[np.ndarray, "n w"]:
        """The vector of each word, zeros if it has none."""
        block = np.zeros((len(tokens), self._vectors.width), dtype)
        ids = np.asarray(token_ids, np.int64)
        block[ids >= 0] = self._vectors.vectors(ids[ids >= 0].tolist())
        for place in np.flatnonzero(ids < _NONE).tolist():
            block[place] = self._vector(int(ids[place]), tokens[place])
        return block

    def _id_of_unknown(self, word: str) -> int:
        if word not in self._made:
            if self._made_vector(word) is None:
                return _NONE
            self._made[word] = self._next
            self._next -= 1
        return self._made[word]

    def _vector(self, token_id: int, word: str) -> np.ndarray:
        if token_id >= 0:
            return self._vectors.vectors([token_id])[0]
        vector = self._made_vector(word)
        assert vector is not None  # else it would have no id
        return vector
