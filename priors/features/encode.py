"""Extracts snippet features from raw video: decoded in worker processes, encoded here in batches, kept by video."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from cache.annotations import Dataset, VideoEntry
from cache.errors import CacheError
from cache.features import FeatureStore
from cache.files.lock import Shard
from cache.files.stopping import Stopped, deferred_stops
from priors.features.decode_ahead import decode_ahead
from priors.features.encoder import Encoder
from priors.features.notes import Notes
from priors.features.recipes import FeaturesRecipe, SnippetDecodeRecipe
from priors.features.snippets import Chunk, Failed, Partial, Snippets

_BATCH, _BATCH_ON_CPU = 64, 8


@dataclass
class EncodeSummary:
    """Result of a run of `encode`, and where its time went."""

    encoded: int = 0
    skipped: int = 0
    """Videos that already had features."""
    snippets: int = 0
    frames: int = 0
    """Frames that were decoded, on the grid of the snippets."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """(video_id, reason)."""
    partial: list[tuple[str, str]] = field(default_factory=list)
    """(video_id, reason) of videos that were encoded, but are not read to their end."""
    decode_seconds: float = 0.0
    """Time of all workers together."""
    flow_seconds: float = 0.0
    """Time of all workers together."""
    encode_seconds: float = 0.0
    waited_seconds: float = 0.0
    """Time in which the encoders waited for workers."""
    started: float = field(default_factory=time.monotonic)

    @property
    def frames_per_second(self) -> float:
        """Over the run so far."""
        return self.frames / max(time.monotonic() - self.started, 1e-9)


@dataclass
class _Video:
    """A video that is being encoded."""

    entry: VideoEntry
    features: list[np.ndarray] = field(default_factory=list)
    waiting: int = 0
    """Snippets that are in no batch yet."""
    failed: str | None = None
    partial: str | None = None


class _Batches:
    """Collects snippets until a batch is full, and encodes it."""

    def __init__(self, encoders: Mapping[str, Encoder], size: int | None) -> None:
        on_cpu = all(encoder.device.type == "cpu" for encoder in encoders.values())
        self._encoders = encoders
        self._size = size or (_BATCH_ON_CPU if on_cpu else _BATCH)
        self.across = not on_cpu
        """Whether a batch may be of several videos. Without a GPU that gains nothing, and features would depend, in the
        last bits, on the videos beside them."""
        self._waiting: list[tuple[_Video, Mapping[str, Snippets]]] = []
        self._count = 0

    def add(self, video: _Video, chunk: Chunk) -> Iterator[None]:
        """Yields after each batch."""
        start, length = 0, len(chunk)
        while start < length:
            stop = min(length, start + self._size - self._count)
            self._waiting.append((video, {name: part.part(start, stop) for name, part in chunk.streams.items()}))
            video.waiting += stop - start
            self._count += stop - start
            start = stop
            if self._count == self._size:
                self.run()
                yield

    def run(self) -> None:
        """Encode what waits, however little it is; snippets of videos that failed meanwhile are dropped."""
        batch = [(video, parts) for video, parts in self._waiting if video.failed is None]
        self._waiting, self._count = [], 0
        if not batch:
            return
        found = [encoder.encode([parts[name] for _, parts in batch]) for name, encoder in self._encoders.items()]
        features, start = np.concatenate(found, axis=1), 0
        for video, parts in batch:
            count = len(next(iter(parts.values())))
            video.features.append(features[start : start + count])
            video.waiting -= count
            start += count


def encode(
    videos: Sequence[VideoEntry],
    store: FeatureStore,
    recipe: FeaturesRecipe,
    encoders: dict[str, Encoder],
    *,
    decode: SnippetDecodeRecipe | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    summary: EncodeSummary | None = None,
    shard: Shard | None = None,
) -> EncodeSummary:
    """Encode the videos that have no features yet; one that cannot be read is reported, and the others are encoded.

    Worker processes decode and compute flow ahead, a bounded number of snippets each, while this thread encodes. A
    video that crashes or hangs its worker fails alone. Finished features are kept if the run is interrupted. `progress`
    is called after every batch and video, with the numbers of videos; `summary` is filled on the way. `shard` names the
    notes beside the features where several processes write into the store (priors/features/notes.py).
    """
    missing = [video for video in videos if not store.has(video.video_id)]
    summary = summary or EncodeSummary()
    notes = Notes(store.folder, shard)
    summary.skipped = len(videos) - len(missing)

    def report() -> None:
        progress(summary.encoded + len(summary.failed), len(missing))

    for video in _encoded(missing, recipe, encoders, decode or SnippetDecodeRecipe(), summary, report):
        if video.failed is None:
            with deferred_stops() as stop:
                _keep(video, store, recipe.stored, notes, summary)
            if stop.signum is not None:
                raise Stopped(stop.signum)
        if video.failed is not None:
            summary.failed.append((video.entry.video_id, video.failed))
            notes.failed(video.entry.video_id, video.failed)
        report()
    notes.close()
    return summary


def _keep(video: _Video, store: FeatureStore, stored: str, notes: Notes, summary: EncodeSummary) -> None:
    """Write the features of a video; it fails if they are not finite."""
    name = video.entry.video_id
    if video.partial is not None:
        summary.partial.append((name, video.partial))
        notes.partial(name, video.partial)
    features = np.concatenate(video.features)
    try:
        with np.errstate(over="ignore"):
            store.save(name, features.astype(stored))
    except CacheError as error:
        video.failed = str(error)
        return
    summary.encoded += 1
    summary.snippets += len(features)


def encode_file(
    path: Path, recipe: FeaturesRecipe, encoders: dict[str, Encoder], *, decode: SnippetDecodeRecipe | None = None
) -> Float32[np.ndarray, "t d"]:
    """The features of one file, kept nowhere. Raises CacheError with the reason if it cannot be read."""
    entry = VideoEntry(path.stem, "", None, (), (), path)
    (video,) = _encoded([entry], recipe, encoders, decode or SnippetDecodeRecipe(), EncodeSummary(), lambda: None)
    if video.failed is not None:
        raise CacheError(f"{path}: {video.failed}")
    return np.concatenate(video.features)


def _encoded(
    videos: Sequence[VideoEntry],
    recipe: FeaturesRecipe,
    encoders: Mapping[str, Encoder],
    decode: SnippetDecodeRecipe,
    summary: EncodeSummary,
    report: Callable[[], None],
) -> Iterator[_Video]:
    """Each video, in order, once all of it is encoded or it failed."""
    batches = _Batches(encoders, decode.batch_size)
    unfinished: list[_Video] = []
    views = {name: encoder.view for name, encoder in encoders.items()}
    clock = time.monotonic()

    def spent() -> float:
        nonlocal clock
        before, clock = clock, time.monotonic()
        return clock - before

    with closing(decode_ahead(videos, recipe, views, decode)) as decoded:
        for entry, pieces in decoded:
            video = _Video(entry)
            unfinished.append(video)
            for piece in pieces:
                summary.waited_seconds += spent()
                match piece:
                    case Failed(why):
                        video.failed = why
                    case Partial(why):
                        video.partial = why
                    case Chunk():
                        summary.frames += piece.frames
                        summary.decode_seconds += piece.decode_seconds
                        summary.flow_seconds += piece.flow_seconds
                        for _ in batches.add(video, piece):
                            report()
                summary.encode_seconds += spent()
            if not batches.across:
                batches.run()
            while unfinished and (unfinished[0].failed is not None or not unfinished[0].waiting):
                yield unfinished.pop(0)
            summary.encode_seconds += spent()
        batches.run()
        summary.encode_seconds += spent()
        yield from unfinished


def videos_of(dataset: Dataset, subsets: Sequence[str]) -> list[VideoEntry]:
    """The videos of some subsets, in order; all videos of the dataset if none is given."""
    return [video for subset in subsets for video in dataset.split(subset)] if subsets else list(dataset.videos)
