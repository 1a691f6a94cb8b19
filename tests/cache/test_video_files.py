"""Whatever opens as a video is one: by any suffix, in any case, or by its first bytes; what is not says why."""

import os
from pathlib import Path

import pytest

from cache.annotations import Dataset, VideoEntry
from cache.layouts.folder import read_folder
from cache.video_files import begins_like_a_video, may_be_video
from tests.support.videos.videos import write_sound, write_video


def _table(folder: Path, *names: str) -> tuple[dict[str, Path | None], dict[int, str]]:
    """Files by their ids, and reasons by their lines."""
    (folder / "labels.csv").write_text("".join(f"{name},Dive\n" for name in names))
    found, bad = read_folder(folder, folder / "labels.csv")
    return {video.video_id: video.path for video in found.videos}, {line.line: line.reason for line in bad}


@pytest.mark.parametrize(
    "suffix", ["3gp", "MTS", "m2ts", "m2t", "wmv", "Mpg", "vob", "ogv", "asf", "divx", "rmvb", "tod"]
)
def test_suffixes_are_known_in_any_case(tmp_path, suffix):
    """By the whole name and by the stem, in a table and in the folder of a dataset."""
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"")
    for name in (path.name, "a"):
        assert _table(tmp_path, name) == ({"a": path.absolute()}, {})
    Dataset("d", ("Dive",), (VideoEntry("a", "training", None, ("Dive",), (), None),)).save(tmp_path / "d.json")
    assert Dataset.load(tmp_path / "d.json", videos=tmp_path).videos[0].path == path


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi", "ts", "flv", "mpg"])
def test_what_begins_like_a_video_needs_no_suffix(tmp_path, kind):
    """Recordings of cameras and downloads have suffixes of their own, or none."""
    codec = {"avi": "mpeg4", "mpg": "mpeg2video"}.get(kind, "libx264")
    whole = write_video(tmp_path / "made" / f"a.{kind}", 30, codec=codec)
    for name in ("a.camera", "b"):
        whole.with_name(name).write_bytes(whole.read_bytes())
        assert may_be_video(whole.with_name(name))
    assert _table(tmp_path / "made", "b", "a.camera")[1] == {}


def test_what_is_no_video_says_so(tmp_path):
    """Unknown suffixes, folders, pipes, loops and dangling links: a reason each, and no waiting."""
    write_video(tmp_path / "good.mp4", 2)
    write_sound(tmp_path / "sound.wav")
    (tmp_path / "notes.foo").write_text("no video")
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "pipe.foo")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    names = (
        "good",
        "notes.foo",
        "folder.mp4",
        "pipe.mp4",
        "loop.mp4",
        "dangling.mp4",
        "sound.wav",
        "notes",
        "other",
        "pipe.foo",
    )
    found, bad = _table(tmp_path, *names)
    assert list(found) == ["good"]
    told = [
        "which has the suffix .foo, not known as that of a video, and its first bytes are not those of one",
        "which is a folder, not a file",
        "which is not a regular file",
        "which is a link to itself or to no file",
        "which is a link to itself or to no file",
        "which has the suffix .wav, not known as that of a video, and its first bytes are not those of one",
        "and no such file in the folder; there is 'notes.foo': suffix not known as that of a video",
        "and no such file in the folder",
        "which is not a regular file",
    ]
    assert [bad[line].split(", ", 1)[1] for line in sorted(bad)] == told


def test_a_picture_beside_a_video_is_not_taken_for_it(tmp_path):
    """By the stem the video alone is meant; a moving picture is one where it is asked for."""
    write_video(tmp_path / "a.mp4", 2)
    for name in ("a.gif", "a.jpg", "a.srt", "a.npy"):
        (tmp_path / name).write_bytes(b"GIF89a")
    assert _table(tmp_path, "a")[0] == {"a": (tmp_path / "a.mp4").absolute()}
    assert _table(tmp_path, "a.gif")[0] == {"a": (tmp_path / "a.gif").absolute()}
    assert not begins_like_a_video(tmp_path / "a.gif")
