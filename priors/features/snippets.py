"""Cuts a video into snippets, prepared for the encoders. Loads no model, since it runs in the decoding workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from priors.features.flow import Between, Method, flow_between
from priors.video.frames import Frames, VideoError, stream_frames

CENTRE = (0.5, 0.5)
_CHUNK_BYTES = 32 << 20
"""Size of pictures at which a chunk is sent, if they hold a snippet."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """Input of the encoder of one stream for a snippet."""

    input: Literal["rgb", "flow"]
    frames: int | None
    """Number of frames, at equal distances; None = all of the snippet."""
    side: int
    """Height and width in pixels of the centre crop."""
    shorter_side: int | None = None
    """Shorter side in pixels that pictures are scaled to before flow and crop. None: to `side`, and flow is that of the
    unscaled pictures."""
    whole: bool = False
    """Whether pictures are kept whole, without a crop."""
    method: Method = "dis"
    """Method of optical flow."""

    def indices(self, starts: Sequence[int], length: int) -> np.ndarray:
        """The frames of snippets of `length` frames, (snippets, frames)."""
        count = self.frames or length
        offsets = (np.arange(count) + 0.5) * length / count
        return np.asarray(starts)[:, None] + offsets.astype(int)[None]

    def before_flow(self, picture: np.ndarray) -> np.ndarray:
        """A picture as flow is computed of it, or as it is cropped."""
        return picture if self.shorter_side is None else scaled(picture, self.shorter_side)

    def finished(self, picture: np.ndarray) -> np.ndarray:
        """A picture, or its flow, as the encoder gets it."""
        picture = picture if self.shorter_side is not None else scaled(picture, self.side)
        return picture if self.whole else crop(picture, self.side)


@dataclass(frozen=True)
class Snippets:
    """Snippets of one stream, which may share pictures."""

    pictures: np.ndarray
    """(n, h, w, c)"""
    indices: np.ndarray
    """(s, frames): the pictures of each."""

    def __len__(self) -> int:
        return len(self.indices)

    def array(self) -> np.ndarray:
        """(s, frames, h, w, c)."""
        return self.pictures[self.indices]

    def part(self, start: int, stop: int) -> Snippets:
        """Some of them."""
        return Snippets(self.pictures, self.indices[start:stop])


@dataclass(frozen=True)
class Cutter:
    """How videos are cut into snippets."""

    views: Mapping[str, View]
    """Views by stream."""
    fps: float
    length: int
    """Frames of a snippet."""
    stride: int
    """Frames from one snippet to the next."""
    chunk: int = 64
    """Largest number of snippets cut at once."""


@dataclass(frozen=True)
class Chunk:
    """The next snippets of a video, by stream, and what they cost."""

    streams: Mapping[str, Snippets]
    frames: int
    """Frames that were decoded for them."""
    decode_seconds: float
    """Time in which frames were decoded and scaled."""
    flow_seconds: float

    def __len__(self) -> int:
        return len(next(iter(self.streams.values())))


@dataclass(frozen=True)
class Failed:
    """Yielded instead of a chunk: why there are no more snippets."""

    why: str


@dataclass(frozen=True)
class Partial:
    """Why the snippets are not those of the whole video; the last piece of an answer."""

    why: str


Piece = Chunk | Failed | Partial


def cut(cutter: Cutter, path: Path) -> Iterator[Piece]:
    """The snippets of a video in chunks. Never raises: a problem with the file comes last, as Failed or Partial."""
    try:
        yield from _chunks(cutter, path)
    except VideoError as error:
        yield Failed(error.why)
    except MemoryError:
        yield Failed("not enough memory to decode it (worker_memory_gib)")
    except Exception as error:  # libraries may raise anything for a broken file, which must not stop the others
        _log.warning("%s: %s: %s", path, type(error).__name__, error)
        yield Failed(f"{type(error).__name__}: {error}"[:300])


class _Costs:
    """Seconds that a worker spent since the last chunk, by what it did."""

    def __init__(self) -> None:
        self.seconds = {"decode": 0.0, "flow": 0.0}

    @contextmanager
    def of(self, what: Literal["decode", "flow"]) -> Iterator[None]:
        """Measure what is done meanwhile."""
        before = time.monotonic()
        yield
        self.seconds[what] += time.monotonic() - before

    def taken(self) -> dict[str, float]:
        """What was measured so far; begins again."""
        found, self.seconds = self.seconds, dict.fromkeys(self.seconds, 0.0)
        return found


class _Buffer:
    """The pictures of one stream that later snippets may need, ready for its encoder."""

    def __init__(self, view: View, costs: _Costs) -> None:
        self._view, self._costs = view, costs
        self._between: Between | None = flow_between(view.method) if view.input == "flow" else None
        self._last: np.ndarray | None = None
        self._kept: list[np.ndarray] = []
        self._first = 0  # frame of the first picture that is kept

    @property
    def nbytes(self) -> int:
        """Bytes of the pictures."""
        return sum(picture.nbytes for picture in self._kept)

    def add(self, frame: np.ndarray) -> None:
        """The next frame: itself, or the flow from the frame before it."""
        with self._costs.of("decode"):
            picture = self._view.before_flow(frame)
        if self._between is not None:
            before, self._last = self._last, picture
            if before is None:
                return
            with self._costs.of("flow"):
                picture = self._between(before, picture)
        with self._costs.of("decode"):
            self._kept.append(self._view.finished(picture))

    def drop(self, first: int) -> None:
        """Forget the frames before `first`."""
        self._kept = self._kept[first - self._first :]
        self._first = first

    def snippets(self, starts: Sequence[int], length: int) -> Snippets:
        """The snippets that begin at `starts`; those that extend beyond the end repeat the last picture."""
        if not self._kept:  # the flow of a single frame
            assert self._last is not None
            self._kept = [self._view.finished(np.zeros((*self._last.shape[:2], 2), np.float32))]
        indices = np.minimum(self._view.indices(starts, length) - self._first, len(self._kept) - 1)
        used, places = np.unique(indices, return_inverse=True)
        return Snippets(np.stack([self._kept[index] for index in used]), places.reshape(indices.shape))


def _chunks(cutter: Cutter, path: Path) -> Iterator[Chunk | Partial]:
    costs = _Costs()
    buffers = {name: _Buffer(view, costs) for name, view in cutter.views.items()}
    odd: str | None = None
    first = count = told = 0

    def chunk(starts: range) -> Chunk:
        nonlocal first, told
        streams = {name: one.snippets(starts, cutter.length) for name, one in buffers.items()}
        seconds, new = costs.taken(), count - told
        first, told = starts[-1] + cutter.stride, count
        for one in buffers.values():
            one.drop(first)
        return Chunk(streams, new, seconds["decode"], seconds["flow"])

    frames = stream_frames(path, fps=cutter.fps, size=None, chunk=cutter.stride)
    fresh: Frames | None
    while True:
        with costs.of("decode"):
            fresh = next(frames, None)
        if fresh is not None:
            odd, count = fresh.odd, count + len(fresh.rgb)
            for picture in fresh.rgb:
                for one in buffers.values():
                    one.add(picture)
        # A snippet is complete once the frame after it is decoded, too: the flow of its last frame needs it.
        whole = range(first, max(first, count - cutter.length), cutter.stride)
        full = len(whole) >= cutter.chunk or sum(one.nbytes for one in buffers.values()) >= _CHUNK_BYTES
        if whole and (full or fresh is None):
            yield chunk(whole)
        if fresh is None:
            break
    # separately, so that the frames they repeat at the end do not depend on the chunk size
    if count and (rest := snippet_starts(count, length=cutter.length, stride=cutter.stride)[first // cutter.stride :]):
        yield chunk(rest)
    if odd is not None:
        yield Partial(odd)


def snippet_starts(frames: int, *, length: int, stride: int) -> range:
    """First frames of the snippets that cover `frames` frames; the last may extend beyond the end, whose frame it
    repeats."""
    return range(0, stride * (1 + max(0, -(-(frames - length) // stride))), stride)


def scaled(picture: np.ndarray, shorter: int) -> np.ndarray:
    """The picture, or flow, whose shorter side has so many pixels; values stay as they are."""
    import cv2

    height, width = picture.shape[:2]
    if min(height, width) == shorter:
        return picture
    scale = shorter / min(height, width)
    size = max(shorter, round(width * scale)), max(shorter, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def crop(pictures: np.ndarray, side: int, place: tuple[float, float] = CENTRE) -> np.ndarray:
    """A square of pictures (..., h, w, c); its place is a share of the room that there is, down and to the right."""
    top, left = (int(share * (room - side)) for share, room in zip(place, pictures.shape[-3:-1], strict=True))
    return pictures[..., top : top + side, left : left + side, :]


def single_threaded() -> None:
    """Let OpenCV use one thread: there are as many workers as cores are to be used."""
    import cv2

    cv2.setNumThreads(1)
