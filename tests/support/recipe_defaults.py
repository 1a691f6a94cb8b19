"""Defaults of every recipe that is hashed or compared; `python -m tests.support.recipe_defaults` writes them down."""

from __future__ import annotations

import importlib
import json
import pkgutil
from typing import Any

import cache
import priors
import training
from cache.recipe import RUN_ONLY, Recipe, canonical_default, schema_version
from tests.support.paths import GOLDENS

FILE = GOLDENS / "recipe_defaults.json"
COMMAND = "python -m tests.support.recipe_defaults"

Defaults = dict[str, dict[str, Any]]
"""By class: its schema version, and the default of each field that has one, as JSON."""


def found_defaults() -> Defaults:
    """Of every recipe of the three packages that make results; what the commands add only says how they run."""
    for package in (cache, priors, training):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2] not in _OPTIONAL:
                importlib.import_module(module.name)
    made = sorted(_subclasses(Recipe), key=lambda recipe: (recipe.__module__, recipe.__qualname__))
    rooms = [recipe for recipe in made if recipe.__module__.partition(".")[0] in ("cache", "priors", "training")]
    return {f"{recipe.__module__}.{recipe.__qualname__}": _defaults(recipe) for recipe in rooms}


_OPTIONAL = ("ray_engine", "ray_worker", "openai")
"""Modules of libraries that need not be installed; they hold no recipe."""


def _defaults(recipe: type[Recipe]) -> dict[str, Any]:
    fields = {
        name: canonical_default(field)
        for name, field in recipe.model_fields.items()
        if RUN_ONLY not in field.metadata and not field.is_required()
    }
    return {"schema_version": schema_version(recipe), "defaults": fields}


def _subclasses(recipe: type[Recipe]) -> set[type[Recipe]]:
    below = set(recipe.__subclasses__())
    return below.union(*map(_subclasses, below))


def complaints(written: Defaults, found: Defaults) -> list[str]:
    """What is wrong with today's defaults, beside those that were written down."""
    wrong = []
    for name, now in found.items():
        before = written.get(name, {"schema_version": now["schema_version"], "defaults": {}})
        changed = [
            f"{name}.{field}: default {value!r}, was {before['defaults'][field]!r}"
            for field, value in now["defaults"].items()
            if field in before["defaults"] and before["defaults"][field] != value
        ]
        if changed and now["schema_version"] <= before["schema_version"]:
            raised = before["schema_version"] + 1
            wrong += [
                *changed,
                f"  Caches and runs made with the earlier default would be taken for ones made with today's. Set "
                f"`schema_version: ClassVar[int] = {raised}` in {name}, then run `{COMMAND}`.",
            ]
    if not wrong and written != found:
        names = sorted(name for name in {*written, *found} if written.get(name) != found.get(name))
        wrong.append(f"{FILE.name} is not that of {', '.join(names)}: run `{COMMAND}` and commit it")
    return wrong


if __name__ == "__main__":
    FILE.write_text(json.dumps(found_defaults(), indent=1) + "\n", encoding="utf-8")
