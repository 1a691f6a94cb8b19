"""Shared by all commands: reading the recipe, printing progress and tables, exit codes."""

from __future__ import annotations

import errno
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, Protocol, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from cache.errors import UserError
from cache.files.stopping import Stopped, raise_at_stops
from pipelines.command_line import Presets, read_recipe, save_recipe

R = TypeVar("R")

console = Console(highlight=False, soft_wrap=True, emoji=False, width=None if sys.stdout.isatty() else 120)
_LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and of an exceeded quota."""
BAD_INPUT, DEFECT, INTERRUPTED = 2, 70, 130
"""Exit codes in addition to 0 (done), 1 (done, but something failed) and `Stopped.exit_code`."""


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

    A command without presets passes the type of its recipe. `about` says what the command does; `default` is the preset
    that is used when none is named.

    A `UserError` or an error of the operating system is shown as one message, with exit code 2. Ctrl-C, SIGTERM and
    SIGUSR1 show how to resume (`go_on`) and exit with 130, 143 and 138. Any other error is a bug: its traceback is
    shown, and the exit code is 70, which differs from the 1 of a command that is done but for failed items.
    """

    def work() -> int | None:
        given = sys.argv[1:] if arguments is None else arguments
        recipe, target = read_recipe(
            presets, given, prog=f"python -m pipelines {command}", about=about, default=default
        )
        if target is None:
            return main(recipe)
        save_recipe(recipe, target)
        say(f"recipe: {target}")
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
        by = f" by {stop.signum.name}" if isinstance(stop, Stopped) else ""
        fail(f"Stopped{by}. {go_on or 'Finished work is kept; run the same command again to resume.'}")
        return stop.exit_code if isinstance(stop, Stopped) else INTERRUPTED
    except (UserError, OSError) as error:
        full = isinstance(error, OSError) and error.errno in _FULL
        fail(f"{error}{'; free space and run the same command again' if full else ''}")
        return BAD_INPUT


def fail(message: str) -> None:
    """Print one red message on stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(f"[bold red]{escape(message)}[/]")


def say(message: str) -> None:
    """Print one plain line on stdout, without interpreting markup."""
    console.print(message, markup=False)


def note(message: str) -> None:
    """Print one plain line on stderr, for commands whose stdout is read by programs."""
    print(message, file=sys.stderr)


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: first column left-aligned, the others right-aligned. Cells are text, never markup."""
    grid = Table(
        title=escape(title), title_justify="left", header_style="bold", box=SIMPLE_HEAD, show_header=any(header)
    )
    for index, name in enumerate(header):
        grid.add_column(escape(name), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        grid.add_row(*map(escape, row))
    console.print(grid)


class Report(Protocol):
    """Reports progress."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show `done` of `total`; `note` is shown after the rate."""
        ...


@contextmanager
def progress(label: str, *, unit: str = "videos") -> Iterator[Report]:
    """Yield a Report: a bar with rate and time left on a terminal, a line every few seconds elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None, pace="")
        last = time.monotonic()

        def report(done: int, total: int, note: str = "") -> None:
            nonlocal last
            bar.update(task, completed=done, total=total)
            pace = ", ".join(filter(None, [_pace(bar, task, unit), note]))
            bar.update(task, pace=pace)
            now = time.monotonic()
            if not console.is_terminal and (done >= total or now - last >= _LINE_EVERY):
                say(f"{label} {done}/{total} {pace}".rstrip())
                last = now

        yield report


def _pace(bar: Progress, task: TaskID, unit: str) -> str:
    state = bar.tasks[bar.task_ids.index(task)]
    # At the end, the speed over the whole run: the moving average covers only its last part.
    speed = state.finished_speed or state.speed
    if not speed:
        return ""
    left = "" if state.finished or state.time_remaining is None else f", {duration(state.time_remaining)} left"
    return f"{speed:{',.0f' if speed >= 100 else '.3g'}} {unit}/s{left}"


def duration(seconds: float) -> str:
    """Seconds in readable form: 8.2 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
