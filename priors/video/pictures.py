"""Decoded frames as arrays: upright, and of one size for a whole video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Float64, UInt8

from priors.video.container import check_size


class Sampled(NamedTuple):
    """Pictures taken from a video."""

    rgb: UInt8[np.ndarray, "n h w 3"]
    seconds: Float64[np.ndarray, " n"]
    size: tuple[int, int]
    """(height, width) of the source."""
    end: float | None
    """When the last picture of the video ends, in seconds, where another reader than ours found out."""


class Pictures:
    """Makes the pictures of one video: all get the size of its first, or `size`, which is (height, width)."""

    def __init__(self, path: Path, *, size: tuple[int, int] | None, max_side: int | None) -> None:
        self.shown_size = (0, 0)
        """(height, width) of the source, that is after rotation."""
        self._path, self._size, self.max_side = path, size, max_side
        self._scaler = VideoReformatter()  # one for all frames: making its tables costs more than scaling a small frame

    def of(self, frame: av.VideoFrame) -> np.ndarray:
        """The frame upright, as (h, w, 3) uint8."""
        check_size(self._path, frame.width, frame.height)
        turns = frame.rotation // 90 % 4  # counter-clockwise
        if self._size is None or self.shown_size == (0, 0):
            self.shown_size = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
            self._size = self._size or fit(self.shown_size, self.max_side)
        height, width = reversed(self._size) if turns % 2 else self._size
        return np.rot90(self._scaler.reformat(frame, width, height, "rgb24").to_ndarray(), turns)


def fit(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """(height, width) scaled down until the longer side is at most `max_side`; never up."""
    scale = min(1.0, max_side / max(size)) if max_side else 1.0
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def shrink(pictures: Sequence[UInt8[np.ndarray, "h w 3"]], max_side: int | None) -> UInt8[np.ndarray, "n h2 w2 3"]:
    """The pictures scaled down to what fits the first, as one array."""
    height, width = fit((pictures[0].shape[0], pictures[0].shape[1]), max_side)
    frames = (av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures)
    return np.stack([frame.reformat(width, height).to_ndarray() for frame in frames])
