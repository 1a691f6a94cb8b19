"""Extracts snippet features from raw video, with any transformers video classifier as the encoder of a stream."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from jaxtyping import Float32
from pydantic import PositiveFloat, PositiveInt, model_validator

from cache.annotations import Dataset, VideoEntry
from cache.errors import CacheError
from cache.features import FeatureGrid, FeatureStore
from cache.files.atomic import atomic_path
from cache.files.stopping import Stopped, deferred_stops
from cache.recipe import RUN_ONLY, Recipe
from priors.features.snippets import Cutter, Failed, Partial, Piece, View, cut
from priors.pretrained.model_files import is_folder, resolve_revision
from priors.pretrained.torchvision_cpu import make_torchvision_importable
from priors.video.worker_pool import Died, Stalled, WorkerPool, reason

if TYPE_CHECKING:
    import torch

ENCODERS_FILE = "encoders.json"
PARTIAL_FILE = "partial.json"
"""In a folder of features: video -> why its features are not those of all of it."""
_Chunks = queue.Queue[Piece | None]


class EncoderRecipe(Recipe):
    """The encoder of one stream."""

    model: str
    """Hub id or folder of a transformers video classifier (VideoMAE, TimeSformer, ViViT ...). Features are the inputs
    of its last linear layer, as for I3D."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; None = its main branch."""
    input: Literal["rgb", "flow"] = "rgb"
    """Input of the encoder: RGB frames, or optical flow as two channels."""
    flow_bound: PositiveFloat = 20.0
    """Flow in pixels that is scaled to 1; larger displacements are clipped (20 for I3D)."""


class FeaturesRecipe(Recipe):
    """How snippet features are extracted."""

    streams: dict[str, EncoderRecipe]
    """The streams in the order of their columns."""
    fps: PositiveFloat = 25.0
    """Frames per second that videos are resampled to."""
    snippet_frames: PositiveInt = 16
    """Frames that one snippet covers."""
    snippet_stride: PositiveInt = 16
    """Frames from one snippet to the next; at most `snippet_frames`."""

    @model_validator(mode="after")
    def _no_gaps(self) -> Self:
        if self.snippet_stride > self.snippet_frames:
            raise ValueError(f"snippet_stride: found {self.snippet_stride}, expected at most {self.snippet_frames}")
        return self


class SnippetDecodeRecipe(Recipe):
    """How videos are decoded ahead of the encoders. These settings do not change the features."""

    workers: Annotated[PositiveInt, RUN_ONLY] = 2
    """Processes that decode and compute flow, each with one video at a time."""
    timeout_seconds: Annotated[PositiveFloat, RUN_ONLY] = 900.0
    """Time limit of the next snippets of a video; beyond it the video fails."""
    worker_memory_gib: Annotated[PositiveFloat, RUN_ONLY] = 8.0
    """Memory limit of a worker; a video that needs more fails."""
    chunk_snippets: Annotated[PositiveInt, RUN_ONLY] = 64
    """Largest number of snippets per batch."""


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
        self.view = View(recipe.input, frames=model.config.num_frames, side=model.config.image_size)
        """Input of the encoder for a snippet."""
        self._mean, self._std = self._normalisation(commit)

    def _normalisation(self, commit: dict[str, str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the inputs by channel: the checkpoint's for RGB, the flow bound for flow."""
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

        Each snippet is `length` frames from its start, of which the encoder gets `frames` at equal distances.
        """
        return self.view.prepare(pictures, starts, length)

    def encode(self, snippets: np.ndarray) -> Float32[np.ndarray, "s w"]:
        """Features of prepared snippets (s, frames, side, side, c)."""
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(snippets).to(self.device, torch.float32)
            if self.recipe.input == "flow":
                pixels = pixels.clamp(-self.recipe.flow_bound, self.recipe.flow_bound)
            pixels = ((pixels - self._mean) / self._std).movedim(-1, 2)
            return self._model(pixel_values=pixels).logits.float().cpu().numpy()


@dataclass
class EncodeSummary:
    """Result of a run of `encode`."""

    encoded: int = 0
    skipped: int = 0
    """Videos that already had features."""
    snippets: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    """(video_id, reason)."""
    partial: list[tuple[str, str]] = field(default_factory=list)
    """(video_id, reason) of videos that were encoded, but are not read to their end."""


def open_features(folder: Path, recipe: FeaturesRecipe, encoders: dict[str, Encoder]) -> FeatureStore:
    """Create or reopen a folder for these encoders. Raises CacheError if it holds features of other encoders."""
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
    decode: SnippetDecodeRecipe | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EncodeSummary:
    """Encode the videos that have no features yet; one that cannot be read is reported, and the others are encoded.

    Worker processes decode and compute flow ahead, a bounded number of snippets each, while this thread encodes. A
    video that crashes or hangs its worker fails alone. Finished features are kept if the run is interrupted.
    """
    missing = [video for video in videos if not store.has(video.video_id)]
    summary = EncodeSummary(skipped=len(videos) - len(missing))
    with closing(_decode_ahead(missing, recipe, encoders, decode or SnippetDecodeRecipe())) as decoded:
        for done, (video, chunks) in enumerate(decoded, start=1):
            encoded: list[np.ndarray] = []
            failed: str | None = None
            for chunk in chunks:
                if isinstance(chunk, Failed):
                    failed = chunk.why
                elif isinstance(chunk, Partial):
                    summary.partial.append((video.video_id, chunk.why))
                else:
                    encoded.append(np.concatenate([encoders[name].encode(chunk[name]) for name in encoders], axis=1))
            if failed is None:
                with deferred_stops() as stop:
                    store.save(video.video_id, np.concatenate(encoded))
                    _note_partial(store.folder, summary.partial)
                if stop.signum is not None:
                    raise Stopped(stop.signum)
                summary.encoded += 1
                summary.snippets += sum(map(len, encoded))
            else:
                summary.failed.append((video.video_id, failed))
            progress(done, len(missing))
    return summary


def _note_partial(folder: Path, found: Sequence[tuple[str, str]]) -> None:
    """Keep beside the features which videos they hold in part, and why."""
    path = folder / PARTIAL_FILE
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if (merged := {**known, **dict(found)}) != known:
        with atomic_path(path) as unfinished:
            unfinished.write_text(json.dumps(merged, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _decode_ahead(
    videos: Sequence[VideoEntry], recipe: FeaturesRecipe, encoders: dict[str, Encoder], decode: SnippetDecodeRecipe
) -> Generator[tuple[VideoEntry, Iterator[Piece]], None, None]:
    """Each video with its chunks, in order, decoded by a pool of workers into queues of two chunks per video."""
    stop = threading.Event()
    cutter = Cutter(
        {name: encoder.view for name, encoder in encoders.items()},
        fps=recipe.fps,
        length=recipe.snippet_frames,
        stride=recipe.snippet_stride,
        chunk=decode.chunk_snippets,
    )

    def fill(video: VideoEntry, chunks: _Chunks) -> None:
        try:
            for chunk in _isolated(pool, cutter, video, decode):
                _put(chunks, chunk, stop)
        finally:
            _put(chunks, None, stop)

    def drain(chunks: _Chunks, job: Future[None]) -> Iterator[Piece]:
        while (chunk := chunks.get()) is not None:
            yield chunk
        job.result()  # raises the error of the thread

    pool = WorkerPool(partial(cut, cutter), seconds=decode.timeout_seconds, memory_gib=decode.worker_memory_gib)
    threads = ThreadPoolExecutor(decode.workers, thread_name_prefix="decode")
    waiting: list[tuple[VideoEntry, _Chunks, Future[None]]] = []
    try:
        for video in [*videos, *[None] * decode.workers]:
            if video is not None:
                chunks: _Chunks = queue.Queue(maxsize=2)
                waiting.append((video, chunks, threads.submit(fill, video, chunks)))
            if waiting and (video is None or len(waiting) > decode.workers):
                head, chunks, job = waiting.pop(0)
                yield head, drain(chunks, job)
    finally:
        stop.set()
        pool.kill()
        threads.shutdown(wait=True, cancel_futures=True)
        pool.__exit__()


def _isolated(pool: WorkerPool, cutter: Cutter, video: VideoEntry, decode: SnippetDecodeRecipe) -> Iterator[Piece]:
    if video.path is None:
        yield Failed("the annotations name no file, and the videos folder has none")
        return
    try:
        yield from pool.answers(video.path)
    except (Died, Stalled) as problem:
        yield Failed(reason(problem, "timeout_seconds"))


def _put(chunks: _Chunks, chunk: Piece | None, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            chunks.put(chunk, timeout=0.1)
            return
        except queue.Full:
            continue


def videos_of(dataset: Dataset, subsets: Sequence[str]) -> list[VideoEntry]:
    """The videos of some subsets, in order; all videos of the dataset if none is given."""
    return [video for subset in subsets for video in dataset.split(subset)] if subsets else list(dataset.videos)
