"""An open video, read with PyAV in the order of time: what `frames` samples and streams from."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_SEEK_GAP = 2.0  # seconds; below this, decoding on is cheaper than seeking
_BAD_PACKETS = 8
_TRUNCATED = 0.9  # a file is truncated if less than this part of its declared duration decodes ...
_TRUNCATED_SECONDS = 0.5  # ... and more than this is missing


class VideoError(Exception):
    """A video that cannot be used: `path`, and `why`."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


class Shown(NamedTuple):
    """A decoded frame with the interval in which it is shown, in seconds."""

    frame: av.VideoFrame
    seconds: float
    until: float


class Reader:
    """An open video whose clock starts where a player's does: at the start of the container."""

    def __init__(self, path: Path, *, size: tuple[int, int] | None, max_side: int | None) -> None:
        self.path = path
        self.container, self.stream = _open_pictures(path)
        try:
            self.tick, self.origin = _clock(self.container, self.stream)
            declared = _declared(self.container, self.stream, self.tick, self.origin)
            self.duration = declared if declared is not None else _scan(path) - float(self.origin)
        except BaseException:
            self.container.close()
            raise
        self.tolerance = min(0.5 * float(self.tick), 5e-4) + 1e-6  # Matroska rounds time stamps to milliseconds
        self.shown_size = (0, 0)
        self._scaler = VideoReformatter()  # one for all frames: making its tables costs more than scaling a small frame
        self._size, self._max_side = size, max_side
        self._bad = 0
        self._ended = False
        self._seekable = True
        self._queue = self._decode()
        self._current: Shown | None = None
        self._next: Shown | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.close()
        self.container.close()

    @property
    def begin(self) -> float:
        """When the first picture is shown, by the header, in seconds."""
        return float((self.stream.start_time or 0) * self.tick - self.origin)

    def at(self, seconds: float) -> Shown:
        """The last frame shown at or before `seconds`, or the first one if the video starts later."""
        limit = seconds + self.tolerance
        position = self._current.seconds if self._current is not None else 0.0
        sought = False
        if not self._ended:
            if self._seekable and seconds - position > _SEEK_GAP and self._keyframe_between(position, seconds):
                sought = self._seek(seconds)
            self._advance(limit)
        if sought and (self._current is None or self._current.seconds > limit):
            # The seek came down too late, or the file ends before that keyframe. Only its start is sure to be found.
            self._restart()
            self._advance(limit)
        if self._current is None:
            raise VideoError(self.path, "no frame could be decoded")
        return self._current

    def intervals(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Every frame in order, with the time until which it is shown."""
        for shown in self._queue:
            if self._current is not None:
                yield self._current.frame, shown.seconds
            self._current = shown
        if self._current is None:
            raise VideoError(self.path, "no frame could be decoded")
        yield self._current.frame, self._current.until

    def picture(self, frame: av.VideoFrame) -> np.ndarray:
        """The frame upright, as (h, w, 3) uint8; all pictures of a video get the size of its first."""
        turns = frame.rotation // 90 % 4  # counter-clockwise
        if self._size is None or self.shown_size == (0, 0):
            self.shown_size = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
            self._size = self._size or fit(self.shown_size, self._max_side)
        height, width = reversed(self._size) if turns % 2 else self._size
        return np.rot90(self._scaler.reformat(frame, width, height, "rgb24").to_ndarray(), turns)

    def check_end(self) -> bool:
        """True if the video is partial. To be called at its last frame; raises VideoError if it is truncated."""
        assert self._current is not None
        return self.falls_short(self._current.until) or self._bad > 0

    def falls_short(self, end: float) -> bool:
        """True if a video that ends at `end` seconds misses a little. Raises VideoError if it misses much."""
        missing = self.duration - end
        if missing > _TRUNCATED_SECONDS and end < _TRUNCATED * self.duration:
            raise VideoError(self.path, f"truncated: decoded {end:.1f} s of {self.duration:.1f} s")
        return missing > _TRUNCATED_SECONDS

    def _keyframe_between(self, start: float, end: float) -> bool:
        entries = self.stream.index_entries
        found = entries.search_timestamp(self._stamp(end)) if len(entries) else -1
        if found < 0 or entries[len(entries) - 1].timestamp < self._stamp(end):
            return True  # the index does not reach that far (yet): only a seek can tell
        return entries[found].timestamp > self._stamp(start)

    def _stamp(self, seconds: float) -> int:
        return math.floor((Fraction(seconds) + self.origin) / self.tick)

    def _seek(self, seconds: float) -> bool:
        try:
            self.container.seek(self._stamp(seconds), stream=self.stream)
        except av.error.FFmpegError:
            self._seekable = False  # decoding on gets there, too
            return False
        self._queue = self._decode()
        self._current = self._next = None
        return True

    def _restart(self) -> None:
        self._queue.close()
        self.container.close()
        self.container, self.stream = _open_pictures(self.path)
        self._queue = self._decode()
        self._current = self._next = None
        self._ended = self._seekable = False

    def _advance(self, limit: float) -> None:
        while True:
            if self._next is None:
                self._next = next(self._queue, None)
            if self._next is None:
                self._ended = True
                return
            if self._current is not None and self._next.seconds > limit:
                return
            self._current, self._next = self._next, None

    def _decode(self) -> Generator[Shown, None, None]:
        rate = self.stream.average_rate or self.stream.guessed_rate
        usual = 1 / rate if rate else self.tick
        expected: Fraction | None = None
        # AVI stores no presentation times, and those guessed for B-frames are out of order; decoding times are not,
        # but come a frame late.
        is_avi = self.container.format.name == "avi"
        delay = int(self.stream.codec_context.has_b_frames)
        for frame in self._frames():
            stamp = frame.dts if frame.pts is None or is_avi else frame.pts
            if stamp is not None and is_avi:
                stamp -= delay
            time = stamp * self.tick - self.origin if stamp is not None else expected
            if time is None:
                raise VideoError(self.path, "its frames carry no time stamps")
            expected = time + (frame.duration * self.tick or usual)
            yield Shown(frame, float(time), float(expected))

    def _frames(self) -> Iterator[av.VideoFrame]:
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                self._bad += 1  # the readable part of the file ends here
                packet = None
            try:
                yield from packet.decode() if packet is not None else self.stream.codec_context.decode(None)
            except av.error.EOFError:
                return
            except av.error.FFmpegError as error:
                self._bad += 1
                if self._bad > _BAD_PACKETS:
                    raise VideoError(self.path, f"corrupt: more than {_BAD_PACKETS} bad packets ({error})") from error
            if packet is None:
                return


def _open(path: Path) -> InputContainer:
    if not path.is_file():
        raise VideoError(path, "no such file")
    if path.stat().st_size == 0:
        raise VideoError(path, "empty file (0 bytes)")
    try:
        # A playlist in disguise may name other files, but never fetches from the network.
        return av.open(str(path.absolute()), container_options={"protocol_whitelist": "file"})
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(path, f"not a readable video: {getattr(error, 'strerror', None) or error}") from error


def _open_pictures(path: Path) -> tuple[InputContainer, VideoStream]:
    container = _open(path)
    if not container.streams.video:
        why = "no video stream (audio only)" if container.streams.audio else "no video stream"
        container.close()
        raise VideoError(path, why)
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1  # callers decode several files at once
    return container, stream


def _clock(container: InputContainer, stream: VideoStream) -> tuple[Fraction, Fraction]:
    """Seconds a tick, and the time stamp in seconds that a player calls 0."""
    tick = stream.time_base or Fraction(1, av.time_base)
    begin = (stream.start_time or 0) * tick
    if container.start_time is None:
        return tick, begin
    origin = Fraction(container.start_time, av.time_base)
    # The container's start is rounded to microseconds: where it means the stream's own start, take that.
    return tick, begin if abs(begin - origin) < Fraction(1, 100_000) else origin


def _declared(container: InputContainer, stream: VideoStream, tick: Fraction, origin: Fraction) -> float | None:
    """Where the video ends by its header, in seconds; None if the header is silent."""
    ends = []
    if stream.duration:
        ends.append(float(((stream.start_time or 0) + stream.duration) * tick - origin))
    elif tag := stream.metadata.get("DURATION"):  # Matroska
        hours, minutes, rest = tag.split(":")
        ends.append(int(hours) * 3600 + int(minutes) * 60 + float(rest) - float(origin))
    if container.duration:  # less than the stream's where an edit list cuts it, more where the sound is longer
        ends.append(container.duration / av.time_base)
    positive = [end for end in ends if end > 0]
    return min(positive) if positive else None


def _scan(path: Path) -> float:
    """Where the last packet ends, in seconds, without decoding."""
    end = Fraction(0)
    with _open(path) as container:
        try:
            for packet in container.demux(container.streams.video[0]):
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, (packet.pts + (packet.duration or 1)) * packet.time_base)
        except av.error.FFmpegError:
            pass  # the readable part ends here
    if end <= 0:
        raise VideoError(path, "no frame could be decoded")
    return float(end)


def fit(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """(height, width) scaled down until the longer side is at most `max_side`; never up."""
    scale = min(1.0, max_side / max(size)) if max_side else 1.0
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width
