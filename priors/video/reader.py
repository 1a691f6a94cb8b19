"""Reader: an open video, read with PyAV in presentation order."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from priors.video.container import VideoError, check_size, clock, declared_end, open_pictures, packets, scanned_end

_SEEK_GAP = 2.0  # seconds; below this, decoding on is cheaper than seeking
_BACKS = (0.0, 1.0, 12.0, 60.0)  # seconds by which a seek aims earlier if it ends up too late
_FULL_SECONDS = 0.5  # so long before the requested time every frame is decoded; earlier, only reference frames
_SPARING_CODECS = ("h264",)  # whose frames say whether others need them; in HEVC higher layers still may
_BAD_PACKETS = 8
_TRUNCATED = 0.9  # a file is truncated if less than this share of its declared duration can be decoded ...
_TRUNCATED_SECONDS = 0.5  # ... and more than this is missing


class Shown(NamedTuple):
    """A decoded frame with the interval in which it is shown, in seconds."""

    frame: av.VideoFrame
    seconds: float
    until: float


class Reader:
    """An open video with a player's clock, which starts at the start of the container."""

    def __init__(self, path: Path, *, size: tuple[int, int] | None, max_side: int | None) -> None:
        self.path = path
        self.container, self.stream = open_pictures(path)
        try:
            self.tick, self.origin = clock(self.container, self.stream)
            declared = declared_end(self.container, self.stream, self.tick, self.origin)
            self.duration = declared if declared is not None else scanned_end(path) - float(self.origin)
        except BaseException:
            self.container.close()
            raise
        self.tolerance = min(0.5 * float(self.tick), 5e-4) + 1e-6  # Matroska rounds timestamps to milliseconds
        self.shown_size = (0, 0)
        self._scaler = VideoReformatter()  # shared by all frames: its tables cost more than scaling a small frame
        self._size, self._max_side = size, max_side
        self._bad = 0
        self._ended = False
        self._seekable = True
        self._gap = _SEEK_GAP  # beyond which a seek is tried where no index lists keyframes
        self._back = _BACKS[0]
        self._at_start = True  # decoding began at the start of the file, not at a seek
        self._sparing = self.stream.codec_context.name in _SPARING_CODECS
        self._full_from = -math.inf  # frames before this time may be dropped if they are no reference frames ...
        self._dropped = -math.inf  # ... and this is the time of the last one that may have been dropped
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
        """Timestamp of the first picture according to the header, in seconds."""
        return float((self.stream.start_time or 0) * self.tick - self.origin)

    def at(self, seconds: float) -> Shown:
        """The last frame shown at or before `seconds`, or the first one if the video starts later."""
        limit = seconds + self.tolerance
        if self._sparing:
            self._full_from = limit - _FULL_SECONDS
        if self._worth_a_seek(seconds):
            self._seek(seconds)
        self._arrive(limit)
        if self._dropped > self._seconds:
            # The requested frame may have been dropped: frames are far apart, or the file ends early.
            self._sparing = False
            self._full_from = -math.inf
            if not self._seek(seconds):
                self._restart()
            self._arrive(limit)
        if self._current is None:
            raise self._no_frame()
        return self._current

    def intervals(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Every frame in order, with the time until which it is shown."""
        for shown in self._queue:
            if self._current is not None:
                yield self._current.frame, shown.seconds
            self._current = shown
        if self._current is None:
            raise self._no_frame()
        yield self._current.frame, self._current.until

    def picture(self, frame: av.VideoFrame) -> np.ndarray:
        """The rotated frame as (h, w, 3) uint8; all pictures of a video get the size of its first."""
        check_size(self.path, frame.width, frame.height)
        turns = frame.rotation // 90 % 4  # counter-clockwise
        if self._size is None or self.shown_size == (0, 0):
            self.shown_size = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
            self._size = self._size or fit(self.shown_size, self._max_side)
        height, width = reversed(self._size) if turns % 2 else self._size
        return np.rot90(self._scaler.reformat(frame, width, height, "rgb24").to_ndarray(), turns)

    def _no_frame(self) -> VideoError:
        sized = self.stream.codec_context.width > 0
        detail = "" if sized else ": its pictures have no size, or a larger one than FFmpeg takes"
        return VideoError(self.path, f"no frame could be decoded{detail}")

    def check_end(self) -> bool:
        """True if the video is partial. Call this at the last frame. Raises VideoError if the video is truncated."""
        assert self._current is not None
        return self.falls_short(self._current.until) or self._bad > 0

    def falls_short(self, end: float) -> bool:
        """True if a video that ends at `end` seconds is a little too short. Raises VideoError if it is far too
        short."""
        missing = self.duration - end
        if missing > _TRUNCATED_SECONDS and end < _TRUNCATED * self.duration:
            raise VideoError(self.path, f"truncated: decoded {end:.1f} s of {self.duration:.1f} s")
        return missing > _TRUNCATED_SECONDS

    @property
    def _seconds(self) -> float:
        return self._current.seconds if self._current is not None else -math.inf

    def _worth_a_seek(self, seconds: float) -> bool:
        """Whether a keyframe is, or may be, between the current frame and `seconds`, which is not just ahead."""
        current = max(self._seconds, 0.0)
        if self._ended or not self._seekable or seconds - current <= _SEEK_GAP:
            return False
        entries = self.stream.index_entries
        keyframe = entries.search_timestamp(self._stamp(seconds)) if len(entries) else -1
        if keyframe >= 0 and entries[keyframe].timestamp > self._stamp(current):
            return True
        if keyframe >= 0 and entries[len(entries) - 1].timestamp >= self._stamp(seconds - _SEEK_GAP):
            return False
        return seconds - current > self._gap  # the index does not reach that far (yet), so a seek has to be tried

    def _stamp(self, seconds: float) -> int:
        return math.floor((Fraction(seconds) + self.origin) / self.tick)

    def _seek(self, seconds: float) -> bool:
        """Continue from a keyframe at or before `seconds`; False, and nothing is changed, if the file is not seekable.

        Seeks use decoding times or estimates, and may end up too late; then they are repeated with an earlier aim.
        """
        current, sought = max(self._seconds, 0.0), False
        for back in _BACKS[_BACKS.index(self._back) :]:
            try:
                if self._seekable:
                    self.container.seek(self._stamp(seconds - back), stream=self.stream)
            except av.error.FFmpegError:
                self._seekable = False  # decoding on reaches it, too
            if not self._seekable:
                return sought
            sought = True
            self._begin(at_start=False)
            self._next = next(self._queue, None)
            if self._next is not None and self._next.seconds <= seconds + self.tolerance:
                self._back = back
                break
        if self._next is not None and self._next.seconds <= current:  # no gain: keyframes are that far apart
            self._gap = max(self._gap, 2 * (seconds - self._next.seconds))
        return sought

    def _arrive(self, limit: float) -> None:
        self._advance(limit)
        if not self._at_start and (self._current is None or self._current.seconds > limit):
            # The seek ended up too late, or the file ends before that keyframe. Only its start can be reached for sure.
            self._restart()
            self._advance(limit)

    def _restart(self) -> None:
        self._queue.close()
        self.container.close()
        self.container, self.stream = open_pictures(self.path)
        self._begin(at_start=True)
        self._seekable = False

    def _begin(self, *, at_start: bool) -> None:
        self._queue = self._decode()
        self._current = self._next = None
        self._ended = False
        self._at_start = at_start
        self._dropped = -math.inf

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
        # AVI stores no presentation times, and those guessed for B-frames are out of order; decoding times are in
        # order, but delayed by B-frames.
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
        upcoming = packets(self.container, self.stream)
        self.stream.codec_context.skip_frame = "DEFAULT"
        while True:
            try:
                packet = next(upcoming, None)
            except MemoryError:
                raise
            except av.error.FFmpegError:
                self._bad += 1  # the readable part of the file ends here
                packet = None
            if packet is not None and self._sparing:
                self._spare(packet)
            try:
                yield from packet.decode() if packet is not None else self.stream.codec_context.decode(None)
            except av.error.EOFError:
                return
            except MemoryError:
                raise
            except av.error.FFmpegError as error:
                self._bad += 1
                if self._bad > _BAD_PACKETS:
                    raise VideoError(self.path, f"corrupt: more than {_BAD_PACKETS} bad packets ({error})") from error
            if packet is None:
                return

    def _spare(self, packet: av.Packet) -> None:
        """Let the decoder drop this frame if it is well before the requested time and no other frame needs it."""
        seconds = float(packet.pts * self.tick - self.origin) if packet.pts is not None else math.inf
        spare = seconds < self._full_from
        self.stream.codec_context.skip_frame = "NONREF" if spare else "DEFAULT"
        if spare:
            self._dropped = max(self._dropped, seconds)


def fit(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """(height, width) scaled down until the longer side is at most `max_side`; never up."""
    scale = min(1.0, max_side / max(size)) if max_side else 1.0
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def shrink(pictures: Sequence[UInt8[np.ndarray, "h w 3"]], max_side: int | None) -> UInt8[np.ndarray, "n h2 w2 3"]:
    """All pictures scaled down to the size that fits the first one, as one array."""
    height, width = fit((pictures[0].shape[0], pictures[0].shape[1]), max_side)
    frames = (av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures)
    return np.stack([frame.reformat(width, height).to_ndarray() for frame in frames])
