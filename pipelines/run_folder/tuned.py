"""tuned.json: the settings that `make tune` chose for the hosts of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from cache.errors import CacheError
from cache.recipe import Recipe

TUNED_FILE = "tuned.json"


class TunedHost(Recipe):
    """The settings for one host."""

    train: dict[str, Any]
    """Changes of the training: dotted name of a field -> value."""
    localize: dict[str, Any]
    """Changes of the post-processing."""
    criterion: str
    """What they were chosen by."""
    score: float
    """Its value, the mean over the folds."""
    trials: int
    """Trials that they were chosen among."""

    def describe(self) -> str:
        """In one line."""
        chosen = {**self.train, **{f"localize.{name}": value for name, value in self.localize.items()}}
        return ", ".join(f"{name} {setting_text(value)}" for name, value in chosen.items())


class Tuned(Recipe):
    """The file."""

    hosts: dict[str, TunedHost] = Field(default={})
    """Host -> its settings."""

    def with_host(self, host: str, settings: TunedHost) -> Tuned:
        """The same with other settings for one host."""
        return Tuned(hosts=dict(sorted({**self.hosts, host: settings}.items())))

    def of(self, host: str, *, source: Path) -> TunedHost:
        """The settings for a host. Raises CacheError if there are none."""
        if host not in self.hosts:
            raise CacheError(
                f"{source}: found settings for {', '.join(self.hosts) or 'no host'}, expected host {host}; run "
                f"`make tune` with --host {host}, or train without them: --tuned none"
            )
        return self.hosts[host]


def load_tuned(path: Path) -> Tuned:
    """Read a file of tuned settings; one that does not exist has none."""
    return Tuned.load(path) if path.exists() else Tuned()


def setting_text(value: object) -> str:
    """A setting's value for people: several values are joined by +."""
    return " + ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
