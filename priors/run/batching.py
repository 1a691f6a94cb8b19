"""Questions into batches of equal length: a batch takes as long as its longest, and padding is work for nothing."""

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
    """A question with the frames that it is about."""

    work: VideoWork
    question: Question
    decoded: Decoded
    request: Request

    @property
    def length(self) -> tuple[int, int]:
        """What the number of its tokens goes with: pixels, then letters."""
        return self.request.frames.rgb.size, len(self.request.prompt)


class Batcher:
    """Collects questions and gives out batches of one kind: alike in size of picture as long as enough are at hand.

    Which questions share a batch depends on their order alone, never on the clock, so a run can be repeated exactly.
    Once frames of more than `most_bytes` wait, the first full batch is given out, whatever the sizes of its pictures.
    """

    def __init__(self, size: int, *, window: int = 4, most_bytes: float = math.inf) -> None:
        self.size = size
        """Questions a batch; lowered while running where the memory does not suffice."""
        self._window = window
        self._most_bytes = most_bytes
        self._waiting: dict[tuple[Kind, bool], list[Asked]] = defaultdict(list)

    def add(self, asked: Asked) -> list[list[Asked]]:
        """Take a question in; returns the batches that are full by it."""
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
        """Of the frames that wait; a video's count once, however many questions about it wait."""
        frames = {id(one.decoded): one.request.frames.rgb for waiting in self._waiting.values() for one in waiting}
        return sum(rgb.nbytes for rgb in frames.values())

    def rest(self) -> list[list[Asked]]:
        """Everything that is left, shortest first."""
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
