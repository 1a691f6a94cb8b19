"""The encoders of a run: which they are, where their weights are found, and how they turn videos into features.

All that predictions know of `priors.features` is in this file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cache.annotations import VideoEntry
from cache.errors import CacheError
from cache.features import FeatureStore
from pipelines.predicting.inputs import Failure
from pipelines.run_folder.files import ENCODERS_FILE
from priors.features.encode import PARTIAL_FILE, Encoder, EncoderRecipe, FeaturesRecipe, open_features
from priors.features.encode import SnippetDecodeRecipe as SnippetDecodeRecipe
from priors.features.encode import encode as encode_all
from priors.pretrained.model_files import ModelError, is_folder, resolve_revision

WEIGHTS_FOLDER = "encoders"
"""Folder of a run that may hold the encoders' weights, one folder each, by the names in encoders.json."""
_FOLDERS = (Path(), Path("models"), Path(__file__).parents[1] / "demo" / "checkpoints")
"""Where encoders that were given as folders are looked for, besides the run."""


class RunEncoders:
    """The encoders that made the features a run was trained on."""

    def __init__(self, run: Path, given: Mapping[str, Path], *, device: str | None = None) -> None:
        """Load the encoders of all streams; `given` is where the weights of some are.

        Raises CacheError if the run has no record of its encoders, or if weights are not found or are others.
        """
        self.recipe = recorded_encoders(run)
        if unknown := sorted(given.keys() - self.recipe.streams.keys()):
            known = ", ".join(self.recipe.streams)
            raise CacheError(f"encoders: found {', '.join(unknown)}, expected streams of the run: {known}")
        self._encoders = {
            name: Encoder(_found(name, stream, run, given.get(name)), device=device)
            for name, stream in self.recipe.streams.items()
        }

    def encode(
        self,
        videos: Sequence[VideoEntry],
        folder: Path,
        *,
        decode: SnippetDecodeRecipe,
        ready: Callable[[FeatureStore, VideoEntry], None],
    ) -> list[Failure]:
        """Encode the videos that have no features in `folder` yet, and call `ready` with each video as soon as it has
        them. Returns the videos that could not be encoded."""
        store = open_features(folder, self.recipe, self._encoders)
        waiting = {video.video_id: video for video in videos}

        def pass_on(*_: object) -> None:
            for name in [name for name in waiting if store.has(name)]:
                ready(store, waiting.pop(name))

        pass_on()
        done = encode_all(list(waiting.values()), store, self.recipe, self._encoders, decode=decode, progress=pass_on)
        pass_on()
        return [Failure(name, why) for name, why in done.failed]


def partly_read(store: FeatureStore, video_id: str) -> str:
    """Why the features of a video are not those of all of it; empty if they are."""
    path = store.folder / PARTIAL_FILE
    return json.loads(path.read_text(encoding="utf-8")).get(video_id, "") if path.exists() else ""


def recorded_encoders(run: Path) -> FeaturesRecipe:
    """The encoders of a run's features. Raises CacheError if they are not recorded."""
    if not (run / ENCODERS_FILE).exists():
        raise CacheError(
            f"{run / ENCODERS_FILE}: no such file, so it is not known which encoders made the features of this run. "
            "`make train` copies it from the folder of the features, where `make features` writes it. Features that "
            "were imported have none: give predict the features of the videos (.npy) instead of the videos"
        )
    return FeaturesRecipe.load(run / ENCODERS_FILE)


def found_weights(run: Path, given: Mapping[str, Path]) -> dict[str, Path]:
    """Name of each encoder whose weights lie in a folder here -> that folder. Raises CacheError as `RunEncoders`."""
    found = {}
    for name, stream in recorded_encoders(run).streams.items():
        place = _found(name, stream, run, given.get(name)).model
        if is_folder(place):
            found[Path(stream.model).name] = Path(place)
    return found


def _found(name: str, stream: EncoderRecipe, run: Path, given: Path | None) -> EncoderRecipe:
    """The encoder of a stream with the place of its weights, which are those of the record."""
    looked = []
    for place in _places(stream, run, given):
        on_hub = place == stream.model and not is_folder(place)
        if not on_hub and not Path(place).exists():
            looked.append(f"  {place}: no such folder")
            continue
        revision = stream.revision if on_hub else None
        try:
            holds = resolve_revision(place, revision, option=f"encoders.{name}")
        except ModelError as error:
            looked.append(f"  {place}: {error}")
            continue
        if holds == stream.revision:
            return stream.model_copy(update={"model": place, "revision": revision})
        looked.append(f"  {place}: holds other weights ({holds})")
    raise CacheError(
        "\n".join(
            [
                f"{run / ENCODERS_FILE}: stream {name}: the weights of {stream.model} ({stream.revision}) were looked "
                f"for and not found. Say where they are: --encoders {name} FOLDER. Looked at:",
                *looked,
            ]
        )
    )


def _places(stream: EncoderRecipe, run: Path, given: Path | None) -> Iterator[str]:
    """Where the weights of a stream may be: where the user says, else folders here, and last the id on the Hub."""
    if given is not None:
        yield str(given)
        return
    for place in (run / WEIGHTS_FOLDER, *_FOLDERS):
        yield str(place / Path(stream.model).name)
    if "/" in stream.model:
        yield stream.model
