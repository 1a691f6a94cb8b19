"""A video with burnt-in segments shows the same pictures at the same times, with bars below, and its sound."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cache.detections import Detection
from priors.burned_in import Strip, burn_in
from priors.video.container import VideoError
from priors.video.frames import stream_frames
from tests.support.videos.videos import SIDE, read, write_video

FOUND = [Detection("v", "Jump", 0.8, 1.0, 2.0), Detection("v", "Dive", 0.5, 0.0, 0.5)]


def pictures(path: Path) -> list[tuple[float, np.ndarray]]:
    """Time and picture of every frame, as FFmpeg decodes them."""
    with av.open(str(path)) as file:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]


@pytest.mark.parametrize("times", [None, [0.0, 0.1, 0.5, 0.52, 2.0, 2.9]], ids=["constant", "variable"])
def test_pictures_and_times_stay(tmp_path: Path, times: list[float] | None) -> None:
    """Frame by frame, also where the rate varies."""
    source = write_video(tmp_path / "v.mp4", 6 if times else 75, times=times)
    burn_in(source, tmp_path / "out.mp4", FOUND)
    before, after = pictures(source), pictures(tmp_path / "out.mp4")
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before], abs=2e-4)
    assert [read(picture[:SIDE]) for _, picture in after] == [read(picture) for _, picture in before]
    assert after[0][1].shape[0] > SIDE
    assert after[0][1].shape[1] == SIDE


def test_bars_stand_where_segments_are() -> None:
    """The best class comes first; a column of the bar is coloured where a segment covers its time; a mark moves."""
    strip = Strip(FOUND, width=400, duration=4.0)
    assert strip.classes == ["Jump", "Dive"]
    plain, marked = strip.at(4.0), strip.at(3.0)
    green = (plain[..., 1].astype(int) - plain[..., 0]) > 60
    columns = [np.flatnonzero(row) for row in green if row.any()]
    spans = {(round((c[0] - 5) / 390 * 4, 1), round((c[-1] - 5) / 390 * 4, 1)) for c in columns}
    assert spans == {(1.0, 2.0), (0.0, 0.5)}
    moved = np.flatnonzero((plain != marked).any(axis=(0, 2)))
    assert 4 * (moved.max() - 5) / 390 == pytest.approx(4.0, abs=0.05)
    assert (np.abs(moved - (5 + 0.75 * 390)) < 2).any()


def test_rotated_pictures_stand_upright_and_sound_is_kept(tmp_path: Path) -> None:
    """Sound that an .mp4 may hold is copied packet by packet; other sound is left out."""
    silent = write_video(tmp_path / "pcm.mkv", 30, sound=1.0)
    burn_in(silent, tmp_path / "out.mp4", FOUND)
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert not file.streams.audio
    loud = tmp_path / "aac.mp4"
    with av.open(str(loud), "w") as file:
        video, sound = file.add_stream("libx264", rate=25), file.add_stream("aac", rate=16000, layout="mono")
        video.width = video.height = SIDE
        for _ in range(50):
            file.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((SIDE, SIDE, 3), np.uint8), format="rgb24")))
        file.mux(video.encode())
        tone = (8000 * np.sin(np.arange(32000) / 8)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 16000, Fraction(1, 16000), 0
        file.mux(sound.encode(frame))
        file.mux(sound.encode())
    burn_in(loud, tmp_path / "out.mp4", FOUND)
    counts = []
    for path in (loud, tmp_path / "out.mp4"):
        with av.open(str(path)) as file:
            counts.append(sum(1 for packet in file.demux(audio=0) if packet.size))
    assert counts[0] - 1 <= counts[1] <= counts[0]
    turned = write_video(tmp_path / "turned.mp4", 10, rotation=90)
    (frames,) = stream_frames(turned, fps=25, size=None)
    burn_in(turned, tmp_path / "turned-out.mp4", [])
    shown = pictures(tmp_path / "turned-out.mp4")[0][1]
    assert read(shown[:SIDE]) == read(frames.rgb[0])


def test_bad_files_leave_nothing(tmp_path: Path) -> None:
    """The reason is that of the reader."""
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match="not a readable video"):
        burn_in(tmp_path / "bad.mp4", tmp_path / "out.mp4", FOUND)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.mp4"]
