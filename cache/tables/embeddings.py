"""Reads embeddings for training: words as indices into a dense table of word vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Float32, Int, Int64

from cache.errors import CacheError
from cache.tables.schema import DESCRIPTION_KEY, TOKENS, VOCABULARY_KEY, Kind, vocabulary_schema
from cache.tables.store import PartStore

TOKENS_TABLE = "tokens"
VOCABULARY_TABLE = "vocabulary"
INLINE_TABLE = "inline"
_NO_VECTOR, _LOST = -1, -2

Key = tuple[str, str, str]
"""video_id, action_class, kind."""


@dataclass(frozen=True, eq=False)
class PriorText:
    """The words of one description."""

    tokens: tuple[str, ...]
    word_ids: Int64[np.ndarray, " n"]
    """Index into PriorTexts.words, -1 for a token without a vector."""
    is_action_word: Bool[np.ndarray, " n"]
    """The token is a form of a word of the class name."""
    known: Bool[np.ndarray, " n"]
    """The token is in the word vector file; other tokens have a made vector, or none."""


class TextColumns(Mapping[Key, PriorText]):
    """Texts by key, stored as one array per column; a PriorText is made on access.

    Axes: r texts, ends = r + 1, n words of all texts together.
    """

    def __init__(
        self,
        keys: pa.Table,
        tokens: pa.StringArray,
        offsets: Int64[np.ndarray, " ends"],
        word_ids: Int64[np.ndarray, " n"],
        is_action_word: Bool[np.ndarray, " n"],
        known: Bool[np.ndarray, " n"],
    ) -> None:
        self._keys, self._tokens = keys, tokens
        self.offsets = offsets
        """Text r has the words offsets[r] to offsets[r + 1]."""
        self.word_ids, self.is_action_word, self.known = word_ids, is_action_word, known

    def __getitem__(self, key: Key) -> PriorText:
        row = self._rows[key]
        start, end = int(self.offsets[row]), int(self.offsets[row + 1])
        return PriorText(
            tuple(self._tokens[start:end].to_pylist()),
            self.word_ids[start:end],
            self.is_action_word[start:end],
            self.known[start:end],
        )

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def _rows(self) -> dict[Key, int]:
        columns = (self._keys[name].to_pylist() for name in DESCRIPTION_KEY)
        return {key: row for row, key in enumerate(zip(*columns, strict=True))}


@dataclass(frozen=True, eq=False)
class PriorTexts:
    """All descriptions as word indices, with the words and their vectors."""

    words: tuple[str, ...]
    vectors: Float32[np.ndarray, "v w"]
    rows: Mapping[Key, PriorText]
    """Texts by (video_id, action_class, kind)."""


def open_tokens(folder: Path) -> PartStore:
    """The table tokens/ of `<dataset>/embeddings/<fingerprint>`. Raises CacheError if it is missing or damaged."""
    return PartStore.open(folder, TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE)


def open_vocabulary(folder: Path) -> PartStore:
    """The table vocabulary/ of `<dataset>/embeddings/<fingerprint>`. Raises CacheError if it is missing or damaged."""
    schema = vocabulary_schema(_vector_width(folder / VOCABULARY_TABLE))
    return PartStore.open(folder, schema, key=VOCABULARY_KEY, table=VOCABULARY_TABLE)


def load_prior_texts(folder: Path) -> PriorTexts:
    """Read `<dataset>/embeddings/<fingerprint>`, which holds the tables tokens/ and vocabulary/.

    Raises CacheError if a table is missing or damaged, or a token's vector is not in the vocabulary.
    """
    tokens = open_tokens(folder).table(sort=False)
    return texts_of(tokens, read_words(folder))  # in this order: words are written before the texts that use them


@dataclass(frozen=True, eq=False)
class WordTable:
    """The table vocabulary/, with the row of each id."""

    folder: Path
    words: tuple[str, ...]
    vectors: Float32[np.ndarray, "v w"]
    first_id: int
    """The id of the first entry of `places`."""
    places: Int64[np.ndarray, " ids"]
    """Row of each id; ids are rows of a file, so they are not sparse. _NO_VECTOR for id -1, _LOST for ids without a
    row."""

    def find(self, token_ids: Int[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """The row of each id, -1 for -1. Raises CacheError if one is not in the table."""
        shifted = token_ids.astype(np.int64) - self.first_id
        inside = (shifted >= 0) & (shifted < len(self.places))
        rows = np.where(inside, self.places[np.where(inside, shifted, 0)], _LOST)
        if lost := int(np.sum(rows == _LOST)):
            raise CacheError(
                f"{self.folder}: {lost} tokens have no row in {VOCABULARY_TABLE}/; run `make priors` again"
            )
        return rows


def read_words(folder: Path) -> WordTable:
    """Read the table vocabulary/ of `folder`. Raises CacheError if it is missing or damaged."""
    store = open_vocabulary(folder)
    table, width = store.table(sort=False), store.schema.field("vector").type.list_size
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    token_ids = table["token_id"].to_numpy().astype(np.int64)
    first = min(_NO_VECTOR, int(token_ids.min(initial=_NO_VECTOR)))
    places = np.full(int(token_ids.max(initial=_NO_VECTOR)) - first + 1, _LOST, np.int64)
    places[token_ids - first] = np.arange(len(token_ids))
    places[_NO_VECTOR - first] = _NO_VECTOR
    return WordTable(folder, tuple(table["word"].to_pylist()), vectors, first, places)


def texts_of(tokens: pa.Table, words: WordTable) -> PriorTexts:
    """Rows of the table tokens/ as texts, without those marked as deleted.

    Arrow's offsets have 31 bits: more than 2 GiB of words (some 7 million descriptions) do not fit in one column.
    """
    if (deleted := tokens["description_sha256"].to_numpy() == "").any():
        tokens = tokens.filter(pa.array(~deleted))
    ids = tokens["token_ids"].combine_chunks()
    columns = TextColumns(
        tokens.select(DESCRIPTION_KEY),
        tokens["tokens"].combine_chunks().flatten(),
        np.concatenate([[0], np.cumsum(ids.value_lengths().to_numpy(), dtype=np.int64)]),
        words.find(ids.flatten().to_numpy()),
        tokens["is_action_word"].combine_chunks().flatten().to_numpy(zero_copy_only=False),
        tokens["known"].combine_chunks().flatten().to_numpy(zero_copy_only=False),
    )
    return PriorTexts(words.words, words.vectors, columns)


def _vector_width(folder: Path) -> int:
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise CacheError(f"{folder}: holds no word vectors; run `make priors` to make them")
    try:
        return pq.read_schema(parts[0]).field("vector").type.list_size
    except (pa.ArrowException, OSError, KeyError, AttributeError) as error:
        raise CacheError(f"{parts[0]}: cannot be read: {error}; move it away and run `make priors` again") from error


@dataclass(frozen=True, kw_only=True)
class InlineRow:
    """One description with the vectors of all words."""

    video_id: str
    action_class: str
    kind: Kind
    description_sha256: str
    """As in TokenRow."""
    tokens: tuple[str, ...]
    known: tuple[bool, ...]
    is_action_word: tuple[bool, ...]
    vectors: Float[np.ndarray, "n w"]
    """Zeros where a token has no vector."""


def inline_schema(width: int, dtype: Literal["float32", "float16"]) -> pa.Schema:
    """Schema of InlineRow for word vectors of `width` numbers."""
    vector = pa.list_(pa.field("element", pa.type_for_alias(dtype), nullable=False), width)
    fields = [TOKENS.field(name) for name in TOKENS.names if name != "token_ids"]
    return pa.schema(
        [*fields, pa.field("vectors", pa.list_(pa.field("element", vector, nullable=False)), nullable=False)]
    )
