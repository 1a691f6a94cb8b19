"""Embedding: every ok text once, exact vectors of just the words in use, and nothing to do the second time."""

from pathlib import Path

import numpy as np
import pytest
from rows import Made, described, failed

from cache.embeddings import load_prior_texts
from cache.schema import DESCRIPTION_KEY, DESCRIPTIONS, TOKENS
from cache.store import PartStore
from priors.embed import embed
from priors.glove import WordVectors

WORDS = ["the", "athlete", "unused", "dives", "into", "pool", "."]


@pytest.fixture
def vectors(tmp_path) -> WordVectors:
    """Seven words of four numbers."""
    rows = np.arange(28, dtype=np.float32).reshape(7, 4) / 7
    lines = [f"{word} {' '.join(str(x) for x in row)}" for word, row in zip(WORDS, rows.tolist(), strict=True)]
    (tmp_path / "v.txt").write_text("\n".join(lines) + "\n")
    return WordVectors.load(tmp_path / "v.txt")


@pytest.fixture
def store(tmp_path) -> PartStore:
    """An empty store of descriptions."""
    return PartStore.create(tmp_path / "descriptions", Made(), DESCRIPTIONS, key=DESCRIPTION_KEY)


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("part-*")}


def test_texts_become_words_and_vectors(tmp_path, store, vectors):
    """Known words lead to their own vectors; the action's words are marked; failed rows have no words."""
    store.append([described("a", text="The athlete dives, diving deep."), described("b", text=""), failed("c")])
    summary = embed(store, vectors, tmp_path / "embeddings")
    assert (summary.embedded, summary.skipped, summary.tokens, summary.unknown) == (2, 0, 7, 3)
    assert dict(summary.most_unknown) == {",": 1, "diving": 1, "deep": 1}
    texts = load_prior_texts(summary.folder)
    row = texts.rows["a", "Dive", "key"]
    assert row.tokens == ("the", "athlete", "dives", ",", "diving", "deep", ".")
    assert row.is_action_word.tolist() == [False, False, True, False, True, False, False]
    assert [texts.words[i] if i >= 0 else None for i in row.word_ids] == [
        "the",
        "athlete",
        "dives",
        None,
        None,
        None,
        ".",
    ]
    known = row.word_ids[row.word_ids >= 0]
    assert np.array_equal(texts.vectors[known], vectors.vectors([0, 1, 3, 6]))
    assert set(texts.words) == {"the", "athlete", "dives", "."}
    assert texts.rows["b", "Dive", "key"].tokens == ()
    assert ("c", "Dive", "key") not in texts.rows


def test_a_second_run_writes_nothing(tmp_path, store, vectors):
    """Idempotent."""
    store.append([described("a", text="The pool.")])
    folder = embed(store, vectors, tmp_path / "embeddings").folder
    before = _files(folder)
    summary = embed(store, vectors, tmp_path / "embeddings")
    assert (summary.embedded, summary.skipped, summary.tokens) == (0, 1, 3)
    assert _files(folder) == before


def test_only_new_and_changed_texts_are_embedded(tmp_path, store, vectors):
    """Known by the text's hash; the last text counts, and words already there are not written again."""
    store.append([described("a", text="the pool"), described("b", text="the athlete")])
    embed(store, vectors, tmp_path / "embeddings")
    store.append([described("a", text="into the pool"), described("c", text="the")])
    summary = embed(store, vectors, tmp_path / "embeddings")
    assert (summary.embedded, summary.skipped) == (2, 1)
    texts = load_prior_texts(summary.folder)
    assert texts.rows["a", "Dive", "key"].tokens == ("into", "the", "pool")
    tables = [PartStore.open(summary.folder, TOKENS, key=DESCRIPTION_KEY, table="tokens").table(["token_ids"])]
    assert tables[0].num_rows == 3
    assert len(texts.words) == 4


@pytest.mark.parametrize("table", ["tokens", "vocabulary"])
def test_a_run_that_was_killed_in_between_is_completed(tmp_path, store, vectors, monkeypatch, table):
    """Whichever of the two tables is missing its part, the next run ends in the same tables."""
    store.append([described("a", text="the pool")])
    append = PartStore.append

    def dies(self, rows):
        if self.folder.name == table:
            raise KeyboardInterrupt
        return append(self, rows)

    monkeypatch.setattr(PartStore, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        embed(store, vectors, tmp_path / "embeddings")
    monkeypatch.undo()
    texts = load_prior_texts(embed(store, vectors, tmp_path / "embeddings").folder)
    whole = load_prior_texts(embed(store, vectors, tmp_path / "whole").folder)
    assert texts.words == whole.words
    assert np.array_equal(texts.vectors, whole.vectors)
    assert {key: row.tokens for key, row in texts.rows.items()} == {key: row.tokens for key, row in whole.rows.items()}


def test_other_word_vectors_make_another_folder(tmp_path, store, vectors):
    """Nothing is mixed; the descriptions are used as they are."""
    store.append([described("a", text="the pool")])
    first = embed(store, vectors, tmp_path / "embeddings").folder
    (tmp_path / "w.txt").write_text("pool 1 2\nthe 3 4\n")
    second = embed(store, WordVectors.load(tmp_path / "w.txt"), tmp_path / "embeddings").folder
    assert first != second
    assert load_prior_texts(second).vectors.tolist() == [[1, 2], [3, 4]]
    assert load_prior_texts(first).vectors.shape == (2, 4)
