"""How fast a run is: shown while it lasts, and kept beside its rows to tell how long the next one takes."""

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
    """How far a run is. Rates count from the first question on, the loading of the model left out."""

    done: int
    """Questions with a text, or a reason why not."""
    total: int
    failed: int
    videos: int
    """Videos of which no question is left."""
    new_tokens: int
    seconds: float
    waiting: float
    """Share of the time in which the model stood idle, because no frames were ready."""

    @property
    def videos_per_second(self) -> float:
        """Of finished videos."""
        return self.videos / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Of new tokens."""
        return self.new_tokens / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None as long as nothing is done."""
        return (self.total - self.done) * self.seconds / self.done if self.done else None


@dataclass
class RunLog:
    """Counts, and writes a line about itself every half minute and at its end; of a run, the last line is true."""

    folder: Path
    total: int
    engine: str
    shard: str = ""
    replicas: int = 1
    """Models that work side by side."""
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
        """Add an outcome; write a line if it is time."""
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
        """Append one line. Processes may append to one file side by side: a line is written at once.

        One that cannot be written is a warning: no run ends for want of it, and no reason to end one is hidden by it.
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
    """(questions a second, name) of the last run in `folder` that answered something; None if there is none."""
    path = folder / LOG_FILE
    if not path.is_file():
        return None
    for line in reversed(path.read_text(encoding="utf-8").splitlines()):
        try:
            known = json.loads(line)
            if known["done"] > known["failed"] and known["seconds"] > 0:
                return known["done"] / known["seconds"], str(known["run"])
        except (ValueError, KeyError):
            continue  # a line that a full disk cut off
    return None
