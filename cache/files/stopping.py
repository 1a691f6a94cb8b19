"""Signals that ask a command to end: Ctrl-C, SIGTERM (schedulers, `docker stop`) and SIGUSR1 (SLURM's warning)."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """The command was stopped by a signal. A KeyboardInterrupt, so that no `except Exception` catches it."""

    def __init__(self, signum: int, message: str = "") -> None:
        super().__init__(message)
        self.signum = signal.Signals(signum)

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as in shells: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.signum


_AGAIN = 2.0
"""Seconds within which a second signal counts as a copy of the first: `make` forwards signals that its group got,
too."""
_raised = 0.0


class StopRequest:
    """True once a signal has asked to stop."""

    signum: int | None = None
    since: float = 0.0

    def __bool__(self) -> bool:
        return self.signum is not None


def raise_at_stops() -> None:
    """Install handlers by which SIGTERM and SIGUSR1 raise `Stopped` in the main thread, as Ctrl-C raises
    KeyboardInterrupt."""
    global _raised
    _raised = 0.0
    for signum in STOPS:
        if signum != signal.SIGINT:
            signal.signal(signum, _raise)


@contextmanager
def deferred_stops() -> Iterator[StopRequest]:
    """Inside the block a signal is recorded instead of raised, so that a unit of work is completed; a second one, more
    than two seconds later, raises.

    Has no effect in other threads than the main one, where no signals arrive, or on ignored signals, such as Ctrl-C for
    background jobs of a shell.
    """
    request = StopRequest()
    before: dict[int, object] = {}

    def note(signum: int, frame: FrameType | None) -> None:
        if not request:
            request.signum, request.since = signum, time.monotonic()
        elif time.monotonic() - request.since > _AGAIN:
            raise Stopped(signum)

    if threading.current_thread() is threading.main_thread():
        before = {one: signal.getsignal(one) for one in STOPS if signal.getsignal(one) is not signal.SIG_IGN}
    for signum in before:
        signal.signal(signum, note)
    try:
        yield request
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)  # pyright: ignore[reportArgumentType]


def _raise(signum: int, frame: FrameType | None) -> None:
    global _raised
    before, _raised = _raised, time.monotonic()
    if before == 0.0 or _raised - before > _AGAIN:
        raise Stopped(signum)
