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
    presets: Presets[R] | type[R], arguments: Sequence[str], *, prog: str, default: str | None = None
) -> tuple[R, Path | None]:
    """The recipe that the arguments ask for, and where it is to be written instead of followed.

    `presets` is the type of the recipe for a command that has none; `default` the preset of a command that need not
    name it. Raises CacheError if the file of a recipe cannot be read or holds another command's.
    """
    rest, source = _taken(arguments, "--recipe")
    rest, target = _taken(rest, "--save-recipe")
    if isinstance(presets, type):
        start = tyro.MISSING_NONPROP if source is None else _load(presets, source)
        return tyro.cli(presets, prog=prog, description=_description(presets), args=rest, default=start), target
    if source is not None:
        if rest[:1] and rest[0] in presets:  # as `make` names it always
            rest = rest[1:]
        return _read_on_top(type(next(iter(presets.values()))[1]), source, rest, prog=prog), target
    if default is not None and rest[:1] not in ([], *([name] for name in (*_HELP, *presets))):
        rest = [default, *rest]
    chosen = tyro.extras.overridable_config_cli(dict(presets), prog=prog, description=_FILES, args=rest)
    return chosen, target


def save_recipe(recipe: object, path: Path) -> None:
    """Write a recipe, for `--recipe` to read."""
    from cache.recipe import Recipe

    assert isinstance(recipe, Recipe)
    recipe.save(path)


def _read_on_top(kind: type[R], source: Path, arguments: Sequence[str], *, prog: str) -> R:
    """The recipe of the file with options on top; members of a union are those of the file, not subcommands."""
    start, flat = _load(kind, source), (tyro.conf.AvoidSubcommands,)
    return tyro.cli(kind, prog=prog, description=_description(kind), args=arguments, default=start, config=flat)


def _taken(arguments: Sequence[str], name: str) -> tuple[list[str], Path | None]:
    """The arguments without `name` and its value, and that value."""
    from cache.schema import CacheError  # here, as below: `--help` needs no library of the caches

    for place, argument in enumerate(arguments):
        if argument == name:
            if place + 1 == len(arguments):
                raise CacheError(f"{name}: found no file behind it, expected one")
            return [*arguments[:place], *arguments[place + 2 :]], Path(arguments[place + 1])
        if argument.startswith(f"{name}="):
            return [*arguments[:place], *arguments[place + 1 :]], Path(argument.partition("=")[2])
    return list(arguments), None


def _load(kind: type[R], path: Path) -> R:
    from cache.recipe import Recipe
    from cache.schema import CacheError

    if not issubclass(kind, Recipe):
        raise CacheError(f"--recipe: {path}: this command has no recipe")
    return kind.load(path)


def _description(kind: type) -> str:
    return f"{(kind.__doc__ or '').strip()} {_FILES}"
