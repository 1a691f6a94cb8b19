"""metrics.jsonl, and the loggers that get the same figures."""

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from training.logs.loggers import Logger

FILE = "metrics.jsonl"
CLOCK = ("seconds", "steps_per_second", "snippets_per_second")
"""Figures of a line that depend on the machine; all others are the same at every repetition."""

Means = dict[str, tuple[float, int]]
"""Sum and count of each figure since the last line of metrics.jsonl."""


class Logs:
    """One line of means every `every` steps: {"step", "lr", "host_lr", every loss term and gradient norm, `CLOCK`}.

    When a run is resumed, lines that were written after its checkpoint (`since`) are dropped, and `seconds` continues
    from the last line that is kept.
    """

    def __init__(
        self, run: Path, *, since: int, every: int, loggers: tuple[Logger, ...] = (), means: Means | None = None
    ) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.every = every
        self.means: Means = dict(means or {})
        path = run / FILE
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= since]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._seconds = json.loads(kept[-1])["seconds"] if kept else 0.0
        self._stack = ExitStack()
        for logger in loggers:
            self._stack.callback(logger.close)
        self._loggers = loggers
        self._file = self._stack.enter_context(path.open("a", encoding="utf-8"))
        self._started = self._last = time.perf_counter()
        self._steps = self._snippets = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, step: int, figures: Mapping[str, float], *, rates: Mapping[str, float], snippets: int) -> None:
        """Count the figures of a step that is done, and the snippets that it saw; write a line when one is due."""
        for name, value in figures.items():
            total, count = self.means.get(name, (0.0, 0))
            self.means[name] = (total + value, count + 1)
        self._steps, self._snippets = self._steps + 1, self._snippets + snippets
        if step % self.every:
            return
        means = {name: total / count for name, (total, count) in self.means.items()}
        line = {"step": step, **rates, **means, **self._clock()}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for logger in self._loggers:
            logger.write(step, {name: value for name, value in line.items() if name != "step"})
        self.means = {}

    def _clock(self) -> dict[str, float]:
        now = time.perf_counter()
        since = now - self._last
        pace = (self._seconds + now - self._started, self._steps / since, self._snippets / since)
        self._last, self._steps, self._snippets = now, 0, 0
        return {name: round(value, 3) for name, value in zip(CLOCK, pace, strict=True)}


def _lines(path: Path) -> list[str]:
    """Whole lines only: a killed run may have left half of one."""
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").split("\n")[:-1] if line]
