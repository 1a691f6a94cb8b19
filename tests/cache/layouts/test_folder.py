"""Lines of a table of labels that name no video."""

from pathlib import Path

import pytest

from cache.layouts.folder import read_folder


@pytest.mark.parametrize("name", ["a" * 300, "b/" + "a" * 300 + ".mp4", "/etc/x.mp4", "/", "..", "*.mp4", "x.mp4"])
def test_a_name_that_no_file_has_is_a_bad_line(tmp_path: Path, name: str):
    """Whatever a file system says of such a name; the other line stays."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"")
    (tmp_path / "labels.csv").write_text(f"video,label\na.mp4,Dive\n{name},Dive\n")
    found, bad = read_folder(tmp_path / "videos", tmp_path / "labels.csv")
    assert [video.video_id for video in found.videos] == ["a"]
    assert [(one.line, "no such file in the folder" in one.reason) for one in bad] == [(3, True)]
