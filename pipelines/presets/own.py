"""A folder of your own videos, with their labels in a CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.presets.base import Preset
from pipelines.presets.method import MEASURED, PAPER, Changes

if TYPE_CHECKING:
    from pipelines.caches.import_dataset import ImportDatasetRun
    from pipelines.run_folder.recipe import MethodSettings
    from pipelines.runs.evaluate import EvalRun
    from pipelines.tuning.recipe import TuneRun
    from training.localization.localize import LocalizeRecipe
    from training.recipe import TrainRecipe

_ANY_SHARE: Changes = {"model.host.pooling.kind": "spread", "model.host.width": 128}
"""Pooling that suits actions of any share of a video, and a width for little data."""

_TWO_STREAMS: Changes = {
    **_ANY_SHARE,
    "model.host.attention_width": 64,
    "model.host.pair": 0.0,
    "model.host.dropout": 0.5,
    "model.host.attention_dropout": 0.2,
}

OWN_HOSTS: Mapping[str, Changes] = {
    "plain": _ANY_SHARE,
    "co2net": _TWO_STREAMS,
    "delu": _TWO_STREAMS,
    "ddgnet": {**_TWO_STREAMS, "model.host.similarity": 0.95},
    "um": {
        **_ANY_SHARE,
        "model.host.mil_ratio": 8,
        "model.host.margin": 10.0,
        "model.host.uncertainty": 1e-4,
        "model.host.entropy": 0.1,
        "model.host.dropout": 0.5,
    },
    "gaufuse": {
        "model.host.width": 128,
        "model.host.scale": 4.0,
        "model.host.dropout": 0.3,
        "model.host.use_frame_labels": False,
    },
}
"""Changes of the training for each host: narrow ones, for tens to hundreds of videos."""


class Own(Preset):
    """A host that accepts any number of streams, and settings that hold where little is known about the data: one to
    six classes a video, actions of any share of it, tens to hundreds of videos (docs/own-settings.md)."""

    name = "own"
    title = "a folder of your own videos: host plain, settings for little data, protocol seconds"

    @property
    def hosts(self) -> Mapping[str, Changes]:
        """Measured on folds of real gestures; docs/own-settings.md has the figures."""
        return OWN_HOSTS

    @property
    def method(self) -> Mapping[MethodSettings, Changes]:
        """As measured elsewhere, but that pseudo segments are cut from the fused curve, since several classes of a
        video share one attention, and that class queries are standardized, since real descriptions are alike; KSM's
        T-CAM then votes, too."""
        changes = {
            "model.head.pseudo_labels.curves": ["fused"],
            "model.head.pseudo_labels.cams": ["host", "ksm"],
            "model.ksm.standardize": True,
        }
        return {"measured": {**MEASURED, **changes}, "paper": {**PAPER, "model.ksm.standardize": False}}

    @property
    def finds_tuned(self) -> bool:
        """They are: nobody has chosen settings for these videos before."""
        return True

    @property
    def localize(self) -> LocalizeRecipe:
        """Classes are chosen one by one against the background, and each is localized on its own T-CAM, too: several
        may be in a video, and a softmax over them would be shared."""
        from training.localization.localize import LocalizeRecipe

        return LocalizeRecipe(
            video_scores="against_background",
            class_choice="relative",
            class_threshold=0.1,
            curves=("attention", "cas"),
            head_score="mean",
        )

    def import_dataset(self) -> ImportDatasetRun:
        """Videos and labels.csv in my_videos/."""
        return super().import_dataset().model_copy(update={"source": Path("my_videos")})

    def training(self) -> TrainRecipe:
        """The host plain, narrow branches, and a rate and number of steps that suit small data."""
        from training.batches.data import DataRecipe
        from training.hosts.plain import PlainRecipe
        from training.model.csr import CsrRecipe
        from training.model.ksm import KsmRecipe
        from training.model.localization_head import HeadRecipe
        from training.model.mllm4wtal import ModelRecipe
        from training.model.pseudo_labels import PseudoLabelRecipe
        from training.nn.pooling import PoolingRecipe
        from training.optimizers import LoopRecipe
        from training.recipe import TrainRecipe

        recipe = TrainRecipe(
            data=DataRecipe(num_snippets=320, num_pairs=2, singles=4, feature_rms=0.4),
            model=ModelRecipe(
                host=PlainRecipe(),
                ksm=KsmRecipe(width=96, heads=4, context=4, pooling=PoolingRecipe(kind="spread")),
                csr=CsrRecipe(width=64, heads=2, encoder_layers=1, decoder_layers=1),
                head=HeadRecipe(pseudo_labels=PseudoLabelRecipe(teacher_decay=0.99, warmup=0.2)),
            ),
            loop=LoopRecipe(steps=600, host_lr=2e-3, lr=2e-3, schedule="cosine", warmup=40),
        )
        return recipe.changed(self.hosts["plain"])

    def evaluate(self) -> EvalRun:
        """With the preset's post-processing."""
        return super().evaluate().model_copy(update={"localize": self.localize})

    def tune(self, host: str | None = None) -> TuneRun:
        """From the preset's post-processing."""
        start = super().tune(host)
        return start.model_copy(update={"localize": self.localize.model_copy(update={"source": "cam"})})
