"""Folds of weakly labelled videos: stratified, repeatable, and without any time of an action."""

import json
from pathlib import Path

import numpy as np
import pytest

from cache.annotations import Dataset
from cache.errors import CacheError
from pipelines.tuning.split import FIT, HELD, fold_datasets, load_weak, stratified_parts
from tests.support.data.tiny_world import make_world


def multi_labels(seed: int, videos: int, classes: int) -> np.ndarray:
    """Random labels, at least one for each video, classes of different sizes."""
    rng = np.random.default_rng(seed)
    labels = rng.random((videos, classes)) < rng.uniform(0.05, 0.4, size=classes)
    labels[np.arange(videos), rng.integers(classes, size=videos)] = True
    return labels


@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_spread_over_the_parts(seed: int):
    """Every class is spread over the parts."""
    labels = multi_labels(seed, videos=83, classes=11)
    part = stratified_parts(labels, 4, seed=seed)
    assert {*part.tolist()} <= {-1, 0, 1, 2, 3}
    for members in labels.T:
        counts = np.bincount(part[members & (part >= 0)], minlength=4)
        assert counts.max() - counts.min() <= 1 + members.sum() // 4
    assert np.ptp(np.bincount(part[part >= 0], minlength=4)) <= 8


@pytest.mark.parametrize("seed", range(5))
def test_every_class_can_be_trained_in_every_fold(seed: int):
    """Every class can be trained in every fold."""
    labels = multi_labels(seed, videos=14, classes=9)
    part = stratified_parts(labels, 3, seed=seed)
    for fold in range(3):
        assert np.array_equal(labels[part != fold].any(0), labels.any(0))


def test_weak_videos_have_no_times(tmp_path: Path):
    """Weak videos have no times."""
    path = make_world(tmp_path / "tiny") / "annotations.json"
    document = json.loads(path.read_text())
    for entry in document["database"].values():
        entry["ambiguous"] = [[1.0, 2.0]]
        for item in entry["annotations"]:
            item["segment"] = "no time at all"  # what is not read may be anything
    path.write_text(json.dumps(document))
    weak = load_weak(path, "training")
    assert [video.labels for video in weak.videos] == [("HighKick",), ("LongJump",)] * 2
    assert not any(video.segments or video.ambiguous for video in weak.videos)


def test_folds_hold_out_different_videos(tmp_path: Path):
    """Folds hold out different videos."""
    weak = load_weak(make_world(tmp_path / "tiny") / "annotations.json", "training")
    held = []
    for dataset in fold_datasets(weak, parts=2, folds=2, seed=0):
        held.append({video.video_id for video in dataset.videos if video.subset == HELD})
        assert {video.subset for video in dataset.videos} == {FIT, HELD}
    assert not held[0] & held[1]
    with pytest.raises(CacheError, match="too few"):
        fold_datasets(Dataset("one", weak.classes, weak.videos[:1]), parts=2, folds=2, seed=0)
