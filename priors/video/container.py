"""Opens a video file with PyAV: checks what it is, its clock, and its end according to the header."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import av
import av.error
from av.stream import Disposition

from cache.errors import UserError
from priors.video.recordings import Part, PartFile

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MAX_PIXELS = 8192 * 8192
"""Largest picture. A header with more pixels is damaged or an attack: a single frame would take gigabytes."""


class VideoError(UserError):
    """A video that cannot be used: `path`, and `why`."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


def open_pictures(path: Path, part: Part | None = None) -> tuple[InputContainer, VideoStream]:
    """The container and its first video stream, of one recording where a file holds several.

    Raises VideoError, without blocking, for anything but a video file.
    """
    container = _open(path, part)
    try:
        stream = _best(path, container)
        context = stream.codec_context
        if context is None:
            raise VideoError(path, "its video codec is unknown")
        check_size(path, context.width, context.height)
        context.options = {"max_pixels": str(MAX_PIXELS)}  # for pictures that are larger than the header says
        context.thread_count = 1  # callers decode several files at once
    except BaseException:
        container.close()
        raise
    return container, stream


def _best(path: Path, container: InputContainer) -> VideoStream:
    if not len(container.streams):
        raise VideoError(path, "not a readable video: no streams; perhaps the file ends before its index")
    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:  # the cover of an album
        raise VideoError(path, "no video stream (audio only)" if container.streams.audio else "no video stream")
    return cast("VideoStream", stream)


def check_size(path: Path, width: int, height: int) -> None:
    """Raise VideoError if a picture of this size must not be decoded."""
    if width * height > MAX_PIXELS:
        raise VideoError(path, f"{width}x{height} pixels are more than {MAX_PIXELS}: a damaged header, or no video")


def _open(path: Path, part: Part | None = None) -> InputContainer:
    file = _open_file(path)
    try:
        if part is not None:
            piece = PartFile(os.dup(file), part)
            options = {"protocol_whitelist": "fd"}
            return av.open(cast("BinaryIO", piece), "r", container_options=options, metadata_errors="replace")
        # By its descriptor (which FFmpeg duplicates), not its name: a disguised playlist cannot refer to other files or
        # addresses, and names may hold any character.
        options = {"fd": str(file), "protocol_whitelist": "fd"}
        return av.open("fd:", container_options=options, metadata_errors="replace")
    except MemoryError:
        raise
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(path, f"not a readable video: {getattr(error, 'strerror', None) or error}") from error
    finally:
        os.close(file)


def _open_file(path: Path) -> int:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise VideoError(path, "a folder, not a file")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe or a device may block forever
            raise VideoError(path, "not a regular file")
        if status.st_size == 0:
            raise VideoError(path, "empty file (0 bytes)")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # should a pipe have taken its place meanwhile
    except FileNotFoundError as error:
        raise VideoError(path, "a link to no file" if path.is_symlink() else "no such file") from error
    except (OSError, ValueError) as error:
        raise VideoError(path, f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error


def clock(container: InputContainer, stream: VideoStream) -> tuple[Fraction, Fraction]:
    """Seconds per tick, and the timestamp in seconds that a player shows as 0."""
    tick = stream.time_base or Fraction(1, av.time_base)
    begin = (stream.start_time or 0) * tick
    if container.start_time is None:
        return tick, begin
    origin = Fraction(container.start_time, av.time_base)
    # The container's start is rounded to microseconds: where it means the stream's own start, take that.
    return tick, begin if abs(begin - origin) < Fraction(1, 100_000) else origin


def declared_ends(
    container: InputContainer, stream: VideoStream, tick: Fraction, origin: Fraction
) -> tuple[float | None, float | None]:
    """End of the pictures according to their own header, and that of the whole container, in seconds.

    None if the header does not say. The container may end later, if its sound is longer, or earlier, if an edit list
    cuts the pictures.
    """
    own = None
    if stream.duration:
        own = float(((stream.start_time or 0) + stream.duration) * tick - origin)
    elif tag := stream.metadata.get("DURATION"):  # Matroska
        with contextlib.suppress(ValueError):
            hours, minutes, rest = tag.split(":")
            own = int(hours) * 3600 + int(minutes) * 60 + float(rest) - float(origin)
    all_of_it = container.duration / av.time_base if container.duration else None
    return own if own and own > 0 else None, all_of_it if all_of_it and all_of_it > 0 else None


def packets(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
    """The packets of a stream in file order, and last the empty one that flushes the decoder.

    Raises an FFmpegError where the readable part of the file ends.
    """
    while True:
        try:
            yield from container.demux(stream)
            return
        except IndexError:  # damaged data announces a stream that PyAV does not know
            continue
