"""Word vectors in GloVe's and word2vec's formats, as gensim's KeyedVectors."""

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

_MAPPED_BYTES = 20_000_000  # files of at least this size are converted once and memory-mapped from then on


class GloveRecipe(Recipe):
    """The word vectors, and how words without a vector are treated."""

    path: Path
    """File of word vectors: GloVe's text (.txt), word2vec's text (.vec, .txt) or binary (.bin), each also as .gz or
    .zip, or gensim's .kv."""
    member: str | None = None
    """File in a .zip that holds several, such as glove.6B.300d.txt in glove.6B.zip."""
    unknown: UnknownWords = "skip"
    """How words without a vector are treated. skip: no vector, training treats them all as one unknown word. zero: a
    vector of zeros, the word keeps its own id. subword: the mean of the vectors of its known parts."""
    converted: Annotated[Path | None, RUN_ONLY] = None
    """Folder for the memory-mapped copy of a big file; None = beside the file."""
    allow_pickle: Annotated[bool, RUN_ONLY] = False
    """Allow reading a .kv file, which is a pickle: reading one can run any code in it."""


def find_words(recipe: GloveRecipe) -> WordFile:
    """The file of the recipe, unread. Raises CacheError if there is none, or if it is a .kv that is not allowed."""
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
    """A table of words and vectors; the id of a word is its row."""

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
        """Hash of the uncompressed file."""
        self.name = name
        """Name of the file without its archive."""
        self.unknown: UnknownWords = unknown
        """How words without a vector are treated."""
        self.odd = tuple(odd)
        """Data issues of the file: how it differs from a well-formed table."""

    @property
    def told(self) -> str:
        """The file, what was found in it and what was odd, for messages and records."""
        found = f"{self.name}: {len(self)} words of {self.width} numbers"
        return "; ".join([found, *self.odd])

    @classmethod
    def load(cls, recipe: GloveRecipe, *, on_share: OnShare | None = None) -> WordVectors:
        """Load a table; a big one is converted to a memory-mapped copy, once.

        `on_share` is called with the progress of the conversion. Raises CacheError with the file and line that cannot
        be read, or for a .kv that the recipe does not allow.
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
        """Row of each word, -1 for a word without a vector."""
        return np.array([self._vectors.get_index(word, -1) for word in words], dtype=np.int64)

    def word(self, token_id: int) -> str:
        """The word of an id."""
        return str(self._vectors.index_to_key[token_id])

    def vectors(self, token_ids: Sequence[int]) -> Float32[np.ndarray, "n w"]:
        """The vectors of ids."""
        return np.asarray(self._vectors.vectors[np.asarray(token_ids, dtype=np.int64)], dtype=np.float32)


def _keyed(table: Table) -> KeyedVectors:
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(table.vectors.shape[1], count=0)
    vectors.index_to_key = table.words
    vectors.key_to_index = {word: row for row, word in enumerate(table.words)}
    vectors.vectors = table.vectors  # assigned directly: `add_vectors` would copy the mapped array
    return vectors
