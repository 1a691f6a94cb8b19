"""All presets, and their recipes for one command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pipelines.presets.activitynet import ActivityNet12, ActivityNet13
from pipelines.presets.base import Preset
from pipelines.presets.demo import Demo, Smoke
from pipelines.presets.own import Own
from pipelines.presets.thumos14 import Thumos14

R = TypeVar("R")

PRESETS: tuple[Preset, ...] = (Demo(), Smoke(), Own(), Thumos14(), ActivityNet12(), ActivityNet13())


def choices(recipe_of: Callable[[Preset], R]) -> dict[str, tuple[str, R]]:
    """The presets of one command: name -> (title, recipe)."""
    return {preset.name: (preset.title, recipe_of(preset)) for preset in PRESETS}
