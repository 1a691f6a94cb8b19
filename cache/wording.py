"""Numbers with their nouns, for messages to people."""

from __future__ import annotations


def amount(count: int, singular: str, plural: str = "") -> str:
    """A number and what it counts: "1 video", "3 videos". `plural` is given where it is not the singular and an s, as
    for ("class", "classes") and ("video has", "videos have")."""
    return f"{count} {singular if count == 1 else plural or f'{singular}s'}"
