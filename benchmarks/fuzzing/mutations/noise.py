"""Mutations of bytes, whatever they mean: flips, cuts, insertions, other files in the place of this one."""

from __future__ import annotations

import gzip
import pickle
import random
import zlib
from collections.abc import Callable

_PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in to continue</body></html>\n"
_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
_MAGIC = (
    b"\x93NUMPY",
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"\x89PNG\r\n",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"PAR1",
    b"RIFF",
    b"\0",
)


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _random_bytes(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 10))):
        if data:
            data[rng.randrange(len(data))] = rng.choice((0, 255, 0x80, 10, 13, 34, 44, rng.randrange(256)))


def _span(data: bytearray, rng: random.Random) -> slice:
    start = rng.randrange(len(data) + 1)
    return slice(start, min(len(data), start + rng.choice((1, 2, 4, 8, 64, 1000))))


def _delete(data: bytearray, rng: random.Random) -> None:
    del data[_span(data, rng)]


def _double(data: bytearray, rng: random.Random) -> None:
    span = _span(data, rng)
    data[span.start : span.start] = data[span]


def _swap(data: bytearray, rng: random.Random) -> None:
    one, other = _span(data, rng), _span(data, rng)
    first, second = sorted((one, other), key=lambda span: span.start)
    if first.stop <= second.start:
        data[:] = (
            data[: first.start] + data[second] + data[first.stop : second.start] + data[first] + data[second.stop :]
        )


def _zero(data: bytearray, rng: random.Random) -> None:
    span = _span(data, rng)
    data[span] = bytes(span.stop - span.start)


def _insert(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.choice((b"\0", b"\r", b"\n\n", b"\x1a", b"\xff", b"\xc3", b'"', b",", rng.randbytes(16)))


def _truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _cut_front(data: bytearray, rng: random.Random) -> None:
    del data[: rng.randrange(len(data) + 1)]


def _append(data: bytearray, rng: random.Random) -> None:
    data += rng.choice((b"\0", b"\0" * 100, b"\n\0", b"garbage", rng.randbytes(50), bytes(data[: len(data) // 2])))


def _magic(data: bytearray, rng: random.Random) -> None:
    magic = rng.choice(_MAGIC)
    data[: rng.choice((0, len(magic)))] = magic


NOISE: dict[str, Callable[[bytearray, random.Random], None]] = {
    "flipped bits": _flip,
    "other bytes": _random_bytes,
    "bytes deleted": _delete,
    "bytes doubled": _double,
    "bytes swapped": _swap,
    "bytes zeroed": _zero,
    "bytes inserted": _insert,
    "cut off": _truncate,
    "without its start": _cut_front,
    "bytes behind": _append,
    "another magic": _magic,
}

OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "blank": lambda data: b" \n \n",
    "a web page": lambda data: _PAGE,
    "a pointer of Git LFS": lambda data: _POINTER,
    "gzipped": lambda data: gzip.compress(data, mtime=0),
    "deflated": zlib.compress,
    "zeros": lambda data: bytes(len(data)),
    "a pickle": lambda data: pickle.dumps({"a": [1, 2]}),
}
"""What stands in the place of a file at times."""


def noise(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The name of a mutation of bytes, and what it makes of them."""
    name = rng.choice(list(NOISE))
    changed = bytearray(data)
    NOISE[name](changed, rng)
    return name, bytes(changed)


def another(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A file of another kind, and its name."""
    name = rng.choice(list(OTHERS))
    return name, OTHERS[name](data)
