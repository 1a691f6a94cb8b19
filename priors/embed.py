"""Descriptions to words and vectors: two tables, made anew without the model whenever the word vectors change."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cache.embeddings import TOKENS_TABLE, VOCABULARY_TABLE
from cache.recipe import Recipe
from cache.schema import DESCRIPTION_KEY, TOKENS, VOCABULARY_KEY, TokenRow, VocabularyRow, vocabulary_schema
from cache.store import PartStore
from priors.glove import TOKENIZER_VERSION, WordVectors, is_action_word, tokenize

_ROWS = 1024  # descriptions a part


class EmbeddingRecipe(Recipe):
    """Everything that changes the embeddings."""

    descriptions: str
    """Fingerprint of the descriptions."""
    word_vectors: str
    """Name of the file of word vectors."""
    word_vectors_sha256: str
    width: int
    """Numbers in a vector."""
    tokenizer_version: int = TOKENIZER_VERSION


@dataclass(frozen=True)
class EmbedSummary:
    """What a run did, and how much of the text the word vectors know."""

    folder: Path
    """Where the tables lie."""
    embedded: int
    skipped: int
    """Descriptions whose rows were there already."""
    tokens: int
    """Tokens of all descriptions, skipped ones included."""
    unknown: int
    """Those of them that the word vectors do not have."""
    most_unknown: tuple[tuple[str, int], ...]
    """The most frequent unknown words, with their counts."""


def embed(descriptions: PartStore, vectors: WordVectors, root: Path) -> EmbedSummary:
    """Cut every ok description into words, and write `<root>/<fingerprint>/{tokens,vocabulary}`.

    Rows that are there already for the same text are kept, so a second run writes nothing. Raises CacheError if another
    run holds the tables, or a part cannot be read.
    """
    recipe = EmbeddingRecipe(
        descriptions=descriptions.home.name,
        word_vectors=vectors.name,
        word_vectors_sha256=vectors.sha256,
        width=vectors.width,
    )
    tokens = PartStore.create(root, recipe, TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE)
    schema = vocabulary_schema(vectors.width)
    vocabulary = PartStore.create(root, recipe, schema, key=VOCABULARY_KEY, table=VOCABULARY_TABLE)
    with tokens.lock():
        rows = [_token_row(row, vectors) for row in _texts(descriptions)]
        known = {
            (row["video_id"], row["action_class"], row["kind"]): row["description_sha256"]
            for row in tokens.table([*DESCRIPTION_KEY, "description_sha256"]).to_pylist()
        }
        new = [row for row in rows if known.get((row.video_id, row.action_class, row.kind)) != row.description_sha256]
        for start in range(0, len(new), _ROWS):
            part = new[start : start + _ROWS]
            _add_words(vocabulary, vectors, part)  # first, so that no row of tokens ever lacks its vectors
            tokens.append(part)
    unknown = Counter(word for row in rows for word, has in zip(row.tokens, row.known, strict=True) if not has)
    return EmbedSummary(
        folder=tokens.home,
        embedded=len(new),
        skipped=len(rows) - len(new),
        tokens=sum(len(row.tokens) for row in rows),
        unknown=unknown.total(),
        most_unknown=tuple(unknown.most_common(10)),
    )


def _texts(descriptions: PartStore) -> list[dict]:
    rows = descriptions.table([*DESCRIPTION_KEY, "description", "status"]).to_pylist()
    return [row for row in rows if row["status"] == "ok"]


def _token_row(row: dict, vectors: WordVectors) -> TokenRow:
    tokens = tokenize(row["description"])
    ids = vectors.lookup(tokens)
    return TokenRow(
        video_id=row["video_id"],
        action_class=row["action_class"],
        kind=row["kind"],
        description_sha256=hashlib.sha256(row["description"].encode()).hexdigest(),
        tokens=tuple(tokens),
        token_ids=tuple(ids.tolist()),
        known=tuple((ids >= 0).tolist()),
        is_action_word=tuple(is_action_word(tokens, row["action_class"])),
    )


def _add_words(vocabulary: PartStore, vectors: WordVectors, rows: list[TokenRow]) -> None:
    used = {token_id for row in rows for token_id in row.token_ids if token_id >= 0}
    missing = sorted(used - {token_id for (token_id,) in vocabulary.done()})
    if missing:
        block = vectors.vectors(missing)
        vocabulary.append(
            [
                VocabularyRow(token_id=token_id, word=vectors.word(token_id), vector=vector)
                for token_id, vector in zip(missing, block, strict=True)
            ]
        )
