"""A pool of worker processes for videos: a video that hangs or crashes a worker fails alone."""

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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from cache.errors import CacheError
from priors.video.decode_worker import Order, receive, send

_log = logging.getLogger(__name__)
_START_SECONDS = 120.0
_REAP_SECONDS = 5.0  # a process in an uninterruptible read (dead mount) cannot be waited for


class Died(Exception):
    """The process that worked on a video is gone; the message is the cause."""


class Stalled(Exception):
    """A process exceeded its limit of `seconds`, and was killed."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer in {seconds:g} s")
        self.seconds = seconds


def reason(problem: Died | Stalled, option: str) -> str:
    """Why a video failed; `option` is the name of the time limit."""
    if isinstance(problem, Died):
        return f"the decoder died twice: {problem}"
    return f"decoding stalled: more than {problem.seconds:g} s; a damaged or very long file, or a slow disk ({option})"


class WorkerPool:
    """Workers that are started as needed. As a context manager it kills them when it is left.

    Workers are separate programs that import neither torch nor transformers, so this process may use a GPU, and they
    end with it even if it is killed. Several threads may use the pool at once.
    """

    def __init__(
        self,
        answer: Callable[[Path], Iterable[Any]],
        *,
        seconds: float,
        memory_gib: float,
        load: Callable[[], None] | None = None,
    ) -> None:
        """`answer` runs in the workers, and `load` before the first video; both have to be picklable.

        `seconds` limits the time of each piece of an answer, `memory_gib` the memory of a worker.
        """
        self._order = Order(answer, load, seconds, int(memory_gib * 2**30), os.getpid())
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self.closed = False

    def start(self, count: int) -> None:
        """Start `count` workers in the background."""
        for _ in range(count):
            self._idle.append(self._start())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for worker in self._workers:
            worker.close()

    def kill(self) -> None:
        """Kill all workers and start no more; a thread that waits for one gets `Died`."""
        with self._lock:
            self.closed = True
        for worker in self._workers:
            worker.kill()

    def answers(self, path: Path) -> Iterator[Any]:
        """The pieces of the answer to a video. If a worker dies, the video is retried in a new one, since the cause may
        have been another; pieces that were already yielded are skipped.

        Raises Stalled and, if two workers died, Died; CacheError if workers cannot be started at all.
        """
        yielded = 0
        try:
            for piece in self._once(path):
                yielded += 1
                yield piece
            return
        except Died as death:
            if not self.closed:
                _log.warning("%s: the decoder died: %s; trying once more", path, death)
        for number, piece in enumerate(self._once(path)):
            if number >= yielded:
                yield piece

    def _once(self, path: Path) -> Iterator[Any]:
        worker = self._take()
        whole = False
        try:
            yield from worker.answers(path.absolute())
            whole = True
        finally:
            with self._lock:
                if whole:
                    self._idle.append(worker)
                else:
                    self._workers.discard(worker)
            if not whole:
                worker.close()  # it has not finished its answer

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                if (worker := self._idle.pop()).alive:
                    return worker
                # only by the thread that holds it: another thread could be reading from its pipe
                self._workers.discard(worker)
                worker.close()
        return self._start()

    def _start(self) -> _Worker:
        with self._lock:
            if self.closed:
                raise CacheError("the pool of decoders is closed")
            worker = _Worker(self._order)
            self._workers.add(worker)
        return worker


class _Worker:
    """The pool's handle of a worker process. Used by one thread at a time; only `kill` may be called by another."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._ready = self._killed = self._lost = False
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        # Not a fork, which would copy the locks and the GPU context of this process; not multiprocessing, which would
        # import the main module again. In a process group of its own, so that Ctrl-C reaches the main program only.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "priors.video.decode_worker"],
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

    def answers(self, path: Path) -> Iterator[Any]:
        """The process's answer to a video, piece by piece.

        Raises Stalled if a piece takes too long, Died if the process ends, CacheError if it does not start.
        """
        if not self._ready:
            try:
                self._tell(self._order)
                self._hear(_START_SECONDS)
            except (Died, Stalled) as end:
                if self._killed or (isinstance(end, Died) and (self._process.returncode or 0) < 0):
                    raise  # killed from outside: the next one may start; a process that cannot start exits by itself
                raise CacheError(f"a decoding process does not start ({end}); see its output above") from end
            self._ready = True
        self._tell(path)
        while (answer := self._hear(self._order.seconds)) is not None:
            yield answer

    def kill(self) -> None:
        """Kill the process now; a thread that waits for it gets `Died`."""
        self._killed = True
        self._process.kill()

    def close(self) -> None:
        """Kill the process and release it; no thread may be waiting for it."""
        self.kill()
        try:
            self._process.wait(_REAP_SECONDS)
        except subprocess.TimeoutExpired:
            _log.warning("the decoder %d does not end: it waits for a disk or a mount", self._process.pid)
        self._to.close()
        self._from.close()

    def _tell(self, message: Any) -> None:
        try:
            send(self._to, message)
        except OSError as error:
            raise self._died() from error

    def _hear(self, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._from, select.POLLIN)

        def read_into(view: memoryview) -> int:
            # Data in the pipe is read even if the time is up, for example after the whole program was suspended.
            while not poll.poll(1000 * min(max(deadline - time.monotonic(), 0.1), 1.0)):
                if self._killed:
                    raise EOFError
                if time.monotonic() > deadline:
                    raise Stalled(seconds)
            return os.readv(self._from.fileno(), [view])

        try:
            return receive(read_into)
        except Stalled:
            self._lost = True
            self._process.kill()
            raise
        except (EOFError, OSError) as error:
            raise self._died() from error

    def _died(self) -> Died:
        self._lost = True
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_REAP_SECONDS)
        return Died(_cause(self._process.returncode))


def _cause(code: int | None) -> str:
    if code is None:
        return "it does not end"
    if code >= 0:
        return f"exit code {code}"
    name = {known.value: known.name for known in signal.Signals}.get(-code, f"signal {-code}")
    return f"{name}, perhaps for lack of memory" if name == "SIGKILL" else name
