"""What the trainer reads: dense word indices, exact vectors."""

import numpy as np
import pytest
from rows import Made

from cache.embeddings import load_prior_texts
from cache.schema import (
    DESCRIPTION_KEY,
    TOKENS,
    VOCABULARY_KEY,
    CacheError,
    Kind,
    TokenRow,
    VocabularyRow,
    vocabulary_schema,
)
from cache.store import PartStore


def _row(video_id: str, kind: Kind, words: dict[str, int]) -> TokenRow:
    return TokenRow(
        video_id=video_id,
        action_class="Dive",
        kind=kind,
        description_sha256="00",
        tokens=tuple(words),
        token_ids=tuple(words.values()),
        known=tuple(token_id >= 0 for token_id in words.values()),
        is_action_word=tuple(word == "dive" for word in words),
    )


def _stores(root) -> tuple[PartStore, PartStore]:
    tokens = PartStore.create(root, Made(), TOKENS, key=DESCRIPTION_KEY, table="tokens")
    schema = vocabulary_schema(2)
    return tokens, PartStore.create(root, Made(), schema, key=VOCABULARY_KEY, table="vocabulary")


def _vector(token_id: int) -> np.ndarray:
    return np.array([token_id, 1 / (token_id + 3)], np.float32)


def test_words_and_vectors_come_back_by_dense_index(tmp_path):
    """Every token's index leads to its own word and its exact vector; unknown ones are -1; empty texts are allowed."""
    tokens, vocabulary = _stores(tmp_path)
    texts: dict[tuple[str, Kind], dict[str, int]] = {
        ("b", "complete"): {"dive": 400, "xyzzy": -1, "a": 7},
        ("a", "key"): {"a": 7, "pool": 31},
        ("a", "complete"): {},
    }
    for (video_id, kind), words in texts.items():
        tokens.append([_row(video_id, kind, words)])
    vocabulary.append([VocabularyRow(token_id=i, word=w, vector=_vector(i)) for i, w in ((400, "dive"), (7, "a"))])
    vocabulary.append([VocabularyRow(token_id=31, word="pool", vector=_vector(31))])

    loaded = load_prior_texts(tokens.home)
    assert loaded.vectors.dtype == np.float32
    assert loaded.vectors.shape == (3, 2)
    assert set(loaded.rows) == {(video_id, "Dive", kind) for video_id, kind in texts}
    for (video_id, kind), words in texts.items():
        text = loaded.rows[video_id, "Dive", kind]
        assert text.tokens == tuple(words)
        assert text.is_action_word.tolist() == [word == "dive" for word in words]
        for index, (word, token_id) in zip(text.word_ids, words.items(), strict=True):
            if token_id < 0:
                assert index == -1
            else:
                assert loaded.words[index] == word
                assert np.array_equal(loaded.vectors[index], _vector(token_id))


def test_a_token_without_its_vector_is_an_error(tmp_path):
    """Lost vocabulary would otherwise become some other word."""
    tokens, vocabulary = _stores(tmp_path)
    tokens.append([_row("a", "key", {"a": 7, "pool": 31})])
    with pytest.raises(CacheError, match=r"no word vectors.*make priors"):
        load_prior_texts(tokens.home)
    vocabulary.append([VocabularyRow(token_id=7, word="a", vector=_vector(7))])
    with pytest.raises(CacheError, match="1 tokens have no row"):
        load_prior_texts(tokens.home)


def test_a_missing_table_names_the_command(tmp_path):
    """As every reader of the cache does."""
    with pytest.raises(CacheError, match="make priors"):
        load_prior_texts(tmp_path / "nowhere")
