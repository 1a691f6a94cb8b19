"""Notes beside features, by video: why one is encoded in part (partial.json), and why one failed (failed.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from cache.files.atomic import atomic_path
from cache.files.lock import Shard

PARTIAL, FAILED = "partial", "failed"


class Notes:
    """The notes of one run. A shard has files of its own, such as failed-0-of-4.json; none waits for another."""

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self._folder, self._shard = folder, shard
        self._failed: dict[str, str] = {}

    def path(self, name: str) -> Path:
        """The file of `PARTIAL` or `FAILED` videos."""
        return self._folder / f"{name}{'' if self._shard is None else f'-{self._shard}'}.json"

    def partial(self, video_id: str, why: str) -> None:
        """A video whose features are not those of all of it; remembered for as long as there are features."""
        path = self.path(PARTIAL)
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if known.get(video_id) != why:
            _write(path, {**known, video_id: why})

    def failed(self, video_id: str, why: str) -> None:
        """A video without features; every run tries it again, so only those of this run are noted."""
        self._failed[video_id] = why
        _write(self.path(FAILED), self._failed)

    def close(self) -> None:
        """At the end of a run that went over all videos: nothing failed that is not noted."""
        if not self._failed:
            self.path(FAILED).unlink(missing_ok=True)


def _write(path: Path, notes: Mapping[str, str]) -> None:
    with atomic_path(path) as unfinished:
        unfinished.write_text(json.dumps(notes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
