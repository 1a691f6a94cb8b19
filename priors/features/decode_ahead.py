"""Decodes videos ahead of the encoders, in the workers of the project's pool, into bounded queues."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from cache.annotations import VideoEntry
from priors.features.recipes import FeaturesRecipe, SnippetDecodeRecipe
from priors.features.snippets import Cutter, Failed, Piece, View, cut, single_threaded
from priors.video.worker_pool import Died, Stalled, WorkerPool, reason

_QUEUED = 2
"""Chunks of a video that wait for the encoders."""
_Chunks = queue.Queue[Piece | None]


def decode_ahead(
    videos: Sequence[VideoEntry], recipe: FeaturesRecipe, views: Mapping[str, View], decode: SnippetDecodeRecipe
) -> Generator[tuple[VideoEntry, Iterator[Piece]], None, None]:
    """Each video with its chunks, in order, as many videos at a time as there are workers.

    A video that crashes or hangs its worker ends with Failed. Closing the generator ends the workers.
    """
    stop = threading.Event()
    cutter = Cutter(
        views, fps=recipe.fps, length=recipe.snippet_frames, stride=recipe.snippet_stride, chunk=decode.chunk_snippets
    )

    def fill(video: VideoEntry, chunks: _Chunks) -> None:
        try:
            for chunk in _isolated(pool, video):
                _put(chunks, chunk, stop)
        finally:
            _put(chunks, None, stop)

    def drain(chunks: _Chunks, job: Future[None]) -> Iterator[Piece]:
        while (chunk := chunks.get()) is not None:
            yield chunk
        job.result()  # raises the error of the thread

    pool = WorkerPool(
        partial(cut, cutter),
        seconds=decode.timeout_seconds,
        memory_gib=decode.worker_memory_gib,
        load=single_threaded,
    )
    threads = ThreadPoolExecutor(decode.workers, thread_name_prefix="decode")
    waiting: list[tuple[VideoEntry, _Chunks, Future[None]]] = []
    try:
        for video in [*videos, *[None] * decode.workers]:
            if video is not None:
                chunks: _Chunks = queue.Queue(maxsize=_QUEUED)
                waiting.append((video, chunks, threads.submit(fill, video, chunks)))
            if waiting and (video is None or len(waiting) > decode.workers):
                head, chunks, job = waiting.pop(0)
                yield head, drain(chunks, job)
    finally:
        stop.set()
        pool.kill()
        threads.shutdown(wait=True, cancel_futures=True)
        pool.__exit__()


def _isolated(pool: WorkerPool, video: VideoEntry) -> Iterator[Piece]:
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
