"""Rate limiting of requests: at most so many per minute, and a pause when a busy server asks for one."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Mapping

_LONGEST = 600.0  # a server that asks for a longer wait is asked again after this


class Stopped(Exception):
    """The run is being interrupted."""


class Pace:
    """Evenly spaced turns for the threads that send requests; `per_minute` None means no limit."""

    def __init__(self, per_minute: int | None) -> None:
        self._gap = 0.0 if per_minute is None else 60.0 / per_minute
        self._next = 0.0
        self._lock = threading.Lock()

    def turn(self, stop: threading.Event) -> None:
        """Wait until this request may be sent. Raises Stopped as soon as `stop` is set."""
        with self._lock:
            at = max(self._next, time.monotonic())
            self._next = at + self._gap
        _wait(at - time.monotonic(), stop)

    def hold(self, seconds: float, stop: threading.Event, *, everyone: bool) -> None:
        """Wait before another attempt; with `everyone`, no turn is given to any thread before that."""
        seconds = min(seconds, _LONGEST)
        if everyone:
            with self._lock:
                self._next = max(self._next, time.monotonic() + seconds)
        _wait(seconds, stop)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait (Retry-After, as a number or a date), or None."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if seconds == seconds else None


def _wait(seconds: float, stop: threading.Event) -> None:
    if stop.wait(max(0.0, seconds)):
        raise Stopped
