"""Word vectors in every format and packing give the same rows; what is damaged is named."""

import gzip
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cache.errors import CacheError
from priors.words.mapped_copy import Table, read_whole
from priors.words.word_files import WordFile
from tests.support.paths import SHARED

SLICE = SHARED / "data" / "glove" / "glove_slice.300d.txt"
WORDS = {"high": [1.5, -2.25, 0.1], "kick": [0.3, 1e-5, 7.0], "'s": [0, 1, 2], ". . .": [4, 5, 6], "ü": [-1, -2, -3]}
FLOATS = np.array(list(WORDS.values()), np.float32)


def glove_text(words: dict[str, list[float]]) -> bytes:
    """GloVe's format."""
    return "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in words.items()).encode()


def word2vec_text(words: dict[str, list[float]]) -> bytes:
    """The same with a header."""
    return f"{len(words)} {len(next(iter(words.values())))}\n".encode() + glove_text(words)


def word2vec_binary(words: dict[str, list[float]], *, end: bytes = b"\n") -> bytes:
    """word2vec's binary format; words hold no spaces there. Some writers end rows with a line break, some do not."""
    rows = [f"{word} ".encode() + np.array(row, "<f4").tobytes() + end for word, row in words.items()]
    return f"{len(words)} 3\n".encode() + b"".join(rows)


def read(path: Path, member: str | None = None) -> Table:
    """All of a file."""
    return read_whole(WordFile.find(path, member))


def _pack(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("readme.md", "words")
            archive.writestr(path.stem, content)
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["v.txt", "v.vec", "v.txt.gz", "v.txt.zip"])
@pytest.mark.parametrize("write", [glove_text, word2vec_text])
def test_every_text_gives_the_same_rows(tmp_path, name, write):
    """In file order, exact float32, words with spaces included; known by the sha256 of the unpacked text."""
    table = read(_pack(tmp_path / name, write(WORDS)))
    assert table.words == list(WORDS)
    assert table.vectors.dtype == np.float32
    assert np.array_equal(table.vectors, FLOATS)
    assert table.sha256 == hashlib.sha256(write(WORDS)).hexdigest()


@pytest.mark.parametrize("name", ["v.bin", "v.bin.gz", "v.bin.zip"])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_binaries_give_the_same_rows(tmp_path, name, end):
    """With and without line breaks between the rows; the whole file is hashed."""
    words = {word: row for word, row in WORDS.items() if " " not in word}
    content = word2vec_binary(words, end=end)
    table = read(_pack(tmp_path / name, content + b"tail"))
    assert table.words == list(words)
    assert np.array_equal(table.vectors, np.array(list(words.values()), np.float32))
    assert table.sha256 == hashlib.sha256(content + b"tail").hexdigest()


def test_gensim_s_own_writers_are_read(tmp_path):
    """Text, binary and native files as gensim saves them; a .kv with its arrays beside it is hashed with them."""
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(3)
    vectors.add_vectors(["a", "b"], np.array([[1, 2, 3], [4, 5, 6.5]], np.float32))
    vectors.save_word2vec_format(str(tmp_path / "v.txt"))
    vectors.save_word2vec_format(str(tmp_path / "v.bin"), binary=True)
    vectors.save(str(tmp_path / "v.kv"))
    vectors.save(str(tmp_path / "big.kv"), separately=["vectors"])
    for name in ("v.txt", "v.bin", "v.kv", "big.kv"):
        table = read(tmp_path / name)
        assert table.words == ["a", "b"]
        assert np.array_equal(table.vectors, vectors.vectors)
    before = read(tmp_path / "big.kv").sha256
    vectors.vectors[0, 0] = 9
    vectors.save(str(tmp_path / "big.kv"), separately=["vectors"])
    assert read(tmp_path / "big.kv").sha256 != before


def test_of_a_word_that_stands_there_twice_the_first_counts(tmp_path):
    """As in gensim."""
    (tmp_path / "v.txt").write_text("a 1 2\nb 3 4\na 5 6\n")
    table = read(tmp_path / "v.txt")
    assert table.words == ["a", "b"]
    assert table.vectors.tolist() == [[1, 2], [3, 4]]


def test_a_zip_with_several_tables_asks_which(tmp_path):
    """As Stanford packs them; the message lists them."""
    with zipfile.ZipFile(tmp_path / "g.zip", "w") as archive:
        for width in (2, 3):
            archive.writestr(f"in/g.{width}d.txt", "a" + " 1" * width + "\n")
    for member, found in ((None, "none"), ("g.9d.txt", "'g.9d.txt'")):
        with pytest.raises(CacheError, match=rf"glove\.member: found {found}.*in/g\.2d\.txt, in/g\.3d\.txt"):
            WordFile.find(tmp_path / "g.zip", member)
    file = WordFile.find(tmp_path / "g.zip", "in/g.3d.txt")
    assert (file.name, read_whole(file).vectors.shape) == ("g.3d.txt", (1, 3))
    (tmp_path / "v.txt").write_text("a 1 2\n")
    with pytest.raises(CacheError, match=r"glove\.member.*is no \.zip"):
        WordFile.find(tmp_path / "v.txt", "v.txt")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("v.txt", b"", "holds no word vectors"),
        ("v.txt", b"a 1 2 3\nb 1 2\n", "line 2"),
        ("v.txt", b"a 1 2 3\nb 1 x 3\n", "line 2"),
        ("v.txt", b"a 1 2 3\nb 1 nan 3\n", "'b' is not finite"),
        ("v.txt", b"one line of prose only\n", "line 1"),
        ("v.txt", b"\xff\xfe 1 2 3\n", "no UTF-8"),
        ("v.txt", b"30 2\na 1 2\nb 1 2\n", "found 2 words, expected the 30"),
        ("v.bin", b"3 2\n" + b"a " + bytes(8) + b"b " + bytes(5), "found 1 words, expected the 3"),
        ("v.bin", b"a 1 2 3\n", "found no header"),
        ("v.txt.gz", gzip.compress(b"a 1 2\n" * 1000, mtime=0)[:-20], "cannot be read.*fetch it again"),
        ("v.txt.gz", b"a 1 2\n", "is no .gz archive, but a text file"),
        ("v.zip", b"PK and nothing else", "cannot be read"),
        ("v.kv", b"no pickle", r"is no gensim \.kv file"),
        ("v.txt", None, "no such file"),
    ],
)
def test_damage_names_file_and_line(tmp_path, name, content, told):
    """So that a broken download is found."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CacheError, match=rf"glove\.path: {path}.*{told}"):
        read(path)


_THREE = b"the 0.1 0.2 0.3\nof 0.4 0.5 0.6\njump 0.7 0.8 0.9\n"


@pytest.mark.parametrize(
    ("content", "odd"),
    [
        (b"\xef\xbb\xbf" + _THREE, ""),
        (b"\xef\xbb\xbf3 3\r\n" + _THREE.replace(b"\n", b"\r\n"), ""),
        (_THREE.replace(b"the ", b"the\t").replace(b" 0.5", b"   0.5"), ""),
        (_THREE.replace(b" ", b"\t").replace(b"\n", b" \t\n"), ""),
        (b"3\t3\n" + _THREE, ""),
        (b"\n" + _THREE + b"\n \n", "3 empty lines"),
        (b"# 3 3\n" + _THREE, "first line is no row, and was passed over: '# 3 3'"),
        (b"3 3 0\n" + _THREE, "first line is no row, and was passed over: '3 3 0'"),
        (b"# made by somebody, 2019\n" + _THREE, "first line is no row"),
        (b"5 3\n" + _THREE, "its header says 5 words, found 3"),
        (b"1 3\n" + _THREE, "its header says 1 words, found 3"),
        (_THREE + b"of 7 8 9\nthe 1 1 1\n", "2 words stand there again, first counts: 'of', 'the'"),
    ],
)
def test_what_public_files_have_beside_rows_is_no_row(tmp_path, content, odd):
    """Marks of encodings, other gaps, other first lines, counts that are off: the same table, and what was odd."""
    (tmp_path / "v.txt").write_bytes(content)
    table = read(tmp_path / "v.txt")
    assert table.words == ["the", "of", "jump"]
    assert np.array_equal(table.vectors, np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]], np.float32))
    assert odd in "; ".join(table.odd)
    assert bool(odd) == bool(table.odd)


def test_words_keep_what_belongs_to_them(tmp_path):
    """No-break spaces, spaces, numbers that are words, a hash that is one."""
    words = ["#", "a\u00a0b", "1980", ". . .", "nan", "at name@domain.com", "\u3000", "3"]
    (tmp_path / "v.txt").write_text("".join(f"{word} 0.5 -1 2e-3\n" for word in words), encoding="utf-8")
    table = read(tmp_path / "v.txt")
    assert (table.words, table.vectors.shape) == (words, (len(words), 3))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"word 4\n" + _THREE, 1),
        (b"3 4\n" + _THREE, 1),
        (b"these are the vectors of\n" + _THREE, 1),
        (_THREE + b"a 1 2 3 4\n", 4),
        (_THREE + b"0.1 0.2 0.3\n", 4),
        (_THREE + b"a 1 1_0 3\n", 4),
        (_THREE + "a 1 ٣ 3\n".encode(), 4),
        (_THREE + b"a 1 1e39 3\n", 4),
        (_THREE + b"a 1 -inf 3\n", 4),
        (_THREE + b"a 1,0 2,0 3,0\n", 4),
        (_THREE + b"caf\xe9 1 2 3\n", 4),
        (_THREE + b"# a remark\n", 4),
        (b"the,0.1,0.2,0.3\nof,0.4,0.5,0.6\n", 1),
        ("² 3\nthe 0.1\n".encode(), 2),
        (_THREE.decode().encode("utf-16"), 1),
    ],
)
def test_a_line_that_is_no_row_is_refused_by_its_number(tmp_path, content, line):
    """Rather than a word or a width that nobody meant."""
    (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(CacheError, match=rf"v\.txt: line {line}: "):
        read(tmp_path / "v.txt")


@pytest.mark.parametrize("name", ["v.txt", "v.bin", "v.kv", "v.zip", "v.txt.gz"])
def test_a_web_page_or_a_pointer_is_named_as_what_it_is(tmp_path, name):
    """What a download without a login leaves."""
    (tmp_path / name).write_bytes(b"<!DOCTYPE html><html><body>Sign in</body></html>")
    with pytest.raises(CacheError, match=r"web page|cannot be read"):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n")
    with pytest.raises(CacheError, match=r"Git LFS pointer|cannot be read"):
        read(tmp_path / name)


def test_a_damaged_member_of_a_zip_is_found_by_its_check_sum(tmp_path):
    """Even where its numbers still read as numbers."""
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.writestr("v.txt", "a 1 2\nb 3 4\n")
    content = (tmp_path / "v.zip").read_bytes()
    (tmp_path / "v.zip").write_bytes(content.replace(b"b 3 4", b"b 3 5"))
    with pytest.raises(CacheError, match=r"v\.zip\(v\.txt\): cannot be read.*CRC"):
        read(tmp_path / "v.zip")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gensim's reader leaves its file open
def test_a_table_as_glove_writes_it_is_read_exactly(tmp_path):
    """300 columns of few digits, signs and words of other scripts: against gensim's own reader, to the bit."""
    from gensim.models import KeyedVectors

    rng = np.random.default_rng(0)
    words = ["the", ",", ".", "'s", "--", "...", "naïve", "跳水", "1980s", "u.s.", *(f"word{n}" for n in range(190))]
    rows = [f"{word} " + " ".join(f"{x:.5g}" for x in rng.normal(0, 0.4, 300)) for word in words]
    rows[3] = rows[3].rsplit(" ", 2)[0] + " -3.1e-05 1E2"
    path = tmp_path / "glove.300d.txt"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    reference = KeyedVectors.load_word2vec_format(str(path), no_header=True)
    table = read(path)
    assert table.words == words == reference.index_to_key
    assert np.array_equal(table.vectors, reference.vectors)


@pytest.mark.skipif(not SLICE.is_file(), reason="real word vectors are not here")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gensim's reader leaves its file open
def test_real_glove_vectors_are_read_exactly():
    """Against gensim's own reader."""
    from gensim.models import KeyedVectors

    reference = KeyedVectors.load_word2vec_format(str(SLICE), no_header=True)
    table = read(SLICE)
    assert table.vectors.shape == (1145, 300)
    assert table.words == reference.index_to_key
    assert np.array_equal(table.vectors, reference.vectors)
