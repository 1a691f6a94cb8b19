"""The formats by name; each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

from benchmarks.fuzzing.trials import Format

FORMATS = (
    "annotations",
    "layouts",
    "labels",
    "detections",
    "descriptions",
    "words",
    "arrays",
    "checkpoints",
    "videos",
    "answers",
)


def find(name: str) -> Format:
    """The format of this name; a name with dots is that of a module elsewhere."""
    return import_module(name if "." in name else f"benchmarks.fuzzing.formats.{name}").FORMAT
