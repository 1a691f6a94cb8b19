"""Decoding: the frame that a player shows at a time, whatever the container, and a clear reason for every bad file."""

import bisect
import random
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import priors.video.frames
from cache.errors import CacheError
from priors.video.frames import AUTO, FramesRecipe, VideoError, require_reader, sample_frames, stream_frames
from priors.video.reader import Reader
from tests.support.paths import SHARED
from tests.support.videos.videos import SIDE, cut, read, write_sound, write_video

REAL = SHARED / "data" / "videos"


def _expected(times: list[float], wanted: list[float]) -> list[int]:
    """A plain re-statement: the last frame shown at or before each time, else the first."""
    return [max(0, bisect.bisect_right(times, time + 1e-3) - 1) for time in wanted]


def _midpoints(duration: float, count: int) -> list[float]:
    return [(index + 0.5) * duration / count for index in range(count)]


def _stream(path: Path, **options) -> list[int]:
    return [read(picture) for frames in stream_frames(path, size=None, **options) for picture in frames.rgb]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("bframes.mp4", "libx264", {"bf": "3"}),
        ("open_gop.mp4", "libx264", {"x264-params": "open-gop=1:keyint=12:bframes=3"}),
        ("plain.mkv", "libx264", {}),
        ("stream.ts", "libx264", {"g": "30"}),
        ("old.avi", "mpeg4", {"bf": "2"}),
    ],
)
def test_a_constant_rate_gives_the_frame_of_each_time(tmp_path, name, codec, options):
    """Samples and stream must name the right frames in every container, with true timestamps."""
    path = write_video(tmp_path / name, 250, codec=codec, options=options)
    frames = sample_frames(path, count=7)
    assert frames.duration == pytest.approx(10, abs=0.05)
    expected = _expected([k / 25 for k in range(250)], _midpoints(10, 7))
    assert [read(picture) for picture in frames.rgb] == expected
    assert frames.seconds == pytest.approx(np.array(expected) / 25, abs=1e-3)
    assert (frames.width, frames.height, frames.partial) == (SIDE, SIDE, False)
    assert _stream(path, fps=25, chunk=64) == list(range(250))


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_a_variable_rate_follows_the_timestamps(tmp_path, name):
    """Frames 1/60 to 1/5 s apart: index arithmetic would be far off."""
    rng = random.Random(3)
    times = [0.0]
    for _ in range(199):
        times.append(round(times[-1] + rng.uniform(1 / 60, 1 / 5), 3))
    path = write_video(tmp_path / name, len(times), times=times, options={"g": "24"})
    frames = sample_frames(path, count=9)
    expected = _expected(times, _midpoints(frames.duration, 9))
    assert [read(picture) for picture in frames.rgb] == expected
    assert frames.seconds == pytest.approx([times[index] for index in expected], abs=2e-3)
    grid = [k / 10 for k in range(int(times[-1] * 10))]
    assert _stream(path, fps=10)[: len(grid)] == _expected(times, grid)


@pytest.mark.parametrize("keyframes", ["20", "1000"])
def test_seeking_and_decoding_on_agree(tmp_path, keyframes):
    """Few samples of a long video seek, many decode on: the same times give the same frames."""
    path = write_video(tmp_path / "long.mp4", 500, fps=10, options={"g": keyframes, "bf": "2"})
    few, many = sample_frames(path, count=5), sample_frames(path, count=45)
    assert [read(picture) for picture in few.rgb] == [50, 150, 250, 350, 450]
    assert np.array_equal(few.rgb, many.rgb[4::9])
    assert np.array_equal(few.seconds, many.seconds[4::9])


@pytest.mark.parametrize("keyframes", ["30", "1000"])
def test_a_seek_that_comes_down_too_late_is_mended(tmp_path, keyframes):
    """A transport stream has no index: a seek ends before any packet, and decoding begins at the keyframe after it."""
    path = write_video(tmp_path / "a.ts", 100, fps=10, options={"g": keyframes, "bf": "2"})
    assert [read(picture) for picture in sample_frames(path, count=1).rgb] == [50]
    assert [read(picture) for picture in sample_frames(path, count=3).rgb] == [16, 50, 83]


@pytest.mark.parametrize("name", ["slides.mp4", "slides.mkv"])
@pytest.mark.parametrize("keyframes", ["7", "1000"])
def test_frames_that_none_needs_are_dropped_but_never_the_one_asked_for(tmp_path, name, keyframes):
    """B-frames shown for seconds: dropping all that lie well before a sample would lose the very frame it wants."""
    rng = random.Random(5)
    times = [0.0]
    for _ in range(149):
        times.append(round(times[-1] + rng.choice([0.04, 0.04, 0.1, 0.4, 3.0]), 3))
    path = write_video(tmp_path / name, len(times), times=times, options={"g": keyframes, "bf": "3", "b_strategy": "0"})
    for count in (4, 11, 40):
        frames = sample_frames(path, count=count)
        expected = _expected(times, _midpoints(frames.duration, count))
        assert [read(picture) for picture in frames.rgb] == expected


def test_sparse_samples_decode_less(tmp_path, monkeypatch):
    """Between samples far apart, frames that no other frame needs never leave the decoder."""
    path = write_video(tmp_path / "a.mp4", 400, options={"g": "1000", "bf": "3", "b_strategy": "0"})
    decoded = []
    frames_of = Reader._frames

    def counted(self):
        for frame in frames_of(self):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(Reader, "_frames", counted)
    assert [read(picture) for picture in sample_frames(path, count=4).rgb] == [50, 150, 250, 350]
    assert len(decoded) < 300


@pytest.mark.parametrize(("fps", "repeat"), [(5, 0.5), (10, 1), (20, 2)])
def test_the_stream_is_a_constant_rate_grid(tmp_path, fps, repeat):
    """Half the rate drops every other frame, twice the rate shows each twice; `seconds` are the grid's."""
    path = write_video(tmp_path / "a.mp4", 40, fps=10)
    chunks = list(stream_frames(path, fps=fps, size=(32, 48), chunk=7))
    assert all(frames.rgb.shape[1:] == (32, 48, 3) for frames in chunks)
    assert all(len(frames.rgb) <= 7 for frames in chunks)
    numbers = [read(picture) for frames in chunks for picture in frames.rgb]
    assert numbers == [int(k / repeat) for k in range(int(40 * repeat))]
    assert np.concatenate([frames.seconds for frames in chunks]) == pytest.approx(np.arange(len(numbers)) / fps)


def test_the_clock_is_the_container_s(tmp_path):
    """Pictures that begin one second after the sound: a player shows the first of them at 1 s."""
    path = write_video(tmp_path / "late.mkv", 20, times=[1 + k / 10 for k in range(20)], sound=3.0)
    frames = sample_frames(path, count=3)
    assert frames.seconds[0] == pytest.approx(1.0, abs=2e-3)
    assert read(frames.rgb[0]) == 0
    assert _stream(path, fps=10)[:12] == [0] * 11 + [1]


def test_frames_stand_upright(tmp_path):
    """A display rotation turns the picture as a player does, and swaps the sides."""
    lying = sample_frames(write_video(tmp_path / "lying.mp4", 300), count=2)
    turned = sample_frames(write_video(tmp_path / "turned.mp4", 300, rotation=90), count=2)
    assert np.array_equal(turned.rgb, np.rot90(lying.rgb, axes=(1, 2)))
    assert not np.array_equal(turned.rgb, lying.rgb)


def test_frames_are_scaled_down_never_up(tmp_path):
    """`max_side` bounds the longer side; the size of the source is still told."""
    path = write_video(tmp_path / "a.mp4", 20)
    small, same = sample_frames(path, count=2, max_side=48), sample_frames(path, count=2, max_side=500)
    assert small.rgb.shape == (2, 48, 48, 3)
    assert same.rgb.shape == (2, SIDE, SIDE, 3)
    assert (small.width, small.height) == (SIDE, SIDE)
    assert read(small.rgb[1]) == read(same.rgb[1]) == 15


def test_a_short_clip_repeats_its_frames(tmp_path):
    """The number of samples is fixed, whatever the length."""
    assert [read(p) for p in sample_frames(write_video(tmp_path / "one.mp4", 1), count=4).rgb] == [0, 0, 0, 0]
    assert [read(p) for p in sample_frames(write_video(tmp_path / "two.mp4", 2), count=4).rgb] == [0, 0, 1, 1]


def _others() -> list:
    """The optional readers, skipped where their library does not load."""
    missing = {}
    for name in ("decord", "torchcodec"):
        try:
            require_reader(FramesRecipe(reader=name))
        except CacheError as error:
            missing[name] = str(error).splitlines()[0]
    return [
        pytest.param(name, marks=pytest.mark.skipif(name in missing, reason=missing.get(name, "")))
        for name in ("decord", "torchcodec")
    ]


def _zoo(folder: Path) -> list[Path]:
    """What both optional readers can read."""
    uneven = [0.0]
    for _ in range(79):
        uneven.append(round(uneven[-1] + random.Random(len(uneven)).uniform(1 / 60, 1 / 5), 3))
    open_gop = {"x264-params": "open-gop=1:keyint=12:bframes=3"}
    quick = {"deadline": "realtime", "cpu-used": "8"}
    whole = write_video(folder / "whole.mp4", 100, fps=10, options={"bf": "3", "g": "30"})
    return [
        write_video(folder / "bframes.mp4", 100, fps=10, options={"bf": "3"}, container={"movflags": "faststart"}),
        write_video(folder / "late.mkv", 40, times=[1 + k * k / 100 for k in range(40)], sound=3.0),
        write_video(folder / "vfr.mp4", 80, times=uneven),
        write_video(folder / "vfr.mkv", 80, times=uneven),
        write_video(folder / "open_gop.mp4", 100, fps=10, options=open_gop),
        write_video(folder / "turned.mp4", 60, fps=10, rotation=90),
        write_video(folder / "vp9.webm", 60, fps=10, codec="libvpx-vp9", options=quick),
        write_video(folder / "hevc.mp4", 60, fps=10, codec="libx265", options={"x265-params": "log-level=none"}),
        write_video(folder / "one.mp4", 1),
        Path(shutil.copy(whole, folder / "really_mp4.avi")),
    ]


@pytest.mark.parametrize("reader", _others())
def test_another_reader_shows_the_same_frames(tmp_path, reader):
    """The optional readers follow the same clock, scale alike, and find the same files bad."""
    for path in _zoo(tmp_path):
        if reader == "decord" and path.name == "open_gop.mp4":
            continue  # where it is wrong, and nothing tells (docs/videos.md)
        ours, theirs = (sample_frames(path, count=9, max_side=48, reader=name) for name in ("pyav", reader))
        assert [read(picture) for picture in theirs.rgb] == [read(picture) for picture in ours.rgb], path.name
        assert theirs.seconds == pytest.approx(ours.seconds, abs=1e-3), path.name
        assert (theirs.rgb.shape, theirs.width, theirs.partial) == (ours.rgb.shape, ours.width, ours.partial)
    with pytest.raises(VideoError, match=r"truncated: decoded \d+\.\d s of 40\.0 s"):
        sample_frames(cut(write_video(tmp_path / "b.mkv", 400, fps=10), 0.5), count=3, reader=reader)
    with pytest.raises(VideoError, match=rf"corrupt|truncated|{reader}: "):
        sample_frames(_damage(tmp_path / "bframes.mp4"), count=9, reader=reader)


@pytest.mark.parametrize("reader", _others())
def test_another_reader_refuses_what_it_would_show_wrongly(tmp_path, reader):
    """Rather a failed row than other frames: AVI stores no times, and seeks in a transport stream come down late."""
    avi = write_video(tmp_path / "a.avi", 60, codec="mpeg4", options={"bf": "2"})
    ts = write_video(tmp_path / "a.ts", 300, fps=10, options={"g": "100"})
    for path in (avi, ts):
        with pytest.raises(VideoError, match=f"{reader}: "):
            sample_frames(path, count=3, reader=reader)


def test_auto_is_recorded_as_the_reader_it_stands_for():
    """Two runs with one fingerprint must have used one reader."""
    assert FramesRecipe(reader="auto") == FramesRecipe(reader=AUTO)
    assert FramesRecipe(reader="auto").fingerprint() == FramesRecipe(reader=AUTO).fingerprint()


def test_a_reader_that_is_missing_or_broken_is_told_at_once(monkeypatch):
    """Not as a failure of every video."""

    def broken(name: str):
        raise OSError("libavutil.so.56: cannot open shared object file")

    monkeypatch.setattr(priors.video.frames, "find_spec", lambda name: name)
    monkeypatch.setattr(priors.video.frames, "import_module", broken)
    with pytest.raises(CacheError, match=r"torchcodec does not load; run `apt-get install ffmpeg(.|\n)*libavutil"):
        require_reader(FramesRecipe(reader="torchcodec"))
    monkeypatch.setattr(priors.video.frames, "find_spec", lambda name: None)
    with pytest.raises(CacheError, match="pip install decord"):
        require_reader(FramesRecipe(reader="decord"))
    require_reader(FramesRecipe())


def _damage(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    for position in range(len(data) // 3, len(data), 40):
        data[position] ^= 0xFF
    damaged = path.with_name(f"damaged-{path.name}")
    damaged.write_bytes(data)
    return damaged


def _bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    front = {"movflags": "faststart"}
    whole_mp4 = write_video(folder / "a.mp4", 400, fps=10, container=front)
    whole_mkv = write_video(folder / "a.mkv", 400, fps=10)
    unindexed = write_video(folder / "b.mp4", 50)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video at all\n" * 50)
    (folder / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://localhost/a.ts\n")
    return {
        "missing": (folder / "nowhere.mp4", "no such file"),
        "empty": (folder / "empty.mp4", r"empty file \(0 bytes\)"),
        "text": (folder / "text.mp4", "not a readable video"),
        "playlist": (folder / "list.mp4", "not a readable video"),
        "sound only": (write_sound(folder / "sound.mp4"), "no video stream"),
        "no index": (cut(unindexed, 0.5), "not a readable video"),
        "damaged": (_damage(whole_mp4), "corrupt|truncated"),
        "half mp4": (cut(whole_mp4, 0.6), r"truncated: decoded \d+\.\d s of 40\.0 s"),
        "half mkv": (cut(whole_mkv, 0.5), r"truncated: decoded \d+\.\d s of 40\.0 s"),
    }


def test_every_bad_file_has_its_reason(tmp_path):
    """Both readers raise VideoError with the path and what is wrong, and nothing else."""
    for name, (path, why) in _bad_files(tmp_path).items():
        with pytest.raises(VideoError, match=why) as sampled:
            sample_frames(path, count=8)
        assert sampled.value.path == path, name
        with pytest.raises(VideoError, match=why):
            list(stream_frames(path, fps=10, size=None))


def test_one_sample_is_enough_to_notice_a_truncation(tmp_path):
    """The end is looked at even where no sample lies there."""
    whole = write_video(tmp_path / "a.mkv", 400, fps=10)
    with pytest.raises(VideoError, match="truncated"):
        sample_frames(cut(whole, 0.7), count=1)


def test_the_stream_gives_what_it_has_before_it_complains(tmp_path):
    """Chunks come while the file is read: bounded memory, and the end is only known at the end."""
    chunks = stream_frames(cut(write_video(tmp_path / "a.mkv", 400, fps=10), 0.5), fps=10, size=None, chunk=16)
    assert [read(picture) for picture in next(chunks).rgb] == list(range(16))
    with pytest.raises(VideoError, match="truncated"):
        list(chunks)


def test_a_little_missing_at_the_end_is_partial(tmp_path):
    """Less than a tenth missing is usable, and said."""
    whole = write_video(tmp_path / "a.mkv", 400, fps=10)
    frames = sample_frames(cut(whole, 0.96), count=4)
    assert frames.partial
    assert [read(picture) for picture in frames.rgb] == [50, 150, 250, 350]
    assert [frames.partial for frames in stream_frames(whole, fps=10, size=None)][-1] is False


def _decoded_in_order(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """A plain re-statement: decode everything, upright, with times from the start of the container."""
    times, pictures = [], []
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            assert file.start_time is not None
            times.append(float(frame.pts * frame.time_base - Fraction(file.start_time, 1_000_000)))
            pictures.append(np.rot90(frame.to_ndarray(format="rgb24", width=96, height=64), frame.rotation // 90))
    return times, pictures


def _agrees_with_decoding_everything(path: Path) -> None:
    """Samples are the pictures shown at their times, and the stream shows what is on the screen at its times."""
    times, pictures = _decoded_in_order(path)
    frames = sample_frames(path, count=6)
    expected = [max(0, bisect.bisect_right(times, t + 2e-5) - 1) for t in _midpoints(frames.duration, 6)]
    assert frames.seconds == pytest.approx([times[index] for index in expected], abs=1e-5)
    streamed = list(stream_frames(path, fps=2, size=(64, 96)))
    shown = [max(0, bisect.bisect_right(times, k / 2 + 2e-5) - 1) for k in range(len(streamed[0].rgb))]
    assert np.array_equal(streamed[0].rgb, np.stack([pictures[index] for index in shown]))


def test_a_clip_as_cameras_write_it_agrees_with_decoding_everything(tmp_path):
    """29.97 frames a second, pictures that refer to later ones, and sound that begins before the pictures."""
    times = [0.075 + k * 1001 / 30000 for k in range(119)]
    path = write_video(tmp_path / "a.mkv", 119, times=times, options={"bf": "3", "g": "30"}, sound=4.2)
    assert _decoded_in_order(path)[0][0] > 0.05
    _agrees_with_decoding_everything(path)


@pytest.mark.skipif(not REAL.is_dir(), reason="real videos are not here")
def test_a_real_clip_agrees_with_decoding_everything():
    """The same of a file that a camera's codec wrote."""
    _agrees_with_decoding_everything(REAL / "applauding.mp4")
