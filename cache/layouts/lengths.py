"""Checks features against annotations: missing features, and lengths that do not match durations."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

from cache.annotations import VideoEntry
from cache.errors import CacheError
from cache.layouts.convert import Plan
from cache.layouts.found import Quirk

_SNIPPETS, _SHARE = 2, 0.02
"""Tolerance of a length against the duration: this many snippets, or this share of them."""
_FEW = 10
"""Videos of at most this many snippets are skipped by the public loaders of ActivityNet."""


def feature_quirks(plan: Plan, videos: Mapping[str, VideoEntry]) -> Iterator[Quirk]:
    """Data issues that can be seen from feature headers and annotations."""
    if halves := [name for name in plan.source_streams if name not in plan.grid.streams]:
        widths = ", ".join(f"{name} {width}" for name, width in plan.grid.streams.items())
        yield Quirk(
            name="streams",
            what=f"features whose columns are not assigned to streams ({', '.join(halves)})",
            done=f"taken as {widths}; change with --streams",
            count=len(plan.lengths),
        )
    converted = {kind: count for kind, count in plan.kinds.items() if kind != plan.dtype}
    yield Quirk(
        name="converted",
        what="arrays of another data type: " + ", ".join(f"{kind} {count}" for kind, count in converted.items()),
        done=f"stored as {plan.dtype}",
        count=sum(converted.values()),
        unit="arrays",
    )
    off = _off(plan, videos)
    yield Quirk(
        name="length",
        what=f"videos whose features differ from the duration by more than {_SNIPPETS} snippets and {_SHARE:.0%}",
        done="kept as they are",
        count=len(off),
        items=tuple(f"{name}: {have} snippets, {expected} by its duration" for name, (have, expected) in off.items()),
    )
    late = {name: count for name, video in videos.items() if (count := _after_features(plan, name, video))}
    yield Quirk(
        name="beyond_features",
        what="segments that begin after the last snippet of their video's features",
        done="kept; nothing can be detected there",
        count=sum(late.values()),
        unit="instances",
        items=tuple(f"{name} {count}" for name, count in late.items()),
    )
    few = tuple(name for name, length in plan.lengths.items() if length <= _FEW)
    yield Quirk(
        name="short",
        what=f"videos of at most {_FEW} snippets, which the public loaders of ActivityNet skip",
        done="kept",
        count=len(few),
        items=few,
    )
    yield Quirk(
        name="unused_features",
        what="features of videos that are not in the annotations",
        done="not imported",
        count=len(plan.unused),
        items=tuple(plan.unused),
    )


def check_lengths(plan: Plan, videos: Mapping[str, VideoEntry], *, where: Path) -> None:
    """Raise CacheError, with the rate that would fit, if most lengths do not match the durations: then all times
    computed from snippets would be wrong."""
    timed = {name: video.duration for name, video in videos.items() if video.duration and name in plan.lengths}
    if not timed or 2 * len(_off(plan, videos)) <= len(timed):
        return
    seconds = statistics.median(duration / plan.lengths[name] for name, duration in timed.items() if duration)
    spread = statistics.quantiles([duration / plan.lengths[name] for name, duration in timed.items()] * 2, n=10)
    step = plan.grid.boundary_seconds(1)
    fits = f"their snippets are about {seconds:.3g} s apart, as with --snippet-stride {round(seconds * plan.grid.fps)}"
    if spread[-1] > 1.5 * spread[0]:
        apart = f"between {spread[0]:.3g} and {spread[-1]:.3g} s"
        fits = f"theirs are {apart} apart, so they were probably resized to one length"
    raise CacheError(
        f"{where}: the features of {len(_off(plan, videos))} of {len(timed)} videos are not as long as their videos: "
        f"expected a snippet every {step:g} s ({plan.grid.snippet_stride} frames at {plan.grid.fps:g} a second); "
        f"{fits}. "
        "Give --fps, --snippet-stride and --snippet-frames, or import them as they are with --lengths keep"
    )


def _off(plan: Plan, videos: Mapping[str, VideoEntry]) -> dict[str, tuple[int, int]]:
    """Number of snippets found and expected, where they differ."""
    off = {}
    for name, length in plan.lengths.items():
        if duration := videos[name].duration:
            expected = math.ceil(plan.grid.position(duration))
            if abs(length - expected) > max(_SNIPPETS, _SHARE * expected):
                off[name] = length, expected
    return off


def _after_features(plan: Plan, name: str, video: VideoEntry) -> int:
    if name not in plan.lengths:
        return 0
    end = plan.grid.end_seconds(plan.lengths[name] - 1)
    return sum(segment.start >= end for segment in video.segments)
