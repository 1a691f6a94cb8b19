"""What all commands share: how a recipe is read, how progress and tables look, and how a command ends."""

from __future__ import annotations

import errno
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from cache.errors import UserError
from cache.files.stopping import STOPS, Stopped, raise_at_stops
from pipelines.command_line import Presets, read_recipe, save_recipe
from pipelines.terminal import as_json, finish

R = TypeVar("R")

_is_terminal = sys.stdout is not None and sys.stdout.isatty()
# No emoji: `:dog:` in a class name is no picture.
console = Console(highlight=False, soft_wrap=True, emoji=False, width=None if _is_terminal else 120)
_WHOLE = 12
"""Letters of a word in a table that no terminal, narrow as it may be, breaks apart."""
_LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a disk, or a quota, that is used up."""
BAD_INPUT, DEFECT, INTERRUPTED = 2, 70, 130
"""Exit codes beside 0 (done), 1 (done, but something failed) and `Stopped.exit_code`."""


def launch(
    command: str,
    presets: Presets[R] | type[R],
    main: Callable[[R], int | None],
    *,
    arguments: Sequence[str] | None = None,
    about: str = "",
    go_on: str = "",
    default: str | None = None,
) -> NoReturn:
    """Read the recipe from the arguments (those of the process when not given), run `main` on it and exit.

    A command that needs no preset passes the type of its recipe; `about` says what it does, and `default` is the preset
    of one that need not name it.

    A `UserError`, and an error of the operating system, end as one message and exit code 2;
    Ctrl-C, SIGTERM and SIGUSR1 say how to go on (`go_on`) and end with 130, 143 and 138; where nobody reads the output
    any more, the command ends without a word, and with 141. Any other error is a defect:
    its traceback is shown, and the exit code is 70, not the 1 of a command that is done but for what failed.
    """

    def work() -> int | None:
        given = sys.argv[1:] if arguments is None else arguments
        recipe, target = read_recipe(
            presets, given, prog=f"python -m pipelines {command}", about=about, default=default
        )
        if target is None:
            code = main(recipe)
            finish()
            return code
        save_recipe(recipe, target)
        say(f"recipe: {target}")
        finish()
        return None

    try:
        code = guarded(work, go_on=go_on)
    except Exception:
        traceback.print_exc()
        code = DEFECT
    sys.exit(code)


def guarded(work: Callable[[], int | None], *, go_on: str = "") -> int:
    """Exit code of `work`; see `launch`."""
    raise_at_stops()
    try:
        return work() or 0
    except KeyboardInterrupt as stop:
        if isinstance(stop, Stopped) and stop.signum not in STOPS:  # the reader of the output went away
            return stop.exit_code
        by = f" by {stop.signum.name}" if isinstance(stop, Stopped) else ""
        fail(f"Stopped{by}. {go_on or 'What was finished is kept; the same command goes on from there.'}")
        return stop.exit_code if isinstance(stop, Stopped) else INTERRUPTED
    except (UserError, OSError) as error:
        full = isinstance(error, OSError) and error.errno in _FULL
        fail(f"{error}{'; free space and run the same command again' if full else ''}")
        return BAD_INPUT


def fail(message: str) -> None:
    """One red message on stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(f"[bold red]{escape(message)}[/]")


def say(message: str) -> None:
    """One plain line on stdout; nothing in it is read as markup."""
    console.print(message, markup=False)


def note(message: str) -> None:
    """One plain line on stderr, for commands whose stdout others read."""
    print(message, file=sys.stderr)


def say_json(document: Any, *, indent: int | None = None) -> None:
    """One JSON document on stdout."""
    print(as_json(document, indent=indent))


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the others to the right. Cells are text, never markup."""
    title, header, rows = _writable(title), [*map(_writable, header)], [[*map(_writable, row)] for row in rows]
    grid = Table(
        title=escape(title), title_justify="left", header_style="bold", box=SIMPLE_HEAD, show_header=any(header)
    )
    for index, name in enumerate(header):
        words = [word for cell in (name, *(row[index] for row in rows)) for word in cell.split()]
        whole = min(_WHOLE, max(map(len, words), default=0))
        justify = "left" if index == 0 else "right"
        grid.add_column(escape(name), justify=justify, overflow="fold", min_width=whole)
    for row in rows:
        grid.add_row(*map(escape, row))
    console.print(grid)


def _writable(cell: str) -> str:
    """As it will be written, where the terminal's encoding lacks a sign: else its column would be too narrow."""
    return cell.encode(console.encoding, "backslashreplace").decode(console.encoding)


class Report(Protocol):
    """Shows how far something is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`note` is shown behind the rate."""
        ...


@contextmanager
def progress(label: str, *, unit: str = "videos") -> Iterator[Report]:
    """Yield a Report. A bar with rate and time left on a terminal that can draw it; else a line every few seconds."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
    )
    drawn = console.is_terminal and not console.is_dumb_terminal
    with Progress(*columns, console=console, disable=not drawn) as bar:
        task = bar.add_task(label, total=None, pace="")
        last = time.monotonic()

        def report(done: int, total: int, note: str = "") -> None:
            nonlocal last
            bar.update(task, completed=done, total=total)
            pace = ", ".join(filter(None, [_pace(bar, task, unit), note]))
            bar.update(task, pace=pace)
            now = time.monotonic()
            if not drawn and (done >= total or now - last >= _LINE_EVERY):
                say(f"{label} {done}/{total} {pace}".rstrip())
                last = now

        yield report


def _pace(bar: Progress, task: TaskID, unit: str) -> str:
    state = bar.tasks[bar.task_ids.index(task)]
    # Speed over the whole run where it is over: the moving average forgets how it began.
    speed = state.finished_speed or state.speed
    if not speed:
        return ""
    left = "" if state.finished or state.time_remaining is None else f", {duration(state.time_remaining)} left"
    return f"{speed:{',.0f' if speed >= 100 else '.3g'}} {unit}/s{left}"


def duration(seconds: float) -> str:
    """Seconds for people: 8.2 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
