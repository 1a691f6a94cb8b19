"""Options that are looked up before the others are parsed, because they choose the recipe that the others change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from pipelines.run_folder.recipe import MethodSettings
    from priors.features.recipes import EncoderSet
    from training.hosts.recipes import HostKind


def asked_host(arguments: Sequence[str]) -> HostKind | None:
    """The value of `--host`, which may be a class outside the repository; None if it is missing or no known host."""
    from training.hosts.recipes import HOST_TITLES, is_outside

    named = _value(arguments, "--host")
    return named if named in HOST_TITLES or is_outside(named) else None


def asked_encoders(arguments: Sequence[str]) -> EncoderSet | None:
    """The value of `--encoders`; None if it is missing or no known set."""
    from priors.features.recipes import EncoderSet

    named = _value(arguments, "--encoders")
    return next((known for known in get_args(EncoderSet) if known == named), None)


def asked_settings(arguments: Sequence[str]) -> MethodSettings:
    """The value of `--settings`; "measured" if it is missing."""
    return "paper" if _value(arguments, "--settings") == "paper" else "measured"


def asked_tuned(arguments: Sequence[str], dataset: Path, *, found: bool) -> Path | None:
    """The file of `--tuned`; when it is not given and `found`, the tuned.json of the dataset (`--dataset` or
    `dataset`), if it exists. None for `--tuned none`."""
    named = _value(arguments, "--tuned")
    if named is not None:
        return None if named.lower() == "none" else Path(named)
    file = Path(_value(arguments, "--dataset") or dataset) / "tuned.json"
    return file if found and file.exists() else None


def asked_fields(arguments: Sequence[str]) -> frozenset[str]:
    """Dotted names of the fields that are set by options such as `--loop.host-lr 1e-4` or `--data.no-stretch`."""
    names = [argument[2:].partition("=")[0].replace("-", "_") for argument in arguments if argument.startswith("--")]
    return frozenset(names) | {".".join(_without_no(name.split("."))) for name in names}


def _without_no(parts: Sequence[str]) -> list[str]:
    return [*parts[:-1], parts[-1].removeprefix("no_")]


def _value(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option; None if it is not given."""
    said = dict(zip(arguments, [*arguments[1:], ""], strict=False))
    said |= dict(argument.split("=", 1) for argument in arguments if argument.startswith(f"{name}="))
    return said.get(name)
