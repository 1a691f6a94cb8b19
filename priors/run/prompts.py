"""The two prompts of the paper, one text file each; `{cls}` stands for the action class."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from cache.tables.schema import Kind


@cache
def template(kind: Kind) -> str:
    """The prompt template of one kind, with the placeholder `{cls}` for the class."""
    return (Path(__file__).parent / "prompts" / f"{kind}.txt").read_text(encoding="utf-8").strip()


def render(kind: Kind, action_class: str) -> str:
    """The prompt of one kind for one class; the name of the class is inserted unchanged."""
    return template(kind).replace("{cls}", action_class)
