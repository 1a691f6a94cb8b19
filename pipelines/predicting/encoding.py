"""The encoders of a run: which they are, where their weights are found, and how they turn videos into features.

All that predictions know of `priors.features` is in this file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cache.annotations import VideoEntry
from cache.errors import CacheError
from cache.features import FeatureStore
from pipelines.predicting.inputs import Failure
from pipelines.run_folder.files import ENCODERS_FILE
from priors.features.encode import EncodeSummary
from priors.features.encode import encode as encode_all
from priors.features.notes import PARTIAL, Notes
from priors.features.recipes import RecordedFeatures
from priors.features.recipes import SnippetDecodeRecipe as SnippetDecodeRecipe
from priors.features.record import open_features, recorded_encoders
from priors.pretrained.model_files import ModelError

WEIGHTS_FOLDER = "encoders"
"""Folder of a run that may hold the encoders' weights, by their names in encoders.json."""
_FOLDERS = (Path(), Path("models"), Path(__file__).parents[1] / "demo" / "checkpoints")
"""Where encoders that were given as folders or files are looked for, besides the run."""


class RunEncoders:
    """The encoders that made the features a run was trained on."""

    def __init__(self, run: Path, given: Mapping[str, Path], *, device: str | None = None) -> None:
        """Load the encoders of all streams; `given` is where the weights of some are.

        Raises CacheError if the run has no record of its encoders, or if weights are not found or are others.
        """
        self.recipe = encoders_of(run)
        if unknown := sorted(given.keys() - self.recipe.streams.keys()):
            known = ", ".join(self.recipe.streams)
            raise CacheError(f"encoders: found {', '.join(unknown)}, expected streams of the run: {known}")
        try:
            self._encoders = recorded_encoders(
                self.recipe,
                models={name: str(place) for name, place in given.items()},
                folders=(run / WEIGHTS_FOLDER, *_FOLDERS),
                device=device,
            )
        except ModelError as error:
            names = "|".join(self.recipe.streams)
            raise CacheError(
                f"{run / ENCODERS_FILE}: {error}. Say where the weights are: --encoders {names} PLACE"
            ) from error

    @property
    def places(self) -> dict[str, Path]:
        """Name of each encoder whose weights lie on this machine as a folder or file -> its place."""
        found = {self.recipe.streams[name].model: Path(one.recipe.model) for name, one in self._encoders.items()}
        return {name: place for name, place in found.items() if place.exists()}

    def encode(
        self,
        videos: Sequence[VideoEntry],
        folder: Path,
        *,
        decode: SnippetDecodeRecipe,
        ready: Callable[[FeatureStore, VideoEntry], None],
        tell: Callable[[str], None] = lambda pace: None,
    ) -> list[Failure]:
        """Encode the videos that have no features in `folder` yet, and call `ready` with each video as soon as it has
        them, and `tell` with the pace meanwhile. Returns the videos that could not be encoded."""
        store = open_features(folder, self.recipe, self._encoders)
        waiting = {video.video_id: video for video in videos}
        summary = EncodeSummary()

        def pass_on(*_: object) -> None:
            for name in [name for name in waiting if store.has(name)]:
                ready(store, waiting.pop(name))
            tell(f"{summary.frames_per_second:,.0f} frames/s")

        pass_on()
        left = list(waiting.values())
        encode_all(left, store, self.recipe, self._encoders, decode=decode, progress=pass_on, summary=summary)
        pass_on()
        return [Failure(name, why) for name, why in summary.failed]


def partly_read(store: FeatureStore, video_id: str) -> str:
    """Why the features of a video are not those of all of it; empty if they are."""
    path = Notes(store.folder).path(PARTIAL)
    return json.loads(path.read_text(encoding="utf-8")).get(video_id, "") if path.exists() else ""


def encoders_of(run: Path) -> RecordedFeatures:
    """The encoders of a run's features. Raises CacheError if they are not recorded."""
    if not (run / ENCODERS_FILE).exists():
        raise CacheError(
            f"{run / ENCODERS_FILE}: no such file, so it is not known which encoders made the features of this run. "
            "`make train` copies it from the folder of the features, where `make features` writes it. Features that "
            "were imported have none: give predict the features of the videos (.npy) instead of the videos"
        )
    return RecordedFeatures.load(run / ENCODERS_FILE)
