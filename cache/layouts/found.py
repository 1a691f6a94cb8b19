"""What a reader of a layout hands over: the dataset as its files say it, and what is odd about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, field_validator

from cache.annotations import VideoEntry
from cache.errors import CacheError
from cache.files.texts import plain
from cache.recipe import Recipe

Layout = Literal["co2", "um", "activitynet", "folder"]


class Quirk(Recipe):
    """One kind of oddity: how often it was met, and what was done about it."""

    name: str
    """Short and stable, for programs."""
    what: str
    """For people."""
    done: str
    """What the import made of it."""
    count: NonNegativeInt
    unit: str = "videos"
    """What `count` counts."""
    items: tuple[str, ...] = ()
    """Every one of them, by the name of its video or file."""

    @field_validator("items", mode="before")
    @classmethod
    def _storable(cls, items: Iterable[str]) -> tuple[str, ...]:
        """A name of a file may hold bytes that are no UTF-8; a report can not."""
        return tuple(map(plain, items))

    @classmethod
    def of(cls, name: str, what: str, done: str, items: Iterable[str], *, unit: str = "videos") -> Quirk:
        """One whose items can be named, each of which counts once."""
        named = tuple(items)
        return cls(name=name, what=what, done=done, count=len(named), unit=unit, items=named)


@dataclass(frozen=True)
class Found:
    """A dataset as its source says it; `cache.layouts.mend` makes ours of it."""

    layout: Layout
    name: str
    classes: tuple[str, ...]
    videos: tuple[VideoEntry, ...]
    """`subset` is the source's word. `labels` are the video's own labels where `video_labels` is true, else those of
    its annotations."""
    video_labels: bool
    """Whether the source labels videos beside segments."""
    features: Path | None
    """Joint file or folder of features, where the source has one."""
    quirks: tuple[Quirk, ...] = ()
    """What only the reader can see."""


def canonical_subsets(names: Sequence[str], *, where: Path) -> Mapping[str, str]:
    """Our name of each subset of a source: training, validation, testing.

    THUMOS14 trains on what it calls validation, so a `validation` without any training subset is the training subset.
    Raises CacheError if two names would become one, or a name is unknown.
    """
    usual = {"train": "training", "training": "training", "test": "testing", "testing": "testing"}
    trains = any(usual.get(name) == "training" for name in names)
    usual |= dict.fromkeys(("val", "validation"), "validation" if trains else "training")
    if unknown := sorted(set(names) - usual.keys()):
        raise CacheError(f"{where}: subset: found {unknown}, expected among {sorted(usual)}")
    chosen = {name: usual[name] for name in dict.fromkeys(names)}
    if len(set(chosen.values())) < len(chosen):
        raise CacheError(f"{where}: subset: found {sorted(chosen)}, two of which mean the same")
    return chosen


def check_names(video_ids: Sequence[str], *, where: Path) -> None:
    """Raise CacheError where a video stands twice or its name cannot be that of a file."""
    seen: set[str] = set()
    for position, video_id in enumerate(video_ids):
        if video_id in seen:
            raise CacheError(f"{where}: {video_id!r} stands there twice, the second time as number {position}")
        if not video_id or video_id.startswith(".") or any(sign in video_id for sign in "/\\\0"):
            raise CacheError(f"{where}: number {position}: found {video_id!r}, expected a name that a file can have")
        seen.add(video_id)
