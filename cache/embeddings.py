"""What the trainer reads of the embeddings: words as indices into a dense table of the vectors in use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache.schema import DESCRIPTION_KEY, TOKENS, VOCABULARY_KEY, CacheError, vocabulary_schema
from cache.store import PartStore

TOKENS_TABLE = "tokens"
VOCABULARY_TABLE = "vocabulary"


@dataclass(frozen=True, eq=False)
class PriorText:
    """The words of one description."""

    tokens: tuple[str, ...]
    word_ids: np.ndarray
    """(n,) int64 index into PriorTexts.words, -1 for a token that the word vectors do not have."""
    is_action_word: np.ndarray
    """(n,) bool: the token is a word of the class name, up to its stem."""


@dataclass(frozen=True, eq=False)
class PriorTexts:
    """All descriptions as word indices, with the words and their vectors."""

    words: tuple[str, ...]
    vectors: np.ndarray
    """(words, width) float32."""
    rows: dict[tuple[str, str, str], PriorText]
    """By (video_id, action_class, kind)."""


def load_prior_texts(folder: Path) -> PriorTexts:
    """Read `<dataset>/embeddings/<fingerprint>`, which holds the tables tokens/ and vocabulary/.

    Raises CacheError if a table is missing or damaged, or a token's vector is not in the vocabulary.
    """
    tokens = PartStore.open(folder, TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE).table()
    schema = vocabulary_schema(_vector_width(folder / VOCABULARY_TABLE))
    vocabulary = PartStore.open(folder, schema, key=VOCABULARY_KEY, table=VOCABULARY_TABLE).table()
    vectors = vocabulary["vector"].combine_chunks()
    token_ids = vocabulary["token_id"].to_numpy()
    width = schema.field("vector").type.list_size
    block = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(-1, width)

    ids = tokens["token_ids"].combine_chunks()
    flat = ids.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    dense = np.searchsorted(token_ids, flat)
    present = token_ids[np.minimum(dense, len(token_ids) - 1)] == flat if len(token_ids) else np.zeros(len(flat), bool)
    if np.any((flat >= 0) & ~present):
        lost = int(np.sum((flat >= 0) & ~present))
        raise CacheError(f"{folder}: {lost} tokens have no row in {VOCABULARY_TABLE}/; run `make priors` again")
    dense = np.where(flat < 0, -1, dense)
    action = tokens["is_action_word"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(ids.value_lengths().to_numpy(zero_copy_only=False)) if len(ids) else np.zeros(0, int)
    rows = {}
    keys = zip(*(tokens[name].to_pylist() for name in DESCRIPTION_KEY), strict=True)
    for key, words, end in zip(keys, tokens["tokens"].to_pylist(), ends, strict=True):
        span = slice(int(end) - len(words), int(end))
        rows[key] = PriorText(tuple(words), dense[span], action[span])
    return PriorTexts(tuple(vocabulary["word"].to_pylist()), block, rows)


def _vector_width(folder: Path) -> int:
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise CacheError(f"{folder}: holds no word vectors; run `make priors` to make them")
    try:
        return pq.read_schema(parts[0]).field("vector").type.list_size
    except (pa.ArrowException, OSError, KeyError, AttributeError) as error:
        raise CacheError(f"{parts[0]}: cannot be read: {error}; move it away and run `make priors` again") from error
