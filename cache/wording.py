"""Numbers with their nouns, singular or plural, for messages."""

from __future__ import annotations


def amount(count: int, singular: str, plural: str = "") -> str:
    """A number with its noun: "1 video", "3 videos". `plural` is needed if it is not the singular with an s, as for
    ("class", "classes") and ("video has", "videos have")."""
    return f"{count} {singular if count == 1 else plural or f'{singular}s'}"
