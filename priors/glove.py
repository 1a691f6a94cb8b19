"""Word vectors in GloVe's and word2vec's formats, through gensim, and the words that texts are cut into for them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int64

from cache.atomic import atomic_path
from cache.recipe import Recipe
from cache.schema import CacheError

if TYPE_CHECKING:
    from gensim.models import KeyedVectors
    from gensim.parsing.porter import PorterStemmer

TOKENIZER_VERSION = 1
"""Part of the fingerprint of embeddings; raised when the same text would be cut into other tokens."""

_CONVERT_BYTES = 20_000_000  # text files from this size on are converted once, to be memory-mapped from then on
_log = logging.getLogger(__name__)


class GloveRecipe(Recipe):
    """Which word vectors."""

    path: Path
    """GloVe text (.txt, no header), word2vec text (with header), or gensim's native .kv. A .kv file is a pickle, so
    load only those that you trust."""
    converted: Path | None = None
    """Folder for the memory-mapped copy of a big text file; None is beside it."""


class WordVectors:
    """A table of words and vectors; a word's id is its row."""

    def __init__(self, vectors: KeyedVectors, sha256: str, name: str) -> None:
        self._vectors = vectors
        self.sha256 = sha256
        """Of the file that the user named."""
        self.name = name

    @classmethod
    def load(cls, path: Path, *, converted: Path | None = None) -> WordVectors:
        """Load a file; a big text file is converted to a memory-mapped .kv beside it (or in `converted`), once.

        Raises CacheError naming the file, and the line, that cannot be read.
        """
        if not path.is_file():
            raise CacheError(f"glove.path: {path}: no such file; name a GloVe .txt or a gensim .kv")
        if path.suffix == ".kv":
            return cls(_load_native(path), _sha256(path, *sorted(path.parent.glob(f"{path.name}.*.npy"))), path.name)
        if path.stat().st_size < _CONVERT_BYTES:
            return cls(_read_text(path), _sha256(path), path.name)
        native, sha256 = _converted(path, converted)
        return cls(_load_native(native), sha256, path.name)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self._vectors.vector_size

    def __len__(self) -> int:
        return len(self._vectors.index_to_key)

    def lookup(self, words: Sequence[str]) -> Int64[np.ndarray, " n"]:
        """Row of each word, -1 for a word that the table does not have."""
        return np.array([self._vectors.get_index(word, -1) for word in words], dtype=np.int64)

    def word(self, token_id: int) -> str:
        """The word of a row."""
        return str(self._vectors.index_to_key[token_id])

    def vectors(self, token_ids: Sequence[int]) -> Float32[np.ndarray, "n w"]:
        """The vectors of rows."""
        return np.asarray(self._vectors.vectors[np.asarray(token_ids, dtype=np.int64)], dtype=np.float32)


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TOKEN = re.compile(
    r"""\d+(?:[.,:]\d+)*      # numbers with their separators
      | [^\W\d_]+(?=n't\b)    # does|n't
      | n't\b
      | '(?:s|re|ve|ll|d|m)\b # possessive and short forms
      | [^\W_]+               # words
      | \.{2,}
      | [^\w\s]               # any other sign by itself
    """,
    re.VERBOSE,
)
_FUNCTION_WORDS = {"a", "an", "and", "at", "by", "down", "for", "from", "in", "into", "of", "off", "on", "or", "out"}
_FUNCTION_WORDS |= {"over", "the", "to", "up", "with"}


def tokenize(text: str) -> list[str]:
    """Cut a text as GloVe's corpora were: lower case, signs and possessives apart, at hyphens and in camel case, too.

    >>> tokenize("The athlete's run-up in HighKick.")
    ['the', 'athlete', "'s", 'run', 'up', 'in', 'high', 'kick', '.']
    """
    plain = unicodedata.normalize("NFKC", text).replace("’", "'")
    plain = re.sub(r"(?<=\w)[-‐‑](?=\w)", " ", plain)  # hyphens within words
    return _TOKEN.findall(_CAMEL.sub(" ", plain).lower())


def is_action_word(tokens: Sequence[str], action_class: str) -> list[bool]:
    """For each token, whether it is a content word of the class name, up to its Porter stem."""
    names = frozenset(
        _stem(word)
        for word in tokenize(action_class.replace("_", " "))
        if word not in _FUNCTION_WORDS and any(sign.isalnum() for sign in word)
    )
    return [_stem(token) in names for token in tokens]


@cache
def _stem(word: str) -> str:
    return _stemmer().stem(word)


@cache
def _stemmer() -> PorterStemmer:
    from gensim.parsing.porter import PorterStemmer

    return PorterStemmer()


def _load_native(path: Path) -> KeyedVectors:
    from gensim.models import KeyedVectors

    try:
        vectors = KeyedVectors.load(str(path), mmap="r")
    except Exception as error:  # unpickling a damaged file can raise anything
        raise CacheError(f"glove.path: {path}: is no gensim .kv file: {type(error).__name__}: {error}") from error
    if not isinstance(vectors, KeyedVectors):
        raise CacheError(f"glove.path: {path}: holds a {type(vectors).__name__}, expected gensim's KeyedVectors")
    return vectors


def _read_text(path: Path) -> KeyedVectors:
    """Parse text ourselves: some words of GloVe 840B hold spaces, which gensim's reader stops at."""
    from gensim.models import KeyedVectors

    words: dict[str, None] = {}
    rows: list[np.ndarray] = []
    for number, word, row in _lines(path):
        if rows and len(row) != len(rows[0]):
            raise CacheError(f"glove.path: {path}: line {number}: found {len(row)} numbers, expected {len(rows[0])}")
        if word not in words:
            words[word] = None
            rows.append(row)
    if not rows:
        raise CacheError(f"glove.path: {path}: holds no word vectors")
    vectors = KeyedVectors(len(rows[0]), count=0)
    vectors.add_vectors(list(words), np.stack(rows))
    return vectors


def _lines(path: Path) -> Iterator[tuple[int, str, np.ndarray]]:
    width = None
    with path.open(encoding="utf-8", newline="\n") as file:
        try:
            for number, line in enumerate(file, start=1):
                parts = line.rstrip().split(" ")
                if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                    width = int(parts[1])  # word2vec's header: words, width
                    continue
                width = width or len(parts) - 1
                word = " ".join(parts[: len(parts) - width])
                try:
                    row = np.array(parts[len(parts) - width :], dtype=np.float32)
                except ValueError:
                    row = np.zeros(0, np.float32)
                if not word or len(row) != width or width < 2:
                    raise CacheError(
                        f"glove.path: {path}: line {number}: found {line[:60]!r}, expected a word and numbers"
                    )
                yield number, word, row
        except UnicodeDecodeError as error:
            raise CacheError(f"glove.path: {path}: is no UTF-8 text: {error}") from error


def _converted(path: Path, folder: Path | None) -> tuple[Path, str]:
    folder = folder or path.parent
    if not os.access(folder, os.W_OK) and folder == path.parent:
        folder = Path("cache/data/word_vectors")
        _log.warning("%s is not writable: the memory-mapped copy of %s goes to %s", path.parent, path.name, folder)
    native = folder / f"{path.name}.kv"
    note = folder / f"{path.name}.kv.json"
    stat = path.stat()
    state = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    if note.is_file() and native.is_file():
        known = json.loads(note.read_text(encoding="utf-8"))
        if {name: known.get(name) for name in state} == state:
            return native, known["sha256"]
    _log.info("converting %s to %s, once", path, native)
    sha256 = _sha256(path)
    scratch = folder / f".unfinished-{os.getpid()}-{path.name}"
    scratch.mkdir(parents=True)
    try:
        _read_text(path).save(str(scratch / native.name), separately=["vectors"])
        for part in sorted(scratch.iterdir(), reverse=True):
            os.replace(part, folder / part.name)
    finally:
        shutil.rmtree(scratch)
    with atomic_path(note) as unfinished:  # last: its presence says that the copy is whole
        unfinished.write_text(json.dumps({**state, "sha256": sha256}), encoding="utf-8")
    return native, sha256


def _sha256(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
