"""The libraries that decode, side by side: which frames they show, and what that costs.

`python -m benchmarks readers [--small]` writes videos of many kinds whose frames carry their numbers, takes samples
with every reader that loads here, and prints how many are right and the processor time. Then it streams copies of one
video through threads and through worker processes. --small writes videos of a tenth of the length.
"""

from __future__ import annotations

import argparse
import bisect
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast, get_args

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from cache.errors import CacheError
from priors.video.decode_pool import DecodePool, DecodeRecipe
from priors.video.decoding import Decoded, decode
from priors.video.frames import FramesRecipe, ReaderName, VideoError, require_reader, sample_frames
from tests.support.videos.videos import paint, read

os.environ.setdefault("SVT_LOG", "1")  # errors alone, of the encoder of AV1
SAMPLES = 16
_ZOOM = 6


@dataclass(frozen=True)
class Clip:
    """A video to write: frame k is shown at `times[k]`, or at k / fps."""

    name: str
    seconds: float
    codec: str = "libx264"
    fps: int = 25
    options: dict[str, str] = field(default_factory=dict)
    times: tuple[float, ...] = ()
    skipped: float = 0.0
    """Seconds at the start that an edit list hides."""
    rotation: int = 0

    def shown(self) -> list[float]:
        """When each frame is shown; below 0 where it is hidden."""
        times = self.times or [number / self.fps for number in range(round(self.seconds * self.fps))]
        return [time - self.skipped for time in times]


def clips(share: float) -> list[Clip]:
    """The kinds of videos; `share` of their full lengths."""
    minute = 60 * share
    rng = np.random.default_rng(0)
    uneven = (0.0, *np.cumsum(rng.uniform(1 / 60, 1 / 5, int(minute * 9))).round(3).tolist())
    usual = {"preset": "veryfast", "g": "250", "bf": "3"}
    return [
        Clip("h264.mp4", minute, options=usual),
        Clip("h264.mkv", minute, options=usual),
        Clip("h264.ts", minute, options=usual),
        Clip("open GOP.mp4", minute, options={"preset": "veryfast", "x264-params": "open-gop=1:keyint=50:bframes=3"}),
        Clip("uneven rate.mp4", minute, options=usual, times=uneven),
        Clip("uneven rate.mkv", minute, options=usual, times=uneven),
        Clip("edit list.mp4", minute, options=usual, skipped=2.04),
        Clip("rotated.mp4", minute, options=usual, rotation=90),
        Clip("hevc.mp4", minute, "libx265", options={"preset": "ultrafast", "x265-params": "log-level=none"}),
        Clip("vp9.webm", minute, "libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}),
        Clip("av1.mp4", minute, "libsvtav1", options={"preset": "10", "crf": "20", "svtav1-params": "enable-tf=0"}),
        Clip("mpeg4.avi", minute, "mpeg4", options={"bf": "2"}),
        Clip("26 minutes.mp4", 26 * minute, fps=10, options={**usual, "g": "100"}),
        Clip("10 minutes, 1 keyframe.mp4", 10 * minute, fps=10, options={**usual, "g": "100000"}),
        Clip("10 minutes, 1 keyframe.mkv", 10 * minute, fps=10, options={**usual, "g": "100000"}),
    ]


def write(clip: Clip, folder: Path) -> Path:
    """Write it, with some noise so that there is something to decode."""
    path = folder / clip.name
    grain = np.random.default_rng(1).integers(0, 12, (8, 64 * _ZOOM, 64 * _ZOOM, 3), np.uint8)
    tick = Fraction(1, 1000 if clip.times else clip.fps)
    hidden = {"avoid_negative_ts": "disabled", "use_editlist": "1"} if clip.skipped else {}
    with av.open(str(path), "w", options=hidden) as file:
        stream = cast(VideoStream, file.add_stream(clip.codec, rate=clip.fps, options=clip.options))
        stream.width = stream.height = 64 * _ZOOM
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = tick
        if clip.rotation:
            stream.set_display_rotation(clip.rotation)
        for number, seconds in enumerate(clip.shown()):
            picture = np.kron(paint(number) // 3 * 2, np.ones((_ZOOM, _ZOOM, 1), np.uint8)) + 20
            frame = av.VideoFrame.from_ndarray(picture + grain[number % 8], format="rgb24")
            frame.pts, frame.time_base = round((seconds + clip.skipped) / tick), tick
            for packet in stream.encode(frame):
                _mux(file, packet, clip.skipped)
        for packet in stream.encode():
            _mux(file, packet, clip.skipped)
    return path


def _mux(file: OutputContainer, packet: av.Packet, earlier: float) -> None:
    assert packet.pts is not None
    assert packet.dts is not None
    assert packet.time_base is not None
    shift = round(earlier / packet.time_base)
    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
    file.mux(packet)


def right(clip: Clip, path: Path, reader: ReaderName) -> tuple[int, float]:
    """How many of the samples are the frames of their times, and the processor time in seconds. Raises VideoError."""
    before = time.process_time()
    frames = sample_frames(path, count=SAMPLES, max_side=448, reader=reader)
    spent = time.process_time() - before
    times = clip.shown()
    wanted = [(index + 0.5) / SAMPLES * frames.duration for index in range(SAMPLES)]
    expected = [max(0, bisect.bisect_right(times, moment + 1e-3) - 1) for moment in wanted]
    numbers = [read(np.rot90(picture, -clip.rotation // 90)) for picture in frames.rgb]
    return sum(map(int.__eq__, numbers, expected)), spent


def everything(path: Path) -> float:
    """Processor time in seconds of decoding every frame, in one thread."""
    before = time.process_time()
    with av.open(str(path)) as file:
        file.streams.video[0].codec_context.thread_count = 1
        for _ in file.decode(video=0):
            pass
    return time.process_time() - before


def compare(readers: Sequence[ReaderName], share: float, folder: Path) -> None:
    """Print the table of files and readers."""
    print(f"{SAMPLES} samples: how many are right, and processor time in ms")
    print(f"{'':<28}" + "".join(f"{reader:>20}" for reader in readers) + f"{'every frame':>14}")
    for clip in clips(share):
        path = write(clip, folder)
        cells = []
        for reader in readers:
            try:
                count, spent = right(clip, path, reader)
                cells.append(f"{count:>2} of {SAMPLES}{1000 * spent:>9.0f}")
            except VideoError as error:
                cells.append("refused" if "use frames.reader" in error.why else "fails")
        print(f"{clip.name:<28}" + "".join(f"{cell:>20}" for cell in cells) + f"{1000 * everything(path):>14.0f}")
        path.unlink()


def compare_pools(path: Path, copies: int) -> None:
    """Print how fast threads and processes decode copies of one video."""
    recipe = FramesRecipe(count=SAMPLES)

    def threads(items: Iterable[tuple[int, Path]]) -> Iterator[tuple[int, Decoded]]:
        with ThreadPoolExecutor(2) as pool:
            yield from enumerate(pool.map(lambda item: decode(item[1], recipe), items))

    def processes(items: Iterable[tuple[int, Path]]) -> Iterator[tuple[int, Decoded]]:
        with DecodePool(recipe, DecodeRecipe(workers=2)) as pool:
            yield from pool.stream(items)

    ways: dict[str, Callable[[Iterable[tuple[int, Path]]], Iterator[tuple[int, Decoded]]]] = {
        "two threads of this process": threads,
        "two worker processes, with their start": processes,
    }
    print(f"\n{copies} videos ({path.name}, {SAMPLES} frames each)")
    for name, way in ways.items():
        before, spent = time.monotonic(), _processor_seconds()
        megabytes = sum(
            found.frames.rgb.nbytes / 1e6 for _, found in way((k, path) for k in range(copies)) if found.frames
        )
        seconds = time.monotonic() - before
        print(
            f"{name:<42}{copies / seconds:>7.1f} videos/s{megabytes / seconds:>8.0f} MB/s"
            f"{_processor_seconds() - spent:>8.1f} s of processor time"
        )


def _processor_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _loading() -> list[ReaderName]:
    readers: list[ReaderName] = []
    for name in get_args(ReaderName):
        try:
            require_reader(FramesRecipe(reader=name))
            readers.append(name)
        except CacheError as error:
            print(str(error).splitlines()[0])
    return readers


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="a tenth of the lengths")
    share = 0.1 if parser.parse_args().small else 1.0
    with tempfile.TemporaryDirectory() as folder:
        compare(_loading(), share, Path(folder))
        compare_pools(
            write(Clip("h264.mp4", 20.0, options={"preset": "veryfast"}), Path(folder)), max(12, round(60 * share))
        )


if __name__ == "__main__":
    main()
