"""Predictor: a trained run, ready to find actions in videos that it has never seen. Also for notebooks:

from pipelines.predicting.predictor import Predictor

predictor = Predictor("runs/demo")
segments = predictor.predict("clip.mp4").detections
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from cache.annotations import VideoEntry
from cache.detections import Detection
from cache.errors import CacheError, UserError
from cache.features import FeatureGrid, FeatureStore
from pipelines.predicting.encoding import RunEncoders, SnippetDecodeRecipe, partly_read
from pipelines.predicting.hub import local_run
from pipelines.predicting.inputs import Failure, Input, find_inputs
from pipelines.run_folder.files import RECIPE_FILE, refuse_unfinished
from pipelines.run_folder.recipe import TrainRun
from priors.video.frames import VideoError
from priors.video.thumbnails import Thumbnails, thumbnails
from training.checkpoints.folder import best_checkpoint
from training.inference import chosen_streams, detect, from_what_it_has, open_run
from training.localization.curves import Curves
from training.localization.localize import LocalizeRecipe
from training.nn.devices import DeviceName


@dataclass(frozen=True)
class Prediction:
    """What a run finds in one video."""

    video: VideoEntry
    """Id, duration in seconds (None for features without a video) and file; no labels, no segments."""
    detections: tuple[Detection, ...]
    """Segments in seconds with class and score, the best first: all that `make eval` would write."""
    curves: Curves
    """T-CAM (a score for each snippet and class) and attention."""
    grid: FeatureGrid
    """Converts snippets to seconds."""
    classes: tuple[str, ...]
    frames: Thumbnails | None = None
    """Frames at equal distances; None for features without a video, or if no frame could be read."""
    note: str = ""
    """Why frames are missing, or the video was read only in part."""


class Predictor:
    """A trained run. Its encoders are loaded when the first video asks for them; features need none."""

    def __init__(
        self,
        run: str | Path,
        *,
        encoders: Mapping[str, str | Path] | None = None,
        localize: LocalizeRecipe | Mapping[str, Any] | None = None,
        checkpoint: Literal["last", "best"] = "last",
        device: DeviceName | None = None,
        decode: SnippetDecodeRecipe | None = None,
        frames: int = 1,
        unfinished: bool = False,
    ) -> None:
        """`run` is a folder, or hf:owner/name[@revision] on the Hugging Face Hub. `encoders` says where weights of
        encoders are, by stream; `localize` is another post-processing than the run's, or changes of it; `frames` is the
        number of frames that predictions carry.

        Raises UserError if the folder holds no finished run, or not the asked checkpoint.
        """
        self.run = local_run(run)
        if not (self.run / RECIPE_FILE).exists():
            raise CacheError(f"{self.run / RECIPE_FILE}: no such file, so nothing was trained here; run `make train`")
        refuse_unfinished([self.run], asked=unfinished)
        self.recipe = TrainRun.load(self.run / RECIPE_FILE)
        best = best_checkpoint(self.run) if checkpoint == "best" else None
        if checkpoint == "best" and best is None:
            raise CacheError(f"{self.run}: found no best checkpoint, expected one; use the last (--checkpoint last)")
        self.device: DeviceName = device or self.recipe.train.loop.device
        chosen = None if best is None else best.folder
        self.checkpoint, self._trained = open_run(self.run, device=self.device, checkpoint=chosen)
        if not isinstance(localize, LocalizeRecipe):
            localize = LocalizeRecipe().changed({**self.recipe.localize, **(localize or {})})
        self.localize = from_what_it_has(self._trained, localize)
        self.classes, self.grid = self._trained.state.classes, self._trained.state.grid
        self._given = {name: Path(path) for name, path in (encoders or {}).items()}
        self._decode, self._frames = decode or SnippetDecodeRecipe(), frames

    @cached_property
    def encoders(self) -> RunEncoders:
        """The encoders of the run's features. Raises CacheError if they are not recorded, or not found."""
        device = self._decode.device or (None if self.device == "auto" else self.device)
        return RunEncoders(self.run, self._given, device=device)

    def predict(self, path: str | Path) -> Prediction:
        """Segments of one video, or of the features of one (.npy). Raises UserError if the file cannot be used."""
        inputs, failures = find_inputs([str(path)])
        if len(inputs) + len(failures) != 1:
            raise CacheError(f"{path}: found {len(inputs)} files, expected one; use predict_all for several")
        found: list[Prediction] = []
        with TemporaryDirectory(prefix="features-") as folder:
            failures += self.predict_all(inputs, Path(folder), lambda _, prediction: found.append(prediction))
        if failures:
            raise CacheError(f"{failures[0].name}: {failures[0].reason}")
        return found[0]

    def predict_all(
        self,
        inputs: Sequence[Input],
        folder: Path,
        ready: Callable[[Input, Prediction], None],
        tell: Callable[[str], None] = lambda pace: None,
    ) -> list[Failure]:
        """Call `ready` with every input and its prediction as soon as that is made; decoding goes on meanwhile, and
        `tell` gets its pace.

        Features of videos are kept in `folder`, and not made again while the video stays as it is. Returns the inputs
        that could not be used; they do not stop the others.
        """
        failures: list[Failure] = []
        videos = {key_of(one): one for one in inputs if not one.is_features}

        def localized(one: Input, store: FeatureStore, key: str) -> None:
            try:
                prediction = self._localized(one, store, key)
            except UserError as error:
                failures.append(Failure(one.name, str(error)))
            else:
                ready(one, prediction)

        for one in inputs:
            if one.is_features:
                localized(one, self._store_of(one.path), one.path.stem)
        if videos:
            entries = [VideoEntry(key, "", None, (), (), one.path) for key, one in videos.items()]
            unread = self.encoders.encode(
                entries,
                folder,
                decode=self._decode,
                tell=tell,
                ready=lambda store, entry: localized(videos[entry.video_id], store, entry.video_id),
            )
            failures += [Failure(videos[failure.name].name, failure.reason) for failure in unread]
        return failures

    def _store_of(self, path: Path) -> FeatureStore:
        """The folder of a file of features: with its own grid if it has one, else taken to have the run's."""
        try:
            return FeatureStore.open(path.parent)
        except CacheError:
            return FeatureStore(path.parent, self.grid)

    def _localized(self, one: Input, store: FeatureStore, key: str) -> Prediction:
        store = chosen_streams(self._trained, store, self.checkpoint)
        frames, note = (None, "") if one.is_features else self._pictures(one.path)
        entry = VideoEntry(key, "", None if frames is None else frames.duration, (), (), one.path)
        ((curves, found),) = detect(self._trained, store, [entry], recipe=self.localize)
        note = "; ".join(filter(None, [note, partly_read(store, key)]))
        return Prediction(
            video=replace(entry, video_id=one.name, path=None if one.is_features else one.path),
            detections=tuple(replace(detection, video_id=one.name) for detection in found),
            curves=replace(curves, video_id=one.name),
            grid=self.grid,
            classes=self.classes,
            frames=frames,
            note=note,
        )

    def _pictures(self, path: Path) -> tuple[Thumbnails | None, str]:
        try:
            return thumbnails(path, count=max(self._frames, 1)), ""
        except VideoError as error:
            return None, f"no frames: {error}"


def key_of(one: Input) -> str:
    """The name of a video's features: another one if the file changes."""
    return f"{one.name}-{stamp_of(one.path)}"


def stamp_of(path: Path) -> str:
    """What identifies a file that has not changed: hash of its place, size and time; "missing" if it is gone."""
    try:
        state = path.stat()
    except OSError:
        return "missing"
    text = f"{path.absolute()}\0{state.st_size}\0{state.st_mtime_ns}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def digest_of(folder: Path) -> str:
    """Hash of the inference weights and settings of a checkpoint."""
    digest = hashlib.sha256()
    for path in _files_of(folder):
        with path.open("rb") as file:
            digest.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def _files_of(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
