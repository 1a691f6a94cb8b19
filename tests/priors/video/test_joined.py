"""Length is what the pictures have: recordings joined in one file, and headers that are wrong or speak of the sound."""

import os
import struct
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

import priors.video.timeline
from priors.video.container import VideoError, packets
from priors.video.frames import Frames, sample_frames, stream_frames
from tests.support.videos.videos import SIDE, paint, read

_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


def _record(
    path: Path,
    numbers: range,
    *,
    codec: str = "libx264",
    fps: int = 10,
    sound: float = 0.0,
    container: dict[str, str] | None = None,
    start: float = 0.0,
    side: int = SIDE,
) -> Path:
    """Frames that carry `numbers`, the first at `start` seconds, beside `sound` seconds of silence."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream = cast(VideoStream, file.add_stream(codec, rate=fps, options={"g": "10"}))
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        audio = cast(AudioStream, file.add_stream("aac", rate=44100, layout="mono")) if sound else None
        for index, number in enumerate(numbers):
            picture = np.kron(paint(number), np.ones((side // SIDE, side // SIDE, 1), np.uint8))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index + round(start * fps), Fraction(1, fps)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        for index in range(int(sound * 10)) if audio is not None else ():
            assert audio is not None
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.int16), format="s16", layout="mono")
            silence.sample_rate, silence.pts, silence.time_base = 44100, index * 4410, Fraction(1, 44100)
            file.mux(audio.encode(silence))
        if audio is not None:
            file.mux(audio.encode())
    return path


def _join(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def _numbers(frames: Frames) -> list[int]:
    return [read(picture) for picture in frames.rgb]


def _streamed(path: Path, fps: float = 10) -> tuple[list[int], str | None]:
    chunks = list(stream_frames(path, fps=fps, size=(SIDE, SIDE)))
    return [number for chunk in chunks for number in _numbers(chunk)], chunks[-1].odd


_JOINED = [
    pytest.param("a.ts", "libx264", {}, id="transport stream"),
    pytest.param("a.m2ts", "libx264", {"mpegts_m2ts_mode": "1"}, id="transport stream of 192 bytes"),
    pytest.param("a.mkv", "libx264", {}, id="mkv"),
    pytest.param("live.mkv", "libx264", {"live": "1"}, id="mkv without sizes"),
    pytest.param("a.webm", "libvpx", {}, id="webm"),
    pytest.param("a.mp4", "libx264", {}, id="mp4"),
    pytest.param("front.mp4", "libx264", {"movflags": "faststart"}, id="mp4, index first"),
    pytest.param("fragments.mp4", "libx264", _FRAGMENTS, id="mp4 in fragments"),
    pytest.param("a.avi", "mpeg4", {}, id="avi"),
    pytest.param("a.flv", "libx264", {}, id="flv"),
    pytest.param("a.wmv", "wmv2", {}, id="wmv"),
    pytest.param("a.nut", "mpeg4", {}, id="a container of which nothing is known"),
]


@pytest.mark.parametrize(("name", "codec", "container"), _JOINED)
def test_joined_recordings_are_one_video(tmp_path, name, codec, container):
    """Samples and stream see all of it, in order, on one clock."""
    lengths = {0: 30, 100: 60, 200: 20}
    parts = [
        _record(tmp_path / f"{first}{name}", range(first, first + count), codec=codec, container=container)
        for first, count in lengths.items()
    ]
    whole = _join(tmp_path / name, *parts)
    expected = [number for first, count in lengths.items() for number in range(first, first + count)]
    numbers, odd = _streamed(whole)
    assert [number for number, _ in groupby(numbers)] == expected
    assert odd is None
    frames = sample_frames(whole, count=11)
    assert frames.duration == pytest.approx(11, abs=0.7)  # FLV counts the delay of B-frames in, in each part
    assert frames.odd is None
    shown = _numbers(frames)
    for number, wanted in zip(shown, expected[5::10], strict=True):
        assert abs(expected.index(number) - expected.index(wanted)) <= 4
    assert np.all(np.diff(frames.seconds) > 0)


def test_a_program_stream_goes_on_where_its_clock_starts_again(tmp_path):
    """As on discs and from cameras that write MPEG-2."""
    parts = [_record(tmp_path / f"{k}.mpg", range(100 * k, 100 * k + 75), codec="mpeg2video", fps=25) for k in (0, 1)]
    whole = _join(tmp_path / "a.vob", *parts)
    assert _streamed(whole, fps=25) == ([*range(75), *range(100, 175)], None)
    assert _numbers(sample_frames(whole, count=2)) == [37, 137]


def test_a_clock_that_leaps_ahead_in_a_transport_stream_is_another_recording(tmp_path):
    """No player waits a day for the second of two recordings."""
    later = _record(tmp_path / "b.ts", range(100, 160), start=80_000)
    whole = _join(tmp_path / "a.ts", _record(tmp_path / "0.ts", range(60)), later)
    assert sample_frames(whole, count=6).duration == pytest.approx(12, abs=0.2)
    assert _numbers(sample_frames(whole, count=6)) == [10, 30, 50, 110, 130, 150]


def test_joined_recordings_of_another_size_are_scaled_to_the_first(tmp_path):
    """Each is decoded by the settings in its own header."""
    small, large = _record(tmp_path / "0.mp4", range(30)), _record(tmp_path / "1.mp4", range(100, 130), side=2 * SIDE)
    frames = sample_frames(_join(tmp_path / "a.mp4", small, large), count=6)
    assert frames.rgb.shape == (6, SIDE, SIDE, 3)
    assert _numbers(frames) == [5, 15, 25, 105, 115, 125]


def test_a_second_recording_that_cannot_be_read_makes_the_video_partial(tmp_path):
    """With its place and the reason, in samples and stream alike."""
    second = _record(tmp_path / "1.mp4", range(100, 130), container={"movflags": "faststart"}).read_bytes()
    first = _record(tmp_path / "0.mp4", range(30))
    whole = tmp_path / "a.mp4"
    broken = second.replace(b"moov", b"lost")
    whole.write_bytes(first.read_bytes() + broken)
    why = rf"the recording that begins at byte {first.stat().st_size} is not read: "
    for odd in (sample_frames(whole, count=3).odd, _streamed(whole)[1]):
        assert odd is not None
        assert odd.startswith(why)
    assert sample_frames(whole, count=3).partial


def test_other_streams_from_the_middle_on_make_the_video_partial(tmp_path):
    """A second recorder numbers its streams otherwise: FFmpeg hands its pictures to nobody."""
    options = {"mpegts_start_pid": "0x321", "mpegts_pmt_start_pid": "0x1234"}
    parts = [_record(tmp_path / "0.ts", range(60)), _record(tmp_path / "1.ts", range(100, 160), container=options)]
    whole = _join(tmp_path / "a.ts", *parts)
    numbers, odd = _streamed(whole)
    assert numbers == [*range(60)]
    assert odd is not None
    assert f"of {whole.stat().st_size}: other streams may begin there" in odd
    assert sample_frames(whole, count=3).odd == odd


def _without_tags(path: Path) -> Path:
    """A Matroska file that says no track's length, as MediaRecorder writes it."""
    path.write_bytes(path.read_bytes().replace(b"DURATION", b"DURATIOX"))
    return path


@pytest.mark.parametrize("sound", [6.8, 20])
@pytest.mark.parametrize("name", ["a.flv", "a.mkv", "a.mp4", "a.ts"])
def test_the_length_is_that_of_the_pictures_where_the_sound_is_longer(tmp_path, name, sound):
    """6 s of pictures are 6 s, whole, whatever the container says."""
    path = _record(tmp_path / name, range(60), sound=sound)
    if name == "a.mkv":
        _without_tags(path)
    frames = sample_frames(path, count=3)
    assert frames.duration == pytest.approx(6, abs=0.1)
    assert not frames.partial
    assert _numbers(frames) == pytest.approx([10, 30, 50], abs=1)
    numbers, odd = _streamed(path)
    assert (len(numbers), numbers[-1], odd) == (pytest.approx(60, abs=1), 59, None)


@pytest.mark.parametrize("name", ["a.flv", "a.mkv", "a.mp4", "a.ts"])
def test_joined_recordings_with_longer_sound(tmp_path, name):
    """Both at once: each recording is as long as its pictures."""
    parts = [_record(tmp_path / f"{k}{name}", range(100 * k, 100 * k + 60 - 30 * k), sound=7.5) for k in (0, 1)]
    frames = sample_frames(_join(tmp_path / name, *parts), count=9)
    assert _numbers(frames) == pytest.approx([5, 15, 25, 35, 45, 55, 105, 115, 125], abs=3)
    assert (frames.duration, frames.odd) == (pytest.approx(9, abs=0.5), None)


def test_a_cut_file_is_truncated_though_its_sound_is_longer(tmp_path):
    """Sound that ends with the file, before the header says, is no proof that the pictures are whole."""
    path = _record(tmp_path / "a.flv", range(200), sound=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"truncated: decoded \d+\.\d s of 20\.\d s"):
        sample_frames(path, count=3)


def _mkv_that_says(path: Path, seconds: float) -> Path:
    data = path.read_bytes()
    at = data.index(b"\x44\x89\x88") + 3
    tag = f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}".encode()
    path.write_bytes(data[:at] + struct.pack(">d", 1000 * seconds) + data[at + 8 :].replace(b"00:00:06", tag))
    return path


def test_a_header_that_says_too_little_hides_nothing(tmp_path):
    """The pictures behind its end are sampled, too."""
    frames = sample_frames(_mkv_that_says(_record(tmp_path / "a.mkv", range(60)), 2), count=3)
    assert frames.duration == pytest.approx(6, abs=0.1)
    assert (_numbers(frames), frames.odd) == ([10, 30, 50], None)


def test_a_header_that_says_too_much_is_told(tmp_path):
    """Where the file is whole by the sizes it states, its pictures count; where it is not, it was cut."""
    path = _mkv_that_says(_record(tmp_path / "a.mkv", range(60)), 600)
    frames = sample_frames(path, count=3)
    assert (_numbers(frames), frames.duration) == ([10, 30, 50], pytest.approx(6, abs=0.1))
    assert frames.odd == _streamed(path)[1] == "its header says 600.0 s, its pictures end at 6.0 s"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(VideoError, match="truncated"):
        sample_frames(path, count=3)


def test_a_file_that_grows_while_it_is_read_is_partial(tmp_path):
    """A recording that still runs, or a download."""
    path, more = _record(tmp_path / "a.ts", range(60)), _record(tmp_path / "b.ts", range(60, 120), start=6)
    chunks = stream_frames(path, fps=10, size=None, chunk=16)
    first, size = next(chunks), path.stat().st_size
    with path.open("ab") as file:
        file.write(more.read_bytes())
    last = [first, *chunks][-1]
    assert last.odd == f"changed while it was read, from {size} to {size + more.stat().st_size} bytes"


def test_a_sane_file_is_not_read_twice(tmp_path, monkeypatch):
    """Sampling a large transport stream looks at a bounded number of places beside the packets that it decodes."""
    path = _record(tmp_path / "a.ts", range(600))
    monkeypatch.setattr(priors.video.timeline, "_SMALL", 0)
    monkeypatch.setattr(priors.video.timeline, "_PROBES", 8)
    probed = []

    def counted(*arguments):
        for packet in packets(*arguments):
            probed.append(packet.pts)
            yield packet

    monkeypatch.setattr(priors.video.timeline, "packets", counted)
    assert _numbers(sample_frames(path, count=2)) == [150, 450]
    assert len(probed) <= 16
    whole = _join(tmp_path / "b.ts", path, _record(tmp_path / "c.ts", range(1000, 1200)))
    assert _numbers(sample_frames(whole, count=4)) == [100, 300, 500, 1100]


def test_a_pipe_in_the_place_of_a_video_is_not_waited_for(tmp_path):
    """Nobody writes into it."""
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match="not a regular file"):
        sample_frames(tmp_path / "a.mp4", count=1)
