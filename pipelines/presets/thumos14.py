"""THUMOS14, with the schedule of each host's public code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.presets.base import Preset
from pipelines.presets.method import Changes
from pipelines.presets.schedule import schedule

if TYPE_CHECKING:
    from pipelines.experiments.grid import TableRun
    from pipelines.run_folder.recipe import MethodSettings
    from pipelines.runs.diagnose import DiagnoseRun
    from pipelines.runs.evaluate import EvalRun
    from training.recipe import TrainRecipe

# main.py's options and run.sh of CO2-Net; those of DELU and DDG-Net differ in the length alone.
_CO2NET = schedule(steps=5000, lr=5e-5, decay=1e-3, snippets=500, pairs=3, singles=4)
_DELU = schedule(steps=5000, lr=5e-5, decay=1e-3, snippets=320, pairs=3, singles=4)
# options.py, main.py and config.py of UM.
_UM = schedule(steps=10_000, lr=1e-4, decay=5e-4, snippets=750, pairs=0, singles=16)
# options.py and method.py (Step_change_lr) of Zhou et al.: 350 epochs of 200 videos, an update every 10, are 7000
# updates. Rates are 5e-5, and 4e-5, 2.048e-5, 5.12e-7, 2.56e-7 behind epochs 80, 200, 245, 260. Adam is blind to the
# scale of gradients but for the decay that it adds to them: 5e-4 beside the sum of ten is 5e-5 beside their average.
_GAUFUSE = schedule(
    steps=7000,
    lr=5e-5,
    decay=5e-5,
    betas=(0.9, 0.99),
    snippets=None,
    pairs=0,
    singles=1,
    accumulate=10,
    milestones=((80 / 350, 0.8), (200 / 350, 0.4096), (245 / 350, 0.01024), (260 / 350, 0.00512)),
)

THUMOS14_HOSTS: Mapping[str, Changes] = {
    "plain": _CO2NET,
    "co2net": _CO2NET,
    "delu": _DELU,
    "ddgnet": _DELU,
    "um": _UM,
    "gaufuse": _GAUFUSE,
}
"""The schedule of each host's public code on THUMOS14. The plain host is this project's own and has CO2-Net's, whose
losses it shares."""


class Thumos14(Preset):
    """I3D features, VideoLLaMA3, GloVe; protocol `thumos14-212`."""

    name = "thumos14"
    title = "THUMOS14, with the schedule of each host's public code"

    @property
    def hosts(self) -> Mapping[str, Changes]:
        """The schedules of the hosts' public code."""
        return THUMOS14_HOSTS

    def training(self) -> TrainRecipe:
        """CO2-Net. The modules of MLLM4WTAL have the paper's learning rate 5e-4 and weight decay 1e-3 (defaults)."""
        from training.recipe import TrainRecipe

        return TrainRecipe().changed(self.hosts["co2net"])

    def evaluate(self) -> EvalRun:
        """Protocol `thumos14-212`: the test videos of the annotations in common use, in seconds."""
        return super().evaluate().model_copy(update={"protocol": "thumos14-212"})

    def tables(self, settings: MethodSettings = "measured", tuned: Path | None = None) -> TableRun:
        """With published figures. THUMOS14 has no separate videos for choosing settings: it trains on validation."""
        published = Path("pipelines/experiments/published.csv")
        return super().tables(settings, tuned).model_copy(update={"published": published, "validation": None})

    def diagnose(self) -> DiagnoseRun:
        """With DETAD's bins of length, coverage and instances for THUMOS14."""
        from training.evaluation.diagnosis.schema import DiagnosisRecipe

        return super().diagnose().model_copy(update={"diagnosis": DiagnosisRecipe(borders="thumos14")})
