"""Thumbnails of the frames that a describer saw, for HTML pages."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from priors.video.frames import sample_frames


@dataclass(frozen=True)
class Thumbnails:
    """Thumbnails of one video in temporal order."""

    jpegs: tuple[bytes, ...]
    seconds: tuple[float, ...]
    """Timestamp of each, in seconds."""
    duration: float
    """Duration of the video in seconds."""


def thumbnails(path: Path, *, count: int, max_side: int = 176) -> Thumbnails:
    """JPEGs of the `count` frames that `sample_frames` takes, their longer side at most `max_side` pixels.

    Raises VideoError if the video cannot be read.
    """
    frames = sample_frames(path, count=count, max_side=max_side)
    return Thumbnails(tuple(map(jpeg, frames.rgb)), tuple(frames.seconds.tolist()), frames.duration)


def jpeg(rgb: UInt8[np.ndarray, "h w 3"], *, quality: int = 78) -> bytes:
    """One picture as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
