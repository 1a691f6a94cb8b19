"""The made-up datasets have the shapes that their names say, and the table ranks as it should."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.training.brittleness import MANY, SETTINGS, SHAPES, run_shape, table
from benchmarks.training.brittleness_shapes import Shape, make_dataset


@pytest.mark.parametrize("name", [*SHAPES, *MANY])
def test_names_of_shapes(name: str):
    """There and back."""
    assert Shape.parse(name).name == name


@pytest.mark.parametrize("name", ["1x15%-5c-20v", "3x15%-20c-40v", "6x90%-20c-20v"])
def test_a_dataset_has_its_shape(tmp_path: Path, name: str):
    """Classes a video, share of action, number of classes and videos; instances lie apart and inside the video."""
    shape = Shape.parse(name)
    dataset, store = make_dataset(tmp_path, shape, seed=1)
    videos = [video for video in dataset.videos if video.subset == "training"]
    assert len(videos) == shape.videos
    assert {label for video in videos for label in video.labels} == set(dataset.classes)
    assert len(dataset.classes) == shape.classes
    assert np.mean([len(video.labels) for video in videos]) == pytest.approx(shape.a_video, rel=0.2)
    shares = []
    for video in videos:
        length = len(store.load(video.video_id))
        assert video.duration == length
        assert {segment.label for segment in video.segments} == set(video.labels)
        bounds = [bound for segment in video.segments for bound in (segment.start, segment.end)]
        assert bounds == sorted(bounds)
        assert bounds[-1] <= length
        shares.append(sum(segment.end - segment.start for segment in video.segments) / length)
    assert np.mean(shares) == pytest.approx(shape.share, abs=0.05)


@pytest.mark.parametrize("host", ["plain", "um"])
def test_one_training_serves_several_readings(host: str):
    """Each setting asked for has a figure in percent, of a host without an attention of its own, too."""
    names = ["fitted", "fitted/both+cas"]
    assert set(names) <= SETTINGS.keys()
    found = run_shape(Shape.parse("1x15%-2c-4v"), names, host=host, steps=2, seed=0)
    assert list(found) == names
    assert all(0 <= value <= 100 for value in found.values())


def test_table_ranks_settings():
    """By the mean; `worst` is the largest loss beside the best setting of a shape."""
    figures = {"a": {"x": 50.0, "y": 40.0}, "b": {"x": 10.0, "y": 30.0}}
    lines = table(figures, ["x", "y"]).splitlines()
    assert lines[1].split() == ["y", "40.0", "30.0", "35.0", "1.5", "10.0"]
    assert lines[2].split() == ["x", "50.0", "10.0", "30.0", "1.5", "20.0"]
