"""What the trainer reads: dense word indices, exact vectors."""

from dataclasses import replace

import numpy as np
import pytest

from cache.errors import CacheError
from cache.tables.embeddings import TextColumns, load_prior_texts
from cache.tables.schema import (
    DESCRIPTION_KEY,
    TOKENS,
    VOCABULARY_KEY,
    Kind,
    TokenRow,
    VocabularyRow,
    vocabulary_schema,
)
from cache.tables.store import PartStore
from cache.tables.video_texts import VideoTexts, video_texts
from tests.support.data.rows import Made


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


def test_texts_are_a_mapping_of_arrays(tmp_path):
    """Nothing is made row by row until it is asked for; the arrays hold all words one after the other."""
    tokens, vocabulary = _stores(tmp_path)
    tokens.append([_row("a", "key", {"a": 7, "dive": -5, "xyzzy": -1}), _row("b", "key", {"dive": -5})])
    vocabulary.append([VocabularyRow(token_id=i, word=w, vector=_vector(i)) for i, w in ((7, "a"), (-5, "dive"))])
    texts = load_prior_texts(tokens.home)
    assert isinstance(texts.rows, TextColumns)
    assert texts.rows.offsets.tolist() == [0, 3, 4]
    assert [texts.words[i] if i >= 0 else None for i in texts.rows.word_ids] == ["a", "dive", None, "dive"]
    assert texts.rows.known.tolist() == [True, False, False, False]
    assert len(texts.rows) == 2
    assert ("a", "Dive", "key") in texts.rows
    assert ("a", "Dive", "complete") not in texts.rows
    assert texts.rows.get(("z", "Dive", "key")) is None
    with pytest.raises(KeyError):
        texts.rows["z", "Dive", "key"]


@pytest.mark.parametrize("lost", [6, 8, 10**6, -7])
def test_no_lost_id_becomes_another_word(tmp_path, lost):
    """Between those that are there, above and below them."""
    tokens, vocabulary = _stores(tmp_path)
    vocabulary.append([VocabularyRow(token_id=i, word=str(i), vector=_vector(i)) for i in (5, 7, -2)])
    tokens.append([_row("a", "key", {"5": 5, "lost": lost, "none": -1})])
    with pytest.raises(CacheError, match="1 tokens have no row"):
        load_prior_texts(tokens.home)


def test_one_video_s_texts_are_those_of_all(tmp_path):
    """Across parts and row groups, the last row of a key counting, and texts that were taken back left out."""
    tokens, vocabulary = _stores(tmp_path)
    vocabulary.append([VocabularyRow(token_id=i, word=str(i), vector=_vector(i)) for i in range(40)])
    for part in range(3):
        rows = [_row(f"v{i:03}", "key", {str((i + part) % 40): (i + part) % 40}) for i in range(part, 600, 1 + part)]
        tokens.append([*rows, _row(f"new{part}", "complete", {"dive": -1})])
    tokens.append([replace(_row("v007", "key", {}), description_sha256=""), _row("v008", "complete", {"3": 3})])
    everything = load_prior_texts(tokens.home)
    reader = VideoTexts(tokens.home)
    for video in ("v000", "v007", "v008", "v299", "v599", "new1", "nowhere", "v0"):
        expected = {key: everything.rows[key] for key in everything.rows if key[0] == video}
        texts = reader.read(video)
        assert texts.rows.keys() == expected.keys()
        for key, text in expected.items():
            assert texts.rows[key].tokens == text.tokens
            assert [texts.words[i] for i in texts.rows[key].word_ids] == [everything.words[i] for i in text.word_ids]
            assert np.array_equal(texts.vectors[texts.rows[key].word_ids], everything.vectors[text.word_ids])
    assert video_texts(tokens.home, "v008").rows.keys() == reader.read("v008").rows.keys()
