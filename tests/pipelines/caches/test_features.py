"""`make features` and `make check-features`: shards, rows of bad videos, exit codes, sets of encoders."""

import json
from pathlib import Path

import numpy as np
import pytest

from cache.annotations import Dataset, VideoEntry
from cache.errors import CacheError
from cache.features import FeatureStore
from pipelines.__main__ import COMMANDS, choices
from pipelines.caches import check_features, features
from pipelines.caches.check_features import CheckFeaturesRun
from pipelines.caches.features import FeaturesRun
from priors.features.recipes import EncoderRecipe, FeaturesRecipe
from tests.support.models.tiny_encoders import save_tiny_encoders
from tests.support.videos.videos import write_video


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random VideoMAE."""
    return save_tiny_encoders(tmp_path_factory.mktemp("models")) / "rgb_encoder"


def a_run(folder: Path, model: Path, **changes: object) -> FeaturesRun:
    """Five videos, of which one is none."""
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    paths = [write_video(folder / "videos" / f"v{number}.mp4", 12 + 9 * number, fps=10) for number in range(4)]
    (folder / "videos" / "bad.mp4").write_bytes(b"no video")
    entries = [VideoEntry(path.stem, "training", None, ("Dive",), (), path) for path in paths]
    entries.append(VideoEntry("bad", "training", None, ("Dive",), (), folder / "videos" / "bad.mp4"))
    Dataset("pool", ("Dive",), tuple(entries)).save(folder / "annotations.json")
    streams = {"rgb": EncoderRecipe(model=str(model))}
    recipe = FeaturesRecipe(streams=streams, fps=10, snippet_frames=4, snippet_stride=4)
    return FeaturesRun(dataset=folder, features=recipe).model_copy(update=changes)


def test_shards_make_what_one_run_makes(model, tmp_path, capsys):
    """Bit for bit; the bad video is a row of its shard, with its reason beside the features."""
    assert features.main(a_run(tmp_path / "whole", model)) == 1
    told = capsys.readouterr().out
    for line in ("Shares of the working time", "decoding", "encoding", "frames/s", "bad", "4 videos encoded"):
        assert line in told
    codes = [features.main(a_run(tmp_path / "shards", model, num_shards=2, shard_index=index)) for index in range(2)]
    assert sorted(codes) == [0, 1]
    whole, shards = (FeatureStore.open(tmp_path / name / "features") for name in ("whole", "shards"))
    assert len(shards) == 4
    for number in range(4):
        assert np.array_equal(whole.load(f"v{number}"), shards.load(f"v{number}"))
    (noted,) = (tmp_path / "shards" / "features").glob("failed-*.json")
    assert json.loads(noted.read_text()) == json.loads((tmp_path / "whole" / "features" / "failed.json").read_text())


def test_a_video_that_is_mended_is_encoded_and_no_longer_noted(model, tmp_path):
    """By the same command, which does not touch the others."""
    run = a_run(tmp_path, model)
    assert features.main(run) == 1
    store = FeatureStore.open(tmp_path / "features")
    before = store.path("v0").stat().st_mtime_ns
    write_video(tmp_path / "videos" / "bad.mp4", 12, fps=10)
    assert features.main(run) == 0
    assert store.has("bad")
    assert store.path("v0").stat().st_mtime_ns == before
    assert not (tmp_path / "features" / "failed.json").exists()


def test_half_precision_on_disk_is_of_the_same_numbers(model, tmp_path):
    """A folder holds one kind of numbers."""
    run = a_run(tmp_path, model)
    features.main(run)
    half = run.model_copy(update={"features": run.features.model_copy(update={"stored": "float16"})})
    with pytest.raises(CacheError, match="float16"):
        features.main(half)
    features.main(half.model_copy(update={"folder": tmp_path / "half"}))
    whole, small = FeatureStore.open(tmp_path / "features").load("v1"), FeatureStore.open(tmp_path / "half").load("v1")
    assert small.dtype == np.float16
    np.testing.assert_array_equal(small, whole.astype(np.float16))


def test_features_are_checked_against_those_of_others(model, tmp_path, capsys):
    """Alike: 0; a shift that is named: 1; a file without a video here: an error."""
    features.main(a_run(tmp_path, model))
    store = FeatureStore.open(tmp_path / "features")
    other = tmp_path / "other"
    other.mkdir()
    for video in ("v2", "v3"):
        np.save(other / f"{video}.npy", store.load(video))
    run = CheckFeaturesRun(dataset=tmp_path, against=(other,))
    assert check_features.main(run) == 0
    np.save(other / "v3.npy", -store.load("v3"))
    assert check_features.main(run) == 1
    assert "1 of 2 videos alike" in capsys.readouterr().out
    np.save(other / "stranger.npy", store.load("v3"))
    with pytest.raises(CacheError, match="has no features of a video of this name"):
        check_features.main(run)


@pytest.mark.parametrize(
    ("encoders", "streams", "folder"),
    [("i3d", ["rgb", "flow"], "features"), ("clip", ["clip"], "features/clip"), (None, ["rgb"], "features")],
    ids=["i3d", "clip", "own"],
)
def test_any_preset_starts_from_a_set_of_encoders(encoders, streams, folder):
    """Its streams are then changed by options."""
    options = ["thumos14"] if encoders is None else ["thumos14", "--encoders", encoders]
    _, run = choices(COMMANDS["features"], options)["thumos14"]
    assert list(run.features.streams) == streams
    assert run.target == Path("cache/data/thumos14") / folder
    assert run.encoders == encoders


def test_encoders_of_a_saved_recipe_cannot_be_swapped(model, tmp_path):
    """They were chosen when it was saved."""
    with pytest.raises(CacheError, match="encoders: found clip"):
        features.main(a_run(tmp_path, model, encoders="clip"))
