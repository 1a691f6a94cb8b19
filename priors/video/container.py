"""Opens a video file with PyAV: checks what it is, its clock, and its end according to the header."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import av.error
from av.stream import Disposition

from cache.errors import UserError

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


def open_pictures(path: Path) -> tuple[InputContainer, VideoStream]:
    """The container and its first video stream. Raises VideoError, without blocking, for anything but a video file."""
    container = _open(path)
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


def _open(path: Path) -> InputContainer:
    file = _open_file(path)
    try:
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
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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


def declared_end(container: InputContainer, stream: VideoStream, tick: Fraction, origin: Fraction) -> float | None:
    """End of the video according to its header, in seconds; None if the header does not say."""
    ends = []
    if stream.duration:
        ends.append(float(((stream.start_time or 0) + stream.duration) * tick - origin))
    elif tag := stream.metadata.get("DURATION"):  # Matroska
        with contextlib.suppress(ValueError):
            hours, minutes, rest = tag.split(":")
            ends.append(int(hours) * 3600 + int(minutes) * 60 + float(rest) - float(origin))
    if container.duration:  # less than the stream's where an edit list cuts it, more where the sound is longer
        ends.append(container.duration / av.time_base)
    positive = [end for end in ends if end > 0]
    return min(positive) if positive else None


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


def scanned_end(path: Path) -> float:
    """End of the last packet, in seconds, without decoding."""
    end, seen = Fraction(0), False
    with _open(path) as container:
        try:
            for packet in packets(container, _best(path, container)):
                seen = seen or packet.size > 0
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, (packet.pts + (packet.duration or 1)) * packet.time_base)
        except av.error.FFmpegError:
            pass  # the readable part ends here
    if end <= 0:
        raise VideoError(path, "its frames carry no time stamps" if seen else "no frame could be decoded")
    return float(end)
