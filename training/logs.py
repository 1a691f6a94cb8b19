"""metrics.jsonl, and TensorBoard where it is installed."""

import json
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

FILE = "metrics.jsonl"

Means = dict[str, tuple[float, int]]
"""Sum and count of each loss term since the last line."""


class Logs:
    """One line of means every so many steps: {"step", "lr", "seconds", and every loss term}.

    A line that a killed run wrote after its last checkpoint is dropped when the run goes on from that checkpoint
    (`since`).
    """

    def __init__(self, run: Path, *, since: int, every: int, tensorboard: bool, means: Means | None = None) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.every = every
        self.means: Means = dict(means or {})
        self._path = run / FILE
        kept = [line for line in self._lines() if json.loads(line)["step"] <= since]
        self._path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")
        self._started = time.perf_counter()
        self._board = None
        if tensorboard and find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=since + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def add(self, step: int, terms: Mapping[str, float], lr: float) -> None:
        """Count the terms of a step that is done; write a line when one is due."""
        for name, value in terms.items():
            total, count = self.means.get(name, (0.0, 0))
            self.means[name] = (total + value, count + 1)
        if step % self.every:
            return
        means = {name: total / count for name, (total, count) in self.means.items()}
        line = {"step": step, "lr": lr, "seconds": round(time.perf_counter() - self._started, 3), **means}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in means.items():
                self._board.add_scalar(name.replace(".", "/"), value, step)
        self.means = {}

    def _lines(self) -> list[str]:
        """Whole lines only: a killed run may have left half of one."""
        if not self._path.exists():
            return []
        return [line for line in self._path.read_text(encoding="utf-8").split("\n")[:-1] if line]
