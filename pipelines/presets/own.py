"""A folder of your own videos, with their labels in a CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.presets.base import Preset
from pipelines.presets.method import Changes
from pipelines.presets.thumos14 import THUMOS14_HOSTS

if TYPE_CHECKING:
    from pipelines.caches.import_dataset import ImportDatasetRun
    from training.recipe import TrainRecipe


class Own(Preset):
    """One stream of features, as `make features` makes them, and a host that does not need a second one.

    The schedules are those of THUMOS14; none has been measured on other data.
    """

    name = "own"
    title = "a folder of your own videos: one stream of features, host plain, protocol seconds"

    @property
    def hosts(self) -> Mapping[str, Changes]:
        """The schedules of the hosts' public code."""
        return THUMOS14_HOSTS

    @property
    def finds_tuned(self) -> bool:
        """They are: the preset's own have not been measured on other data."""
        return True

    def import_dataset(self) -> ImportDatasetRun:
        """Videos and labels.csv in my_videos/."""
        return super().import_dataset().model_copy(update={"source": Path("my_videos")})

    def training(self) -> TrainRecipe:
        """The host plain, which accepts any number of streams."""
        from training.hosts.plain import PlainRecipe
        from training.model.mllm4wtal import ModelRecipe
        from training.recipe import TrainRecipe

        return TrainRecipe(model=ModelRecipe(host=PlainRecipe())).changed(self.hosts["plain"])
