"""Decodes videos ahead in worker processes, so that a file that hangs or crashes a decoder fails alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from cache.recipe import RUN_ONLY, Recipe
from priors.video.decoding import Decode, Decoded, decode
from priors.video.frames import FramesRecipe, require_reader
from priors.video.worker_pool import Died, Stalled, WorkerPool, reason

_T = TypeVar("_T")
_USUAL_PIXELS = 1920 * 1080


class DecodeRecipe(Recipe):
    """How videos are decoded ahead of the model. These settings do not change the frames."""

    workers: Annotated[NonNegativeInt, RUN_ONLY] = 2
    """Decoding processes, each with one video at a time. 0 = decode in this process, where a decoder that hangs or
    crashes ends the run."""
    ahead_videos: Annotated[PositiveInt, RUN_ONLY] = 32
    """Largest number of videos decoded or being decoded ahead of the model."""
    ahead_mib: Annotated[PositiveInt, RUN_ONLY] = 512
    """Largest size of decoded frames that wait for a batch, in MiB; one video, and a full batch of each kind, are
    always allowed. The current batch and up to three prepared ones come on top."""
    timeout_seconds: Annotated[PositiveFloat, RUN_ONLY] = 300.0
    """Time limit of a video, from opening its file to its last frame; beyond it the video fails."""
    worker_memory_gib: Annotated[PositiveFloat, RUN_ONLY] = 8.0
    """Memory limit of a worker; a video that needs more fails."""

    @property
    def ahead_bytes(self) -> int:
        """`ahead_mib` in bytes."""
        return self.ahead_mib << 20


class DecodePool:
    """Decodes videos ahead in workers. As a context manager it kills them at once when it is left."""

    def __init__(self, frames: FramesRecipe, recipe: DecodeRecipe, *, decode: Decode = decode) -> None:
        self._frames, self._recipe, self._decode = frames, recipe, decode
        self._pool = WorkerPool(
            partial(_decoded, decode, frames),
            seconds=recipe.timeout_seconds,
            memory_gib=recipe.worker_memory_gib,
            load=partial(require_reader, frames),  # in the workers: its library may take longer to load than a video
        )
        self._largest = 0
        self._threads = ThreadPoolExecutor(recipe.workers or 1, thread_name_prefix="decode")

    def __enter__(self) -> Self:
        self._pool.start(self._recipe.workers)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._pool.__exit__()

    def stream(
        self, items: Iterable[tuple[_T, Path | None]], *, taken: Callable[[], int] = lambda: 0
    ) -> Iterator[tuple[_T, Decoded]]:
        """Each item with its decoded video, in the order of `items`, which are taken as memory allows.

        `taken` returns how many bytes of earlier frames the consumer still holds; they count like those that wait here.

        Never raises for a bad video: its `Decoded` says why. Raises CacheError if workers cannot be started at all.
        """
        if self._recipe.workers == 0:
            for item, path in items:
                yield item, self._decode(path, self._frames)
            return
        left = iter(items)
        ahead: deque[tuple[_T, Future[Decoded]]] = deque()
        try:
            while True:
                while (
                    self._lets_in([future for _, future in ahead], taken()) and (entry := next(left, None)) is not None
                ):
                    item, path = entry
                    ahead.append((item, self._threads.submit(self._isolated, path)))
                if not ahead:
                    return
                item, future = ahead.popleft()
                yield item, future.result()
        finally:
            for _, future in ahead:
                future.cancel()

    def _lets_in(self, ahead: list[Future[Decoded]], taken: int) -> bool:
        """Whether one more video may be decoded, judged by the bytes of waiting ones and the largest one so far."""
        if not ahead:
            return True
        side = self._frames.max_side
        expected = self._largest or 3 * self._frames.count * (side * side if side else _USUAL_PIXELS)
        held = [_bytes(future.result()) if _succeeded(future) else expected for future in ahead]
        waiting = taken + sum(held) + expected
        return len(ahead) < self._recipe.ahead_videos and waiting <= self._recipe.ahead_bytes

    def _isolated(self, path: Path | None) -> Decoded:
        if path is None:
            return self._decode(None, self._frames)
        try:
            (decoded,) = self._pool.answers(path)
        except (Died, Stalled) as problem:
            seconds = problem.seconds if isinstance(problem, Stalled) else 0.0
            return Decoded(None, reason(problem, "decode.timeout_seconds"), None, None, seconds)
        self._largest = max(self._largest, _bytes(decoded))
        return decoded


def _decoded(decode: Decode, frames: FramesRecipe, path: Path) -> Iterator[Decoded]:
    yield decode(path, frames)


def _succeeded(future: Future[Decoded]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _bytes(decoded: Decoded) -> int:
    return 0 if decoded.frames is None else decoded.frames.rgb.nbytes
