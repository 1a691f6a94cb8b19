"""Output of a layout's reader: the dataset as in its files, and data issues (`Quirk`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, field_validator

from cache.annotations import VideoEntry
from cache.errors import CacheError
from cache.files.texts import can_name_a_file, plain, shown
from cache.recipe import Recipe

Layout = Literal["co2", "um", "activitynet", "folder", "via", "elan", "label-studio"]


class Quirk(Recipe):
    """One kind of data issue: how often it occurs, and how it was handled."""

    name: str
    """Short, stable name for programs."""
    what: str
    """Description for people."""
    done: str
    """How the import handled it."""
    count: NonNegativeInt
    unit: str = "videos"
    """What `count` counts."""
    items: tuple[str, ...] = ()
    """All occurrences, by the name of their video or file."""

    @field_validator("items", mode="before")
    @classmethod
    def _storable(cls, items: Iterable[str]) -> tuple[str, ...]:
        """A name of a file may hold bytes that are no UTF-8; a report can not."""
        return tuple(map(plain, items))

    @classmethod
    def of(cls, name: str, what: str, done: str, items: Iterable[str], *, unit: str = "videos") -> Quirk:
        """A data issue whose occurrences are listed, each counted once."""
        named = tuple(items)
        return cls(name=name, what=what, done=done, count=len(named), unit=unit, items=named)


@dataclass(frozen=True)
class Found:
    """A dataset as in its source; `cache.layouts.mend` converts it."""

    layout: Layout
    name: str
    classes: tuple[str, ...]
    videos: tuple[VideoEntry, ...]
    """`subset` is named as in the source. `labels` are video-level labels if `video_labels` is true, else those of the
    annotations."""
    video_labels: bool
    """Whether the source has video-level labels beside segments."""
    features: Path | None
    """Joint file or folder of features, if the source has one."""
    quirks: tuple[Quirk, ...] = ()
    """Data issues found by the reader."""


def canonical_subsets(names: Sequence[str], *, where: Path) -> Mapping[str, str]:
    """Maps the subsets of a source to training, validation and testing.

    THUMOS14 trains on its validation subset, so a `validation` without any training subset is the training subset.
    Raises CacheError if two names mean the same subset, or a name is unknown.
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
    """Raise CacheError if a video occurs twice or its name cannot be a file name."""
    seen: set[str] = set()
    for position, video_id in enumerate(video_ids):
        if video_id in seen:
            raise CacheError(f"{where}: found {video_id!r} twice, the second time as number {position}")
        if not can_name_a_file(video_id):
            raise CacheError(
                f"{where}: number {position}: found {shown(video_id)}, expected a name that a file can have"
            )
        seen.add(video_id)
