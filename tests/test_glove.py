"""Word vectors in every format give the same table, and texts are cut as GloVe's corpora were."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import pytest

import priors.glove
from cache.schema import CacheError
from priors.glove import WordVectors, is_action_word, tokenize

SLICE = Path(__file__).parents[2] / "shared" / "data" / "glove" / "glove_slice.300d.txt"
WORDS = {"high": [1.5, -2.25, 0.1], "kick": [0.3, 1e-5, 7.0], "'s": [0, 1, 2], ". . .": [4, 5, 6], "ü": [-1, -2, -3]}


def _lines(words: dict[str, list[float]]) -> str:
    return "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in words.items())


@pytest.fixture(params=["glove", "word2vec", "kv", "big kv"])
def vectors(request, tmp_path) -> WordVectors:
    """The same five words in each format."""
    if request.param == "glove":
        (tmp_path / "v.txt").write_text(_lines(WORDS))
    elif request.param == "word2vec":
        (tmp_path / "v.txt").write_text(f"{len(WORDS)} 3\n{_lines(WORDS)}")
    else:
        from gensim.models import KeyedVectors

        table = KeyedVectors(3)
        table.add_vectors(list(WORDS), np.array(list(WORDS.values()), np.float32))
        separately = ["vectors"] if request.param == "big kv" else None
        table.save(str(tmp_path / "v.kv"), separately=separately)
        return WordVectors.load(tmp_path / "v.kv")
    return WordVectors.load(tmp_path / "v.txt")


def test_every_format_gives_the_same_table(vectors):
    """Rows in file order, exact float32, -1 for what is not there; words with spaces (GloVe 840B has some) included."""
    assert (len(vectors), vectors.width) == (5, 3)
    assert vectors.lookup(["kick", "nowhere", "high", ". . .", "ü", "Kick"]).tolist() == [1, -1, 0, 3, 4, -1]
    assert [vectors.word(row) for row in range(5)] == list(WORDS)
    assert vectors.vectors([1, 4]).dtype == np.float32
    assert np.array_equal(vectors.vectors([1, 4]), np.array([WORDS["kick"], WORDS["ü"]], np.float32))
    assert vectors.lookup([]).shape == (0,)


def test_the_source_is_known_by_its_content(tmp_path):
    """sha256 of the text; a .kv with its vectors beside it is hashed with them."""
    (tmp_path / "v.txt").write_text(_lines(WORDS))
    assert WordVectors.load(tmp_path / "v.txt").sha256 == hashlib.sha256(_lines(WORDS).encode()).hexdigest()
    from gensim.models import KeyedVectors

    seen = set()
    for number in (1, 2):
        table = KeyedVectors(2)
        table.add_vectors(["a"], np.full((1, 2), number, np.float32))
        table.save(str(tmp_path / "v.kv"), separately=["vectors"])
        seen.add(WordVectors.load(tmp_path / "v.kv").sha256)
    assert len(seen) == 2


def test_a_big_text_is_converted_once_and_mapped(tmp_path, monkeypatch):
    """The second load reads no text; a changed source is converted again."""
    monkeypatch.setattr(priors.glove, "_CONVERT_BYTES", 10)
    source = tmp_path / "v.txt"
    source.write_text(_lines(WORDS))
    first = WordVectors.load(source)
    assert isinstance(first._vectors.vectors, np.memmap)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "v.txt",
        "v.txt.kv",
        "v.txt.kv.json",
        "v.txt.kv.vectors.npy",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(priors.glove, "_read_text", lambda path: pytest.fail("the text was read again"))
        again = WordVectors.load(source)
    assert again.sha256 == first.sha256 == hashlib.sha256(_lines(WORDS).encode()).hexdigest()
    assert np.array_equal(again.vectors([0, 1, 2, 3, 4]), np.array(list(WORDS.values()), np.float32))
    source.write_text(_lines({"new": [9, 9, 9]}))
    changed = WordVectors.load(source)
    assert (len(changed), changed.lookup(["new"]).tolist()) == (1, [0])
    assert changed.sha256 != first.sha256


def test_a_conversion_that_was_cut_short_is_done_again(tmp_path, monkeypatch):
    """The note is written last: without it, or with a damaged one, the copy does not count."""
    monkeypatch.setattr(priors.glove, "_CONVERT_BYTES", 10)
    source = tmp_path / "v.txt"
    source.write_text(_lines(WORDS))
    WordVectors.load(source)
    (tmp_path / "v.txt.kv").write_bytes(b"half")
    (tmp_path / "v.txt.kv.json").unlink()
    assert len(WordVectors.load(source)) == 5
    assert json.loads((tmp_path / "v.txt.kv.json").read_text())["size"] == source.stat().st_size


def test_the_copy_goes_elsewhere_if_its_folder_is_not_writable(tmp_path, monkeypatch, caplog):
    """Said in the log."""
    monkeypatch.setattr(priors.glove, "_CONVERT_BYTES", 10)
    monkeypatch.setattr(priors.glove.os, "access", lambda folder, mode: False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    source = tmp_path / "there" / "v.txt"
    source.write_text(_lines(WORDS))
    with caplog.at_level(logging.WARNING):
        assert len(WordVectors.load(source)) == 5
    assert "is not writable" in caplog.text
    assert [path.name for path in source.parent.iterdir()] == ["v.txt"]
    assert (tmp_path / "cache" / "data" / "word_vectors" / "v.txt.kv").is_file()
    assert len(WordVectors.load(source, converted=tmp_path / "chosen")) == 5
    assert (tmp_path / "chosen" / "v.txt.kv").is_file()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds no word vectors"),
        (b"a 1 2 3\nb 1 2\n", "line 2"),
        (b"a 1 2 3\nb 1 x 3\n", "line 2"),
        (b"one line of prose only\n", "line 1"),
        (b"\xff\xfe 1 2 3\n", "no UTF-8"),
        (None, "no such file"),
    ],
)
def test_a_damaged_text_names_file_and_line(tmp_path, content, told):
    """So that a broken download is found."""
    path = tmp_path / "v.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CacheError, match=rf"glove\.path: {path}.*{told}"):
        WordVectors.load(path)


def test_a_damaged_kv_is_named(tmp_path):
    """Unpickling may raise anything; the user sees one message."""
    (tmp_path / "v.kv").write_bytes(b"no pickle")
    with pytest.raises(CacheError, match=r"v\.kv: is no gensim \.kv file"):
        WordVectors.load(tmp_path / "v.kv")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The athlete runs, then jumps.", "the athlete runs , then jumps ."),
        ("a run-up and a state‑of‑the‑art kick", "a run up and a state of the art kick"),
        ("HighKick CleanAndJerk ThrowDiscus BMXRide", "high kick clean and jerk throw discus bmx ride"),
        ("the athlete's and the athletes’ arms", "the athlete 's and the athletes ' arms"),
        ("it doesn't, they're; I'd", "it does n't , they 're ; i 'd"),
        ("for 3.5 s at 12:30 (twice)...", "for 3.5 s at 12:30 ( twice ) ..."),
        ("snake_case Ünïted 跳水", "snake case ünïted 跳水"),
        ("  \n\t ", ""),
    ],
)
def test_texts_are_cut_into_glove_s_words(text, tokens):
    """Lower case; signs, possessives and short forms apart; hyphens, camel case and underscores split."""
    assert tokenize(text) == tokens.split()


def test_cutting_again_changes_nothing():
    """Tokens are words of their own."""
    tokens = tokenize("The athlete's run-up in HighKick wasn't 3.5 m long!")
    assert [part for token in tokens for part in tokenize(token)] == tokens


@pytest.mark.parametrize(
    ("text", "label", "words"),
    [
        ("the athlete kicks high , kicking the ball higher", "HighKick", {"kicks", "high", "kicking"}),
        ("she throws the discus over the line", "Throw Discus", {"throws", "discus"}),
        ("cleaning and jerking", "CleanAndJerk", {"cleaning", "jerking"}),
        ("a person washes the dishes in a kitchen", "Washing dishes", {"washes", "dishes"}),
        ("diving", "springboard_diving", {"diving"}),
        ("nothing here", "High-Jump", set()),
    ],
)
def test_action_words_are_the_class_name_s_up_to_their_stem(text, label, words):
    """Porter stems; articles and prepositions of a name are not its content."""
    tokens = tokenize(text)
    assert {token for token, is_action in zip(tokens, is_action_word(tokens, label), strict=True) if is_action} == words


@pytest.mark.skipif(not SLICE.is_file(), reason="real word vectors are not here")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gensim's reader leaves its file open
def test_real_glove_vectors_are_read_exactly():
    """Against gensim's own reader."""
    from gensim.models import KeyedVectors

    reference = KeyedVectors.load_word2vec_format(str(SLICE), no_header=True)
    vectors = WordVectors.load(SLICE)
    assert (len(vectors), vectors.width) == (1145, 300)
    assert [vectors.word(row) for row in range(len(vectors))] == reference.index_to_key
    assert np.array_equal(vectors.vectors(range(len(vectors))), reference.vectors)
