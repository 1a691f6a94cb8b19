"""Readers of word vector files, block by block: GloVe's and word2vec's formats, plain or compressed, and gensim's."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32

from cache.errors import CacheError
from cache.files.kinds import not_a
from cache.wording import amount
from priors.words.text_rows import Refused, TextRows

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

Format = Literal["text", "binary", "native"]
_BLOCK = 4096  # rows
_READ = 1 << 20  # bytes
_WIDEST = 100_000  # numbers of a vector; a header that says more is damaged


@dataclass(frozen=True)
class WordFile:
    """One table of word vectors on disk."""

    path: Path
    """The file given by the user."""
    member: str | None
    """The file inside it, if it is a .zip."""
    format: Format

    @classmethod
    def find(cls, path: Path, member: str | None = None) -> WordFile:
        """The table in `path`: a .txt, .vec or .bin, one of these in a .gz or .zip, or a .kv.

        Raises CacheError if there is no such file, or a .zip holds several tables (listing them) and `member` names
        none of them.
        """
        if not path.is_file():
            raise CacheError(f"glove.path: {path}: no such file; name a GloVe .txt (or .zip, .gz), .bin or .kv")
        if path.suffix == ".zip":
            member = _choose(path, member)
        elif member is not None:
            raise CacheError(f"glove.member: found {member!r}, expected none: {path} is no .zip")
        if path.suffix == ".kv":
            return cls(path, None, "native")
        name = member or path.name.removesuffix(".gz")
        return cls(path, member, "binary" if name.endswith(".bin") else "text")

    @property
    def name(self) -> str:
        """Name of the table itself, without its archive: glove.6B.300d.txt."""
        return Path(self.member).name if self.member else self.path.name.removesuffix(".gz")

    @property
    def where(self) -> str:
        """For messages: the file, and the member inside it."""
        return f"{self.path}({self.member})" if self.member else str(self.path)

    @property
    def files(self) -> list[Path]:
        """All files of the table: gensim puts big arrays beside a .kv."""
        beside = self.path.parent.glob(f"{self.path.name}.*.npy") if self.format == "native" else []
        return [self.path, *sorted(beside)]

    def bytes(self) -> int:
        """Size in bytes, uncompressed if the archive states it."""
        if self.member is None:
            return sum(path.stat().st_size for path in self.files)
        with zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.member).file_size


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a table."""

    words: list[str]
    vectors: Float32[np.ndarray, "n w"]
    share: float
    """Share of the file that is read, 0 to 1."""


class WordReader:
    """Reads a table once, block by block; its sha256 is known when all is read."""

    def __init__(self, file: WordFile) -> None:
        self.file = file
        self.odd: list[str] = []
        """What differs from a table as it should be, when all is read."""
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hash of the uncompressed table, so that compressing it changes nothing."""
        return self._digest.hexdigest()

    def blocks(self) -> Iterator[Block]:
        """The rows. Of duplicate words, the first is used.

        Raises CacheError with the file and the line or row that cannot be read or is not finite.
        """
        seen: set[str] = set()
        repeated: list[str] = []
        self._check_kind()
        read = {"text": self._text, "binary": self._binary, "native": self._native}[self.file.format]
        for block in read():
            if not np.isfinite(block.vectors).all():
                word = block.words[int(np.argmin(np.isfinite(block.vectors).all(axis=1)))]
                raise self._error(f"the vector of {word!r} is not finite")
            new = []
            for row, word in enumerate(block.words):
                if word not in seen:
                    seen.add(word)
                    new.append(row)
                else:
                    repeated.append(word)
            if new:
                yield Block([block.words[row] for row in new], block.vectors[new], block.share)
        if not seen:
            raise self._error("holds no word vectors")
        if repeated:
            shown = ", ".join(map(repr, repeated[:3]))
            self.odd.append(f"{amount(len(repeated), 'word stands', 'words stand')} there again, first counts: {shown}")

    def _check_kind(self) -> None:
        """Raise CacheError where a web page, a pointer or an archive stands in the place of the file."""
        path, packing = self.file.path, self.file.path.suffix
        if packing in (".gz", ".zip"):
            told = not_a(path, f"{packing} archive", "gzip" if packing == ".gz" else "zip", "empty")
        elif self.file.format == "native":
            told = not_a(path, "gensim .kv file", "pickle")
        else:
            told = not_a(path, "table of word vectors", "text", "pickle", "empty")
        if told:
            raise self._error(told)

    def _text(self) -> Iterator[Block]:
        with self._open() as raw:
            rows = TextRows()
            words, vectors = [], []
            try:
                for word, vector in rows.read(io.BufferedReader(raw, _READ)):
                    words.append(word)
                    vectors.append(vector)
                    if len(words) == _BLOCK:
                        yield Block(words, np.stack(vectors), raw.share)
                        words, vectors = [], []
            except Refused as error:
                raise self._error(str(error)) from error
            if words:
                yield Block(words, np.stack(vectors), 1.0)
            self.odd += rows.odd

    def _binary(self) -> Iterator[Block]:
        with self._open() as raw:
            stream = io.BufferedReader(raw, _READ)
            header = stream.readline(100).split()
            if len(header) != 2 or not all(part.isdigit() for part in header):
                raise self._error("found no header of word2vec's binary format: the numbers of words and of columns")
            count, width = int(header[0]), int(header[1])
            if not 2 <= width <= _WIDEST:
                raise self._error(f"its header says {width} numbers a word, expected 2 to {_WIDEST}")
            for start in range(0, count, _BLOCK):
                words, rows = [], []
                for row in range(start, min(start + _BLOCK, count)):
                    word = _word_before_space(stream)
                    numbers = stream.read(4 * width)
                    if word is None or len(numbers) < 4 * width:
                        raise self._error(f"found {row} words, expected the {count} of its header: it was cut short")
                    words.append(word.decode())
                    rows.append(np.frombuffer(numbers, "<f4"))
                yield Block(words, np.stack(rows).astype(np.float32, copy=False), raw.share)
            while stream.read(_READ):  # to the end, where archives have their checksums
                pass

    def _native(self) -> Iterator[Block]:
        for path in self.file.files:
            with path.open("rb") as file:
                while data := file.read(_READ):
                    self._digest.update(data)
        vectors = load_native(self.file.path)
        count = len(vectors.index_to_key)
        for start in range(0, count, _BLOCK):
            words = [str(word) for word in vectors.index_to_key[start : start + _BLOCK]]
            block = np.asarray(vectors.vectors[start : start + _BLOCK], np.float32)
            yield Block(words, block, min(1.0, (start + _BLOCK) / count))

    @contextmanager
    def _open(self) -> Iterator[_Counted]:
        try:
            if self.file.member is not None:
                with zipfile.ZipFile(self.file.path) as archive, archive.open(self.file.member) as inner:
                    total = archive.getinfo(self.file.member).file_size
                    yield _Counted(inner, inner, total, self._digest.update)  # pyright: ignore[reportArgumentType]
            else:
                with self.file.path.open("rb") as outer:
                    inner = gzip.GzipFile(fileobj=outer) if self.file.path.suffix == ".gz" else outer
                    yield _Counted(inner, outer, self.file.path.stat().st_size, self._digest.update)
        except UnicodeDecodeError as error:
            raise self._error(f"is no UTF-8 text: {error}") from error
        except (EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, OSError) as error:
            # zipfile raises RuntimeError if a password is needed
            raise self._error(f"cannot be read: {error}; fetch it again") from error

    def _error(self, what: str) -> CacheError:
        return CacheError(f"glove.path: {self.file.where}: {what}")


def load_native(path: Path) -> KeyedVectors:
    """Unpickle a .kv with its big arrays memory-mapped. Raises CacheError if it is no .kv."""
    from gensim.models import KeyedVectors

    try:
        vectors = KeyedVectors.load(str(path), mmap="r")
    except Exception as error:  # unpickling a damaged file can raise anything
        raise CacheError(f"glove.path: {path}: is no gensim .kv file: {type(error).__name__}: {error}") from error
    if not isinstance(vectors, KeyedVectors):
        raise CacheError(f"glove.path: {path}: holds a {type(vectors).__name__}, expected gensim's KeyedVectors")
    return vectors


class _Counted(io.RawIOBase):
    """A stream that hashes what is read, and knows its position in the file."""

    def __init__(
        self, stream: io.BufferedIOBase, position_of: io.BufferedIOBase, total: int, update: Callable[[bytes], None]
    ) -> None:
        self._stream, self._position_of, self._total, self._update = stream, position_of, total, update

    @property
    def share(self) -> float:
        return min(1.0, self._position_of.tell() / max(self._total, 1))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        data = self._stream.read(len(buffer))
        self._update(data)
        buffer[: len(data)] = data
        return len(data)


def _choose(path: Path, member: str | None) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if Path(name).suffix in (".txt", ".vec", ".bin")]
    except (zipfile.BadZipFile, OSError) as error:
        raise CacheError(f"glove.path: {path}: cannot be read: {error}; fetch it again") from error
    if member in names:
        return member
    if member is None and len(names) == 1:
        return names[0]
    given = "none" if member is None else repr(member)
    raise CacheError(f"glove.member: found {given}, expected one of the tables in {path}: {', '.join(names) or 'none'}")


def _word_before_space(stream: io.BufferedIOBase) -> bytes | None:
    word = bytearray()
    while (sign := stream.read(1)) != b" ":
        if not sign:
            return None
        if sign != b"\n" or word:  # some writers end each row with a line break
            word += sign
    return bytes(word)
