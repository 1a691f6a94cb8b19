"""Checks before the model is loaded: a target folder that cannot be written, videos that are missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cache.errors import CacheError
from cache.files.atomic import atomic_path
from priors.run.plan import Plan

ROW_BYTES = 4096
"""Upper bound of the disk space of a description with its words; measured files take less than 1 kB per row."""
_VOCABULARY_BYTES = 64 << 20


def check_target(folder: Path, rows: int) -> None:
    """Raise CacheError unless `folder` (created if missing) can be written and has space for so many rows."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        with atomic_path(probe) as unfinished:
            unfinished.write_bytes(os.urandom(4096))
        probe.unlink()
    except OSError as error:
        raise CacheError(
            f"{folder}: cannot be written ({error.strerror}); free space, change its rights, or choose another folder "
            "with --dataset"
        ) from error
    needed, free = rows * ROW_BYTES + _VOCABULARY_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise CacheError(
            f"{folder}: {free >> 20} MiB are free, expected {needed >> 20} MiB for {rows} new descriptions and the "
            "words of all; free space, or choose another folder with --dataset"
        )


def check_videos(plan: Plan) -> int:
    """Number of videos to be described that have no file. Raises CacheError if that is all of them."""
    missing = [item.entry for item in plan.work if item.entry.file_bytes is None]
    if missing and len(missing) == len(plan.work):
        first = missing[0]
        where = "has no path in the annotations, and the videos folder has no file of its name"
        if first.path is not None:
            where = f"should be at {first.path}"
        raise CacheError(
            f"none of the {len(missing)} videos to be described is there: {first.video_id} {where}; "
            "say with --videos where they are"
        )
    return len(missing)
