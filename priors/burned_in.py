"""A video with its segments drawn below the pictures: a bar for each class, a mark at the present, and what is on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from cache.detections import Detection
from cache.files.atomic import atomic_path
from priors.video.container import clock, open_pictures
from priors.video.joined import Video
from priors.video.pictures import Pictures

_TICK = Fraction(1, 90_000)
_MOST_CLASSES = 8
_KEPT_SOUND = ("aac", "mp3", "opus", "ac3", "eac3", "flac", "alac")
"""Codecs of sound that an .mp4 may hold, so that it is copied; sound of others is left out."""
_PAGE, _INK, _LANE, _BAR, _NOW = "#14181f", "#e8ecf1", "#2a313c", "#2f9e8f", "#ffffff"


class Strip:
    """What stands below the pictures, drawn once; each frame adds a mark and a line of text."""

    def __init__(self, detections: Sequence[Detection], *, width: int, duration: float) -> None:
        self.detections, self.duration = detections, max(duration, 1e-6)
        size = max(11, width // 40)
        self._font, self._row, self._pad = ImageFont.load_default(size), int(1.5 * size), size // 2
        best = {one.label: one.score for one in sorted(detections, key=lambda one: one.score)}
        self.classes = sorted(best, key=lambda label: -best[label])[:_MOST_CLASSES]
        height = 3 * self._pad + self._row + len(self.classes) * (self._row + size)
        self._picture = Image.new("RGB", (width, height + height % 2), _PAGE)
        self._lanes(ImageDraw.Draw(self._picture), size)

    def _lanes(self, draw: ImageDraw.ImageDraw, size: int) -> None:
        top = self._pad + self._row
        for label in self.classes:
            draw.text((self._pad, top), label, fill=_INK, font=self._font)
            top += self._row
            draw.rectangle((self._pad, top, self._picture.width - self._pad, top + size // 2), fill=_LANE)
            for one in self.detections:
                if one.label == label:
                    ends = self._x(one.start), top, max(self._x(one.end), self._x(one.start) + 1), top + size // 2
                    draw.rectangle(ends, fill=_BAR)
            top += size

    def _x(self, seconds: float) -> int:
        inside = self._picture.width - 2 * self._pad
        return self._pad + round(min(max(seconds / self.duration, 0.0), 1.0) * inside)

    def at(self, seconds: float) -> UInt8[np.ndarray, "h w 3"]:
        """The strip at a time: the classes that are on, with their scores, and a mark on the bars."""
        picture = self._picture.copy()
        draw = ImageDraw.Draw(picture)
        on = [f"{one.label} {one.score:.2f}" for one in self.detections if one.start <= seconds < one.end]
        text = f"{int(seconds // 60)}:{seconds % 60:04.1f}   {'   '.join(dict.fromkeys(on))}"
        draw.text((self._pad, self._pad // 2), text, fill=_INK, font=self._font)
        draw.line((self._x(seconds), self._pad + self._row, self._x(seconds), picture.height), fill=_NOW)
        return np.asarray(picture)


def burn_in(source: Path, target: Path, detections: Sequence[Detection]) -> None:
    """Write `source` as an .mp4 (H.264) with a strip of its segments below, frame by frame at its own times; sound is
    copied if an .mp4 may hold it. Memory does not grow with the length. Raises VideoError if it cannot be read."""
    with atomic_path(target) as unfinished, Video(source) as video, av.open(str(unfinished), "w") as out:
        _Writer(source, video, out, detections).write()


class _Writer:
    def __init__(self, source: Path, video: Video, out: OutputContainer, detections: Sequence[Detection]) -> None:
        self._source, self._video, self._out, self._detections = source, video, out, detections
        self._pictures = Pictures(source, size=None, max_side=None)

    def write(self) -> None:
        # its own reader: the one of the pictures may seek
        container, stream = open_pictures(self._source)
        with closing(container):
            _, origin = clock(container, stream)
            sound = next((one for one in container.streams.audio if one.codec_context.name in _KEPT_SOUND), None)
            copied = None if sound is None else self._out.add_stream_from_template(sound)
            self._pictures_and_sound(_sound(container, sound, origin), copied)

    def _pictures_and_sound(self, sound: Iterator[tuple[float, av.Packet]], copied: AudioStream | None) -> None:
        encoder = self._out.add_stream("libx264", rate=30, options={"crf": "23", "preset": "veryfast"})
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = encoder.codec_context.time_base = _TICK
        strip: Strip | None = None
        waiting = next(sound, None)
        start, last = 0.0, -1
        for frame, until in self._video.intervals():
            picture = self._pictures.of(frame)
            picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
            if strip is None:
                strip = Strip(self._detections, width=picture.shape[1], duration=self._video.duration)
            whole = np.ascontiguousarray(np.concatenate([picture, strip.at(start)]))
            if last < 0:
                encoder.height, encoder.width = whole.shape[:2]
            shown = av.VideoFrame.from_ndarray(whole, format="rgb24")
            last = max(round(start / _TICK), last + 1)
            shown.pts, shown.time_base = last, _TICK
            self._out.mux(encoder.encode(shown))
            while waiting is not None and waiting[0] <= until:
                waiting[1].stream = copied
                self._out.mux(waiting[1])
                waiting = next(sound, None)
            start = until
        self._out.mux(encoder.encode())


def _sound(
    container: InputContainer, stream: AudioStream | None, origin: Fraction
) -> Iterator[tuple[float, av.Packet]]:
    """Packets of sound with their times on the clock of the pictures, up to where they can be read."""
    if stream is None:
        return
    try:
        for packet in container.demux(stream):
            if packet.pts is None or packet.dts is None:
                continue
            tick = cast("Fraction", packet.time_base)
            shift = round(origin / tick)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if packet.pts >= 0:
                yield float(packet.pts * tick), packet
    except av.error.FFmpegError:
        return
