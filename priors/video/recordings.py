"""Recordings that one file holds one after the other, as `cat` and downloaders of segments join them."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_UNKNOWN = -1
_SIGNATURE = 12  # bytes at the start of a file that its next recording repeats
_BLOCK = 1 << 20
_MOST = 256  # recordings of one file; what follows is not read


@dataclass(frozen=True)
class Layout:
    """Where the recordings of a file begin, by the sizes that its container states."""

    starts: tuple[int, ...] = (0,)
    whole: bool = False
    """The last stated size ends where the file does: nothing was cut off."""


@dataclass(frozen=True)
class Part:
    """Bytes of a file: one recording of several."""

    start: int
    end: int


def parts_of(starts: tuple[int, ...], size: int) -> list[Part]:
    """The recordings that begin at `starts` in a file of `size` bytes, at most the first few hundred."""
    ends = (*starts[1:], size)
    return [Part(start, end) for start, end in zip(starts, ends, strict=True)][:_MOST]


def layout(path: Path, container: str) -> Layout:
    """Read sizes alone, from head to head: a few bytes for each top-level element. `container` is FFmpeg's name of it.

    A container whose elements state no size has the layout of a single recording that may not be whole.
    """
    kind = container.split(",")[0]
    walk = {"mov": _boxes, "matroska": _elements, "avi": _chunks, "asf": _objects}.get(kind)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if kind == "flv":
            return Layout(whole=_ends_with_a_tag(file, size))
        if walk is None:
            return Layout()
        starts, position = [], 0
        for begins, end in walk(file, size):
            if begins:
                starts.append(position)
            position = end
            if not position <= size or end == _UNKNOWN:
                break
        return Layout(tuple(starts) if starts[:1] == [0] else (0,), position == size)


def next_recordings(path: Path, after: int) -> list[int]:
    """Where, after so many bytes, the file begins again: with the very bytes that it begins with."""
    found = []
    with path.open("rb") as file:
        signature = file.read(_SIGNATURE)
        file.seek(max(after, 1))
        position, kept = max(after, 1), b""
        while block := file.read(_BLOCK):
            data = kept + block
            at = data.find(signature)
            while at >= 0:
                found.append(position - len(kept) + at)
                at = data.find(signature, at + 1)
            position += len(block)
            kept = data[-_SIGNATURE + 1 :]
    return found


_Walk = Iterator[tuple[bool, int]]
"""For each top-level element, whether a recording begins with it, and where it ends."""


def _boxes(file: BinaryIO, size: int) -> _Walk:
    position, index = 0, False  # an index was met: what begins after it is another recording
    while position + 8 <= size:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            wide = file.read(8)
            length = struct.unpack(">Q", wide)[0] if len(wide) == 8 else 0
        elif length == 0:
            length = size - position
        if length < 8 or not all(32 <= sign < 127 for sign in name):
            return
        begins = position == 0 or (index and name == b"ftyp")
        index = (index and not begins) or name == b"moov"
        position += length
        yield begins, position


def _elements(file: BinaryIO, size: int) -> _Walk:
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(16)
        name, first = _number(head, 0, keep_marker=True)
        length, second = _number(head, first, keep_marker=False)
        if not first or not second:
            return
        unknown = length == (1 << 7 * (second - first)) - 1
        if name == _SEGMENT and unknown:
            yield False, _UNKNOWN
            return
        begins = name == _EBML
        position += second + length
        yield begins, position


def _number(data: bytes, start: int, *, keep_marker: bool) -> tuple[int, int]:
    """A number of EBML and where it ends; (0, 0) where there is none."""
    if start >= len(data) or data[start] == 0:
        return 0, 0
    length = 9 - data[start].bit_length()
    raw = data[start : start + length]
    if len(raw) < length:
        return 0, 0
    value = int.from_bytes(raw, "big")
    return value if keep_marker else value & ((1 << 7 * length) - 1), start + length


def _chunks(file: BinaryIO, size: int) -> _Walk:
    position = 0
    while position + 12 <= size:
        file.seek(position)
        name, length, kind = struct.unpack("<4sI4s", file.read(12))
        if name not in (b"RIFF", b"JUNK", b"LIST", b"idx1") or not length:
            return
        position += 8 + length + length % 2
        yield name == b"RIFF" and kind == b"AVI ", position  # AVIX goes on with the same recording


def _objects(file: BinaryIO, size: int) -> _Walk:
    position = 0
    while position + 24 <= size:
        file.seek(position)
        name, length = struct.unpack("<16sQ", file.read(24))
        if length < 24:
            return
        position += length
        yield name == _ASF, position


def _ends_with_a_tag(file: BinaryIO, size: int) -> bool:
    """Whether an FLV file ends with the size of the tag before it."""
    if size < 32:
        return False
    file.seek(size - 4)
    (length,) = struct.unpack(">I", file.read(4))
    if not 11 <= length <= size - 13:
        return False
    file.seek(size - 4 - length)
    kind, high, low = struct.unpack(">BBH", file.read(4))
    return kind in (8, 9, 18) and (high << 16 | low) == length - 11


class PartFile(io.RawIOBase):
    """One recording of a file, as a file of its own."""

    def __init__(self, descriptor: int, part: Part) -> None:
        self._descriptor, self._part = descriptor, part
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes from the start of the recording."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As of any file."""
        base = (0, self._position, self._part.end - self._part.start)[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """As of any file; at the end of the recording, nothing."""
        left = self._part.end - self._part.start - self._position
        wanted = left if size < 0 else min(size, left)
        data = os.pread(self._descriptor, max(wanted, 0), self._part.start + self._position)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Give back the descriptor."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()
