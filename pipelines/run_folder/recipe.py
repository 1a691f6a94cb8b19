"""recipe.json: the data and the settings (config) of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import Field

from cache.annotations import Dataset
from cache.errors import CacheError
from cache.features import FeatureStore
from cache.recipe import Recipe
from cache.tables.folders import only_fingerprint
from pipelines.run_folder.without_features import WithoutFeatures
from training.hosts.recipes import HOST_TITLES, HostKind, OutsideKind, is_outside, other_host
from training.recipe import TrainRecipe

MethodSettings = Literal["measured", "paper"]


def _host_of(words: list[str]) -> str | None:
    """The value of `--host`. Raises ValueError, which the command line prints, for one that no host has."""
    (named,) = words
    if named in HOST_TITLES or is_outside(named):
        return named
    if named == "None":
        return None
    kinds = ", ".join(map(repr, HOST_TITLES))
    raise ValueError(f"invalid choice {named!r} (choose from None, {kinds}, or MODULE:CLASS)")


HostChoice = Annotated[
    HostKind | OutsideKind | None,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{None,{','.join(HOST_TITLES)},MODULE:CLASS}}",
        instance_from_str=_host_of,
        is_instance=lambda value: value is None or isinstance(value, str),
        str_from_instance=lambda value: [str(value)],
    ),
]
"""The kind of a host, of this repository or not."""


class TrainRun(Recipe):
    """What a run is trained on, and where it is written."""

    dataset: Path
    """Folder of the dataset: annotations.json, features/, embeddings/."""
    run: Path
    """Folder of the run: receives recipe.json, metrics.jsonl and checkpoint/."""
    features: Path | None = None
    """Folder of snippet features; features/ in the dataset's folder when not given."""
    without_features: WithoutFeatures = "stop"
    """Videos of the training subset without a feature file, such as those whose file could not be read. stop: list
    them, and do not train; drop: train without them, and name them."""
    embeddings: Path | None = None
    """Folder embeddings/<config hash>; needed only if the dataset has several."""
    host: HostChoice = None
    """Host (baseline method) instead of the preset's own, with the preset's settings for that host. One outside the
    repository is given as module:Class of its recipe, such as my_module:MyRecipe; its module is imported."""
    settings: MethodSettings | None = None
    """Settings of MLLM4WTAL: measured (chosen by experiments on the demo; used when not given) or paper (as published).
    Other options change single fields of them."""
    unpublished_settings: bool = False
    """Allow a host for which the preset has no settings; it is trained with the schedule of the preset's own host."""
    tuned: Path | None = None
    """File of settings that `make tune` chose; other options change single fields of them. Preset own uses the
    tuned.json of its dataset, if there is one; none trains without."""
    localize: Annotated[dict[str, Any], tyro.conf.Suppress] = Field(default={})
    """Changes of the post-processing that go with the training, of the preset and of `tuned`; `make eval` and
    `make predict` apply them."""
    known_hosts: Annotated[tuple[str, ...] | None, tyro.conf.Suppress] = None
    """Hosts for which the preset has settings; None without a preset, and then every host is accepted."""
    preset_settings: Annotated[MethodSettings | None, tyro.conf.Suppress] = None
    """The settings of the method that the preset has applied to `train`."""
    resume: bool = True
    """Resume from the run's last checkpoint; --no-resume deletes its checkpoints and starts over."""
    train: Annotated[TrainRecipe, tyro.conf.arg(name="")] = TrainRecipe()
    """The training itself."""

    def resolved(self) -> TrainRun:
        """The same with `host` applied to the model's recipe, and loop.epochs turned into loop.steps.

        Raises CacheError if the preset has no settings for the host, or if a saved recipe is given another host or
        other settings than it was made with, since its schedule is that of its own host.
        """
        self.refuse_other_settings()
        if self.host is None:
            return self._in_steps()
        if self.lacks_settings(self.host):
            raise CacheError(self.without_settings([self.host]))
        own = self.train.model.host.kind
        if self.known_hosts is not None and own != self.host and not self.unpublished_settings:
            raise CacheError(
                f"host {self.host}: found a saved recipe of {own}, with the schedule of {own}; start from a preset "
                "instead (--host without --recipe), or keep that schedule with --unpublished-settings"
            )
        return self.model_copy(update={"host": None, "train": on_host(self.train, self.host)})._in_steps()

    def _in_steps(self) -> TrainRun:
        if self.train.loop.epochs is None:
            return self
        videos = Dataset.load(self.dataset / "annotations.json").labelled(self.train.data.subset)
        return self.model_copy(update={"train": self.train.in_steps(len(videos))})

    def refuse_both(self, asked: Set[str]) -> TrainRun:
        """The same. Raises CacheError if options ask for loop.steps (by dotted names) where loop.epochs replaces
        them."""
        if self.train.loop.epochs is not None and "loop.steps" in asked:
            raise CacheError(
                f"loop.epochs: found {self.train.loop.epochs:g} beside loop.steps {self.train.loop.steps}, expected "
                "one of them: leave out --loop.steps, or --loop.epochs (--loop.epochs None if a saved recipe has it)"
            )
        return self

    def refuse_other_settings(self) -> None:
        """Raise CacheError if `settings` are not those that `train` was made with."""
        if self.settings not in (None, self.preset_settings):
            raise CacheError(
                f"settings: found {self.settings!r}, but the recipe was made with {self.preset_settings!r}; start from "
                "a preset instead (--settings without --recipe), or change single fields"
            )

    def lacks_settings(self, host: str) -> bool:
        """Whether the preset has no settings for a host, and `unpublished_settings` does not allow it."""
        return self.known_hosts is not None and host not in self.known_hosts and not self.unpublished_settings

    def without_settings(self, hosts: Sequence[str]) -> str:
        """The message about hosts for which the preset has no settings."""
        known = ", ".join(self.known_hosts or ())
        return (
            f"host {', '.join(hosts)}: this preset has no settings for it, only for {known}; with the schedule of "
            "another host it would be an unfair baseline. Add its settings to pipelines/presets/, or train it anyway "
            "with --unpublished-settings and your own --loop.steps, --loop.host-lr and so on"
        )

    def localize_changes(self, *, but: Set[str]) -> dict[str, Any]:
        """`localize` by dotted names of a recipe with a field `localize`, without those that options set."""
        changes = {f"localize.{name}": value for name, value in self.localize.items()}
        return {name: value for name, value in changes.items() if name not in but}

    @property
    def features_folder(self) -> Path:
        """Folder of the features."""
        return self.features or self.dataset / "features"

    def open_features(self) -> FeatureStore:
        """The features of the chosen streams. Raises CacheError if the folder or a stream is missing."""
        return FeatureStore.open(self.features_folder).select(self.train.data.streams)

    @property
    def embeddings_folder(self) -> Path:
        """Folder of the embeddings. Raises CacheError if none is chosen and there is none, or several."""
        return self.embeddings or only_fingerprint(
            self.dataset / "embeddings", made_by="make priors", chosen_by="--embeddings"
        )


def on_host(recipe: TrainRecipe, kind: str, changes: Mapping[str, Any] | None = None) -> TrainRecipe:
    """The same training on another host, with that host's default settings and `changes` (by dotted field name);
    unchanged if it has that host already.
    """
    if kind == recipe.model.host.kind:
        return recipe
    return recipe.changed({"model.host": other_host(recipe.model.host, kind)}).changed(changes or {})
