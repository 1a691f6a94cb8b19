"""Batches of questions of similar length, since a batch takes as long as its longest question."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from cache.tables.schema import Kind
from priors.describers.protocol import Request
from priors.run.plan import Question, VideoWork
from priors.video.decoding import Decoded


@dataclass(frozen=True, eq=False)
class Asked:
    """A question with the frames of its video."""

    work: VideoWork
    question: Question
    decoded: Decoded
    request: Request

    @property
    def length(self) -> tuple[int, int]:
        """Sort key that grows with the number of tokens: pixels, then letters."""
        return self.request.frames.rgb.size, len(self.request.prompt)


class Batcher:
    """Collects questions into batches of one kind, with pictures of equal size as long as there are enough of them.

    Which questions share a batch depends on their order alone, never on timing, so that a run can be repeated exactly.
    Once waiting frames take more than `most_bytes`, the first full batch is returned with pictures of any size.
    """

    def __init__(self, size: int, *, window: int = 4, most_bytes: float = math.inf) -> None:
        self.size = size
        """Questions per batch; lowered during the run if the memory does not suffice."""
        self._window = window
        self._most_bytes = most_bytes
        self._waiting: dict[tuple[Kind, bool], list[Asked]] = defaultdict(list)

    def add(self, asked: Asked) -> list[list[Asked]]:
        """Add a question; returns the batches that are now full."""
        group = (asked.question.key[2], asked.request.again)
        waiting = self._waiting[group]
        waiting.append(asked)
        alike = [other for other in waiting if other.length[0] == asked.length[0]]
        enough = len(waiting) >= self._window * self.size or (
            len(waiting) >= self.size and self.bytes > self._most_bytes
        )
        if len(alike) < self.size and not enough:
            return []
        chosen = alike[: self.size] if len(alike) >= self.size else self._around_oldest(waiting)
        self._waiting[group] = [other for other in waiting if other not in chosen]
        return [sorted(chosen, key=lambda one: one.length)]

    @property
    def bytes(self) -> int:
        """Bytes of the waiting frames; those of a video count once, however many questions about it wait."""
        frames = {id(one.decoded): one.request.frames.rgb for waiting in self._waiting.values() for one in waiting}
        return sum(rgb.nbytes for rgb in frames.values())

    def rest(self) -> list[list[Asked]]:
        """Batches of all remaining questions, shortest first."""
        batches = []
        for waiting in self._waiting.values():
            ordered = sorted(waiting, key=lambda asked: asked.length)
            batches += [ordered[start : start + self.size] for start in range(0, len(ordered), self.size)]
        self._waiting.clear()
        return batches

    def _around_oldest(self, waiting: list[Asked]) -> list[Asked]:
        ordered = sorted(waiting, key=lambda asked: asked.length)
        first = ordered.index(waiting[0])
        start = max(0, min(first - self.size // 2, len(ordered) - self.size))
        return ordered[start : start + self.size]
