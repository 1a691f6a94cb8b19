"""Videos made for tests: the number of each frame is painted into its pixels, to be read back after decoding."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

SIDE = 64
_BITS = 16
_CELL = SIDE // 4


def paint(number: int) -> np.ndarray:
    """A (64, 64, 3) picture whose 4 x 4 cells, row by row, are the bits of `number`."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    for bit in range(_BITS):
        top, left = _CELL * (bit // 4), _CELL * (bit % 4)
        picture[top : top + _CELL, left : left + _CELL] = 255 * (number >> bit & 1)
    return picture


def read(picture: np.ndarray) -> int:
    """The number in a decoded picture of any size."""
    height, width = picture.shape[:2]
    centres = [(int((bit // 4 + 0.5) * height / 4), int((bit % 4 + 0.5) * width / 4)) for bit in range(_BITS)]
    return sum(int(picture[y, x].mean() > 127) << bit for bit, (y, x) in enumerate(centres))


def write_video(
    path: Path,
    frames: int,
    *,
    codec: str = "libx264",
    fps: int = 25,
    times: Sequence[float] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    rotation: int = 0,
    sound: float = 0.0,
) -> Path:
    """Write frames 0, 1, ... at a constant rate, or at `times` (seconds); with `sound` seconds of silence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container or {}) as file:
        stream = cast(VideoStream, file.add_stream(codec, rate=fps, options=options or {}))
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        audio = _add_sound(file, "pcm_s16le") if sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[number] * 1000), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if audio is not None:
            file.mux(audio.encode(_silence(sound)))
            file.mux(audio.encode())
    return path


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    """A file with sound and no pictures."""
    with av.open(str(path), "w") as file:
        audio = _add_sound(file, "aac")
        file.mux(audio.encode(_silence(seconds)))
        file.mux(audio.encode())
    return path


def cut(path: Path, share: float) -> Path:
    """Keep only the first part of a file, beside the whole one."""
    data = path.read_bytes()
    short = path.with_name(f"cut-{path.name}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


def _add_sound(file: OutputContainer, codec: str) -> AudioStream:
    return cast(AudioStream, file.add_stream(codec, rate=16000, layout="mono"))


def _silence(seconds: float) -> Any:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, int(16000 * seconds)), np.int16), format="s16", layout="mono")
    frame.sample_rate = 16000
    return frame
