"""Word vectors in GloVe's and word2vec's formats, as gensim's table of words and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from jaxtyping import Float32, Int64

from cache.errors import CacheError
from cache.files.kinds import not_a
from cache.recipe import RUN_ONLY, Recipe
from priors.words.mapped_copy import OnShare, Table, mapped_copy, read_whole
from priors.words.word_files import WordFile

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

UnknownWords = Literal["skip", "zero", "subword"]

_MAPPED_BYTES = 20_000_000  # files from this size on are converted once, to be memory-mapped from then on


class GloveRecipe(Recipe):
    """Which word vectors, and what stands for words that they do not have."""

    path: Path
    """GloVe's text (.txt), word2vec's text (.vec, .txt) or binary (.bin), each also as .gz or .zip, or gensim's .kv."""
    member: str | None = None
    """Which file in a .zip that holds several tables, such as glove.6B.300d.txt in glove.6B.zip."""
    unknown: UnknownWords = "skip"
    """What stands for a word that the table does not have. skip: nothing, all such words are one to the trainer. zero:
    a vector of zeros, the word keeps its identity. subword: the mean of the vectors of its known parts."""
    converted: Annotated[Path | None, RUN_ONLY] = None
    """Folder for the memory-mapped copy of a big file; None is beside it."""
    allow_pickle: Annotated[bool, RUN_ONLY] = False
    """Read a .kv, which is a pickle: reading one can run any code that its maker put there."""


def find_words(recipe: GloveRecipe) -> WordFile:
    """The file that the recipe means, unread. Raises CacheError if there is none, or a .kv that it does not allow."""
    file = WordFile.find(recipe.path, recipe.member)
    if file.format == "native" and (told := not_a(recipe.path, "gensim .kv file", "pickle")):
        raise CacheError(f"glove.path: {recipe.path}: {told}")
    if file.format == "native" and not recipe.allow_pickle:
        raise CacheError(
            f"glove.path: {recipe.path}: is a pickle, and reading one can run code; if you trust it, add "
            "--glove.allow-pickle, or save it as text with gensim's save_word2vec_format"
        )
    return file


class WordVectors:
    """A table of words and vectors; a word's id is its row."""

    def __init__(
        self,
        vectors: KeyedVectors,
        sha256: str,
        name: str,
        unknown: UnknownWords = "skip",
        odd: Sequence[str] = (),
    ) -> None:
        self._vectors = vectors
        self.sha256 = sha256
        """Of the uncompressed file."""
        self.name = name
        """Of the file, without what it is packed in."""
        self.unknown: UnknownWords = unknown
        """What stands for words that the table does not have."""
        self.odd = tuple(odd)
        """What differs in the file from a table as it should be."""

    @property
    def told(self) -> str:
        """The file, what was found in it and what was odd, for messages and records."""
        found = f"{self.name}: {len(self)} words of {self.width} numbers"
        return "; ".join([found, *self.odd])

    @classmethod
    def load(cls, recipe: GloveRecipe, *, on_share: OnShare | None = None) -> WordVectors:
        """Load a table; a big one is converted to a memory-mapped copy, once.

        `on_share` is told how far the conversion is. Raises CacheError naming the file, and the line, that cannot be
        read, or a .kv that the recipe does not allow.
        """
        file = find_words(recipe)
        big = file.bytes() >= _MAPPED_BYTES
        table = mapped_copy(file, recipe.converted, on_share=on_share) if big else read_whole(file)
        return cls(_keyed(table), table.sha256, file.name, recipe.unknown, table.odd)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self._vectors.vector_size

    def __len__(self) -> int:
        return len(self._vectors.index_to_key)

    def __contains__(self, word: str) -> bool:
        return word in self._vectors.key_to_index

    def lookup(self, words: Sequence[str]) -> Int64[np.ndarray, " n"]:
        """Row of each word, -1 for a word that the table does not have."""
        return np.array([self._vectors.get_index(word, -1) for word in words], dtype=np.int64)

    def word(self, token_id: int) -> str:
        """The word of a row."""
        return str(self._vectors.index_to_key[token_id])

    def vectors(self, token_ids: Sequence[int]) -> Float32[np.ndarray, "n w"]:
        """The vectors of rows."""
        return np.asarray(self._vectors.vectors[np.asarray(token_ids, dtype=np.int64)], dtype=np.float32)


def _keyed(table: Table) -> KeyedVectors:
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(table.vectors.shape[1], count=0)
    vectors.index_to_key = table.words
    vectors.key_to_index = {word: row for row, word in enumerate(table.words)}
    vectors.vectors = table.vectors  # as it is: `add_vectors` would copy what is mapped
    return vectors
