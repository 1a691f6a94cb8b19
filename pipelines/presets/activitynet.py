"""ActivityNet v1.2 and v1.3, with the settings of the ActivityNet variants of the hosts' public code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.presets.base import Preset
from pipelines.presets.method import MEASURED, PAPER, Changes
from pipelines.presets.schedule import schedule

if TYPE_CHECKING:
    from pipelines.experiments.grid import TableRun
    from pipelines.run_folder.recipe import MethodSettings
    from pipelines.runs.diagnose import DiagnoseRun
    from pipelines.runs.evaluate import EvalRun
    from pipelines.runs.import_checkpoint import ImportCheckpointRun
    from training.recipe import TrainRecipe

_ACTIVITYNET = schedule(steps=22_000, lr=3e-5, decay=5e-4, snippets=60, pairs=3, singles=4)
ACTIVITYNET_HOSTS: Mapping[str, Changes] = dict.fromkeys(("plain", "co2net", "delu", "ddgnet"), _ACTIVITYNET)
"""The schedule on ActivityNet of the hosts whose public code has a variant for it (v1.2), and of the plain host."""


class ActivityNet12(Preset):
    """ActivityNet v1.2: 60 snippets per video, settings of the hosts' public code, mAP at 0.5 to 0.95 on validation."""

    name = "activitynet12"
    title = "ActivityNet v1.2: settings of the hosts' public code, mAP at 0.5 to 0.95 on validation"

    @property
    def method(self) -> Mapping[MethodSettings, Changes]:
        """The paper trains for 50,000 steps."""
        return {"measured": MEASURED, "paper": {**PAPER, "loop.steps": 50_000}}

    @property
    def hosts(self) -> Mapping[str, Changes]:
        """The ActivityNet variants of the hosts' public code, and their schedules."""
        from training.hosts.recipes import ACTIVITYNET

        return {
            host: {"model.host": ACTIVITYNET[host].model_dump(mode="json"), **changes}
            for host, changes in ACTIVITYNET_HOSTS.items()
        }

    def training(self) -> TrainRecipe:
        """CO2-Net. The modules of MLLM4WTAL have the paper's learning rate of 3e-5; top-k pooling uses a fifth of the
        snippets."""
        from training.model.ksm import KsmRecipe
        from training.model.mllm4wtal import ModelRecipe
        from training.optimizers import LoopRecipe
        from training.recipe import TrainRecipe

        model, loop = ModelRecipe(ksm=KsmRecipe(mil_ratio=5)), LoopRecipe(lr=3e-5, checkpoint_every=2500)
        return TrainRecipe(model=model, loop=loop).changed(self.hosts["co2net"])

    def evaluate(self) -> EvalRun:
        """The dataset's protocol on the validation videos, since the test videos have no public ground truth."""
        return super().evaluate().model_copy(update={"protocol": self.name})

    def import_checkpoint(self) -> ImportCheckpointRun:
        """Weights of the public code's ActivityNet variant."""
        return super().import_checkpoint().model_copy(update={"variant": "activitynet"})

    def tables(self, settings: MethodSettings = "measured", tuned: Path | None = None) -> TableRun:
        """The reported subset is validation; no other one has ground truth."""
        return super().tables(settings, tuned).model_copy(update={"validation": None})

    def diagnose(self) -> DiagnoseRun:
        """With DETAD's bins of length, coverage and instances for ActivityNet."""
        from training.evaluation.diagnosis.schema import DiagnosisRecipe

        return super().diagnose().model_copy(update={"diagnosis": DiagnosisRecipe(borders="activitynet")})


class ActivityNet13(ActivityNet12):
    """ActivityNet v1.3, with the settings of v1.2: 200 classes, twice the videos."""

    name = "activitynet13"
    title = "ActivityNet v1.3, with the settings of v1.2: 200 classes, twice as many videos"
