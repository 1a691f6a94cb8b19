"""Raw video to two-stream snippet features, with any transformers video classifier as the encoder of a stream."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from jaxtyping import Float32
from pydantic import PositiveFloat, PositiveInt, model_validator

from cache.annotations import Dataset, VideoEntry
from cache.features import FeatureGrid, FeatureStore
from cache.recipe import Recipe
from cache.schema import CacheError
from priors.flow import optical_flow
from priors.frames import VideoError, stream_frames
from priors.model_files import is_folder, resolve_revision
from priors.torchvision_cpu import make_torchvision_importable

if TYPE_CHECKING:
    import torch

ENCODERS_FILE = "encoders.json"
_CHUNK_SNIPPETS = 64


class EncoderRecipe(Recipe):
    """What one stream is made with."""

    model: str
    """Hub id or folder of a transformers video classifier (VideoMAE, TimeSformer, ViViT ...). The features are what its
    last linear layer sees, as the features of I3D are."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; None is its main branch."""
    input: Literal["rgb", "flow"] = "rgb"
    """What the encoder sees: pictures, or optical flow as two channels."""
    flow_bound: PositiveFloat = 20.0
    """Flow in pixels that becomes 1; larger displacements are cut (20 for I3D)."""


class FeaturesRecipe(Recipe):
    """How videos become snippet features."""

    streams: dict[str, EncoderRecipe]
    """The streams in the order of their columns."""
    fps: PositiveFloat = 25.0
    """Frames a second that videos are resampled to."""
    snippet_frames: PositiveInt = 16
    """Frames that one snippet covers."""
    snippet_stride: PositiveInt = 16
    """Frames from one snippet to the next; at most `snippet_frames`."""

    @model_validator(mode="after")
    def _no_gaps(self) -> Self:
        if self.snippet_stride > self.snippet_frames:
            raise ValueError(f"snippet_stride: found {self.snippet_stride}, expected at most {self.snippet_frames}")
        return self


class Encoder:
    """One stream: snippets in, the classifier's penultimate features out. Raises ModelError if it cannot be loaded."""

    def __init__(self, recipe: EncoderRecipe, *, device: str | None = None) -> None:
        make_torchvision_importable()
        import torch
        from transformers import AutoModelForVideoClassification

        self.recipe = recipe
        self.revision = resolve_revision(recipe.model, recipe.revision, option="streams.*.model")
        commit = {} if is_folder(recipe.model) else {"revision": self.revision}
        model: Any = AutoModelForVideoClassification.from_pretrained(
            recipe.model, dtype=torch.float32, use_safetensors=True, **commit
        )
        self.width: int = model.classifier.in_features
        model.classifier = torch.nn.Identity()
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._model = model.eval().to(self.device)
        self.frames: int = model.config.num_frames
        self.side: int = model.config.image_size
        self._mean, self._std = self._normalisation(commit)

    def _normalisation(self, commit: dict[str, str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and spread of the inputs by channel: the checkpoint's own for pictures, the flow bound for flow."""
        import torch

        if self.recipe.input == "flow":
            mean, spread = [0.0, 0.0], [self.recipe.flow_bound] * 2
        else:
            from transformers import AutoImageProcessor

            processor: Any = AutoImageProcessor.from_pretrained(self.recipe.model, **commit)
            mean, spread = ([255 * value for value in values] for values in (processor.image_mean, processor.image_std))
        return torch.tensor(mean, device=self.device), torch.tensor(spread, device=self.device)

    def prepare(self, pictures: np.ndarray, starts: Sequence[int], length: int) -> np.ndarray:
        """Cut snippets out of pictures or flow (n, h, w, c): (snippets, frames, side, side, c), centre-cropped.

        Each snippet is `length` frames from its start, of which the encoder sees `frames` at equal distances.
        """
        offsets = (np.arange(self.frames) + 0.5) * length / self.frames
        indices = np.asarray(starts)[:, None] + offsets.astype(int)[None]
        scaled = np.stack([_square(picture, self.side) for picture in pictures])
        return scaled[np.minimum(indices, len(scaled) - 1)]

    def encode(self, snippets: np.ndarray) -> Float32[np.ndarray, "s w"]:
        """Features of prepared snippets (s, frames, side, side, c)."""
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(snippets).to(self.device, torch.float32)
            if self.recipe.input == "flow":
                pixels = pixels.clamp(-self.recipe.flow_bound, self.recipe.flow_bound)
            pixels = ((pixels - self._mean) / self._std).movedim(-1, 2)
            return self._model(pixel_values=pixels).logits.float().cpu().numpy()


def _square(picture: np.ndarray, side: int) -> np.ndarray:
    """Scale the shorter side to `side` and crop the centre."""
    import cv2

    height, width = picture.shape[:2]
    if (height, width) != (side, side):
        scale = side / min(height, width)
        size = max(side, round(width * scale)), max(side, round(height * scale))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return picture[top : top + side, left : left + side]


@dataclass
class EncodeSummary:
    """What a run of `encode` did."""

    encoded: int = 0
    skipped: int = 0
    """Videos that had features before."""
    snippets: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    """(video_id, reason)."""


def snippet_starts(frames: int, *, length: int, stride: int) -> range:
    """First frames of the snippets that cover so many frames; the last may reach beyond the end and repeats it."""
    return range(0, stride * (1 + max(0, -(-(frames - length) // stride))), stride)


def open_features(folder: Path, recipe: FeaturesRecipe, encoders: dict[str, Encoder]) -> FeatureStore:
    """Make or reopen a folder for these encoders. Raises CacheError if other encoders filled it."""
    grid = FeatureGrid(
        streams={name: encoder.width for name, encoder in encoders.items()},
        fps=recipe.fps,
        snippet_frames=recipe.snippet_frames,
        snippet_stride=recipe.snippet_stride,
    )
    store = FeatureStore.create(folder, grid)
    made_with = FeaturesRecipe(
        **recipe.model_dump(exclude={"streams"}),
        streams={
            name: encoder.recipe.model_copy(
                update={"model": Path(encoder.recipe.model).name, "revision": encoder.revision}
            )
            for name, encoder in encoders.items()
        },
    )
    note = folder / ENCODERS_FILE
    if not note.exists():
        made_with.save(note)
    elif (found := FeaturesRecipe.load(note)).fingerprint() != made_with.fingerprint():
        raise CacheError(
            f"{note}: these features were made with {found.streams}, asked for are {made_with.streams}; "
            "delete the folder, or choose another one with --folder"
        )
    return store


def encode(
    videos: Sequence[VideoEntry],
    store: FeatureStore,
    recipe: FeaturesRecipe,
    encoders: dict[str, Encoder],
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EncodeSummary:
    """Encode the videos that have no features yet; a video that cannot be read is reported and the rest goes on.

    `workers` threads decode and compute flow ahead, a bounded number of snippets each, while this thread encodes.
    """
    summary = EncodeSummary()
    missing = [video for video in videos if not store.has(video.video_id)]
    summary.skipped = len(videos) - len(missing)
    for done, (video, chunks) in enumerate(_decode_ahead(missing, recipe, encoders, workers), start=1):
        try:
            parts = [
                np.concatenate([encoders[name].encode(part[name]) for name in encoders], axis=1) for part in chunks
            ]
            store.save(video.video_id, np.concatenate(parts))
            summary.encoded += 1
            summary.snippets += sum(map(len, parts))
        except VideoError as error:
            summary.failed.append((video.video_id, error.why))
        progress(done, len(missing))
    return summary


Chunk = dict[str, np.ndarray]
"""Prepared snippets by stream."""


def _chunks(path: Path | None, video_id: str, recipe: FeaturesRecipe, encoders: dict[str, Encoder]) -> Iterator[Chunk]:
    """Prepared snippets of one video, some at a time. Raises VideoError."""
    if path is None:
        raise VideoError(Path(video_id), "the annotations name no file, and the videos folder has none")
    length, stride = recipe.snippet_frames, recipe.snippet_stride
    with_flow = any(encoder.recipe.input == "flow" for encoder in encoders.values())
    held: np.ndarray | None = None
    frames = stream_frames(path, fps=recipe.fps, size=None, chunk=_CHUNK_SNIPPETS * stride)
    for fresh in chain(frames, [None]):
        held = held if fresh is None else fresh.rgb if held is None else np.concatenate([held, fresh.rgb])
        if held is None:
            return
        # A snippet is whole once the frame after it is there, too: the flow of its last frame leads to it.
        starts = snippet_starts(len(held), length=length, stride=stride)
        ready = [start for start in starts if fresh is None or start + length < len(held)]
        if not ready:
            continue
        used = held[: ready[-1] + length + 1]
        seen = {"rgb": used, "flow": _flow(used) if with_flow else used}
        yield {name: encoder.prepare(seen[encoder.recipe.input], ready, length) for name, encoder in encoders.items()}
        held = held[ready[-1] + stride :]


def _flow(pictures: np.ndarray) -> np.ndarray:
    """Flow of each picture to the next; none where there is one picture only."""
    return optical_flow(pictures) if len(pictures) > 1 else np.zeros((1, *pictures.shape[1:3], 2), np.float32)


def _decode_ahead(
    videos: Sequence[VideoEntry], recipe: FeaturesRecipe, encoders: dict[str, Encoder], workers: int
) -> Iterator[tuple[VideoEntry, Iterator[Chunk]]]:
    """Each video with its chunks, in order, decoded by threads into queues of two chunks a video."""
    stop = threading.Event()

    def fill(video: VideoEntry, chunks: queue.Queue[Chunk | None]) -> None:
        try:
            for chunk in _chunks(video.path, video.video_id, recipe, encoders):
                _put(chunks, chunk, stop)
        finally:
            _put(chunks, None, stop)

    def drain(chunks: queue.Queue[Chunk | None], job: Future[None]) -> Iterator[Chunk]:
        while (chunk := chunks.get()) is not None:
            yield chunk
        job.result()  # raises what the thread met

    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    waiting: list[tuple[VideoEntry, queue.Queue[Chunk | None], Future[None]]] = []
    try:
        for video in [*videos, *[None] * workers]:
            if video is not None:
                chunks: queue.Queue[Chunk | None] = queue.Queue(maxsize=2)
                waiting.append((video, chunks, pool.submit(fill, video, chunks)))
            if waiting and (video is None or len(waiting) > workers):
                head, chunks, job = waiting.pop(0)
                yield head, drain(chunks, job)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _put(chunks: queue.Queue[Chunk | None], chunk: Chunk | None, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            chunks.put(chunk, timeout=0.1)
            return
        except queue.Full:
            continue


def videos_of(dataset: Dataset, subsets: Sequence[str]) -> list[VideoEntry]:
    """The videos of some subsets, in order; all of the data set's where none is named."""
    return [video for subset in subsets for video in dataset.split(subset)] if subsets else list(dataset.videos)
