"""From the arguments of a command to its recipe: a preset, or a recipe that was written, and options on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import tyro

R = TypeVar("R")
Presets = Mapping[str, tuple[str, R]]
"""Name of a preset -> (what it is, the recipe that its options start from)."""

_HELP = ("-h", "--help")
_FILES = "--recipe FILE starts from a written recipe (such as runs/NAME/recipe.json) instead of a preset, and \
--save-recipe FILE writes the recipe that the options give, and does nothing else."


def read_recipe(
    presets: Presets[R] | type[R], arguments: Sequence[str], *, prog: str, about: str = "", default: str | None = None
) -> tuple[R, Path | None]:
    """The recipe that the arguments ask for, and where it is to be written instead of followed.

    `presets` is the type of the recipe for a command that has none; `about` says what the command does; `default` is
    the preset of a command that need not name it. Raises CacheError if the file of a recipe cannot be read or holds
    another command's.
    """
    rest, source = _taken(arguments, "--recipe")
    rest, target = _taken(rest, "--save-recipe")
    described = f"{about} {_FILES}".strip()
    if isinstance(presets, type):
        start = tyro.MISSING_NONPROP if source is None else _load(presets, source)
        return tyro.cli(presets, prog=prog, description=described, args=rest, default=start), target
    name = rest[0] if rest[:1] and rest[0] in presets else None
    if source is not None:
        kind = type(next(iter(presets.values()))[1])
        return _on_top(_load(kind, source), rest[name is not None :], prog, described), target
    if name is None and default is not None and rest[:1] not in ([], *([flag] for flag in _HELP)):
        name, rest = default, [default, *rest]
    if name is None:  # help, or a typing error
        return tyro.extras.overridable_config_cli(dict(presets), prog=prog, description=described, args=rest), target
    title, start = presets[name]
    return _on_top(start, rest[1:], f"{prog} {name}", f"{about} Preset {name}: {title}. {_FILES}".strip()), target


def save_recipe(recipe: object, path: Path) -> None:
    """Write a recipe, for `--recipe` to read."""
    from cache.recipe import Recipe

    assert isinstance(recipe, Recipe)
    recipe.save(path)


def _on_top(start: R, arguments: Sequence[str], prog: str, about: str) -> R:
    """The recipe with options on top; members of a union stay those that it has, and are no subcommands."""
    flat = (tyro.conf.AvoidSubcommands,)
    return tyro.cli(type(start), prog=prog, description=about, args=arguments, default=start, config=flat)


def _taken(arguments: Sequence[str], name: str) -> tuple[list[str], Path | None]:
    """The arguments without `name` and its value, and that value."""
    from cache.errors import CacheError  # here, as below: `--help` needs no library of the caches

    for place, argument in enumerate(arguments):
        if argument == name:
            if place + 1 == len(arguments):
                raise CacheError(f"{name}: found no file behind it, expected one")
            return [*arguments[:place], *arguments[place + 2 :]], Path(arguments[place + 1])
        if argument.startswith(f"{name}="):
            return [*arguments[:place], *arguments[place + 1 :]], Path(argument.partition("=")[2])
    return list(arguments), None


def _load(kind: type[R], path: Path) -> R:
    from cache.errors import CacheError
    from cache.recipe import Recipe

    if not issubclass(kind, Recipe):
        raise CacheError(f"--recipe: {path}: this command has no recipe")
    return kind.load(path)
