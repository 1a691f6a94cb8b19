"""Videos decoded ahead in processes of their own: a file that hangs or kills a decoder costs its own row, no more."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from cache.recipe import RUN_ONLY, Recipe
from cache.schema import CacheError
from priors.decode_worker import Decode, Order, receive, send
from priors.decoding import Decoded, decode
from priors.frames import FramesRecipe

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_START_SECONDS = 120.0
_REAP_SECONDS = 5.0  # a process in an uninterruptible read (dead mount) cannot be waited for
_USUAL_PIXELS = 1920 * 1080


class DecodeRecipe(Recipe):
    """How videos are decoded ahead of the model. Nothing here changes the frames."""

    workers: Annotated[NonNegativeInt, RUN_ONLY] = 2
    """Processes that decode, one video each at a time. 0 decodes in this process, unprotected: a decoder that hangs or
    crashes takes the run with it."""
    ahead_videos: Annotated[PositiveInt, RUN_ONLY] = 32
    """Most videos decoded or being decoded ahead of the model."""
    ahead_mib: Annotated[PositiveInt, RUN_ONLY] = 512
    """Most decoded frames that wait for the model, in MiB; one video is always let in."""
    timeout_seconds: Annotated[PositiveFloat, RUN_ONLY] = 300.0
    """Time that a video may take, from opening its file to its last frame; longer is a failure of that video."""
    worker_memory_gib: Annotated[PositiveFloat, RUN_ONLY] = 8.0
    """Memory that a worker may hold; a video that needs more is a failure of that video."""


class DecodePool:
    """Workers that decode videos ahead. A context manager: leaving it ends them at once, whatever they are doing.

    Workers are programs of their own that import neither torch nor transformers (torchcodec brings torch along), so
    this process may hold a GPU, and they end with it even if it is killed.
    """

    def __init__(self, frames: FramesRecipe, recipe: DecodeRecipe, *, decode: Decode = decode) -> None:
        self._frames, self._recipe, self._decode = frames, recipe, decode
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._closed = False
        self._largest = 0
        self._threads = ThreadPoolExecutor(recipe.workers or 1, thread_name_prefix="decode")

    def __enter__(self) -> Self:
        for _ in range(self._recipe.workers):
            self._idle.append(self._start())  # they start up while this process goes on
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def stream(self, items: Iterable[tuple[_T, Path | None]]) -> Iterator[tuple[_T, Decoded]]:
        """Each item with its video decoded, in the order of the items, which are pulled as they are let in.

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
                while self._lets_in([future for _, future in ahead]) and (found := next(left, None)) is not None:
                    item, path = found
                    ahead.append((item, self._threads.submit(self._isolated, path)))
                if not ahead:
                    return
                item, future = ahead.popleft()
                yield item, future.result()
        finally:
            for _, future in ahead:
                future.cancel()

    def _lets_in(self, ahead: list[Future[Decoded]]) -> bool:
        """Whether one more video may be decoded, by the bytes of those that wait and the largest one so far."""
        if not ahead:
            return True
        side = self._frames.max_side
        expected = self._largest or 3 * self._frames.count * (side * side if side else _USUAL_PIXELS)
        held = [_bytes(future.result()) if _succeeded(future) else expected for future in ahead]
        return len(ahead) < self._recipe.ahead_videos and sum(held) + expected <= self._recipe.ahead_mib << 20

    def _isolated(self, path: Path | None) -> Decoded:
        """Decode in a worker; once more in a fresh one if it died, for what killed it may not have been the video."""
        if path is None:
            return self._decode(None, self._frames)
        try:
            return self._in_worker(path.absolute())
        except _Died as death:
            if not self._closed:
                _log.warning("%s: the decoder died: %s; trying once more", path, death)
        try:
            return self._in_worker(path.absolute())
        except _Died as death:
            return Decoded(None, f"the decoder died twice: {death}", None, None)

    def _in_worker(self, path: Path) -> Decoded:
        worker = self._take()
        try:
            decoded = worker.decode(path)
        except _Stalled:
            seconds = self._recipe.timeout_seconds
            why = f"decoding stalled: more than {seconds:g} s; a damaged or very long file, or a slow disk"
            return Decoded(None, f"{why} (decode.timeout_seconds)", None, None, seconds)
        with self._lock:
            self._idle.append(worker)
            self._largest = max(self._largest, _bytes(decoded))
        return decoded

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                if (worker := self._idle.pop()).alive:
                    return worker
        return self._start()

    def _start(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise CacheError("the pool of decoders is closed")
            for ended in [worker for worker in self._workers if not worker.alive]:
                self._workers.remove(ended)
                ended.close()
            worker = _Worker(self._decode, self._frames, self._recipe)
            self._workers.add(worker)
        return worker


class _Died(Exception):
    pass


class _Stalled(Exception):
    pass


class _Worker:
    """The pool's end of one worker process. Used by one thread at a time; `kill` may come from another."""

    def __init__(self, decode: Decode, frames: FramesRecipe, recipe: DecodeRecipe) -> None:
        memory = int(recipe.worker_memory_gib * 2**30)
        self._order = Order(decode, frames, recipe.timeout_seconds, memory, os.getpid())
        self._ready = self._killed = self._lost = False
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        # Not a fork: it would copy the locks and the GPU of this process. Not multiprocessing: it would import the main
        # module again. A process group of its own: Ctrl-C is for the program that asked.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "priors.decode_worker"],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **environment},
                process_group=0,
            )
        except OSError as error:
            raise CacheError(f"a decoding process could not be started: {error}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout

    @property
    def alive(self) -> bool:
        return self._process.poll() is None and not self._lost

    def decode(self, path: Path) -> Decoded:
        """Raises _Stalled if it takes too long, _Died if the process ends, CacheError if it never got going."""
        if not self._ready:
            try:
                self._ask(self._order, _START_SECONDS)
            except (_Died, _Stalled) as end:
                if self._killed or (isinstance(end, _Died) and (self._process.returncode or 0) < 0):
                    raise  # a signal from outside, which may spare the next one; what cannot start says so and exits
                raise CacheError(f"a decoding process does not start ({end}); what it says stands above") from end
            self._ready = True
        return self._ask(path, self._order.seconds)

    def kill(self) -> None:
        """End the process now; whoever waits for it sees it die."""
        self._killed = True
        self._process.kill()

    def close(self) -> None:
        """End the process and let go of it; nobody may be waiting for it."""
        self.kill()
        try:
            self._process.wait(_REAP_SECONDS)
        except subprocess.TimeoutExpired:
            _log.warning("the decoder %d does not end: it waits for a disk or a mount", self._process.pid)
        self._to.close()
        self._from.close()

    def _ask(self, message: Any, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._from, select.POLLIN)

        def read_into(view: memoryview) -> int:
            # What lies in the pipe counts even if the time is up, as after the whole program was suspended.
            while not poll.poll(1000 * min(max(deadline - time.monotonic(), 0.1), 1.0)):
                if self._killed:
                    raise EOFError
                if time.monotonic() > deadline:
                    raise _Stalled(f"no answer in {seconds:g} s")
            return os.readv(self._from.fileno(), [view])

        try:
            send(self._to, message)
            return receive(read_into)
        except _Stalled:
            self._lost = True
            self._process.kill()
            raise
        except (EOFError, OSError) as error:
            self._lost = True
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_REAP_SECONDS)
            raise _Died(_cause(self._process.returncode)) from error


def _cause(code: int | None) -> str:
    if code is None:
        return "it does not end"
    if code >= 0:
        return f"exit code {code}"
    name = {known.value: known.name for known in signal.Signals}.get(-code, f"signal {-code}")
    return f"{name}, perhaps for lack of memory" if name == "SIGKILL" else name


def _succeeded(future: Future[Decoded]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _bytes(decoded: Decoded) -> int:
    return 0 if decoded.frames is None else decoded.frames.rgb.nbytes
