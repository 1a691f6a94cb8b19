"""The embedded demo, and its short form for continuous integration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.presets.base import Preset
from pipelines.presets.method import Changes

if TYPE_CHECKING:
    from pipelines.caches.features import FeaturesRun
    from pipelines.caches.priors import PriorsRun
    from pipelines.demo.pipeline import DemoRun
    from pipelines.demo.world.render import RenderRecipe
    from training.recipe import TrainRecipe

CHECKPOINTS = Path("pipelines/demo/checkpoints")

DEMO_HOSTS: Mapping[str, Changes] = {
    "plain": {"model.host.width": 128, "model.host.norm": 0.2, "loop.host_lr": 5e-4, "loop.warmup": 40},
    "delu": {
        "model.host.width": 128,
        "model.host.attention_width": 48,
        "model.host.norm": 0.2,
        "model.host.dropout": 0.5,
        "loop.host_lr": 1e-3,
        "loop.warmup": 40,
    },
    "um": {
        "model.host.width": 128,
        "model.host.margin": 10.0,
        "model.host.uncertainty": 0.01,
        "loop.host_lr": 1e-3,
        "loop.warmup": 40,
    },
    "ddgnet": {
        "model.host.width": 128,
        "model.host.attention_width": 48,
        "model.host.norm": 0.05,
        "model.host.dropout": 0.5,
        "model.host.attention_dropout": 0.1,
        "model.host.similarity": 0.95,
        "model.host.consistency": 0.1,
        "model.host.complementary": 0.1,
        "loop.host_lr": 5e-4,
    },
    "gaufuse": {
        "model.host.width": 128,
        "model.host.scale": 4.0,
        "model.host.dropout": 0.3,
        "model.host.use_frame_labels": False,
        "loop.host_lr": 1e-3,
        "loop.warmup": 40,
    },
}
"""Changes of the demo's training for each host except its own; all other settings of a host are its defaults. Chosen
for the host alone, by its score on the validation videos."""


class Demo(Preset):
    """The embedded demo: rendered videos and tiny models that run on a CPU in minutes. Its scores say nothing about
    real datasets."""

    name = "demo"
    title = "embedded demo: rendered videos and tiny models, runs on a CPU in minutes"

    @property
    def hosts(self) -> Mapping[str, Changes]:
        """Chosen on the validation videos."""
        return DEMO_HOSTS

    def demo(self) -> DemoRun:
        """Recipe of `make demo`: the full pipeline."""
        from pipelines.demo.pipeline import DemoRun

        return DemoRun(preset=self.name)

    def videos(self) -> RenderRecipe:
        """Recipe of `make videos`: 232 videos of 20 to 60 s."""
        from pipelines.demo.world.render import RenderRecipe

        return RenderRecipe(folder=self.dataset)

    def priors(self) -> PriorsRun:
        """A tiny VideoLLaMA3, and word vectors trained on the demo's captions."""
        from pipelines.caches.priors import PriorsRun
        from priors.describers.recipe import DescriberRecipe
        from priors.words.glove import GloveRecipe

        describer = DescriberRecipe(model=str(CHECKPOINTS / "describer"), batch_size=16, device_map="cpu")
        return PriorsRun(dataset=self.dataset, describer=describer, glove=GloveRecipe(path=CHECKPOINTS / "words.txt"))

    def features(self) -> FeaturesRun:
        """Two tiny VideoMAE encoders (RGB, flow); snippets of 8 frames at 16 frames per second, half a second each."""
        from pipelines.caches.features import FeaturesRun
        from priors.features.recipes import EncoderRecipe, FeaturesRecipe

        streams = {
            "rgb": EncoderRecipe(model=str(CHECKPOINTS / "rgb_encoder")),
            "flow": EncoderRecipe(model=str(CHECKPOINTS / "flow_encoder"), input="flow", flow_bound=6.0),
        }
        recipe = FeaturesRecipe(streams=streams, fps=16, snippet_frames=8, snippet_stride=8)
        return FeaturesRun(dataset=self.dataset, features=recipe)

    def training(self) -> TrainRecipe:
        """The full model with small widths, for two minutes on one core. Chosen by the score on the validation videos.

        The host's sparsity weight is the best one for the host alone. Without the long warm-up, the attention of the
        host alone stays on the background scene in one seed of five.
        """
        from training.batches.data import DataRecipe
        from training.hosts.co2net import Co2NetRecipe
        from training.model.csr import CsrRecipe
        from training.model.ksm import KsmRecipe
        from training.model.localization_head import HeadRecipe
        from training.model.mllm4wtal import ModelRecipe
        from training.model.pseudo_labels import PseudoLabelRecipe
        from training.optimizers import LoopRecipe
        from training.recipe import TrainRecipe

        return TrainRecipe(
            data=DataRecipe(num_snippets=128, num_pairs=4, singles=8),
            model=ModelRecipe(
                host=Co2NetRecipe(width=128, attention_width=48, norm=0.2),
                ksm=KsmRecipe(width=96, heads=4, context=4),
                csr=CsrRecipe(width=96, heads=4, encoder_layers=1, decoder_layers=1),
                head=HeadRecipe(pseudo_labels=PseudoLabelRecipe(teacher_decay=0.99)),
            ),
            loop=LoopRecipe(steps=800, host_lr=5e-4, lr=2e-3, schedule="cosine", warmup=120, checkpoint_every=200),
        )


class Smoke(Demo):
    """The demo with few videos and steps: checks only that every stage runs."""

    name = "smoke"
    title = "the demo with few videos and steps: checks only that every stage runs"

    def videos(self) -> RenderRecipe:
        """A few of the demo's videos."""
        return super().videos().model_copy(update={"training": 24, "validation": 8, "testing": 8})

    def training(self) -> TrainRecipe:
        """A few steps."""
        return super().training().changed({"loop.steps": 40, "loop.warmup": 4})
