"""A file as one video, whether it holds one recording or several that were joined."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av

from priors.video.container import VideoError
from priors.video.reader import Reader, Shown
from priors.video.recordings import layout, next_recordings, parts_of
from priors.video.timeline import BROADCAST, last_packet

_WALKED = ("mov", "matroska", "avi", "asf")  # formats that state where they end
_UNREAD = 0.1  # of a transport stream, whose streams may get other numbers on the way, which FFmpeg does not follow


class Video:
    """Recordings one after the other on one clock. Raises VideoError if the first cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._odd: dict[str, None] = {}
        self._readers = [Reader(path)]
        self._size = path.stat().st_size
        self._format = self._readers[0].container.format.name
        if self._format.split(",")[0] in _WALKED:
            self._split(layout(path, self._format).starts)

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.close()

    @property
    def duration(self) -> float:
        """In seconds: by the header as long as nothing else is known."""
        return sum(reader.duration for reader in self._readers)

    @property
    def tolerance(self) -> float:
        """Seconds by which time stamps may be rounded."""
        return self._readers[0].tolerance

    @property
    def odd(self) -> str | None:
        """Why the video is partial; None if it is not, as far as it was read."""
        return "; ".join(self._odd) or None

    def only_reader(self, name: str) -> Reader:
        """For the reader `name`, which reads one recording. Raises VideoError if there are several."""
        if len(self._readers) > 1 or self._format in BROADCAST:
            kind = "transport streams" if len(self._readers) == 1 else "recordings joined in one file"
            raise VideoError(self.path, f"{name}: wrong with {kind}; use frames.reader pyav")
        return self._readers[0]

    def at(self, seconds: float) -> Shown:
        """The last frame shown at or before `seconds`, or the first one if the video starts later."""
        start = 0.0
        for reader in self._readers[:-1]:
            if seconds < start + reader.duration:
                return _later(reader.at(seconds - start), start)
            start += reader.duration
        return _later(self._readers[-1].at(max(0.0, seconds - start)), start)

    def intervals(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Every frame in order, with the time until which it is shown. Raises VideoError at the end of what is cut."""
        start, done = 0.0, 0
        while done < len(self._readers):
            reader, end = self._readers[done], 0.0
            for frame, end in reader.intervals():
                yield frame, start + end
            self._settle(reader, end)
            start, done = start + end, done + 1
            if done == len(self._readers):
                self._look_behind()

    def settle(self, end: float | None = None) -> bool:
        """Look whether the video ends where it was taken to end; True if not, and `duration` is right from now on.

        `end` is where another reader found the last picture to end. Raises VideoError if the file is cut short.
        """
        changed = [self._settle(reader, reader.finish() if end is None else end) for reader in self._readers]
        more = end is None and self._look_behind()
        if any(changed) or more:
            for reader in self._readers:
                reader.rewind()
        return any(changed) or more

    def _settle(self, reader: Reader, end: float) -> bool:
        changed, odd = reader.settle(end)
        if reader.bad:
            self._note(f"{reader.bad} damaged packets")
        if odd:
            self._note(odd)
        if (grown := self.path.stat().st_size) != self._size:
            self._note(f"changed while it was read, from {self._size} to {grown} bytes")
        return changed

    def _look_behind(self) -> bool:
        """Find what lies behind the last picture; True if it is a recording, which is read from now on."""
        last = self._readers[-1]
        after = last.read_to + (last.part.start if last.part else 0)
        if self._format == "mpegts":
            unread = (1 - _UNREAD) * self._size
            if after < unread and last_packet(self.path, None, last.origin)[1] < unread:
                self._note(f"nothing is read after byte {after} of {self._size}: other streams may begin there")
        elif self._format.split(",")[0] not in _WALKED and last.part is None:
            return self._split((0, *next_recordings(self.path, after)))
        return False

    def _split(self, starts: tuple[int, ...]) -> bool:
        """Read the recordings that begin at these bytes, those alone that can be opened."""
        parts = parts_of(starts, self._size)
        if len(parts) < 2:
            return False
        for reader in self._readers:
            reader.close()
        self._odd.clear()  # of what was read beyond the first
        self._readers = [Reader(self.path, parts[0])]
        for part in parts[1:]:
            try:
                self._readers.append(Reader(self.path, part))
            except VideoError as error:
                self._note(f"the recording that begins at byte {part.start} is not read: {error.why}")
        if len(parts) < len(starts):
            self._note(f"holds {len(starts)} recordings, of which {len(parts)} are read")
        return len(self._readers) > 1

    def _note(self, odd: str) -> None:
        self._odd[odd] = None


def _later(shown: Shown, start: float) -> Shown:
    return Shown(shown.frame, shown.seconds + start, shown.until + start)
