"""Time stamps that start again in the middle of a file, made to go on: recordings of transport and program streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error

from priors.video.container import VideoError, open_pictures, packets
from priors.video.recordings import Part

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

BROADCAST = ("mpegts", "mpeg")
"""Formats, by FFmpeg's names, that are cut and joined at any place: their header tells nothing of what follows."""

_BACK = Fraction(1, 5)  # seconds that decoding times may fall back
_BACK_SHOWN = Fraction(2)  # the same of times of showing, which are out of order
_LATE = 1  # second from the packet before a break to the one after it, where that is none
_FORWARD = 10  # seconds ahead that are another clock, in the formats above, as they are to the program ffmpeg
_SMALL = 2 << 20  # bytes of a file that is read once to know its times
_PROBES = 64  # places of a larger one that are looked at


class Timeline:
    """Hands packets on with time stamps that never start again; counts how often they did.

    Where they fall back, or in a broadcast format leap ahead, another recording begins: it is shown after what was
    there before. Not so where a single packet was ahead of the others or behind them, as where packets have changed
    places.
    """

    def __init__(self, tick: Fraction, *, broadcast: bool) -> None:
        self.breaks = 0
        self._tick, self._broadcast = tick, broadcast
        self._shift = 0
        self._first: int | None = None  # decoding time as the file has it
        self._last: int | None = None
        self._before: int | None = None  # that of the packet before the last
        self._end = 0  # of what was shown so far, on the continued clock
        self._left: tuple[int, int, int] | None = None  # decoding time, shift and end before the last break

    def __call__(self, found: Iterable[av.Packet]) -> Iterator[av.Packet]:
        """The packets, of which those of later recordings are changed."""
        for packet in found:
            shown = packet.pts if packet.pts is not None else packet.dts
            if shown is None or not packet.size:
                yield packet
                continue
            left, self._left = self._left, None
            if left is not None and packet.dts is not None and 0 < (packet.dts - left[0]) * self._tick < _LATE:
                self.breaks -= 1  # it goes on where it was: the last packet was late
                self._last, self._shift, self._end = left
            elif self._starts_again(packet, shown):
                self.breaks += 1
                # A recording that begins does not begin later than the first one.
                if self._last is not None and packet.dts is not None and packet.dts > (self._first or 0):
                    self._left = self._last, self._shift, self._end
                self._shift, self._last = self._end - shown, None
            if packet.dts is not None:
                self._before, self._last = self._last, packet.dts
                self._first = packet.dts if self._first is None else self._first
            self._end = max(self._end, shown + self._shift + (packet.duration or 1))
            if self._shift:
                packet.pts = None if packet.pts is None else packet.pts + self._shift
                packet.dts = None if packet.dts is None else packet.dts + self._shift
            yield packet

    def _starts_again(self, packet: av.Packet, shown: int) -> bool:
        if self._last is None:
            return False
        if packet.dts is None:
            return (shown - self._last) * self._tick < -_BACK_SHOWN
        seconds = (packet.dts - self._last) * self._tick
        if seconds < 0 and self._before is not None and packet.dts > self._before:
            return False
        return seconds < -_BACK or (self._broadcast and seconds > _FORWARD)


def may_start_again(container: InputContainer, stream: VideoStream, size: int) -> bool:
    """Whether the times of a broadcast file of `size` bytes seem to start again.

    They are looked up at some places; a small file is read once. What a recording shorter than the distance of two
    places hides shows when it is read. Leaves the file at its start.
    """
    tick = stream.time_base or Fraction(1, 90000)
    try:
        if size <= _SMALL:
            timeline = Timeline(tick, broadcast=True)
            for _ in timeline(packets(container, stream)):
                pass
            return timeline.breaks > 0
        found = [_time_at(container, stream, size * share // _PROBES) for share in range(_PROBES)]
        times = [time for time in found if time is not None]
        steps = [float((after - before) * tick) for before, after in pairwise(times)]
        usual = sorted(steps)[len(steps) // 2] if steps else 0.0
        return any(step < -float(_BACK) or step > 10 * usual + _FORWARD for step in steps)
    except av.error.FFmpegError:
        return False  # whoever reads the file meets the same
    finally:
        container.seek(0, unsupported_byte_offset=True)


def _time_at(container: InputContainer, stream: VideoStream, position: int) -> int | None:
    """Decoding time of the first packet after so many bytes."""
    container.seek(position, unsupported_byte_offset=True)
    return next((packet.dts for packet in packets(container, stream) if packet.dts is not None), None)


def scanned_end(path: Path, part: Part | None = None) -> float:
    """Where the last packet ends, in seconds, without decoding. Raises VideoError where no packet has a time."""
    container, stream = open_pictures(path, part)
    end, seen = Fraction(0), False
    with container:
        tick = stream.time_base or Fraction(1, av.time_base)
        timeline = Timeline(tick, broadcast=container.format.name in BROADCAST)
        try:
            for packet in timeline(packets(container, stream)):
                seen = seen or packet.size > 0
                if packet.pts is not None:
                    end = max(end, (packet.pts + (packet.duration or 1)) * tick)
        except av.error.FFmpegError:
            pass  # the readable part ends here
    if end <= 0:
        raise VideoError(path, "its frames carry no time stamps" if seen else "no frame could be decoded")
    return float(end)


def last_packet(path: Path, part: Part | None, origin: Fraction) -> tuple[float, int]:
    """Where the last packet of any stream ends, in seconds of a clock that begins at `origin`, and where it lies."""
    end, position = Fraction(0), 0
    with open_pictures(path, part)[0] as container:
        try:
            for packet in container.demux():
                position = max(position, packet.pos or 0)
                if packet.pts is not None and packet.size:
                    end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
        except (av.error.FFmpegError, IndexError):
            pass
    return float(end - origin), position
