"""Fingerprints of contents: equal data have equal ones, wherever and however they lie."""

from pathlib import Path

import numpy as np
import pytest

from cache.content import embeddings_content, features_content
from cache.features import FeatureGrid, FeatureStore
from cache.recipe import Recipe
from cache.tables.embeddings import TOKENS_TABLE, VOCABULARY_TABLE
from cache.tables.schema import DESCRIPTION_KEY, TOKENS, VOCABULARY_KEY, TokenRow, VocabularyRow, vocabulary_schema
from cache.tables.store import PartStore


class Words(Recipe):
    """Recipe of the embeddings."""

    name: str = "words"


def _text(video_id: str, *words: str) -> TokenRow:
    ids = tuple(range(len(words)))
    return TokenRow(
        video_id=video_id,
        action_class="Dive",
        kind="key",
        description_sha256="00" if words else "",
        tokens=words,
        token_ids=ids,
        known=(True,) * len(words),
        is_action_word=(False,) * len(words),
    )


def _word(token_id: int, value: float = 0.5) -> VocabularyRow:
    return VocabularyRow(token_id=token_id, word=f"word {token_id}", vector=np.full(3, value + token_id, np.float32))


def _embeddings(root: Path, texts: list[list[TokenRow]], words: list[list[VocabularyRow]]) -> Path:
    """A folder with these parts."""
    tables = (
        (TOKENS_TABLE, TOKENS, DESCRIPTION_KEY, texts),
        (VOCABULARY_TABLE, vocabulary_schema(3), VOCABULARY_KEY, words),
    )
    for table, schema, key, parts in tables:
        store = PartStore.create(root, Words(), schema, key=key, table=table)
        for rows in parts:
            store.append(rows)
    return root / Words().fingerprint()


def test_embeddings_with_equal_rows_have_equal_content(tmp_path):
    """Made again, in other parts, in another order, with rows that were replaced or taken back in between."""
    texts, words = [_text("a", "x", "y"), _text("b", "z")], [_word(0), _word(1)]
    once = embeddings_content(_embeddings(tmp_path / "once", [texts], [words]))
    again = _embeddings(tmp_path / "again", [[texts[1]], [_text("a", "old")], [texts[0]]], [[words[1]], [words[0]]])
    assert embeddings_content(again) == once
    gone = _embeddings(tmp_path / "gone", [texts, [_text("c", "gone")], [_text("c")]], [words])
    assert embeddings_content(gone) == once


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([_text("a", "x", "other")], [_word(0), _word(1)]),
        ([_text("b", "x", "y")], [_word(0), _word(1)]),
        ([_text("a", "x", "y"), _text("b", "x", "y")], [_word(0), _word(1)]),
        ([_text("a", "x", "y")], [_word(0), _word(1, 0.25)]),
        ([_text("a", "x", "y")], [_word(0)]),
    ],
    ids=["token", "video", "one more text", "vector", "one word less"],
)
def test_embeddings_with_another_row_have_another_content(tmp_path, texts, words):
    """Every value counts."""
    once = _embeddings(tmp_path / "once", [[_text("a", "x", "y")]], [[_word(0), _word(1)]])
    assert embeddings_content(_embeddings(tmp_path / "other", [texts], [words])) != embeddings_content(once)


def test_the_order_of_streams_is_part_of_the_content(tmp_path):
    """The same columns under turned names are other features."""
    prints = set()
    for names in (("rgb", "flow"), ("flow", "rgb")):
        grid = FeatureGrid(streams=dict.fromkeys(names, 2), fps=25, snippet_frames=16, snippet_stride=16)
        store = FeatureStore.create(tmp_path / names[0], grid)
        store.save("v", np.arange(12, dtype=np.float32).reshape(3, 4))
        prints.add(features_content(store, ["v"]))
    assert len(prints) == 2
