"""Cuts a video into snippets, prepared for the encoders. Loads no model, since it runs in the decoding workers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from priors.features.flow import optical_flow
from priors.video.frames import VideoError, stream_frames

Chunk = dict[str, np.ndarray]
"""Prepared snippets (s, frames, side, side, c) by stream."""

_CHUNK_BYTES = 256 << 20
"""Largest size of pictures that are cut at once, if they hold a snippet; their flow takes nearly three times as
much."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """Input of the encoder of one stream for a snippet."""

    input: Literal["rgb", "flow"]
    frames: int
    """Number of frames, at equal distances."""
    side: int
    """Height and width in pixels."""

    def prepare(self, pictures: np.ndarray, starts: Sequence[int], length: int) -> np.ndarray:
        """Cut snippets out of pictures or flow (n, h, w, c): (snippets, frames, side, side, c), centre-cropped.

        Each snippet is `length` frames from its start.
        """
        offsets = (np.arange(self.frames) + 0.5) * length / self.frames
        indices = np.asarray(starts)[:, None] + offsets.astype(int)[None]
        scaled = np.stack([_square(picture, self.side) for picture in pictures])
        return scaled[np.minimum(indices, len(scaled) - 1)]


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


def _chunks(cutter: Cutter, path: Path) -> Iterator[Chunk | Partial]:
    length, stride = cutter.length, cutter.stride
    buffered: list[np.ndarray] = []
    odd: str | None = None
    frames = stream_frames(path, fps=cutter.fps, size=None, chunk=stride)
    for fresh in chain(frames, [None]):
        buffered += [] if fresh is None else [fresh.rgb]
        odd = odd if fresh is None else fresh.odd
        count = sum(map(len, buffered))
        starts = snippet_starts(count, length=length, stride=stride) if buffered else range(0)
        # A snippet is complete once the frame after it is decoded, too: the flow of its last frame needs it.
        whole = [start for start in starts if start + length < count]
        full = len(whole) >= cutter.chunk or sum(part.nbytes for part in buffered) >= _CHUNK_BYTES
        if whole and (full or fresh is None):
            pictures = np.concatenate(buffered)
            yield _prepared(cutter, pictures[: whole[-1] + length + 1], whole)
            buffered = [pictures[whole[-1] + stride :].copy()]  # a view would keep all of them in memory
        if fresh is None and (rest := starts[len(whole) :]):
            # separately, so that the frames they repeat at the end do not depend on the chunk size
            yield _prepared(cutter, np.concatenate(buffered), [start - rest[0] for start in rest])
    if odd is not None:
        yield Partial(odd)


def _prepared(cutter: Cutter, pictures: np.ndarray, starts: Sequence[int]) -> Chunk:
    """The snippets that begin at `starts`, prepared for each stream."""
    with_flow = any(view.input == "flow" for view in cutter.views.values())
    inputs = {"rgb": pictures, "flow": _flow(pictures) if with_flow else pictures}
    return {name: view.prepare(inputs[view.input], starts, cutter.length) for name, view in cutter.views.items()}


def snippet_starts(frames: int, *, length: int, stride: int) -> range:
    """First frames of the snippets that cover `frames` frames; the last may extend beyond the end, whose frame it
    repeats."""
    return range(0, stride * (1 + max(0, -(-(frames - length) // stride))), stride)


def _square(picture: np.ndarray, side: int) -> np.ndarray:
    """Scale the shorter side to `side` and crop the centre."""
    import cv2

    height, width = picture.shape[:2]
    if (height, width) != (side, side):
        scale = side / min(height, width)
        size = max(side, round(width * scale)), max(side, round(height * scale))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return picture[top : top + side, left : left + side]


def _flow(pictures: np.ndarray) -> np.ndarray:
    """Flow from each picture to the next; zeros for a single picture."""
    return optical_flow(pictures) if len(pictures) > 1 else np.zeros((1, *pictures.shape[1:3], 2), np.float32)
