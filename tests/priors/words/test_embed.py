"""Embedding: every ok text once, exact vectors of just the words in use, and nothing to do the second time."""

import json
from pathlib import Path

import numpy as np
import pytest

from cache.tables.embeddings import INLINE_TABLE, inline_schema, load_prior_texts
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, TOKENS, VOCABULARY_KEY, vocabulary_schema
from cache.tables.store import PartStore
from priors.words.embed import WORDS_FILE, EmbedOptions, embed
from priors.words.glove import GloveRecipe, UnknownWords, WordVectors
from tests.support.data.rows import Made, described, failed
from training.batches.vocabulary import SPECIALS, UNKNOWN, Vocabulary

WORDS = ["the", "athlete", "unused", "dives", "into", "pool", "."]


def _vectors(folder: Path, unknown: UnknownWords = "skip") -> WordVectors:
    rows = np.arange(28, dtype=np.float32).reshape(7, 4) / 7
    lines = [f"{word} {' '.join(str(x) for x in row)}" for word, row in zip(WORDS, rows.tolist(), strict=True)]
    (folder / "v.txt").write_text("\n".join(lines) + "\n")
    return WordVectors.load(GloveRecipe(path=folder / "v.txt", unknown=unknown))


@pytest.fixture
def vectors(tmp_path) -> WordVectors:
    """Seven words of four numbers."""
    return _vectors(tmp_path)


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
    assert np.array_equal(row.known, row.word_ids >= 0)
    known = row.word_ids[row.word_ids >= 0]
    assert np.array_equal(texts.vectors[known], vectors.vectors([0, 1, 3, 6]))
    assert set(texts.words) == {"the", "athlete", "dives", "."}
    assert texts.rows["b", "Dive", "key"].tokens == ()
    assert ("c", "Dive", "key") not in texts.rows


def test_names_of_classes_have_vectors(tmp_path, store, vectors):
    """Training compares descriptions with names and a template, whose words no description need use."""
    store.append([described("a", text="athlete."), described("b", text="the", label="DivesInto"), failed("c")])
    texts = load_prior_texts(embed(store, vectors, tmp_path / "embeddings").folder)
    assert set(texts.words) == {"athlete", ".", "the", "dives", "into"}
    assert np.array_equal(texts.vectors[texts.words.index("into")], vectors.vectors([4])[0])


def test_names_are_added_to_a_vocabulary_that_lacks_them(tmp_path, store, vectors, monkeypatch):
    """As one of an earlier version: its texts are kept, and the same folder serves."""
    store.append([described("a", text="athlete", label="DivesInto")])
    with monkeypatch.context() as patch:
        patch.setattr("priors.words.embed.class_words", lambda label: ())
        before = embed(store, vectors, tmp_path / "embeddings")
    assert "into" not in load_prior_texts(before.folder).words
    after = embed(store, vectors, tmp_path / "embeddings")
    assert (after.folder, after.embedded) == (before.folder, 0)
    assert {"dives", "into"} <= set(load_prior_texts(after.folder).words)


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


def test_descriptions_of_other_videos_are_not_embedded(tmp_path, store, vectors):
    """Of a video that the annotations do not have any more: its words are taken back, and not made anew."""
    store.append([described("a", text="the pool"), described("gone", text="the athlete")])
    embed(store, vectors, tmp_path / "embeddings", videos={"a", "gone"})
    summary = embed(store, vectors, tmp_path / "embeddings", videos={"a"})
    assert (summary.embedded, summary.skipped, summary.retired) == (0, 1, 1)
    assert set(load_prior_texts(summary.folder).rows) == {("a", "Dive", "key")}
    anew = embed(store, vectors, tmp_path / "anew", videos={"a"})
    assert "athlete" not in load_prior_texts(anew.folder).words
    assert embed(store, vectors, tmp_path / "embeddings", videos={"a", "gone"}).embedded == 1


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
    second = embed(store, WordVectors.load(GloveRecipe(path=tmp_path / "w.txt")), tmp_path / "embeddings").folder
    assert first != second
    assert load_prior_texts(second).vectors.tolist() == [[1, 2], [3, 4]]
    assert load_prior_texts(first).vectors.shape == (2, 4)


@pytest.mark.parametrize("unknown", ["skip", "zero", "subword"])
def test_the_trainer_gets_the_vectors_of_the_policy(tmp_path, store, unknown):
    """Known words have their own vectors; an unknown one none, zeros, or the mean of its parts."""
    vectors = _vectors(tmp_path, unknown)
    store.append([described("a", text="The poolathlete dives, xyzzy, xyzzy into grue.")])
    folder = embed(store, vectors, tmp_path / "embeddings").folder
    store.append([described("b", text="xyzzy poolathlete, the unathlete")])
    summary = embed(store, vectors, tmp_path / "embeddings")
    assert (summary.folder, summary.unknown) == (folder, 10)
    assert dict(summary.most_unknown)["xyzzy"] == 3
    texts = load_prior_texts(folder)
    bank = Vocabulary.fit([row.tokens for row in texts.rows.values()], texts)
    rows = dict(zip(WORDS, np.arange(28, dtype=np.float32).reshape(7, 4) / 7, strict=True))
    made = {word: np.zeros(4) for word in (",", "xyzzy", "grue")} if unknown == "zero" else {}
    if unknown != "skip":
        zero = unknown == "zero"
        made["poolathlete"] = np.zeros(4) if zero else (rows["pool"] + rows["athlete"]) / 2
        made["unathlete"] = np.zeros(4) if zero else rows["athlete"]
    of_names = {"a", "video", "of", "action", "dive"} if unknown == "zero" else set()
    assert set(texts.words) == {"the", "dives", "into", "."} | made.keys() | of_names
    for row in texts.rows.values():
        assert row.known.tolist() == [token in WORDS for token in row.tokens]
        for token, index, trained in zip(row.tokens, row.word_ids, bank.encode(row.tokens), strict=True):
            if token in WORDS or token in made:
                expected = rows[token] if token in WORDS else made[token]
                assert texts.words[index] == token
                assert bank.words[trained - SPECIALS] == token
                assert np.allclose(texts.vectors[index], expected, atol=1e-6)
                assert np.allclose(bank.vectors[trained], expected, atol=1e-6)
            else:
                assert (index, trained) == (-1, UNKNOWN)


def test_made_vectors_have_ids_that_no_row_of_the_file_has(tmp_path, store):
    """Below -1, one a word, the same in every run: readers tell them from rows of the file by their sign."""
    vectors, folder = _vectors(tmp_path, "zero"), tmp_path
    for number, text in enumerate(["xyzzy the grue", "plugh grue", "xyzzy plugh"]):
        store.append([described(f"v{number}", text=text)])
        folder = embed(store, vectors, tmp_path / "embeddings").folder
    table = PartStore.open(folder, TOKENS, key=DESCRIPTION_KEY, table="tokens").table()
    # -4 to -8 are "a", "video", "of", "action" and "dive": the template and the name of the class
    assert table["token_ids"].to_pylist() == [[-2, 0, -3], [-9, -3], [-2, -9]]
    assert table["known"].to_pylist() == [[False, True, False], [False, False], [False, False]]
    schema = vocabulary_schema(4)
    words = PartStore.open(folder, schema, key=VOCABULARY_KEY, table="vocabulary").table(["token_id", "word"])
    assert words.to_pydict() == {
        "token_id": [-9, -8, -7, -6, -5, -4, -3, -2, 0],
        "word": ["plugh", "dive", "action", "of", "video", "a", "grue", "xyzzy", "the"],
    }


def test_the_policy_makes_another_folder(tmp_path, store):
    """It changes what the trainer sees."""
    store.append([described("a", text="xyzzy")])
    folders = {embed(store, _vectors(tmp_path, name), tmp_path / "e").folder for name in ("skip", "zero", "subword")}
    assert len(folders) == 3


@pytest.mark.parametrize("inline", [False, True])
def test_a_text_that_is_no_more_is_taken_back(tmp_path, store, vectors, inline):
    """Failed when made again, or its rows deleted: no stale words reach the trainer; it may come back."""
    options = EmbedOptions(inline=inline)
    first = store.append([described("a", text="the pool"), described("b", text="the athlete")])
    store.append([described("c", text="into")])
    embed(store, vectors, tmp_path / "e", options=options)
    store.append([failed("c")])
    first.unlink()
    summary = embed(store, vectors, tmp_path / "e", options=options)
    assert (summary.embedded, summary.skipped, summary.retired, summary.tokens) == (0, 0, 3, 0)
    assert len(load_prior_texts(summary.folder).rows) == 0
    before = _files(summary.folder)
    assert embed(store, vectors, tmp_path / "e", options=options).retired == 0
    assert _files(summary.folder) == before
    store.append([described("a", text="the pool")])
    summary = embed(store, vectors, tmp_path / "e", options=options)
    assert (summary.embedded, summary.retired) == (1, 0)
    assert {key: row.tokens for key, row in load_prior_texts(summary.folder).rows.items()} == {
        ("a", "Dive", "key"): ("the", "pool")
    }


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("unknown", ["skip", "subword"])
def test_vectors_in_place_are_the_vocabulary_s(tmp_path, store, dtype, unknown):
    """One file with everything, on request and later too; zeros where a word has no vector."""
    vectors = _vectors(tmp_path, unknown)
    store.append([described("a", text="The poolathlete dives, xyzzy."), described("b", text="")])
    assert not (embed(store, vectors, tmp_path / "e").folder / "inline").exists()
    options = EmbedOptions(inline=True, inline_dtype=dtype)
    summary = embed(store, vectors, tmp_path / "e", options=options)
    assert (summary.embedded, summary.skipped) == (0, 2)
    table = PartStore.open(summary.folder, inline_schema(4, dtype), key=DESCRIPTION_KEY, table=INLINE_TABLE).table()
    texts = load_prior_texts(summary.folder)
    assert table.num_rows == 2
    for row in table.to_pylist():
        text = texts.rows[row["video_id"], row["action_class"], row["kind"]]
        assert row["tokens"] == list(text.tokens)
        padded = np.concatenate([texts.vectors, np.zeros((1, 4), np.float32)])  # index -1 is the row of zeros
        assert np.array_equal(np.array(row["vectors"], dtype).reshape(-1, 4), padded[text.word_ids].astype(dtype))
    before = _files(summary.folder)
    embed(store, vectors, tmp_path / "e", options=options)
    assert _files(summary.folder) == before


@pytest.mark.parametrize("looks", [1, 2])
def test_a_text_that_another_shard_adds_meanwhile_is_not_taken_back(tmp_path, store, vectors, monkeypatch, looks):
    """Whenever it comes, it is embedded, or left to the next run: an empty row would hide it from the trainer."""
    store.append([described("a", text="the athlete"), failed("b")])
    read, left = store.rows, [looks]

    def rows(columns=None):
        yield from read(columns)
        left[0] -= 1
        if left[0] == 0:
            store.append([described("b", text="into the pool")])

    with monkeypatch.context() as patch:
        patch.setattr(store, "rows", rows)
        first = embed(store, vectors, tmp_path / "embeddings")
    assert first.retired == 0
    second = embed(store, vectors, tmp_path / "embeddings")
    assert first.embedded + second.embedded == 2
    rows_of = load_prior_texts(second.folder).rows
    assert rows_of["b", "Dive", "key"].tokens == ("into", "the", "pool")


def test_progress_reaches_the_number_of_texts(tmp_path, store, vectors, monkeypatch):
    """Failed rows are not counted; parts are cut at a number of descriptions."""
    monkeypatch.setattr("priors.words.embed._ROWS", 2)
    store.append([*(described(f"v{i}", text="the pool") for i in range(5)), failed("w")])
    seen = []
    summary = embed(store, vectors, tmp_path / "e", on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert len(list((summary.folder / "tokens").glob("part-*"))) == 3


def test_counts_of_unknown_words_are_bounded(tmp_path, store, vectors, monkeypatch):
    """The rarest are forgotten; the frequent ones stay, and the total is exact."""
    monkeypatch.setattr("priors.words.embed._COUNTED_WORDS", 3)
    store.append([described(f"v{i:02}", text=f"often rare{i} again often") for i in range(20)])
    summary = embed(store, vectors, tmp_path / "e")
    assert summary.most_unknown[:2] == (("often", 40), ("again", 20))
    assert summary.unknown == 80


def test_what_was_found_in_the_word_file_is_told_and_kept(tmp_path, store):
    """Count, width, and what was odd; changed with the file, not with the recipe."""
    (tmp_path / "v.txt").write_text("# 2 3\na 1 2 3\nb 4 5 6\na 7 8 9\n")
    done = embed(store, WordVectors.load(GloveRecipe(path=tmp_path / "v.txt")), tmp_path / "embeddings")
    assert done.word_vectors.startswith("v.txt: 2 words of 3 numbers; its first line is no row")
    kept = json.loads((done.folder / WORDS_FILE).read_text())
    assert (kept["file"], kept["words"], kept["width"]) == ("v.txt", 2, 3)
    assert "1 word stands there again, first counts: 'a'" in kept["odd"]
