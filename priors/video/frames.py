"""Frames of a video with their timestamps, read with PyAV: a few samples of the video, or a constant-rate stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, UInt8
from pydantic import PositiveInt, field_validator

from cache.errors import CacheError
from cache.recipe import Recipe
from priors.video.container import VideoError as VideoError
from priors.video.joined import Video
from priors.video.other_readers import decord_sample, torchcodec_sample
from priors.video.pictures import Pictures, Sampled

ReaderName = Literal["pyav", "decord", "torchcodec"]
AUTO: ReaderName = "pyav"
"""The reader of `auto`: the only one that is correct on every file, and about the fastest (`make bench-readers`)."""

_INSTALL = {
    "decord": "pip install decord",
    "torchcodec": "apt-get install ffmpeg && pip install torchcodec==0.13.0 --no-deps",
}
_ROUNDS = 3  # a wrong header may hide a second recording, whose header is wrong, too
SAMPLER_VERSION = 1
"""Part of the fingerprint of descriptions; increased when the same video would give other frames."""


class FramesRecipe(Recipe):
    """Which frames of a video are shown to the captioning model."""

    count: PositiveInt = 16
    """Frames per video: the midpoints of this many equal slices of its duration."""
    max_side: PositiveInt | None = 448
    """Longer side in pixels that frames are scaled down to; None = original size. Frames are never scaled up."""
    reader: ReaderName | Literal["auto"] = "pyav"
    """Decoding library; docs/videos.md compares them. auto is replaced by the name of the chosen one at once, so that
    it is recorded: pixels of different libraries are not equal to the bit. decord gives other frames in videos with
    open groups of pictures, and may hang; use it only to reproduce frames that others took with it."""

    @field_validator("reader")
    @classmethod
    def _choose(cls, reader: str) -> str:
        return AUTO if reader == "auto" else reader


def require_reader(recipe: FramesRecipe) -> None:
    """Raise CacheError, with the command that fixes it, if the decoding library is missing or does not load."""
    for name, install in _INSTALL.items():
        if recipe.reader == name and find_spec(name) is None:
            raise CacheError(f"frames.reader: {name} is not installed; run `{install}`")
        try:
            if recipe.reader == name:
                import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            raise CacheError(f"frames.reader: {name} does not load; run `{install}`\n{_short(error)}") from error


def _short(error: Exception) -> str:
    return "\n".join(str(error).strip().splitlines()[:3])


@dataclass(frozen=True, eq=False)
class Frames:
    """Decoded frames with their timestamps."""

    rgb: UInt8[np.ndarray, "n h w 3"]
    seconds: Float64[np.ndarray, " n"]
    """Timestamp of each frame on the clock of the file (a player's clock), in seconds."""
    duration: float
    """End of the pictures on the same clock: that of the header if it is right, else that of the decoded frames; of
    joined recordings, that of the last. Chunks of a stream have what is known so far."""
    width: int
    """Width of the source in pixels, after rotation."""
    height: int
    odd: str | None = None
    """Why the video is partial: packets that could not be decoded, an end before that of the header ..."""

    @property
    def partial(self) -> bool:
        """Whether some of the video is not there, or may not be."""
        return self.odd is not None

    def __repr__(self) -> str:
        return f"Frames(rgb{self.rgb.shape}, {self.duration:.2f} s, source {self.width}x{self.height})"


def sample_frames(
    path: Path, *, count: int, max_side: int | None = None, reader: ReaderName | Literal["auto"] = "pyav"
) -> Frames:
    """`count` frames at the midpoints of equal slices of the duration: each the last frame shown at or before its time.

    A video of fewer frames repeats some. Frames are scaled down until their longer side is at most `max_side`. Raises
    VideoError if the file is missing, empty, not a video, without pictures, corrupt, or truncated (far less can be
    decoded than its header says).
    """
    pictures = Pictures(path, size=None, max_side=max_side)
    with Video(path) as video:
        sampled = _sampled(video, pictures, count, reader)
        for _ in range(_ROUNDS):
            if not video.settle(sampled.end):
                break
            sampled = _sampled(video, pictures, count, reader)  # the times asked for were those of another length
        height, width = sampled.size
        return Frames(sampled.rgb, sampled.seconds, video.duration, width, height, video.odd)


def _sampled(video: Video, pictures: Pictures, count: int, reader: ReaderName | Literal["auto"]) -> Sampled:
    times = (np.arange(count) + 0.5) / count * video.duration
    if reader in ("decord", "torchcodec"):
        sample = decord_sample if reader == "decord" else torchcodec_sample
        return sample(video.only_reader(reader), times, pictures.max_side)
    samples = [(pictures.of(shown.frame), shown.seconds) for shown in map(video.at, times.tolist())]
    rgb, seconds = np.stack([picture for picture, _ in samples]), np.array([time for _, time in samples])
    return Sampled(rgb, seconds, pictures.shown_size, None)


def stream_frames(path: Path, *, fps: float, size: tuple[int, int] | None, chunk: int = 256) -> Iterator[Frames]:
    """Every frame of the grid t_k = k / fps over the whole video: the last frame shown at or before t_k.

    `size` is (height, width) to scale to; None keeps the original size. Yields Frames of up to `chunk` grid points
    whose `seconds` are the grid's, and holds no more than one chunk. Raises VideoError as `sample_frames` does: at once
    for an unreadable file, after the last frame that decodes for a truncated one.
    """
    scaled = Pictures(path, size=size, max_side=None)
    with Video(path) as video:
        pictures: list[np.ndarray] = []
        k = 0
        for frame, until in video.intervals():
            picture = None
            while k / fps < until - video.tolerance:
                if len(pictures) == chunk:
                    yield _chunk(video, scaled, pictures, k, fps, odd=None)
                    pictures = []
                picture = scaled.of(frame) if picture is None else picture
                pictures.append(picture)
                k += 1
        if pictures:
            yield _chunk(video, scaled, pictures, k, fps, odd=video.odd)


def _chunk(
    video: Video, scaled: Pictures, pictures: list[np.ndarray], end: int, fps: float, *, odd: str | None
) -> Frames:
    seconds = np.arange(end - len(pictures), end) / fps
    height, width = scaled.shown_size
    return Frames(np.stack(pictures), seconds, video.duration, width, height, odd)


def duration_of(path: Path) -> float | None:
    """Seconds of a video by its header; None if it cannot be opened."""
    try:
        with Video(path) as video:
            return video.duration
    except VideoError:
        return None
