"""Video containers: their boxes, elements, chunks and packets, and what is cut, joined or damaged."""

from __future__ import annotations

import random
import re
import struct
import tempfile
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from benchmarks.fuzzing.mutations.noise import another, noise
from benchmarks.fuzzing.trials import Input, Read, Unreadable
from priors.video.container import VideoError
from priors.video.frames import sample_frames
from tests.support.videos.videos import read, write_video

_FRAMES, _FPS, _COUNT = 20, 10, 4
_LENGTH_SLACK = 0.6  # seconds: headers of intact files may be wrong by half a second
_KINDS: dict[str, dict[str, Any]] = {
    "early.mp4": {"container": {"movflags": "faststart"}, "options": {"g": "5"}},
    "late.mp4": {"options": {"g": "20"}},
    "a.mkv": {"options": {"g": "5"}},
    "a.avi": {"codec": "mpeg4"},
    "a.ts": {"options": {"g": "5"}},
    "fragments.mp4": {"container": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "5"}},
}
_BOXES = (
    b"ftyp moov mvhd tkhd elst mdhd hdlr stsd avc1 avcC stts stss stsc stsz stco ctts mdat moof tfhd tfdt trun trex"
)
_CHUNKS = b"RIFF AVI_ hdrl avih strl strh strf movi 00dc idx1"
_ELEMENTS = "1a45dfa3 18538067 114d9b74 1549a966 2ad7b1 4489 1654ae6b b082 1f43b675 e781 a3 23e383"
_NAMES = {
    "mp4": _BOXES.split(),
    "mkv": list(map(bytes.fromhex, _ELEMENTS.split())),
    "avi": [name.replace(b"_", b" ") for name in _CHUNKS.split()],
    "ts": [b"G"],
}
"""Heads of what the containers are made of."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What the project shows of a video: numbers painted into the frames at the midpoints of equal slices."""

    numbers: tuple[int, ...]
    length: float
    """In seconds."""
    partial: bool = False

    def __eq__(self, other: object) -> bool:
        """What is partial says so, and promises no more."""
        if not isinstance(other, Whole):
            return NotImplemented
        if self.partial or other.damaged:
            return self.partial
        if abs(self.length - other.length) > _LENGTH_SLACK:
            return False
        if max(self.numbers) >= 2 * _FRAMES:  # turned or mirrored, as the header says
            return True
        expected = other.at((np.arange(_COUNT) + 0.5) / _COUNT * self.length)
        # Timestamps are rounded, so the frame before or after is as right.
        return not other.sound or all(abs(a - b) <= 1 for a, b in zip(self.numbers, expected, strict=True))


@dataclass(frozen=True, eq=False)
class Whole:
    """Every frame of a video, decoded in order."""

    seconds: tuple[float, ...]
    numbers: tuple[int, ...]
    length: float
    """To the end of the last frame."""
    damaged: bool = False
    """Whether a packet could not be decoded."""

    @property
    def sound(self) -> bool:
        """Whether times and pictures are those of frames one after the other: else FFmpeg has concealed damage in its
        own way, which depends on where decoding began, and nobody knows the right pictures."""
        pairs = list(zip(self.seconds, self.numbers, strict=True))
        follow = [b[0] > a[0] and b[1] in (a[1] + 1, 0) for a, b in pairwise(pairs)]
        return all(follow) and self.numbers[0] == 0

    def at(self, times: np.ndarray) -> tuple[int, ...]:
        """The number of the frame that is shown at each time."""
        places = np.maximum(np.searchsorted(np.array(self.seconds), times + 1e-3, side="right") - 1, 0)
        return tuple(self.numbers[place] for place in places)

    def __eq__(self, other: object) -> bool:
        """As sequences of frames."""
        if not isinstance(other, Whole):
            return NotImplemented
        return self.numbers == other.numbers and np.allclose(self.seconds, other.seconds, atol=0.02)


@cache
def base(kind: str) -> bytes:
    """A sound file of two seconds, whose frames have their numbers painted."""
    with tempfile.TemporaryDirectory() as made:
        return write_video(Path(made) / kind, _FRAMES, fps=_FPS, **_KINDS[kind]).read_bytes()


class Videos:
    """See `Format`."""

    name = "videos"
    share = 6

    def draw(self, rng: random.Random) -> Input:
        """See `Format`."""
        kind = rng.choice(list(_KINDS))
        suffix = kind.rpartition(".")[2]
        data = base(kind)
        same = Whole(tuple(k / _FPS for k in range(_FRAMES)), tuple(range(_FRAMES)), _FRAMES / _FPS)
        match rng.choice(("same", "joined", "fields", "fields", "fields", "blocks", "noise", "noise", "another")):
            case "same":
                done, suffix, data = _same(rng, suffix, data)
                return Input(f"{kind}: {done}", {f"v.{suffix}": data}, same=same)
            case "joined":
                cut = rng.choice((1.0, 1.0, 0.7))
                data += data[: int(len(data) * cut)]
                return Input(f"{kind}: joined with itself, of which {cut:.0%}", {f"v.{suffix}": data})
            case "fields":
                done, data = _field(rng, suffix, data)
                return Input(f"{kind}: {done}", {f"v.{suffix}": data})
            case "blocks":
                done, data = _block(rng, suffix, data)
                return Input(f"{kind}: {done}", {f"v.{suffix}": data})
            case how:
                done, data = (noise if how == "noise" else another)(data, rng)
                return Input(f"{kind}: {done}", {f"v.{suffix}": data})

    def read(self, folder: Path) -> Read:
        """See `Format`."""
        path = next(folder.glob("v.*"))
        try:
            frames = sample_frames(path, count=_COUNT)
        except MemoryError:  # which the processes that decode for the project have a bound for
            raise VideoError(path, "needs more room than a decoder may take") from None
        return Read(Shown(tuple(map(read, frames.rgb)), frames.duration, frames.partial))

    def plain(self, folder: Path) -> Any:
        """See `Format`: every frame in order, by PyAV alone."""
        return _plain(next(folder.glob("v.*")))


def _same(rng: random.Random, suffix: str, data: bytes) -> tuple[str, str, bytes]:
    """Another suffix, or something behind that means nothing."""
    match rng.choice(("suffix", "padding", "as it is")):
        case "suffix":
            other = rng.choice(("mp4", "mkv", "avi", "webm", "mov", "dat", "3gp", "MP4"))
            return f"named .{other}", other, data
        case "padding" if suffix == "mp4":
            return "a free box behind", suffix, data + struct.pack(">I", 108) + b"free" + bytes(100)
        case "padding" if suffix == "avi":
            return "a JUNK chunk behind", suffix, data + b"JUNK" + struct.pack("<I", 100) + bytes(100)
        case "padding" if suffix == "mkv":
            return "a Void element behind", suffix, data + b"\xec\xe4" + bytes(100)
        case "padding" if suffix == "ts":
            return "null packets behind", suffix, data + (b"G\x1f\xff\x10" + b"\xff" * 184) * 3
    return "as it is", suffix, data


def _field(rng: random.Random, suffix: str, data: bytes) -> tuple[str, bytes]:
    """A number near the head of a box, element or chunk."""
    changed = bytearray(data)
    name = rng.choice(_NAMES[suffix])
    found = [match.start() for match in re.finditer(re.escape(name), data)]
    if not found:
        return "as it is", data
    at = rng.choice(found[:50]) + rng.choice(
        (-4, 0, len(name), len(name) + 4 * rng.randrange(8), len(name) + rng.randrange(4))
    )
    at = max(0, min(at, len(changed) - 8))
    how = rng.choice(("zero", "ones", "random", "swapped", "one more", "one less", "doubled", "sign", "bit"))
    (value,) = struct.unpack(">I", changed[at : at + 4])
    new = {
        "zero": 0,
        "ones": 2**32 - 1,
        "random": rng.randrange(2**32),
        "one more": value + 1,
        "one less": value - 1,
        "doubled": value * 2,
        "sign": value ^ 2**31,
        "bit": value ^ 1 << rng.randrange(32),
    }.get(how, value)
    changed[at : at + 4] = struct.pack(">I", new % 2**32)
    if how == "swapped":
        changed[at : at + 8] = data[at + 4 : at + 8] + data[at : at + 4]
    return f"{how} at {name!r}", bytes(changed)


def _block(rng: random.Random, suffix: str, data: bytes) -> tuple[str, bytes]:
    """A whole packet, box or chunk that is missing, stands twice, or stands elsewhere."""
    if suffix == "ts":
        blocks = [data[start : start + 188] for start in range(0, len(data), 188)]
    elif suffix == "mp4":
        blocks = _boxes(data)
    else:
        sign = b"00dc" if suffix == "avi" else b"\xa3"
        blocks = [piece if k == 0 else sign + piece for k, piece in enumerate(data.split(sign))]
    at, to = rng.randrange(len(blocks)), rng.randrange(len(blocks))
    match rng.choice(("missing", "twice", "elsewhere")):
        case "missing":
            return f"block {at} is missing", b"".join(blocks[:at] + blocks[at + 1 :])
        case "twice":
            return f"block {at} stands twice", b"".join(blocks[: at + 1] + blocks[at:])
        case _:
            block = blocks.pop(at)
            blocks.insert(to, block)
            return f"block {at} stands at {to}", b"".join(blocks)


def _boxes(data: bytes) -> list[bytes]:
    blocks, at = [], 0
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        blocks.append(data[at : at + size])
        at += size
    return blocks


def _plain(path: Path) -> Whole:
    """The recordings of a file one after the other; those that were joined here are known by their bytes."""
    data = path.read_bytes()
    for kind in _KINDS:
        whole = base(kind)
        more = data[len(whole) :]
        if data.startswith(whole) and len(more) > len(whole) // 4 and whole.startswith(more):
            return _joined(path, whole, more)
    return _decoded(path)


def _joined(path: Path, first: bytes, second: bytes) -> Whole:
    parts = []
    for number, data in enumerate((first, second)):
        part = path.with_name(f"part-{number}{path.suffix}")
        part.write_bytes(data)
        try:
            parts.append(_decoded(part))
        except Unreadable:
            parts.append(Whole((), (), 0.0, damaged=True))
    one, other = parts
    seconds = (*one.seconds, *(one.length + time for time in other.seconds))
    return Whole(seconds, one.numbers + other.numbers, one.length + other.length, damaged=other.damaged)


def _decoded(path: Path) -> Whole:
    seconds: list[float] = []
    numbers: list[int] = []
    length, damaged = 0.0, False
    try:
        with av.open(str(path), metadata_errors="replace") as file:
            stream = file.streams.video[0]
            stream.thread_count = 1  # damage is concealed otherwise by several
            origin = float(file.start_time or 0) / av.time_base
            for packet in file.demux(stream):
                try:
                    for frame in packet.decode():
                        stamp = frame.dts if file.format.name == "avi" or frame.pts is None else frame.pts
                        if stamp is None:
                            raise Unreadable("no times")
                        tick = float(stream.time_base or 0)
                        seconds.append(stamp * tick - origin)
                        length = max(length, seconds[-1] + (frame.duration * tick or 1 / _FPS))
                        numbers.append(read(frame.to_ndarray(format="rgb24")))  # pyright: ignore[reportAttributeAccessIssue]
                except av.error.FFmpegError:
                    damaged = True
    except Exception as error:  # whatever PyAV raises for a damaged file
        if not seconds:
            raise Unreadable(f"{type(error).__name__}: {error}") from error
        # Else the file ends here, as the length says.
    if not seconds:
        raise Unreadable("no frame")
    return Whole(tuple(seconds), tuple(numbers), length, damaged)


FORMAT = Videos()
