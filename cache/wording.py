"""Numbers with their nouns, singular or plural, and shortened lists, for messages."""

from __future__ import annotations

from collections.abc import Sequence


def amount(count: int, singular: str, plural: str = "") -> str:
    """A number with its noun: "1 video", "3 videos". `plural` is needed if it is not the singular with an s, as for
    ("class", "classes") and ("video has", "videos have")."""
    return f"{count} {singular if count == 1 else plural or f'{singular}s'}"


def few(names: Sequence[str], most: int = 3) -> str:
    """The first of some names: "a, b, c and 5 more"; "nothing" of none."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest or "nothing"
