"""A table of word vectors through gensim: lookup, vectors, and what may be loaded."""

from pathlib import Path

import numpy as np
import pytest

import priors.words.glove
from cache.errors import CacheError
from priors.words.glove import GloveRecipe, WordVectors
from tests.priors.words.test_word_files import FLOATS, WORDS, glove_text


@pytest.fixture(params=["small", "big"])
def vectors(request, tmp_path, monkeypatch) -> WordVectors:
    """Five words, read and mapped."""
    monkeypatch.setattr(priors.words.glove, "_MAPPED_BYTES", {"small": 1000, "big": 10}[request.param])
    (tmp_path / "v.txt").write_bytes(glove_text(WORDS))
    return WordVectors.load(GloveRecipe(path=tmp_path / "v.txt"))


def test_words_lead_to_rows_and_vectors(vectors):
    """Exact float32, -1 for what is not there."""
    assert (len(vectors), vectors.width, vectors.name) == (5, 3, "v.txt")
    assert vectors.lookup(["kick", "nowhere", "high", ". . .", "ü", "Kick"]).tolist() == [1, -1, 0, 3, 4, -1]
    assert vectors.lookup([]).shape == (0,)
    assert ("kick" in vectors, "nowhere" in vectors) == (True, False)
    assert [vectors.word(row) for row in range(5)] == list(WORDS)
    assert vectors.vectors([1, 4]).dtype == np.float32
    assert np.array_equal(vectors.vectors([1, 4]), FLOATS[[1, 4]])


def test_gensim_itself_can_use_the_table(vectors):
    """It is a whole KeyedVectors: nearest words and all."""
    assert vectors._vectors.most_similar("high", topn=1)[0][0] in WORDS
    assert np.array_equal(vectors._vectors["kick"], FLOATS[1])


def test_big_tables_alone_are_mapped(tmp_path, vectors):
    """Small ones leave nothing behind."""
    assert isinstance(vectors._vectors.vectors, np.memmap) == (tmp_path / "v.txt.mapped").exists()


@pytest.mark.parametrize("limit", [1, 10**9])
def test_a_pickle_is_read_only_where_that_is_allowed(tmp_path, monkeypatch, limit):
    """Reading one can run any code; its memory-mapped copy is none, but what was refused stays refused."""
    from gensim.models import KeyedVectors

    monkeypatch.setattr(priors.words.glove, "_MAPPED_BYTES", limit)
    table = KeyedVectors(3)
    table.add_vectors(list(WORDS), FLOATS)
    table.save(str(tmp_path / "v.kv"))
    recipe = GloveRecipe(path=tmp_path / "v.kv")
    with pytest.raises(CacheError, match=r"v\.kv: is a pickle.*--glove\.allow-pickle"):
        WordVectors.load(recipe)
    trusted = WordVectors.load(recipe.model_copy(update={"allow_pickle": True}))
    assert np.array_equal(trusted.vectors(range(5)), FLOATS)
    with pytest.raises(CacheError, match="is a pickle"):
        WordVectors.load(recipe)


def test_consent_to_a_pickle_is_asked_for_pickles_alone(tmp_path):
    """A web page with the name of one is named."""
    (tmp_path / "v.kv").write_bytes(b"<html>not found</html>")
    with pytest.raises(CacheError, match=r"v\.kv: is no gensim \.kv file, but a web page") as refused:
        WordVectors.load(GloveRecipe(path=tmp_path / "v.kv"))
    assert "allow-pickle" not in str(refused.value)


def test_packing_does_not_change_what_a_table_is(tmp_path):
    """Name and sha256 are those of the text, so the same embeddings are found."""
    import gzip

    (tmp_path / "v.txt").write_bytes(glove_text(WORDS))
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(glove_text(WORDS)))
    plain, packed = (WordVectors.load(GloveRecipe(path=Path(tmp_path / name))) for name in ("v.txt", "v.txt.gz"))
    assert (plain.name, plain.sha256) == (packed.name, packed.sha256)
