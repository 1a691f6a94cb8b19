"""Reader of the layout of UM, CoLA, CASE: gt.json with times as text, split_train.txt, split_test.txt, feature
files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cache.errors import CacheError
from cache.layouts.activitynet import read_database
from cache.layouts.found import Found, Quirk

GT_FILE = "gt.json"
SPLIT_FILES = {"train": "split_train.txt", "test": "split_test.txt"}


def is_um(folder: Path) -> bool:
    """Whether `folder` holds annotations in this layout."""
    return (folder / GT_FILE).is_file() and all((folder / name).is_file() for name in SPLIT_FILES.values())


def read_um(folder: Path, *, features: Path | None) -> Found:
    """Read gt.json; the split files list the videos and their subsets, as in the public code.

    Raises CacheError naming the file, the field or line, what was found and expected.
    """
    dataset, quirks = read_database(folder / GT_FILE)
    splits = _splits(folder)
    known = {video.video_id: video for video in dataset.videos}
    if unknown := [video_id for video_id in splits if video_id not in known]:
        file = SPLIT_FILES[splits[unknown[0]]]
        raise CacheError(
            f"{folder / file}: found {unknown[0]!r} and {len(unknown) - 1} other videos that {GT_FILE} does not have"
        )
    moved = [
        f"{name}: {known[name].subset}, split {split}" for name, split in splits.items() if known[name].subset != split
    ]
    left = [name for name in known if name not in splits]
    if moved:
        what, done = f"videos whose subset in {GT_FILE} differs from the split files", "the split files are used"
        quirks.append(Quirk(name="other_split", what=what, done=done, count=len(moved), items=tuple(moved)))
    if left:
        what = f"videos of {GT_FILE} that are in no split file"
        quirks.append(Quirk(name="in_no_split", what=what, done="left out", count=len(left), items=tuple(left)))
    quirks.append(Quirk(name="no_durations", what="videos without a duration", done="stays unknown", count=len(splits)))
    videos = tuple(replace(known[name], subset=split) for name, split in splits.items())
    return Found("um", folder.resolve().name, dataset.classes, videos, False, features, tuple(quirks))


def _splits(folder: Path) -> dict[str, str]:
    splits: dict[str, str] = {}
    for subset, name in SPLIT_FILES.items():
        try:
            lines = (folder / name).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CacheError(f"{folder / name}: cannot be read: {error}") from error
        for number, line in enumerate(lines, start=1):
            if not (video_id := line.strip()):
                continue
            if video_id in splits:
                raise CacheError(f"{folder / name}: line {number}: {video_id!r} is already in a split")
            splits[video_id] = subset
    return splits
