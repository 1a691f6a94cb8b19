"""Decodes one video at a time for a pool: `python -m priors.video.decode_worker`, spoken to over two pipes.

A message is the lengths of its parts, then the parts: a pickle, and the arrays that it refers to, which are neither
copied into the pickle nor out of it.
"""

from __future__ import annotations

import math
import os
import pickle
import resource
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, Any

from cache.files.stopping import STOPS

_WATCH_SECONDS = 1.0
_ALARM_SECONDS = 30  # after the time a piece may take; the parent ends a stalled worker long before


@dataclass(frozen=True)
class Order:
    """The first message to a worker: what to do with each path that follows."""

    answer: Callable[[Path], Iterable[Any]]
    """Pieces of an answer, none of them None."""
    load: Callable[[], None] | None
    """Called before the first path."""
    seconds: float
    """Time that a piece may take, in seconds."""
    memory: int
    """Data that the process may hold, in bytes."""
    parent: int
    """Process id of the pool."""


def send(file: IO[bytes], message: Any) -> None:
    """Write one message. Raises BrokenPipeError if nobody reads."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    file.write(struct.pack(f"<{len(parts) + 1}Q", len(parts), *(part.nbytes for part in parts)))
    for part in parts:
        file.write(part)
    file.flush()


def receive(read_into: Callable[[memoryview], int | None]) -> Any:
    """Read one message by a function like `readinto`. Raises EOFError if the other side is gone."""

    def exactly(length: int) -> bytearray:
        data = bytearray(length)
        got = 0
        while got < length:
            count = read_into(memoryview(data)[got:])
            if not count:
                raise EOFError
            got += count
        return data

    (count,) = struct.unpack("<Q", exactly(8))
    head, *buffers = [exactly(length) for length in struct.unpack(f"<{count}Q", exactly(8 * count))]
    return pickle.loads(head, buffers=buffers)


def main() -> None:
    """Answer each path, piece by piece and with None at the end, until the pool closes the pipe or is gone."""
    for number in STOPS:  # sent to whole groups and jobs: the pool decides when to stop
        signal.signal(number, signal.SIG_IGN)
    inbox, outbox = _take_pipes()
    order: Order = receive(inbox.readinto)
    threading.Thread(target=_end_with, args=(order.parent,), daemon=True).start()
    _set_limits(order.memory)
    if order.load is not None:
        order.load()
    try:
        send(outbox, os.getpid())
        while True:
            pieces = iter(order.answer(receive(inbox.readinto)))
            ended = False
            while not ended:
                # Kills a process whose native code neither ends nor lets the thread above run, when the pool is gone.
                signal.alarm(math.ceil(order.seconds) + _ALARM_SECONDS)
                piece = next(pieces, None)
                signal.alarm(0)
                send(outbox, piece)
                ended = piece is None
                del piece  # before the next one takes as much memory
    except (EOFError, BrokenPipeError):
        os._exit(0)


def _take_pipes() -> tuple[FileIO, IO[bytes]]:
    """The pipes of stdin and stdout; what libraries print to stdout goes to stderr from now on."""
    inbox, outbox = FileIO(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return inbox, outbox


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def _set_limits(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is told, and leaves no gigabytes on the disk
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (memory if hard == resource.RLIM_INFINITY else min(memory, hard), hard))


if __name__ == "__main__":
    main()
