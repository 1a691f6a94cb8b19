"""Unions of intervals in many groups (such as a class in a video), measured all at once.

Every group has its own stretch of one long axis, so that intervals of different groups never touch; on that axis the
union is made by one sort, and measured by look-ups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


@dataclass(frozen=True)
class Axis:
    """One long axis for all groups: the stretch of a group starts at its number times `stretch`, less `origin`."""

    origin: float
    stretch: float

    @classmethod
    def of(cls, spans: Sequence[Float[Array, "_ 2"]]) -> Axis:
        """An axis on which every group has room for all these spans."""
        filled = [one for one in spans if len(one)]
        low, high = min((one.min() for one in filled), default=0.0), max((one.max() for one in filled), default=0.0)
        return cls(float(low), float(high - low) + 1.0)

    def lay(self, spans: Float[Array, "n 2"], groups: Int[Array, " n"]) -> Float[Array, "n 2"]:
        """Spans on the axis."""
        return spans - self.origin + (groups * self.stretch)[:, None]


@dataclass(frozen=True)
class Cover:
    """A union of intervals: disjoint, ascending, none of length zero. `before` is the length of all earlier ones."""

    starts: Float[Array, " b"]
    ends: Float[Array, " b"]
    before: Float[Array, " b"]

    @classmethod
    def of(cls, spans: Float[Array, "n 2"]) -> Cover:
        """The union of spans on the axis; those of length zero cover nothing."""
        some = spans[spans[:, 1] > spans[:, 0]]
        some = some[np.argsort(some[:, 0], kind="stable")]
        reach = np.maximum.accumulate(some[:, 1])
        fresh = np.ones(len(some), dtype=bool)
        fresh[1:] = some[1:, 0] > reach[:-1]
        starts = some[fresh, 0]
        ends = reach[np.append(np.flatnonzero(fresh)[1:] - 1, len(some) - 1)] if len(some) else starts
        return cls(starts, ends, np.cumsum(ends - starts) - (ends - starts))

    @property
    def spans(self) -> Float[Array, "b 2"]:
        """The intervals themselves."""
        return np.stack([self.starts, self.ends], axis=1)

    @property
    def length(self) -> float:
        """Length of everything covered."""
        return float((self.ends - self.starts).sum())

    def inside(self, spans: Float[Array, "n 2"]) -> Float[Array, " n"]:
        """How much of each span is covered."""
        return self._up_to(spans[:, 1]) - self._up_to(spans[:, 0])

    def gaps(self, spans: Float[Array, "n 2"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """How much of each span is uncovered before the first covered point in it, and after the last.

        Both are the whole span where nothing of it is covered.
        """
        low, high = spans[:, 0], spans[:, 1]
        if not len(self.starts):
            return high - low, high - low
        place = np.searchsorted(self.ends, low, side="right")
        first = np.where(place < len(self.ends), self.starts[place.clip(max=len(self.ends) - 1)], np.inf)
        place = np.searchsorted(self.starts, high, side="left") - 1
        last = np.where(place >= 0, self.ends[place.clip(min=0)], -np.inf)
        return np.clip(first, low, high) - low, high - np.clip(last, low, high)

    def _up_to(self, times: Float[Array, " n"]) -> Float[Array, " n"]:
        if not len(self.starts):
            return np.zeros_like(times)
        place = np.searchsorted(self.starts, times, side="right") - 1
        here = place.clip(min=0)
        return np.where(place < 0, 0.0, self.before[here] + np.minimum(times, self.ends[here]) - self.starts[here])
