"""The worker process of a pool, which decodes one video at a time: `python -m priors.video.decode_worker`.

It communicates over two pipes. A message is the lengths of its buffers, then the buffers: a pickle, and the arrays that
it refers to, which are not copied into the pickle (protocol 5, out of band).
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
_ALARM_SECONDS = 30  # after the time limit of a piece; the parent ends a stalled worker long before


@dataclass(frozen=True)
class Order:
    """The first message to a worker: the function to apply to each path that follows, and its limits."""

    answer: Callable[[Path], Iterable[Any]]
    """Gives the pieces of the answer to a path, none of them None."""
    load: Callable[[], None] | None
    """Called before the first path."""
    seconds: float
    """Time limit of a piece, in seconds."""
    memory: int
    """Memory limit of the process, in bytes."""
    parent: int
    """Process id of the pool."""


def send(file: IO[bytes], message: Any) -> None:
    """Write one message. Raises BrokenPipeError if the reader is gone."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    blocks = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    file.write(struct.pack(f"<{len(blocks) + 1}Q", len(blocks), *(block.nbytes for block in blocks)))
    for block in blocks:
        file.write(block)
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
    """Answer each path, piece by piece and None at the end, until the pool closes the pipe or is gone."""
    for number in STOPS:  # these are sent to whole process groups and jobs: the pool decides when to stop
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
                # When the pool is gone, this kills a process whose native code blocks the thread above.
                signal.alarm(math.ceil(order.seconds) + _ALARM_SECONDS)
                piece = next(pieces, None)
                signal.alarm(0)
                send(outbox, piece)
                ended = piece is None
                del piece  # frees its memory before the next one
    except (EOFError, BrokenPipeError):
        os._exit(0)


def _take_pipes() -> tuple[FileIO, IO[bytes]]:
    """The pipes of stdin and stdout; whatever libraries print to stdout goes to stderr from then on."""
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
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core dumps of gigabytes
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (memory if hard == resource.RLIM_INFINITY else min(memory, hard), hard))


if __name__ == "__main__":
    main()
