"""Progress and rates of a run: shown while it lasts, and logged beside its rows to estimate the next one."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

LOG_FILE = "runs.jsonl"
_LINE_SECONDS = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Progress of a run. Rates are measured from the first question on, without the loading of the model."""

    done: int
    """Questions with a text or a failure."""
    total: int
    failed: int
    videos: int
    """Videos without open questions."""
    new_tokens: int
    seconds: float
    waiting: float
    """Share of the time in which the model was idle because no frames were ready."""

    @property
    def videos_per_second(self) -> float:
        """Finished videos per second."""
        return self.videos / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """New tokens per second."""
        return self.new_tokens / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the rate so far; None as long as nothing is done."""
        return (self.total - self.done) * self.seconds / self.done if self.done else None


@dataclass
class RunLog:
    """Counts the outcomes of a run, and logs a line every half minute and at the end; the last line of a run is
    valid."""

    folder: Path
    total: int
    engine: str
    shard: str = ""
    replicas: int = 1
    """Copies of the model that run in parallel."""
    done: int = 0
    failed: int = 0
    videos: int = 0
    new_tokens: int = 0
    waited: float = 0.0
    model_seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)
    _run: str = field(default_factory=lambda: f"{datetime.now(UTC).isoformat(timespec='seconds')}-{os.getpid()}")
    _written: float = field(default_factory=time.monotonic)

    def count(
        self, *, answered: int, failed: int, videos: int, new_tokens: int, waited: float, model_seconds: float
    ) -> Progress:
        """Add an outcome; write a line if one is due."""
        if not self.done:
            self.started = time.monotonic() - waited - model_seconds
        self.done += answered + failed
        self.failed += failed
        self.videos += videos
        self.new_tokens += new_tokens
        self.waited += waited
        self.model_seconds += model_seconds
        if time.monotonic() - self._written >= _LINE_SECONDS:
            self.write()
        return self.progress()

    def progress(self) -> Progress:
        """The state now."""
        seconds = time.monotonic() - self.started
        busy = self.waited + self.model_seconds
        return Progress(
            self.done,
            self.total,
            self.failed,
            self.videos,
            self.new_tokens,
            seconds,
            self.waited / busy if busy else 0.0,
        )

    def write(self) -> None:
        """Append one line, in a single write, so that several processes may append to one file.

        If it cannot be written, a warning is logged: that is no reason to end a run, and must not hide the reason why
        one ends.
        """
        self._written = time.monotonic()
        now = self.progress()
        line = {
            "run": self._run,
            "host": socket.gethostname(),
            "engine": self.engine,
            "shard": self.shard,
            "replicas": self.replicas,
            **asdict(now),
            "videos_per_second": now.videos_per_second,
            "tokens_per_second": now.tokens_per_second,
            "seconds_left": now.seconds_left,
        }
        try:
            with (self.folder / LOG_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            _log.warning("%s: the run's rates could not be written (%s)", self.folder / LOG_FILE, error.strerror)


def last_rate(folder: Path) -> tuple[float, str] | None:
    """(questions per second, name) of the last run in `folder` that answered something; None if there is none."""
    path = folder / LOG_FILE
    if not path.is_file():
        return None
    for line in reversed(path.read_text(encoding="utf-8").splitlines()):
        try:
            run = json.loads(line)
            if run["done"] > run["failed"] and run["seconds"] > 0:
                return run["done"] / run["seconds"], str(run["run"])
        except (ValueError, KeyError):
            continue  # a line that a full disk cut off
    return None
