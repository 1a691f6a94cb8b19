"""Reader: an open recording, read with PyAV in presentation order."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error

from priors.video.container import VideoError, clock, declared_ends, open_pictures, packets
from priors.video.recordings import Part, layout
from priors.video.timeline import BROADCAST, Timeline, last_packet, may_start_again, scanned_end

_SEEK_GAP = 2.0  # seconds; below this, decoding on is cheaper than seeking
_BACKS = (0.0, 1.0, 12.0, 60.0)  # seconds by which a seek aims earlier if it ends up too late
_FULL_SECONDS = 0.5  # so long before the requested time every frame is decoded; earlier, only reference frames
_SPARING_CODECS = ("h264",)  # whose frames say whether others need them; in HEVC higher layers still may
_BAD_PACKETS = 8
_TRUNCATED = 0.9  # a file is truncated if less than this share of its declared duration can be decoded
_MISSING_SECONDS = 0.5  # by which headers of intact files may be wrong


class Shown(NamedTuple):
    """A decoded frame with the interval in which it is shown, in seconds."""

    frame: av.VideoFrame
    seconds: float
    until: float


class Reader:
    """An open recording with a player's clock, which starts at the start of the container."""

    def __init__(self, path: Path, part: Part | None = None) -> None:
        self.path, self.part = path, part
        self.container, self.stream = open_pictures(path, part)
        try:
            self._broadcast = self.container.format.name in BROADCAST
            self.tick, self.origin = clock(self.container, self.stream)
            self._measure()
        except BaseException:
            self.container.close()
            raise
        self.tolerance = min(0.5 * float(self.tick), 5e-4) + 1e-6  # Matroska rounds timestamps to milliseconds
        self.read_to = 0
        """Where in the file, in bytes, the last packet but one begins; the last may be what follows, misread."""
        self._last_byte = 0
        self.bad = 0
        """Packets that could not be decoded."""
        self._ended = False
        self._gap = _SEEK_GAP  # beyond which a seek is tried where no index lists keyframes
        self._back = _BACKS[0]
        self._at_start = True  # decoding began at the start of the file, not at a seek
        self._sparing = self.stream.codec_context.name in _SPARING_CODECS
        self._full_from = -math.inf  # frames before this time may be dropped if they are no reference frames ...
        self._dropped = -math.inf  # ... and this is the time of the last one that may have been dropped
        self._timeline = Timeline(self.tick, broadcast=self._broadcast)
        self._queue = self._decode()
        self._current: Shown | None = None
        self._next: Shown | None = None

    def _measure(self) -> None:
        """Where it ends by its header; by its packets where the header is silent or cannot know."""
        own, all_of_it = declared_ends(self.container, self.stream, self.tick, self.origin)
        ends = [end for end in (own, all_of_it) if end is not None]
        self.has_own_length = own is not None
        """Whether the header tells of the pictures by themselves, rather than of pictures and sound."""
        self._seekable = True
        if self._broadcast and may_start_again(self.container, self.stream, self.path.stat().st_size):
            self._seekable = False  # by time, of which each stands there twice
            ends = []
        self.duration = min(ends) if ends else scanned_end(self.path, self.part) - float(self.origin)

    def close(self) -> None:
        """Give back decoder and file."""
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

    def _no_frame(self) -> VideoError:
        sized = self.stream.codec_context.width > 0
        detail = "" if sized else ": its pictures have no size, or a larger one than FFmpeg takes"
        return VideoError(self.path, f"no frame could be decoded{detail}")

    def finish(self) -> float:
        """Decode on to the end of the file, and say when its last picture ends, in seconds."""
        self.at(self.duration)
        self._advance(math.inf)
        if self._timeline.breaks and self._seekable:  # times that start again, met after a seek: ends cannot be told
            return scanned_end(self.path, self.part) - float(self.origin)
        assert self._current is not None
        return self._current.until

    def settle(self, end: float) -> tuple[bool, str]:
        """Take the end of the last picture for the duration where the header is wrong about it.

        Returns whether the duration was changed, and what is odd, if anything. Raises VideoError if the file is cut
        short.
        """
        missing = self.duration - end
        if self._timeline.breaks:
            self._seekable = False
        if abs(missing) <= _MISSING_SECONDS:
            return False, ""
        declared, odd = self.duration, ""
        if missing > 0 and not self._sound_is_longer(end):
            if not layout(self.path, self.container.format.name).whole:
                if end < _TRUNCATED * declared:
                    raise VideoError(self.path, f"truncated: decoded {end:.1f} s of {declared:.1f} s")
                return False, f"decoded {end:.1f} s of {declared:.1f} s"
            odd = f"its header says {declared:.1f} s, its pictures end at {end:.1f} s"
        self.duration = end
        return True, odd

    def _sound_is_longer(self, end: float) -> bool:
        """Whether the header speaks of the sound, which is there to its end."""
        if self.has_own_length:
            return False
        last, _ = last_packet(self.path, self.part, self.origin)
        return last > end and self.duration - last <= _MISSING_SECONDS

    def rewind(self) -> None:
        """Begin again at the start of the file."""
        self._queue.close()
        self.container.close()
        self.container, self.stream = open_pictures(self.path, self.part)
        self._begin(at_start=True)

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
        self.rewind()
        self._seekable = False

    def _begin(self, *, at_start: bool) -> None:
        self._timeline = Timeline(self.tick, broadcast=self._broadcast)
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
        upcoming = self._timeline(packets(self.container, self.stream))
        self.stream.codec_context.skip_frame = "DEFAULT"
        while True:
            try:
                packet = next(upcoming, None)
            except MemoryError:
                raise
            except av.error.FFmpegError:
                self.bad += 1  # the readable part of the file ends here
                packet = None
            if packet is not None and packet.pos is not None and packet.pos > self._last_byte:
                self.read_to, self._last_byte = self._last_byte, packet.pos
            if packet is not None and self._sparing:
                self._spare(packet)
            try:
                yield from packet.decode() if packet is not None else self.stream.codec_context.decode(None)
            except av.error.EOFError:
                return
            except MemoryError:
                raise
            except av.error.FFmpegError as error:
                self.bad += 1
                if self.bad > _BAD_PACKETS:
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
