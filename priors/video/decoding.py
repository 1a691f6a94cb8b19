"""Decodes one video for the describer: its frames, or the reason of the failure, and the identity of its file."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from priors.video.frames import Frames, FramesRecipe, VideoError, sample_frames

_STAMP_BYTES = 65536
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoded:
    """A decoded video; `frames` is None if it failed, for the reason `error`."""

    frames: Frames | None
    error: str | None
    size: int | None
    """Size of the file in bytes."""
    stamp: str | None
    seconds: float = 0.0
    """Time that reading and decoding took."""


Decode = Callable[[Path | None, FramesRecipe], Decoded]


def decode(path: Path | None, recipe: FramesRecipe) -> Decoded:
    """Sample the frames of a video. Never raises: any problem with the file is the `error` of the result."""
    if path is None:
        return Decoded(None, "no video file: the annotations give no path, and the videos folder has none", None, None)
    started = time.monotonic()
    frames = error = None
    size, stamp = _identity(path)
    try:
        frames = sample_frames(path, count=recipe.count, max_side=recipe.max_side, reader=recipe.reader)
    except VideoError as problem:
        error = problem.why
    except MemoryError:
        error = "not enough memory to decode it (decode.worker_memory_gib)"
    except Exception as problem:  # libraries may raise anything for a broken file, which must not stop the others
        _log.warning("%s: %s: %s", path, type(problem).__name__, problem)
        error = f"{type(problem).__name__}: {problem}"[:300]
    return Decoded(frames, error, size, stamp, time.monotonic() - started)


def _identity(path: Path) -> tuple[int, str] | tuple[None, None]:
    try:
        # Opening a pipe or a device would block.
        return (path.stat().st_size, video_stamp(path)) if path.is_file() else (None, None)
    except (OSError, ValueError):
        return None, None  # the reader says why


def video_stamp(path: Path) -> str:
    """A cheap content stamp: 16 hex digits of the sha256 of the file's size, first 64 KiB and last 64 KiB."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(str(size).encode() + file.read(_STAMP_BYTES))
        file.seek(max(0, size - _STAMP_BYTES))
        digest.update(file.read())
    return digest.hexdigest()[:16]
