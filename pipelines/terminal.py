"""Standard output and standard error as commands need them: every text can be written, and readers may go away."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from cache.files.stopping import Stopped, stop

_UNREAD = getattr(signal, "SIGPIPE", signal.SIGTERM)


class _Stream(io.TextIOWrapper):
    """A stream that ends the command like SIGPIPE when nobody reads it any more, as `| head -1` does."""

    def write(self, text: str) -> int:
        """As any stream; what nobody reads is gone."""
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """As any stream."""
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            _discard(self)
            stop(_UNREAD)
        elif self is sys.stderr:  # there is no place left to say so
            _discard(self)
        else:
            raise error


def attended(work: Callable[[], NoReturn]) -> NoReturn:
    """Do the work of a command on streams that bear everything, and write what is held back.

    Signs that the encoding of a terminal lacks are written as escapes; a closed stream swallows what is written. Where
    a reader goes away, `Stopped` is raised, and the exit code is 141.
    """
    _prepare()
    try:
        try:
            work()
        finally:
            finish()
    except Stopped as ended:
        sys.exit(ended.exit_code)
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def finish() -> None:
    """Write what is held back. Raises OSError where it cannot be, once: a second time it is discarded."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _discard(stream)
            raise


def as_json(document: Any, *, indent: int | None = None) -> str:
    """A document as JSON that standard output can bear: letters as they are only where all can be written."""
    whole = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    return json.dumps(document, default=str, ensure_ascii=not whole, indent=indent)


def _prepare() -> None:
    _occupy_closed()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for the life of the process
        elif type(stream) is io.TextIOWrapper and stream is getattr(sys, f"__{name}__"):  # not that of a test
            setattr(sys, name, _taken_over(stream))


def _taken_over(stream: io.TextIOWrapper) -> _Stream:
    encoding, buffered, through = stream.encoding, stream.line_buffering, stream.write_through
    stream.flush()
    return _Stream(stream.detach(), encoding, "backslashreplace", line_buffering=buffered, write_through=through)


def _occupy_closed() -> None:
    """Nothing that is opened later takes the number of a closed stream, which libraries would write into."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _discard(stream: TextIO) -> None:
    """Let whatever is written from now on, and what is held back, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
