"""Texts made from class names alone, to be used instead of descriptions of an MLLM."""

from __future__ import annotations

import re

TEMPLATE = ("a", "video", "of", "the", "action")
"""Words before the name of a class."""


def class_words(label: str) -> tuple[str, ...]:
    """Words of a class name: "HighKick", "high_kick" and "high kick" all give ("high", "kick")."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", label)
    return tuple(re.findall(r"[a-z0-9]+", spaced.lower()))
