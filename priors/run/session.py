"""A session of one describer: decode and prepare ahead, describe, and make rows of replies and failures."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from cache.tables.schema import Description
from priors.describers.protocol import Describer, Failure, Prepared, Reply, Request
from priors.describers.recipe import DescriberRecipe
from priors.pretrained.model_files import ModelError
from priors.run.batching import Asked, Batcher
from priors.run.plan import Question, VideoWork
from priors.run.recipe import DescriptionRecipe, RunRecipe, again_settings
from priors.run.rows import RowMaker
from priors.video.decode_pool import DecodePool
from priors.video.decoding import Decoded

_AHEAD = 2  # batches made ready while the model works on another
_MEMORY_SIGNS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
_LOST_SIGNS = ("CUDA error", "device-side assert", "illegal memory access")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """Result of some questions."""

    rows: tuple[Description, ...]
    """Ok and failed rows; a retried question that failed has no row, so that its earlier text stays."""
    answered: int
    """Number of questions with a text."""
    failed: int
    new_tokens: int
    videos: int
    """Videos without open questions."""
    waited: float
    """Seconds in which the model was idle before these, because nothing was decoded and prepared."""
    model_seconds: float
    """Seconds in which the model was running."""


@dataclass(frozen=True)
class _Batch:
    asked: list[Asked]
    prepared: Prepared | Exception


@dataclass(frozen=True)
class _Unreadable:
    work: VideoWork
    decoded: Decoded


@dataclass(frozen=True)
class _Broken:
    error: BaseException


class _Stopped(Exception):
    """The session is being closed."""


_Queue = queue.Queue[_Batch | _Unreadable | _Broken | None]


class Session:
    """One describer with its decoding. As a context manager it stops all background work when it is left."""

    def __init__(
        self, describer: Describer, recipe: DescriptionRecipe, settings: DescriberRecipe, run: RunRecipe
    ) -> None:
        self._describer = describer
        self._recipe = recipe
        self._stop_after = run.stop_after
        # Half of the memory, so that the other half is left for what is decoded meanwhile.
        self._batcher = Batcher(settings.batch_size, most_bytes=run.decode.ahead_bytes / 2)
        self._rows = RowMaker(recipe, describer, again_settings(settings))
        self._pool = DecodePool(recipe.frames, run.decode)
        self._stop = threading.Event()
        self._feeder: threading.Thread | None = None
        self._failures_in_a_row = 0

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.__exit__()  # ends whatever the feeder waits for
        if self._feeder is not None:
            self._feeder.join()

    def outcomes(self, work: Iterable[VideoWork]) -> Iterator[Outcome]:
        """Answer every question of `work` in batches: one outcome per batch, and one per unreadable video.

        May be called again once it is exhausted. Raises ModelError if the model cannot go on, or only fails.
        """
        ready: _Queue = queue.Queue(_AHEAD)
        self._feeder = threading.Thread(target=self._feed, args=(work, ready), name="feed", daemon=True)
        self._feeder.start()
        yield from self._drain(ready)

    def _drain(self, ready: _Queue) -> Iterator[Outcome]:
        left: dict[str, int] = {}
        while True:
            before = time.monotonic()
            item = ready.get()
            waited = time.monotonic() - before
            if item is None:
                return
            if isinstance(item, _Broken):
                raise item.error
            if isinstance(item, _Unreadable):
                rows = self._failed(item.work, item.decoded)
                yield Outcome(rows, 0, len(item.work.questions), 0, 1, waited, 0.0)
                continue
            before = time.monotonic()
            answers = self._describe(item.asked, item.prepared)
            yield self._outcome(item.asked, answers, left, waited, time.monotonic() - before)
            self._stop_if_hopeless(answers)

    def _outcome(
        self,
        asked: list[Asked],
        answers: list[Reply | Failure],
        left: dict[str, int],
        waited: float,
        model_seconds: float,
    ) -> Outcome:
        rows = []
        finished = new_tokens = failed = 0
        for one, answer in zip(asked, answers, strict=True):
            video = one.work.entry.video_id
            left[video] = left.get(video, len(one.work.questions)) - 1
            if not left[video]:
                finished += 1
                del left[video]
            if isinstance(answer, Reply):
                rows.append(self._rows.answered(one, answer))
                new_tokens += answer.new_tokens
                continue
            failed += 1
            if one.question.attempt == 1:
                rows.append(self._rows.failed(one.question, one.decoded, answer.reason))
        return Outcome(tuple(rows), len(asked) - failed, failed, new_tokens, finished, waited, model_seconds)

    def _failed(self, work: VideoWork, decoded: Decoded) -> tuple[Description, ...]:
        assert decoded.error is not None
        first = (question for question in work.questions if question.attempt == 1)
        return tuple(self._rows.failed(question, decoded, decoded.error) for question in first)

    def _stop_if_hopeless(self, answers: list[Reply | Failure]) -> None:
        for answer in answers:
            self._failures_in_a_row = self._failures_in_a_row + 1 if isinstance(answer, Failure) else 0
        last = answers[-1]
        if isinstance(last, Failure) and 0 < self._stop_after <= self._failures_in_a_row:
            raise ModelError(
                f"{self._describer.model_id}: {self._failures_in_a_row} requests in a row failed, the last one with "
                f"{last.reason!r}; stopped before more time is lost (stop_after). They are kept as failed rows"
            )

    def _describe(self, asked: list[Asked], prepared: Prepared | Exception) -> list[Reply | Failure]:
        if len(asked) > self._batcher.size:  # prepared before the batch size was lowered
            return self._describe_in_parts(asked, self._batcher.size)
        try:
            if isinstance(prepared, Exception):
                raise prepared
            return self._describer.describe(prepared)
        except ModelError:
            raise
        except Exception as error:  # a model may raise anything, and the rest of the batch must not fail with it
            out_of_memory = _out_of_memory(error)
            if not out_of_memory and _device_is_lost(error):
                raise ModelError(
                    f"{self._describer.model_id}: the GPU cannot go on, and would fail every further request of this "
                    f"process: {_first_line(error)}. Finished texts are kept, and the requests of this batch do not "
                    "count as failed; run the same command again"
                ) from error
            if len(asked) == 1:
                return [Failure(f"{type(error).__name__}: {error}"[:300])]
            if not out_of_memory:
                return self._describe_in_parts(asked, 1)
            self._batcher.size = len(asked) // 2
        _log.warning("out of memory: batches of %d from now on (describer.batch_size)", self._batcher.size)
        _free_memory()  # only here, after the exception has released the tensors that it refers to
        return self._describe_in_parts(asked, self._batcher.size)

    def _describe_in_parts(self, asked: list[Asked], size: int) -> list[Reply | Failure]:
        answers = []
        for start in range(0, len(asked), size):
            chosen = asked[start : start + size]
            answers += self._describe(chosen, self._prepare(chosen))
        return answers

    def _prepare(self, asked: list[Asked]) -> Prepared | Exception:
        try:
            return self._describer.prepare([one.request for one in asked])
        except Exception as error:
            return error

    def _feed(self, work: Iterable[VideoWork], ready: _Queue) -> None:
        """Decode, batch and prepare in a background thread, so that the next batch is ready for the model."""
        try:
            for item, decoded in self._pool.stream(
                ((item, item.entry.path) for item in work), taken=lambda: self._batcher.bytes
            ):
                if decoded.frames is None:
                    self._put(ready, _Unreadable(item, decoded))
                    continue
                for question in item.questions:
                    self._put_batches(ready, self._batcher.add(self._asked(item, question, decoded)))
            self._put_batches(ready, self._batcher.rest())
            self._put(ready, None)
        except _Stopped:
            pass
        except BaseException as error:
            with suppress(_Stopped):
                self._put(ready, _Broken(error))

    def _put_batches(self, ready: _Queue, batches: list[list[Asked]]) -> None:
        for asked in batches:
            self._put(ready, _Batch(asked, self._prepare(asked)))

    def _put(self, ready: _Queue, item: _Batch | _Unreadable | _Broken | None) -> None:
        while not self._stop.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue
        raise _Stopped

    def _asked(self, work: VideoWork, question: Question, decoded: Decoded) -> Asked:
        assert decoded.frames is not None
        _, label, kind = question.key
        limit = self._recipe.max_new_tokens(kind) * (2 ** (question.attempt - 1) if question.longer else 1)
        request = Request(decoded.frames, self._recipe.prompt(kind, label), limit, again=question.attempt > 1)
        return Asked(work, question, decoded, request)


def _out_of_memory(error: Exception) -> bool:
    """Whether PyTorch's allocator, or CUDA and its libraries, which allocate memory beside it, ran out of memory."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _MEMORY_SIGNS)


def _device_is_lost(error: Exception) -> bool:
    """Whether the CUDA context is broken: every later call fails with the same error."""
    import torch

    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _LOST_SIGNS)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _free_memory() -> None:
    import torch

    torch.cuda.empty_cache()
