"""Each layout becomes our annotations and features, and every oddity of it is counted."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cache.annotations import Dataset
from cache.errors import CacheError
from cache.features import FeatureStore
from cache.layouts.convert import ConvertRecipe
from cache.layouts.mend import MendRecipe
from pipelines.caches.import_dataset import ImportDatasetRun, main
from tests.support.data.dataset_layouts import (
    DATA,
    LENGTHS,
    features,
    imported,
    save_joint,
    write_activitynet,
    write_co2,
    write_um,
)


def load(folder: Path) -> tuple[Dataset, dict]:
    """The dataset, and its videos by name."""
    dataset = Dataset.load(folder / "annotations.json")
    return dataset, {video.video_id: video for video in dataset.videos}


def test_co2_quirks_are_counted_and_mended(tmp_path):
    """Bytes, CRLF, labels against segments, both divings, a video that ends too early, undecided stretches."""
    quirks = imported(write_co2(tmp_path / "source"), tmp_path / "out", allow_pickle=True)
    counts = {name: quirk["count"] for name, quirk in quirks.items()}
    assert counts == {
        "bytes": 10, "extracted_fps": 3, "ambiguous": 2, "ambiguous_unknown": 1, "crlf": 3, "subset_names": 3,
        "two_classes": 1, "label_mismatch_training": 1, "label_mismatch": 1, "no_labels": 1, "beyond_duration": 1,
        "streams": 3,
    }  # fmt: skip
    dataset, videos = load(tmp_path / "out")
    assert dataset.classes == ("CliffDiving", "Diving", "Swim")
    assert {name: video.subset for name, video in videos.items()} == {"a": "training", "b": "training", "c": "testing"}
    assert videos["a"].labels == ("Swim",)  # the label of the video, and only segments of it
    assert [segment.label for segment in videos["a"].segments] == ["Swim"]
    assert videos["b"].labels == ("CliffDiving", "Diving")
    assert videos["c"].labels == ("Swim",)
    assert videos["c"].segments[-1].end == 25.0
    assert videos["c"].ambiguous == ((3.0, 4.5), (5.0, 6.0))
    store = FeatureStore.open(tmp_path / "out" / "features")
    assert store.grid.streams == {"rgb": 4, "flow": 4}
    for name, length in LENGTHS.items():
        np.testing.assert_array_equal(store.load(name), features(length))


@pytest.mark.parametrize(("how", "ends"), [("keep", [2.0, 25.0]), ("clip", [2.0, 0.64 * 32]), ("drop", [2.0])])
def test_segments_after_the_end(tmp_path, how, ends):
    """Kept, cut or dropped, in evaluation too, and the report says which."""
    source = write_co2(tmp_path / "source")
    recipe = MendRecipe(beyond_duration=how, weak_labels="segments")
    quirks = imported(source, tmp_path / "out", allow_pickle=True, mend=recipe)
    _, videos = load(tmp_path / "out")
    assert [segment.end for segment in videos["c"].segments] == pytest.approx(ends)
    assert videos["a"].labels == ("Diving", "Swim")
    assert quirks["beyond_duration"]["count"] == 1


def test_activitynet_in_the_co2_layout(tmp_path):
    """Where there is a training subset, validation is validation."""
    source = write_co2(tmp_path / "source", subsets={"a": "training", "b": "training", "c": "validation"})
    imported(source, tmp_path / "out", allow_pickle=True)
    assert [video.subset for video in load(tmp_path / "out")[0].videos] == ["training", "training", "validation"]


def test_um(tmp_path):
    """Times as text, streams in folders, videos as the split files say."""
    quirks = imported(write_um(tmp_path / "source"), tmp_path / "out")
    counts = {name: quirk["count"] for name, quirk in quirks.items()}
    assert counts == {"text_times": 8, "in_no_split": 1, "no_durations": 3, "subset_names": 3}
    _, videos = load(tmp_path / "out")
    assert (videos["b"].segments[0].end, videos["b"].duration) == (2.5, None)
    loaded = FeatureStore.open(tmp_path / "out" / "features").load("c")
    expected = [features(32, width=4, seed=len(stream)) for stream in ("rgb", "flow")]
    np.testing.assert_array_equal(loaded, np.concatenate(expected, axis=1))


@pytest.mark.parametrize("prefix", ["", "v_"])
def test_activitynet(tmp_path, prefix):
    """Features with and without YouTube's prefix; a label whose segment is reversed is still a weak label."""
    quirks = imported(write_activitynet(tmp_path / "source", prefix=prefix), tmp_path / "out")
    assert {"reversed", "no_length", "no_truth"} <= quirks.keys()
    _, videos = load(tmp_path / "out")
    assert (videos["b"].labels, videos["b"].segments) == (("Swim",), ())
    assert FeatureStore.open(tmp_path / "out" / "features").load("a").shape == (16, 8)


def test_pickles_are_refused_with_the_reason(tmp_path):
    """Nothing is written without --allow-pickle."""
    with pytest.raises(CacheError, match=r"A pickle is a program(?s:.*)--allow-pickle") as refused:
        main(ImportDatasetRun(dataset=tmp_path / "out", source=write_co2(tmp_path / "source")))
    assert "labels_all.npy" in str(refused.value)
    assert not (tmp_path / "out").exists()


def damage(source: Path, name: str, array: np.ndarray | None) -> None:
    """Put another array in the place of a video's features, or none."""
    path = source / "features" / f"v_{name}.npy"
    path.unlink()
    if array is not None:
        np.save(path, array)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (None, "has no features of it"),
        (np.zeros((8, 16), np.float32), "axes seem to be swapped"),
        (np.zeros((16, 6), np.float32), r"expected \(snippets, 8\)"),
        (np.zeros((16, 8), np.int64), "found int64"),
        (np.full((16, 8), np.nan, np.float32), "16 of 16 snippets hold NaN"),
    ],
)
def test_bad_features_are_named(tmp_path, capfd, array, words):
    """They stop the import; or, if asked, their videos are left out and counted."""
    source = write_activitynet(tmp_path / "source")
    damage(source, "a", array)
    assert main(ImportDatasetRun(dataset=tmp_path / "out", source=source)) == 2
    assert not (tmp_path / "out" / "annotations.json").exists()
    quirks = imported(source, tmp_path / "out", without_features="drop")
    (item,) = quirks["without_features"]["items"]
    assert item.startswith("a: ")
    assert re.search(words, item)
    assert "a" not in load(tmp_path / "out")[1]


def test_another_rate_is_noticed(tmp_path):
    """Half as many snippets as the durations say: the stride that would fit is named, and works."""
    source = write_activitynet(tmp_path / "source")
    for name, length in LENGTHS.items():
        damage(source, name, features(length // 2))
    with pytest.raises(CacheError, match="--snippet-stride 32"):
        main(ImportDatasetRun(dataset=tmp_path / "out", source=source))
    quirks = imported(source, tmp_path / "out", convert=ConvertRecipe(snippet_stride=32, snippet_frames=32))
    assert "length" not in quirks


def test_a_folder_of_videos_and_a_table(tmp_path, capfd):
    """Weak labels; every bad line is named, and stops the import unless it is to be left out."""
    source = tmp_path / "pool"
    source.mkdir()
    for name in ("one.mp4", "two.mkv", "three.avi"):
        (source / name).write_bytes(b"x")
    (source / "labels.csv").write_text("video,label\none.mp4,Swim\none,Dive\nnone.mp4,Swim\ntwo.mkv\ntwo.mkv,\n")
    assert main(ImportDatasetRun(dataset=tmp_path / "out", source=source)) == 2
    shown = capfd.readouterr()
    assert all(f" {line} " in shown.out for line in (4, 5, 6))
    quirks = imported(source, tmp_path / "out", expect=1, skip_invalid=True)
    assert quirks["unlisted"]["items"] == ["three.avi", "two.mkv"]
    _, videos = load(tmp_path / "out")
    assert videos["one"].labels == ("Dive", "Swim")
    assert videos["one"].path == source / "one.mp4"


def test_annotations_of_somebody_are_never_replaced(tmp_path):
    """Only what an import wrote, and nobody changed since."""
    source = write_activitynet(tmp_path / "source")
    imported(source, tmp_path / "out")
    imported(source, tmp_path / "out")
    (tmp_path / "out" / "annotations.json").write_text("{}")
    with pytest.raises(CacheError, match="was changed since"):
        main(ImportDatasetRun(dataset=tmp_path / "out", source=source))


def test_a_folder_in_no_layout(tmp_path):
    """What each layout looks like, and what was found."""
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CacheError, match=r"in no known layout(?s:.*)notes\.txt"):
        main(ImportDatasetRun(dataset=tmp_path / "out", source=tmp_path))


@pytest.fixture(scope="module")
def real_co2(tmp_path_factory) -> Path:
    """The real annotations beside narrow features of the real lengths."""
    annotations = DATA / "thumos14" / "co2_layout"
    if not annotations.exists():
        pytest.skip("the real annotations are not here")
    root = tmp_path_factory.mktemp("real")
    (root / "Thumos14reduced-Annotations").symlink_to(annotations.resolve())
    lengths = np.ceil(np.load(annotations / "duration.npy").ravel() * 25 / 16).astype(int)
    save_joint(root / "Thumos14reduced-I3D-JOINTFeatures.npy", [features(length) for length in lengths])
    return root


def test_real_thumos14_in_the_co2_layout(real_co2, tmp_path):
    """Every published oddity of it, and no video whose features do not fit."""
    quirks = imported(real_co2, tmp_path / "out", allow_pickle=True)
    assert {name: quirks[name]["count"] for name in ("two_classes", "contradictory", "beyond_duration", "lacking")} == {
        "two_classes": 361, "contradictory": 2, "beyond_duration": 30, "lacking": 1
    }  # fmt: skip
    assert (quirks["label_mismatch_training"]["count"], quirks["label_mismatch"]["count"]) == (8, 20)
    assert quirks["two_classes"]["items"][0] == "CliffDiving and Diving: 360 in 26 videos"
    assert quirks["no_labels"]["items"] == ["video_test_0000270"]
    assert "length" not in quirks
    dataset, videos = load(tmp_path / "out")
    testing = dataset.split("testing")
    assert (len(dataset.split("training")), len(testing)) == (200, 212)
    assert sum(len(video.segments) for video in testing) == 3358
    own = np.load(DATA / "thumos14/co2_layout/labels_all.npy", allow_pickle=True, encoding="latin1")
    for video, labels in zip(dataset.videos, own, strict=True):
        if video.subset == "training":
            assert set(video.labels) == set(labels)
    assert len(videos["video_test_0000293"].ambiguous) == 7


def test_real_thumos14_in_the_um_layout(tmp_path):
    """Equal to the other layout's truth in its 210 test videos; labels are those of the segments."""
    if not (DATA / "thumos14").exists():
        pytest.skip("the real annotations are not here")
    imported(DATA / "thumos14/um_layout", tmp_path / "um", annotations_only=True)
    segments = MendRecipe(weak_labels="segments")
    imported(DATA / "thumos14/co2_layout", tmp_path / "co2", annotations_only=True, allow_pickle=True, mend=segments)
    um, co2 = load(tmp_path / "um")[1], load(tmp_path / "co2")[1]
    assert um.keys() == co2.keys() - {"video_test_0000270", "video_test_0001496"}
    for name, video in um.items():
        assert sorted(map(str, video.segments)) == sorted(map(str, co2[name].segments))
        assert video.labels == co2[name].labels


def test_real_activitynet(tmp_path):
    """Counts of the file, and its oddities."""
    if not (DATA / "activitynet12").exists():
        pytest.skip("the real annotations are not here")
    quirks = imported(DATA / "activitynet12", tmp_path / "out", annotations_only=True)
    assert {name: quirk["count"] for name, quirk in quirks.items()} == {
        "repeated": 31, "slightly_beyond": 172, "no_length": 9, "no_truth": 2268
    }  # fmt: skip
    report = json.loads((tmp_path / "out" / "import_report.json").read_text())
    assert {name: count["videos"] for name, count in report["subsets"].items()} == {
        "training": 4441, "testing": 2268, "validation": 2198
    }  # fmt: skip
