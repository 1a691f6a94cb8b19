"""From the arguments of a command to its recipe (config): a preset or a saved recipe, changed by options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import tyro

if TYPE_CHECKING:
    from cache.errors import UserError

R = TypeVar("R")
Presets = Mapping[str, tuple[str, R]]
"""Name of a preset -> (title, the recipe that options change)."""

_HELP = ("-h", "--help")
_FILES = "--recipe FILE starts from a saved recipe (config, such as runs/NAME/recipe.json) instead of the defaults; \
--save-recipe FILE writes the resulting recipe to FILE and exits."


def read_recipe(
    presets: Presets[R] | type[R], arguments: Sequence[str], *, prog: str, about: str = "", default: str | None = None
) -> tuple[R, Path | None]:
    """The recipe that the arguments give, and the file of `--save-recipe`, if any.

    `presets` is the type of the recipe for a command without presets; `about` says what the command does; `default` is
    the preset that is used when none is named. Raises UserError if no preset is named and there is no default, or if
    there is no preset of that name; CacheError if the file of `--recipe` cannot be read or belongs to another command.
    Exits with code 2 if an option is unknown or its value is invalid.
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
    if name is None and default is not None and rest[:1] and rest[0].startswith("-") and rest[0] not in _HELP:
        name, rest = default, [default, *rest]
    if name is None:
        if not set(rest) & set(_HELP):
            raise _no_preset(presets, rest, prog)
        shown = tyro.extras.overridable_config_cli(dict(presets), prog=prog, description=described, args=["--help"])
        return shown, target
    title, start = presets[name]
    return _on_top(start, rest[1:], f"{prog} {name}", f"{about} Preset {name} ({title}). {_FILES}".strip()), target


def save_recipe(recipe: object, path: Path) -> None:
    """Write a recipe that `--recipe` can read."""
    from cache.recipe import Recipe

    assert isinstance(recipe, Recipe)
    recipe.save(path)


def _no_preset(presets: Mapping[str, object], arguments: Sequence[str], prog: str) -> UserError:
    """The error of arguments that do not begin with the name of a preset."""
    from cache.errors import UserError

    first = arguments[0] if arguments else ""
    found = (
        "no preset" if not first else f"no preset before {first}" if first.startswith("-") else f"no preset {first!r}"
    )
    near = get_close_matches(first, presets, n=1)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(presets)}"
    return UserError(f"{prog}: found {found}; {hint} (`{prog} --help` describes them)")


def _on_top(start: R, arguments: Sequence[str], prog: str, about: str) -> R:
    """The recipe, changed by options. Fields of a union type keep their member, so they need no subcommand."""
    flat = (tyro.conf.AvoidSubcommands,)
    return tyro.cli(type(start), prog=prog, description=about, args=arguments, default=start, config=flat)


def _taken(arguments: Sequence[str], name: str) -> tuple[list[str], Path | None]:
    """The arguments without the option `name` and its value, and that value."""
    from cache.errors import CacheError  # not at the top: `--help` loads no package

    for place, argument in enumerate(arguments):
        if argument == name:
            if place + 1 == len(arguments):
                raise CacheError(f"{name}: found no file name after it, expected one")
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
