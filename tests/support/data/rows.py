"""Rows of the cache for tests, with everything that a test does not care about filled in."""

from __future__ import annotations

from datetime import UTC, datetime

from cache.recipe import Recipe
from cache.tables.schema import Description, Kind

WHEN = datetime(2024, 5, 17, 12, 0, tzinfo=UTC)


class Made(Recipe):
    """A recipe for stores whose recipe does not matter."""

    version: int = 1


def described(video_id: str, label: str = "Dive", kind: Kind = "key", text: str = "a person dives") -> Description:
    """An ok row."""
    return Description(
        video_id=video_id,
        action_class=label,
        kind=kind,
        prompt=f"Describe {label}.",
        description=text,
        status="ok",
        error=None,
        model_id="canned",
        model_revision="1",
        generation="{}",
        frame_seconds=(0.5, 1.5),
        duration=2.0,
        video_bytes=1000,
        video_stamp="00ff",
        prompt_tokens=10,
        new_tokens=3,
        finish_reason="eos",
        flags=(),
        partial=False,
        attempt=1,
        made_by="{}",
        created_at=WHEN,
    )


def failed(video_id: str, label: str = "Dive", kind: Kind = "key", error: str = "empty file") -> Description:
    """A failed row."""
    return Description(
        video_id=video_id,
        action_class=label,
        kind=kind,
        prompt=f"Describe {label}.",
        description=None,
        status="failed",
        error=error,
        model_id="canned",
        model_revision="1",
        generation="{}",
        frame_seconds=(),
        duration=None,
        video_bytes=None,
        video_stamp=None,
        prompt_tokens=None,
        new_tokens=None,
        finish_reason=None,
        flags=(),
        partial=None,
        attempt=1,
        made_by="{}",
        created_at=WHEN,
    )
