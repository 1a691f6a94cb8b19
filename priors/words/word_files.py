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

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

Format = Literal["text", "binary", "native"]
_BLOCK = 4096  # rows
_READ = 1 << 20  # bytes


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
            if new:
                yield Block([block.words[row] for row in new], block.vectors[new], block.share)
        if not seen:
            raise self._error("holds no word vectors")

    def _text(self) -> Iterator[Block]:
        with self._open() as raw:
            lines = io.TextIOWrapper(io.BufferedReader(raw, _READ), encoding="utf-8", newline="\n")
            width, promised, number = None, None, 0
            words: list[str] = []
            rows: list[np.ndarray] = []
            for number, line in enumerate(lines, start=1):
                parts = line.rstrip().split(" ")
                if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                    promised, width = int(parts[0]), int(parts[1])  # word2vec's header
                    continue
                width = width or len(parts) - 1
                word, row = _parse(parts, width)
                if row is None:
                    raise self._error(f"line {number}: found {line[:60]!r}, expected a word and {width} numbers")
                words.append(word)
                rows.append(row)
                if len(rows) == _BLOCK:
                    yield Block(words, np.stack(rows), raw.share)
                    words, rows = [], []
            if promised is not None and promised != number - 1:
                raise self._error(f"found {number - 1} words, expected the {promised} of its header: it was cut short")
            if rows:
                yield Block(words, np.stack(rows), 1.0)

    def _binary(self) -> Iterator[Block]:
        with self._open() as raw:
            stream = io.BufferedReader(raw, _READ)
            header = stream.readline(100).split()
            if len(header) != 2 or not all(part.isdigit() for part in header):
                raise self._error("found no header of word2vec's binary format: the numbers of words and of columns")
            count, width = int(header[0]), int(header[1])
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


def _parse(parts: list[str], width: int) -> tuple[str, np.ndarray | None]:
    """Word and vector of a line; some words of GloVe 840B hold spaces. The vector is None if numbers are missing."""
    word = " ".join(parts[: len(parts) - width])
    try:
        row = np.fromiter(map(float, parts[len(parts) - width :]), np.float32)
    except ValueError:
        return word, None
    return word, row if word and width >= 2 and len(row) == width else None


def _word_before_space(stream: io.BufferedIOBase) -> bytes | None:
    word = bytearray()
    while (sign := stream.read(1)) != b" ":
        if not sign:
            return None
        if sign != b"\n" or word:  # some writers end each row with a line break
            word += sign
    return bytes(word)
