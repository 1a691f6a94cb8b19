"""encoders.json: what it says, the same encoders elsewhere, and folders of earlier versions."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cache.errors import CacheError
from priors.features.encode import encode_file
from priors.features.encoder import load_encoders
from priors.features.flow import has_tvl1
from priors.features.i3d import I3d
from priors.features.recipes import EncoderRecipe, FeaturesRecipe, RecordedFeatures
from priors.features.record import ENCODERS_FILE, open_features, recorded_encoders
from priors.pretrained.model_files import ModelError
from tests.support.models.tiny_encoders import save_tiny_encoders
from tests.support.videos.videos import write_video


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random VideoMAE, in a folder named `tiny`."""
    folder = save_tiny_encoders(tmp_path_factory.mktemp("models"))
    return (folder / "rgb_encoder").rename(folder / "tiny")


def recipe_of(model: Path) -> FeaturesRecipe:
    """One stream."""
    streams = {"rgb": EncoderRecipe(model=str(model))}
    return FeaturesRecipe(streams=streams, fps=8, snippet_frames=4, snippet_stride=4)


def test_a_record_makes_the_same_features_elsewhere(model, tmp_path):
    """From a copy of the weights under their name, or under another one that is given."""
    recipe = recipe_of(model)
    encoders = load_encoders(recipe, device="cpu")
    open_features(tmp_path / "features", recipe, encoders)
    text = (tmp_path / "features" / ENCODERS_FILE).read_text()
    assert str(model.parent) not in text, "no path of this machine"
    record = RecordedFeatures.load(tmp_path / "features" / ENCODERS_FILE)
    assert record.streams["rgb"].model == "tiny"
    assert record.streams["rgb"].preprocessing == encoders["rgb"].input
    video = write_video(tmp_path / "clip.mp4", 21, fps=8)
    expected = encode_file(video, recipe, encoders)
    assert expected.shape == (6, 12)
    shutil.copytree(model, tmp_path / "there" / "tiny")
    shutil.copytree(model, tmp_path / "renamed")
    by_name = recorded_encoders(record, folders=[tmp_path, tmp_path / "there"], device="cpu")
    by_place = recorded_encoders(record, models={"rgb": str(tmp_path / "renamed")}, device="cpu")
    for again in (by_name, by_place):
        assert np.array_equal(encode_file(video, record, again), expected)


def test_weights_that_are_missing_or_others_are_told(model, tmp_path):
    """With the stream, what is there, and what made the features."""
    recipe = recipe_of(model)
    encoders = load_encoders(recipe, device="cpu")
    open_features(tmp_path / "features", recipe, encoders)
    record = RecordedFeatures.load(tmp_path / "features" / ENCODERS_FILE)
    with pytest.raises(ModelError, match=r"found no tiny in .*nowhere, expected the weights sha256:"):
        recorded_encoders(record, folders=[tmp_path / "nowhere"])
    stream = record.streams["rgb"].model_copy(update={"weights": "sha256:0"})
    other = record.model_copy(update={"streams": {"rgb": stream}})
    with pytest.raises(ModelError, match=r"found the weights sha256:.*, expected sha256:0"):
        recorded_encoders(other, folders=[model.parent], device="cpu")


def test_folders_of_earlier_versions_are_continued(model, tmp_path):
    """Their records lack what was added since."""
    recipe = recipe_of(model)
    encoders = load_encoders(recipe, device="cpu")
    open_features(tmp_path, recipe, encoders)
    path = tmp_path / ENCODERS_FILE
    record = json.loads(path.read_text())
    known = ("model", "revision", "input", "flow_bound")
    record["streams"] = {"rgb": {name: record["streams"]["rgb"][name] for name in known}}
    del record["stored"]
    path.write_text(json.dumps(record))
    open_features(tmp_path, recipe, encoders)
    recorded_encoders(RecordedFeatures.load(path), folders=[model.parent], device="cpu")


@pytest.mark.skipif(has_tvl1(), reason="OpenCV has its contributed modules here")
def test_flow_is_recorded_as_it_was_computed(tmp_path):
    """auto becomes the method that is there; TV-L1 is refused where it is not."""
    torch.save(I3d(2).state_dict(), tmp_path / "flow_imagenet.pt")
    flow = EncoderRecipe(kind="i3d", model=str(tmp_path / "flow_imagenet.pt"), input="flow", flow_method="auto")
    recipe = FeaturesRecipe(streams={"flow": flow})
    open_features(tmp_path / "features", recipe, load_encoders(recipe, device="cpu"))
    record = RecordedFeatures.load(tmp_path / "features" / ENCODERS_FILE)
    found = record.streams["flow"]
    assert (found.kind, found.model, found.flow_method) == ("i3d", "flow_imagenet.pt", "dis")
    assert found.revision == found.weights
    published = record.model_copy(update={"streams": {"flow": found.model_copy(update={"flow_method": "tvl1"})}})
    with pytest.raises(CacheError, match="flow_method: found tvl1, which this OpenCV lacks"):
        recorded_encoders(published, folders=[tmp_path])
