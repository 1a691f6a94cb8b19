"""One video on its way to the describer: its frames, or the reason why there are none, and what file it was."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from priors.frames import Frames, FramesRecipe, VideoError, sample_frames

_STAMP_BYTES = 65536
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoded:
    """A video as it was read; `frames` is None where it could not be, for the reason `error`."""

    frames: Frames | None
    error: str | None
    size: int | None
    """Of the file, in bytes."""
    stamp: str | None


def decode(path: Path | None, recipe: FramesRecipe) -> Decoded:
    """Sample the frames of a video. Never raises: whatever is wrong with the file is the reason in the result."""
    if path is None:
        return Decoded(None, "no video file: the annotations give no path, and the videos folder has none", None, None)
    size = stamp = None
    try:
        if path.is_file():
            size, stamp = path.stat().st_size, video_stamp(path)
        frames = sample_frames(path, count=recipe.count, max_side=recipe.max_side, reader=recipe.reader)
    except VideoError as error:
        return Decoded(None, error.why, size, stamp)
    except Exception as error:  # a broken file must not stop the others, whatever the libraries make of it
        _log.warning("%s: %s: %s", path, type(error).__name__, error)
        return Decoded(None, f"{type(error).__name__}: {error}"[:300], size, stamp)
    return Decoded(frames, None, size, stamp)


def video_stamp(path: Path) -> str:
    """A cheap content stamp: 16 hex digits of the sha256 of the file's size, first 64 KiB and last 64 KiB."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(str(size).encode() + file.read(_STAMP_BYTES))
        file.seek(max(0, size - _STAMP_BYTES))
        digest.update(file.read())
    return digest.hexdigest()[:16]
