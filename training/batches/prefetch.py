"""Batches that are made ahead of the steps that take them, by one thread in the background."""

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import torch

from training.batches.data import Batch


class Prefetcher:
    """The batches of steps `first` to `last`, both included, in their order; at most `depth` are ready or being made.

    `make(step)` runs in the background and depends on the step alone, so that the batches are those that it would give
    without; what it raises is raised by `get` of that step. For a CUDA device they are made in pinned memory, and
    copied while the device goes on. As a context manager it ends its thread, however the block was left.
    """

    def __init__(
        self, make: Callable[[int], Batch], *, first: int, last: int, device: torch.device, depth: int = 2
    ) -> None:
        if depth < 1:
            raise ValueError(f"depth: found {depth}, expected at least 1")
        self._make, self._steps, self._device = make, range(first, last + 1), device
        self._due = first
        self._made: queue.SimpleQueue[Batch | BaseException] = queue.SimpleQueue()
        self._free = threading.Semaphore(depth)
        self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def get(self, step: int) -> Batch:
        """The batch of `step`, on the device; waits until it is made.

        Raises what `make` raised for it, and ValueError for any step but the one behind the last one asked for.
        """
        if self._closed or step != self._due or step not in self._steps:
            open_steps = "none: closed" if self._closed else f"{self._due}, at most {self._steps.stop - 1}"
            raise ValueError(f"step: found {step}, expected {open_steps}")
        made = self._error or self._made.get()
        if isinstance(made, BaseException):
            self._error = made
            raise made
        self._due += 1
        self._free.release()
        return made.to(self._device, non_blocking=self._pins)

    def close(self) -> None:
        """End the thread, at the latest when the batch that it is at is made. More than once does no harm."""
        self._closed = True
        self._free.release()
        self._thread.join()
        self._made = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _pins(self) -> bool:
        return self._device.type == "cuda"

    def _work(self) -> None:
        for step in self._steps:
            self._free.acquire()
            if self._closed:
                return
            try:
                batch = self._make(step)
                self._made.put(batch.pin_memory() if self._pins else batch)
            except BaseException as error:  # whatever it is, the step that it belongs to has to end with it
                self._made.put(error)
                return
