"""Datasets in ActivityNet's layout: read, written, and every kind of damage named."""

import json
from pathlib import Path

import pytest

from cache.annotations import Dataset, Segment, VideoEntry
from cache.errors import CacheError
from tests.support.paths import SHARED

DATA = SHARED / "data"


def _write(folder: Path, database: dict, **more) -> Path:
    path = folder / "annotations.json"
    path.write_text(json.dumps({"database": database, **more}))
    return path


def _dataset(folder: Path) -> Dataset:
    videos = (
        VideoEntry("a", "training", 12.5, ("Dive", "Swim"), (Segment("Swim", 0.25, 3.0),), folder / "clips" / "x.mkv"),
        VideoEntry("b", "training", None, ("Swim",), (), None),
        VideoEntry("c", "testing", 3.0, (), (), None, ((0.5, 1.0), (2.0, 2.5))),
    )
    return Dataset("pool", ("Dive", "Swim", "Never"), videos)


def test_a_dataset_survives_json(tmp_path):
    """Weak labels, segments, outside paths, unknown durations, undecided stretches, classes without videos."""
    dataset = _dataset(tmp_path)
    dataset.save(tmp_path / "deep" / "annotations.json")
    assert Dataset.load(tmp_path / "deep" / "annotations.json") == dataset


def test_labels_follow_the_classes_and_stand_once(tmp_path):
    """A label's several segments make it one label; classes default to the sorted labels of all subsets."""
    notes = [{"label": "Swim", "segment": [1, 2]}, {"label": "Dive"}, {"label": "Swim", "segment": ["3.5", "4"]}]
    dataset = Dataset.load(
        _write(tmp_path, {"a": {"subset": "test", "annotations": notes}, "b": {"subset": "val", "annotations": []}})
    )
    assert dataset.classes == ("Dive", "Swim")
    assert dataset.videos[0].labels == ("Dive", "Swim")
    assert dataset.videos[0].segments == (Segment("Swim", 1.0, 2.0), Segment("Swim", 3.5, 4.0))
    assert dataset.name == tmp_path.name


def test_videos_are_found_by_their_id(tmp_path):
    """By `path`, relative to the JSON, or by the id, or v_ and the id, in a folder; one that is named comes first."""
    (tmp_path / "videos").mkdir()
    for name in ("b.WEBM", "v_c.mp4", "b.txt", "d.mp4"):
        (tmp_path / "videos" / name).touch()
    path = _write(
        tmp_path,
        {
            "a": {"subset": "s", "path": "../elsewhere/a.avi"},
            "b": {"subset": "s"},
            "c": {"subset": "s"},
            "e": {"subset": "s"},
        },
    )
    found = {video.video_id: video.path for video in Dataset.load(path).videos}
    assert found == {
        "a": tmp_path.parent / "elsewhere" / "a.avi",
        "b": tmp_path / "videos" / "b.WEBM",
        "c": tmp_path / "videos" / "v_c.mp4",
        "e": None,
    }
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.mp4").touch()
    found = {video.video_id: video.path for video in Dataset.load(path, videos=tmp_path / "mine").videos}
    assert found["a"] == tmp_path / "mine" / "a.mp4", "a folder that was named comes before the entry's path"
    assert found["b"] is None
    with pytest.raises(CacheError, match=r"videos: .+nowhere: no such folder"):
        Dataset.load(path, videos=tmp_path / "nowhere")
    (tmp_path / "videos" / "b.mkv").touch()
    with pytest.raises(CacheError, match=r"database\.b: b\.WEBM, b\.mkv"):
        Dataset.load(path)


def test_split_and_class_index_help_when_they_fail(tmp_path):
    """An unknown subset names those that exist; an unknown class the nearest."""
    dataset = _dataset(tmp_path)
    assert [video.video_id for video in dataset.split("training")] == ["a", "b"]
    assert dataset.class_index("Swim") == 1
    with pytest.raises(CacheError, match=r"'train'.*\['testing', 'training'\]"):
        dataset.split("train")
    with pytest.raises(CacheError, match="unknown class 'Swimm'; did you mean 'Swim'"):
        dataset.class_index("Swimm")


@pytest.mark.parametrize(
    ("database", "told"),
    [
        ([], r"database: found list"),
        ({"a": {}}, r"database\.a\.subset"),
        ({"a": {"subset": "s", "annotations": {}}}, r"database\.a\.annotations: found dict"),
        ({"a": {"subset": "s", "annotations": [{"segment": [1, 2]}]}}, r"annotations\[0\]\.label"),
        ({"a": {"subset": "s", "annotations": [{"label": " "}]}}, r"annotations\[0\]\.label"),
        (
            {"a": {"subset": "s", "annotations": [{"label": "x", "segment": [1]}]}},
            r"found \[1\], expected \[start, end\]",
        ),
        ({"a": {"subset": "s", "annotations": [{"label": "x", "segment": [3, 2]}]}}, r"expected start before end"),
        ({"a": {"subset": "s", "annotations": [{"label": "x", "segment": ["a", 2]}]}}, r"found 'a', expected seconds"),
        ({"a": {"subset": "s", "duration": "long"}}, r"database\.a\.duration: found 'long'"),
        ({"a": {"subset": "s", "path": 3}}, r"database\.a\.path: found 3"),
        ({"../a": {"subset": "s"}}, r"usable as a file name"),
        ({".a": {"subset": "s"}}, r"usable as a file name"),
        ({"é" * 150: {"subset": "s"}}, r"usable as a file name"),
        ({"a": {"subset": "s", "annotations": [{"label": "\u200b"}]}}, r"annotations\[0\]\.label"),
        ({"a": {"subset": "s", "duration": True}}, r"duration: found True, expected seconds"),
        ({"a": {"subset": "s", "duration": "1_0"}}, r"duration: found '1_0', expected seconds"),
    ],
)
def test_damage_names_the_field(tmp_path, database, told):
    """File, field, what was found and what was expected."""
    path = _write(tmp_path, database)
    with pytest.raises(CacheError, match=told) as error:
        Dataset.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (["Dive"], r"does not hold \['Swim'\]"),
        (["Swim", "Swim"], "twice"),
        ("Swim", "a list"),
        (["Swim", "\u200b"], "names"),
    ],
)
def test_declared_classes_must_cover_the_labels(tmp_path, classes, told):
    """A label outside the declared classes would have no index."""
    path = _write(tmp_path, {"a": {"subset": "s", "annotations": [{"label": "Swim"}]}}, classes=classes)
    with pytest.raises(CacheError, match=told):
        Dataset.load(path)


@pytest.mark.parametrize("content", [None, "{", "[]", "\xff"])
def test_unreadable_files_are_named(tmp_path, content):
    """Missing, no JSON, no object, no UTF-8."""
    path = tmp_path / "annotations.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CacheError, match=r"annotations\.json"):
        Dataset.load(path)


@pytest.mark.skipif(not DATA.is_dir(), reason="real annotations are not here")
def test_public_annotation_files_load_as_they_are():
    """ActivityNet 1.2 (with instances of no length) and THUMOS14 (with numbers as strings)."""
    activitynet = Dataset.load(DATA / "activitynet12" / "activity_net.v1-2.min-missing-removed.json")
    assert [len(activitynet.split(name)) for name in ("training", "validation", "testing")] == [4441, 2198, 2268]
    assert len(activitynet.classes) == 100
    thumos = Dataset.load(DATA / "thumos14" / "um_layout" / "gt.json")
    assert len(thumos.classes) == 20


def test_a_video_that_stands_there_twice(tmp_path, caplog):
    """Merged files: joined where they differ by annotations alone, which are told; refused where they contradict."""
    one = '{"subset": "s", "duration": 9, "annotations": [{"label": "Dive"}]}'
    path = tmp_path / "a.json"
    path.write_text(f'{{"database": {{"v": {one},\n "v": {one.replace("Dive", "Run")}}}}}')
    assert Dataset.load(path).videos[0].labels == ("Dive", "Run")
    assert "database.v stands there more than once (line 1, column 15; line 2, column 2): joined" in caplog.text
    path.write_text(f'{{"database": {{"v": {one}, "v": {one.replace("9", "8")}}}}}')
    with pytest.raises(CacheError, match=r"database: 'v' stands there twice .* do not agree"):
        Dataset.load(path)


def test_spellings_of_a_label_are_one_class(tmp_path, caplog):
    """Unicode's form and white space; what is declared, or stands there once, stays as it is written."""
    items = [{"label": label, "segment": [1, 2]} for label in ("Saut \xe0", "Saut a\u0300", "Dive ", "High\xa0Jump")]
    path = _write(tmp_path, {"v": {"subset": "s", "annotations": items}})
    dataset = Dataset.load(path)
    assert dataset.classes == ("Dive ", "High\xa0Jump", "Saut \xe0")
    assert [segment.label for segment in dataset.videos[0].segments][:2] == ["Saut \xe0"] * 2
    assert r"'Saut a\u0300' is the same class as 'Saut \xe0': joined" in caplog.text
    path = _write(tmp_path, {"v": {"subset": "s", "annotations": items}}, classes=["Dive", "High Jump", "Saut a\u0300"])
    assert Dataset.load(path).videos[0].labels == ("Dive", "High Jump", "Saut a\u0300")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (r'{"caf\udce9": {"subset": "s"}}', r"'caf\\udce9', which is no Unicode text .* rename it"),
        (r'{"a\u0000": {"subset": "s"}}', r"'a\\x00', which holds the control character '\\x00'"),
        (r'{"a": {"subset": "s", "annotations": [{"label": "x\u0007"}]}}', r"'x\\x07', which holds"),
        (r'{"\u00e9": {"subset": "s"}, "e\u0301": {"subset": "s"}}', "one name in two spellings"),
        ('{"a": {"subset": "s", "duration": 1e999}}', r"database\.a\.duration: found 1e999"),
    ],
)
def test_names_that_cannot_be_stored_are_refused_before_any_work(tmp_path, text, told):
    """Whatever could not be written afterwards."""
    (tmp_path / "a.json").write_text(f'{{"database": {text}}}')
    with pytest.raises(CacheError, match=told):
        Dataset.load(tmp_path / "a.json")


def test_files_are_found_in_another_form_of_unicode(tmp_path):
    """macOS hands out names in NFD."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "e\u0301.mp4").touch()
    path = _write(tmp_path, {"\xe9": {"subset": "s"}})
    assert Dataset.load(path).videos[0].path == tmp_path / "videos" / "e\u0301.mp4"
