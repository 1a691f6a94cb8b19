"""Prefetching: one background thread makes batches ahead of the steps that use them."""

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import torch

from training.batches.data import Batch


class Prefetcher:
    """The batches of steps `first` to `last`, both included, in order; at most `depth` are ready or being made.

    `make(step)` runs in the background and must depend on the step alone, so that batches are the same as without
    prefetching; an error in it is raised by `get` of that step. For a CUDA device batches are pinned and copied
    asynchronously. As a context manager it ends its thread when the block is left, also by an error.
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

        Raises what `make` raised for it, and ValueError for any step but the next one in order.
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
        """End the thread once the batch that it is making is done. May be called more than once."""
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
            except BaseException as error:  # any error is passed on to the step that it belongs to
                self._made.put(error)
                return
