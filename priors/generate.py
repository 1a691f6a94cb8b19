"""The loop that fills the store of descriptions: what is missing, decode ahead, describe in batches, write in parts."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from cache.annotations import Dataset, VideoEntry
from cache.schema import KINDS, CacheError, Description, Kind
from cache.store import PartStore
from priors.decoding import Decoded, decode
from priors.describer import Describer, Failure, Reply, Request
from priors.model_files import ModelError
from priors.recipe import DescriptionRecipe

Key = tuple[str, str, Kind]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a run is: keys done (ok or failed) of all that it set out to make."""

    done: int
    total: int
    failed: int
    per_second: float
    seconds_left: float | None
    """None as long as nothing is done."""


class OnProgress(Protocol):
    """Called after every batch and every failed video."""

    def __call__(self, progress: Progress, /) -> None:
        """Show it."""
        ...


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    planned: int
    """Keys that had no ok row when the run began."""
    skipped: int
    """Keys that had one."""
    described: int
    failed: tuple[tuple[Key, str], ...]
    """Keys that failed, with the reason."""
    seconds: float
    decode_wait_seconds: float
    """Time in which the describer stood idle because no video was decoded yet."""
    new_tokens: int


@dataclass(frozen=True)
class VideoWork:
    """The keys of one video that are to be made."""

    entry: VideoEntry
    keys: tuple[Key, ...]


def plan(videos: Iterable[VideoEntry], done: set[tuple]) -> list[VideoWork]:
    """The videos with at least one (video_id, action_class, kind) that has no ok row, with just these keys."""
    work = []
    for entry in videos:
        keys: list[Key] = [(entry.video_id, label, kind) for label in entry.labels for kind in KINDS]
        missing = tuple(key for key in keys if key not in done)
        if missing:
            work.append(VideoWork(entry, missing))
    return work


def generate(
    dataset: Dataset,
    subset: str,
    describer: Describer,
    store: PartStore,
    *,
    recipe: DescriptionRecipe,
    batch_size: int = 8,
    decode_threads: int = 2,
    write_seconds: float = 2.0,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Describe every key of `subset` that has no ok row in `store`.

    A video is decoded once for all of its keys, ahead of the model. What cannot be decoded or described becomes failed
    rows with the reason, tried again by the next run. Finished rows are written every `write_seconds`, and before an
    interruption (Ctrl-C) goes on. Raises CacheError if another run holds the store or it was made by another recipe,
    and ModelError if the model itself cannot be used.
    """
    if store.recipe != recipe.model_dump(mode="json"):
        raise CacheError(f"{store.folder}: holds descriptions of another recipe than {recipe.fingerprint()}")
    if (describer.model_id, describer.model_revision) != (recipe.model, recipe.model_revision):
        found = f"{describer.model_id} {describer.model_revision}"
        raise CacheError(f"the describer is {found}, expected {recipe.model} {recipe.model_revision} of the recipe")
    videos = dataset.split(subset)
    with store.lock():
        work = plan(videos, store.done())
        run = _Run(store, describer, recipe, batch_size, write_seconds, on_progress, sum(len(w.keys) for w in work))
        try:
            for item, decoded in run.decoded(work, decode_threads):
                run.take(item, decoded)
            run.finish()
        finally:
            run.write()
    skipped = sum(len(entry.labels) * len(KINDS) for entry in videos) - run.total
    return run.summary(skipped)


@dataclass(frozen=True)
class _Pending:
    key: Key
    decoded: Decoded
    request: Request


@dataclass
class _Run:
    store: PartStore
    describer: Describer
    recipe: DescriptionRecipe
    batch_size: int
    write_seconds: float
    on_progress: OnProgress | None
    total: int
    rows: list[Description] = field(default_factory=list)
    pending: dict[Kind, list[_Pending]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    failed: list[tuple[Key, str]] = field(default_factory=list)
    described: int = 0
    new_tokens: int = 0
    waited: float = 0.0
    started: float = field(default_factory=time.monotonic)
    written: float = field(default_factory=time.monotonic)

    def decoded(self, work: Sequence[VideoWork], threads: int) -> Iterator[tuple[VideoWork, Decoded]]:
        """The work with its frames, in order; at most two videos a thread are decoded ahead."""
        ahead: deque[tuple[VideoWork, Future[Decoded]]] = deque()
        left = iter(work)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        try:
            while True:
                while len(ahead) < 2 * threads and (item := next(left, None)) is not None:
                    ahead.append((item, pool.submit(decode, item.entry.path, self.recipe.frames)))
                if not ahead:
                    return
                item, future = ahead.popleft()
                before = time.monotonic()
                decoded = future.result()
                self.waited += time.monotonic() - before
                yield item, decoded
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def take(self, item: VideoWork, decoded: Decoded) -> None:
        """Queue the keys of one video, and describe every batch that is full."""
        if decoded.frames is None:
            assert decoded.error is not None
            for key in item.keys:
                self._fail(key, decoded, decoded.error)
            self._report()
            return
        for key in item.keys:
            _, label, kind = key
            request = Request(decoded.frames, self.recipe.prompt(kind, label), self.recipe.max_new_tokens(kind))
            # Kinds are batched apart: their texts differ in length, and a batch takes as long as its longest.
            self.pending[kind].append(_Pending(key, decoded, request))
            if len(self.pending[kind]) >= self.batch_size:
                self._flush(kind)

    def finish(self) -> None:
        """Describe what is left."""
        for kind in KINDS:
            self._flush(kind)

    def write(self) -> None:
        """Append all finished rows as one part."""
        if self.rows:
            self.store.append(self.rows)
            self.rows = []
        self.written = time.monotonic()

    def summary(self, skipped: int) -> Summary:
        """What was done so far."""
        seconds = time.monotonic() - self.started
        return Summary(self.total, skipped, self.described, tuple(self.failed), seconds, self.waited, self.new_tokens)

    def _flush(self, kind: Kind) -> None:
        while batch := self.pending[kind][: self.batch_size]:
            self.pending[kind] = self.pending[kind][len(batch) :]
            self._describe(batch)
            self._report()
            if time.monotonic() - self.written >= self.write_seconds:
                self.write()

    def _describe(self, batch: list[_Pending]) -> None:
        try:
            replies = self.describer.describe(self.describer.prepare([pending.request for pending in batch]))
        except ModelError:
            raise
        except Exception as error:  # whatever a model may raise, the others of the batch are not to suffer from it
            self._describe_apart(batch, error)
            return
        for pending, reply in zip(batch, replies, strict=True):
            if isinstance(reply, Failure):
                self._fail(pending.key, pending.decoded, reply.reason)
                continue
            self.rows.append(self._row(pending.key, pending.decoded, reply=reply))
            self.described += 1
            self.new_tokens += reply.new_tokens

    def _describe_apart(self, batch: list[_Pending], error: Exception) -> None:
        if len(batch) == 1:
            self._fail(batch[0].key, batch[0].decoded, f"{type(error).__name__}: {error}"[:300])
            return
        half = 1
        if _out_of_memory(error):
            half = len(batch) // 2
            self.batch_size = half
            _log.warning("out of memory: batches of %d from now on (describer.batch_size)", half)
            _free_memory()
        for start in range(0, len(batch), half):
            self._describe(batch[start : start + half])

    def _fail(self, key: Key, decoded: Decoded, reason: str) -> None:
        self.rows.append(self._row(key, decoded, error=reason))
        self.failed.append((key, reason))

    def _row(self, key: Key, decoded: Decoded, *, reply: Reply | None = None, error: str | None = None) -> Description:
        video_id, label, kind = key
        frames = decoded.frames
        settings = {"decoding": self.recipe.decoding, "max_new_tokens": self.recipe.max_new_tokens(kind)}
        return Description(
            video_id=video_id,
            action_class=label,
            kind=kind,
            prompt=self.recipe.prompt(kind, label),
            description=None if reply is None else " ".join(reply.text.split()),
            status="failed" if reply is None else "ok",
            error=error,
            model_id=self.describer.model_id,
            model_revision=self.describer.model_revision,
            generation=json.dumps({**settings, "dtype": self.recipe.dtype}, sort_keys=True),
            frame_seconds=() if frames is None else tuple(frames.seconds.tolist()),
            duration=None if frames is None else frames.duration,
            video_bytes=decoded.size,
            video_stamp=decoded.stamp,
            prompt_tokens=None if reply is None else reply.prompt_tokens,
            new_tokens=None if reply is None else reply.new_tokens,
            finish_reason=None if reply is None else reply.finish_reason,
            created_at=datetime.now(UTC),
        )

    def _report(self) -> None:
        if self.on_progress is None:
            return
        done = self.described + len(self.failed)
        rate = done / max(time.monotonic() - self.started, 1e-9)
        left = (self.total - done) / rate if done else None
        self.on_progress(Progress(done, self.total, len(self.failed), rate, left))


def _out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def _free_memory() -> None:
    import torch

    torch.cuda.empty_cache()
