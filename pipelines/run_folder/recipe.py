"""recipe.json: what a run is trained on, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from cache.errors import CacheError
from cache.recipe import Recipe
from cache.tables.folders import only_fingerprint
from training.hosts.recipes import HostKind, OutsideKind, other_host
from training.recipe import TrainRecipe

MethodSettings = Literal["measured", "paper"]


class TrainRun(Recipe):
    """What a run is trained on, and where it goes."""

    dataset: Path
    """Folder of the dataset: annotations.json, features/, embeddings/."""
    run: Path
    """Folder of the run: receives recipe.json, metrics.jsonl and checkpoint/."""
    features: Path | None = None
    """Folder of snippet features; features/ in the dataset's folder when not given."""
    embeddings: Path | None = None
    """Folder embeddings/<recipe>; needed only where the dataset has several."""
    host: HostKind | OutsideKind | None = None
    """Another host than the preset's, with its own settings for such data and what the preset changes of them. One
    outside the repository is named by the module and class of its recipe, my_module:MyRecipe; the module is imported.
    """
    settings: MethodSettings | None = None
    """Settings of the method that the preset starts from: those that were measured to work on the demo (when not
    given), or the paper's. Other options change single fields of them."""
    unpublished_settings: bool = False
    """Train a host of which the preset has no settings, with the schedule of the preset's own host."""
    known_hosts: Annotated[tuple[str, ...] | None, tyro.conf.Suppress] = None
    """Hosts of which the preset has settings; None where there is no preset, and no host is refused."""
    preset_settings: Annotated[MethodSettings | None, tyro.conf.Suppress] = None
    """The settings of the method that the preset has put into `train`."""
    resume: bool = True
    """Go on from the run's last checkpoint; --no-resume deletes its checkpoints and starts over."""
    train: Annotated[TrainRecipe, tyro.conf.arg(name="")] = TrainRecipe()
    """The training itself."""

    def resolved(self) -> TrainRun:
        """The same with `host` put into the model's recipe.

        Raises CacheError where the preset has no settings of it, and where a written recipe was asked for another host
        or other settings than it was made with: its schedule stays that of its own.
        """
        self.refuse_other_settings()
        if self.host is None:
            return self
        if self.lacks_settings(self.host):
            raise CacheError(self.without_settings([self.host]))
        own = self.train.model.host.kind
        if self.known_hosts is not None and own != self.host and not self.unpublished_settings:
            raise CacheError(
                f"host {self.host}: found a written recipe of {own}, with the schedule of {own}; start from a preset "
                "instead (--host without --recipe), or keep that schedule with --unpublished-settings"
            )
        return self.model_copy(update={"host": None, "train": on_host(self.train, self.host)})

    def refuse_other_settings(self) -> None:
        """Raise CacheError where `settings` are not those that `train` was made with."""
        if self.settings not in (None, self.preset_settings):
            raise CacheError(
                f"settings: found {self.settings!r}, but the recipe was made with {self.preset_settings!r}; start from "
                "a preset instead (--settings without --recipe), or change single fields"
            )

    def lacks_settings(self, host: str) -> bool:
        """Whether the preset has no settings of a host, and nobody said that it shall be trained all the same."""
        return self.known_hosts is not None and host not in self.known_hosts and not self.unpublished_settings

    def without_settings(self, hosts: Sequence[str]) -> str:
        """The message about hosts that the preset has no settings of."""
        known = ", ".join(self.known_hosts or ())
        return (
            f"host {', '.join(hosts)}: this preset has no settings of it, but of {known}; trained with the schedule of "
            "another host it would be an unfair baseline. Write its settings into pipelines/presets/, or train it "
            "all the same with --unpublished-settings, and with --loop.steps, --loop.host-lr and so on as you choose"
        )

    @property
    def features_folder(self) -> Path:
        """Where the features are."""
        return self.features or self.dataset / "features"

    @property
    def embeddings_folder(self) -> Path:
        """Where the words are. Raises CacheError if none was chosen and there is none, or several."""
        return self.embeddings or only_fingerprint(
            self.dataset / "embeddings", made_by="make priors", chosen_by="--embeddings"
        )


def on_host(recipe: TrainRecipe, kind: str, changes: Mapping[str, Any] | None = None) -> TrainRecipe:
    """The same training on another host, with its settings for such data and `changes` of fields by their dotted
    names; on the host that it has, the training itself.
    """
    if kind == recipe.model.host.kind:
        return recipe
    return recipe.changed({"model.host": other_host(recipe.model.host, kind)}).changed(changes or {})
