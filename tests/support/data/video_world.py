"""A dataset of a few real video files with a run that was trained on it, as the commands leave them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cache.annotations import Dataset, Segment, VideoEntry
from cache.features import FeatureStore
from pipelines.caches.features import FeaturesRun
from pipelines.caches.features import main as make_features
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs.train import main as train
from priors.features.recipes import EncoderRecipe, FeaturesRecipe
from priors.video.thumbnails import thumbnails
from tests.support.data.toy_data import tiny_recipe
from tests.support.models.tiny_encoders import save_tiny_encoders
from tests.support.videos.videos import write_video

CLASSES = ("Dive", "Jump")
LOCALIZE = {"source": "head+cam", "class_threshold": 0.05, "curves": ["attention", "cas"]}
"""Post-processing that goes with the run, and is not the default."""


@dataclass(frozen=True)
class VideoWorld:
    """Where everything lies."""

    encoders: Path
    dataset: Path
    run: Path

    @property
    def videos(self) -> list[Path]:
        """The test videos."""
        return [self.dataset / "videos" / f"{name}.mp4" for name in ("test0", "test1")]

    @property
    def given(self) -> dict[str, Path]:
        """What `--encoders` says."""
        return {"rgb": self.encoders / "rgb_encoder", "flow": self.encoders / "flow_encoder"}

    @property
    def store(self) -> FeatureStore:
        """The features of the dataset."""
        return FeatureStore.open(self.dataset / "features")


def make_video_world(root: Path) -> VideoWorld:
    """Four videos of two classes, their features by tiny encoders, and a run with a head, without texts."""
    world = VideoWorld(save_tiny_encoders(root / "weights"), root / "data", root / "runs" / "tiny")
    entries = []
    for place, (name, subset) in enumerate(
        (("train0", "training"), ("train1", "training"), ("test0", "testing"), ("test1", "testing"))
    ):
        path = write_video(world.dataset / "videos" / f"{name}.mp4", 60 + 25 * place)
        label, seconds = CLASSES[place % 2], thumbnails(path, count=1).duration
        entries.append(VideoEntry(name, subset, seconds, (label,), (Segment(label, 0.5, 1.5),), path))
    Dataset("tiny", CLASSES, tuple(entries)).save(world.dataset / "annotations.json")
    streams = {name: EncoderRecipe(model=str(folder), input=name) for name, folder in world.given.items()}  # pyright: ignore[reportArgumentType]
    recipe = FeaturesRecipe(streams=streams, fps=16, snippet_frames=4, snippet_stride=4)
    assert make_features(FeaturesRun(dataset=world.dataset, features=recipe)) == 0
    alone = {"use_ksm": False, "use_csr": False, "use_dpid": False}
    train(TrainRun(dataset=world.dataset, run=world.run, localize=LOCALIZE, train=tiny_recipe(**alone)))
    return world
