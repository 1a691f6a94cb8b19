"""Presets: for each, the recipe that every command starts from; options on the command line change single fields.

The rooms are imported where a recipe is asked for, so that a command loads its own room alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pipelines.compare import CompareRun
    from pipelines.diagnose import DiagnoseRun
    from pipelines.encode import FeaturesRun
    from pipelines.evaluate import EvalRun
    from pipelines.experiments.grid import TableRun
    from pipelines.export import ExportRun
    from pipelines.generate import PriorsRun
    from pipelines.import_checkpoint import ImportCheckpointRun
    from pipelines.import_dataset import ImportDatasetRun
    from pipelines.inspect_cache import InspectRun
    from pipelines.report import ReportRun
    from pipelines.train import TrainRun
    from training.hosts.recipes import HostKind

R = TypeVar("R")
CHECKPOINTS = Path("pipelines/demo/checkpoints")

DEMO_HOSTS: Mapping[str, Mapping[str, Any]] = {
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
"""What the demo's training changes on each host but its own, by dotted names; the rest of a host's settings are its
defaults. Chosen for the host alone, by its score on the validation videos."""


class Preset:
    """What a preset says for every command; the defaults of the recipes are those of THUMOS14."""

    name: str
    hosts: Mapping[str, Mapping[str, Any]] = {}
    """What its training changes on each host but its own, by dotted names of the training's recipe."""

    @property
    def dataset(self) -> Path:
        """Folder of the dataset."""
        return Path("cache/data") / self.name

    @property
    def run(self) -> Path:
        """Folder of the training run."""
        return Path("runs") / self.name

    def import_dataset(self) -> ImportDatasetRun:
        """Of `make import-dataset`."""
        from pipelines.import_dataset import ImportDatasetRun

        return ImportDatasetRun(dataset=self.dataset, source=Path("downloads") / self.name)

    def import_checkpoint(self) -> ImportCheckpointRun:
        """Of `make import-checkpoint`: a run of its own."""
        from pipelines.import_checkpoint import ImportCheckpointRun

        return ImportCheckpointRun(dataset=self.dataset, run=self.run.with_name(f"{self.name}-imported"))

    def priors(self) -> PriorsRun:
        """Of `make priors`."""
        from pipelines.generate import PriorsRun
        from priors.glove import GloveRecipe

        return PriorsRun(dataset=self.dataset, glove=GloveRecipe(path=Path("glove.6B.300d.txt")))

    def features(self) -> FeaturesRun:
        """Of `make features`."""
        from pipelines.encode import FeaturesRun
        from priors.encode import EncoderRecipe, FeaturesRecipe

        rgb = EncoderRecipe(model="MCG-NJU/videomae-base-finetuned-kinetics")
        return FeaturesRun(dataset=self.dataset, features=FeaturesRecipe(streams={"rgb": rgb}))

    def train(self) -> TrainRun:
        """Of `make train`."""
        from pipelines.train import TrainRun

        return TrainRun(dataset=self.dataset, run=self.run)

    def train_on(self, host: HostKind | None) -> TrainRun:
        """Of `make train ARGS="--host ..."`: the same on another host, with what the preset changes for it."""
        from pipelines.train import on_host

        run = self.train()
        if host is None:
            return run
        return run.model_copy(update={"train": on_host(run.train, host, self.hosts.get(host))})

    def evaluate(self) -> EvalRun:
        """Of `make eval`."""
        from pipelines.evaluate import EvalRun

        return EvalRun(run=self.run)

    def diagnose(self) -> DiagnoseRun:
        """Of `make diagnose`."""
        from pipelines.diagnose import DiagnoseRun

        return DiagnoseRun(run=self.run)

    def report(self) -> ReportRun:
        """Of `make report`."""
        from pipelines.report import ReportRun

        return ReportRun(run=self.run)

    def tables(self) -> TableRun:
        """Of `make table3`, `table4`, `table5` and `ablations`."""
        from pipelines.experiments.grid import TableRun

        tables = Path("runs") / f"{self.name}-tables"
        return TableRun(
            train=self.train().model_copy(update={"run": tables}),
            evaluate=self.evaluate().model_copy(update={"run": tables}),
            hosts={host: dict(changes) for host, changes in self.hosts.items()},
        )

    def compare(self) -> CompareRun:
        """Of the two runs that `make demo` trains: the host alone and MLLM4WTAL."""
        from pipelines.compare import CompareRun

        return CompareRun(runs=(self.run.with_name(f"{self.name}-host"), self.run))

    def inspect(self) -> InspectRun:
        """Of `make inspect`."""
        from pipelines.inspect_cache import InspectRun

        return InspectRun(dataset=self.dataset)

    def export(self) -> ExportRun:
        """Of `python -m pipelines.export`."""
        from pipelines.export import ExportRun

        return ExportRun(dataset=self.dataset)


class Thumos14(Preset):
    """THUMOS14, or any dataset of your own: I3D-like features, VideoLLaMA3, GloVe, the hosts' public settings."""

    name = "thumos14"

    def tables(self) -> TableRun:
        """Beside figures that were published. THUMOS14 has no videos to choose settings by: it trains on them."""
        published = Path("pipelines/experiments/published.csv")
        return super().tables().model_copy(update={"published": published, "validation": None})

    def diagnose(self) -> DiagnoseRun:
        """With the borders of length, coverage and instances that DETAD has for THUMOS14."""
        from training.diagnosis.schema import DiagnosisRecipe

        return super().diagnose().model_copy(update={"diagnosis": DiagnosisRecipe(borders="thumos14")})


class ActivityNet12(Preset):
    """ActivityNet v1.2: 60 snippets a video, the hosts' public settings for it, mAP at 0.5 to 0.95 on validation."""

    name = "activitynet12"

    def train(self) -> TrainRun:
        """50,000 steps at 3e-5, as in the paper; a video's classes are spoken for by a fifth of its snippets."""
        from pipelines.train import TrainRun
        from training.data import DataRecipe
        from training.hosts.co2net import ACTIVITYNET
        from training.ksm import KsmRecipe
        from training.model import ModelRecipe
        from training.optimizers import LoopRecipe
        from training.recipe import TrainRecipe

        recipe = TrainRecipe(
            data=DataRecipe(num_snippets=60),
            model=ModelRecipe(host=ACTIVITYNET, ksm=KsmRecipe(mil_ratio=5)),
            loop=LoopRecipe(steps=50_000, host_lr=3e-5, lr=3e-5, checkpoint_every=2500),
        )
        return TrainRun(dataset=self.dataset, run=self.run, train=recipe)

    def evaluate(self) -> EvalRun:
        """Under the protocol of the dataset, on the validation videos: those of testing have no public truth."""
        return super().evaluate().model_copy(update={"protocol": self.name})

    def import_checkpoint(self) -> ImportCheckpointRun:
        """Weights of the public code's ActivityNet variant."""
        return super().import_checkpoint().model_copy(update={"variant": "activitynet"})

    def tables(self) -> TableRun:
        """The reported subset is the validation subset; there is no other with truth."""
        return super().tables().model_copy(update={"validation": None})

    def diagnose(self) -> DiagnoseRun:
        """With the borders of length, coverage and instances that DETAD has for ActivityNet."""
        from training.diagnosis.schema import DiagnosisRecipe

        return super().diagnose().model_copy(update={"diagnosis": DiagnosisRecipe(borders="activitynet")})


class ActivityNet13(ActivityNet12):
    """ActivityNet v1.3, with the settings of v1.2: 200 classes, twice the videos."""

    name = "activitynet13"


class Demo(Preset):
    """The embedded world: rendered videos, tiny models, everything on a CPU in minutes. Its numbers are its own."""

    name = "demo"
    hosts = DEMO_HOSTS

    def priors(self) -> PriorsRun:
        """A tiny VideoLLaMA3, and word vectors trained on the captions of the world."""
        from pipelines.generate import PriorsRun
        from priors.describer import DescriberRecipe
        from priors.glove import GloveRecipe

        describer = DescriberRecipe(model=str(CHECKPOINTS / "describer"), batch_size=16, device_map="cpu")
        return PriorsRun(dataset=self.dataset, describer=describer, glove=GloveRecipe(path=CHECKPOINTS / "words.txt"))

    def features(self) -> FeaturesRun:
        """Two tiny VideoMAE; snippets of 8 frames at the 16 frames a second of the world, so half a second each."""
        from pipelines.encode import FeaturesRun
        from priors.encode import EncoderRecipe, FeaturesRecipe

        streams = {
            "rgb": EncoderRecipe(model=str(CHECKPOINTS / "rgb_encoder")),
            "flow": EncoderRecipe(model=str(CHECKPOINTS / "flow_encoder"), input="flow", flow_bound=6.0),
        }
        recipe = FeaturesRecipe(streams=streams, fps=16, snippet_frames=8, snippet_stride=8)
        return FeaturesRun(dataset=self.dataset, features=recipe)

    def train(self) -> TrainRun:
        """The whole model, narrow, for two minutes of one core. Chosen by the score on the validation videos.

        Unlike the defaults: A_CSR is contrasted (what it leaves out must not be enough to restore the description), has
        a small norm against being 1 everywhere, and follows the host's attention less, so it may become more complete
        than that; pseudo segments are cut from the attentions, which are complete, not from the T-CAM, which stands out
        in the cores alone, and KSM's even more, so it has no vote. The host's sparsity weight is the one that suits the
        host alone best; without the long warm-up one seed in five of the host alone attends to the scene for good.
        """
        from pipelines.train import TrainRun
        from training.csr import CsrRecipe
        from training.data import DataRecipe
        from training.distillation import DpidRecipe
        from training.hosts.co2net import Co2NetRecipe
        from training.ksm import KsmRecipe
        from training.localization_head import HeadRecipe
        from training.model import ModelRecipe
        from training.optimizers import LoopRecipe
        from training.pseudo_labels import PseudoLabelRecipe
        from training.recipe import TrainRecipe

        recipe = TrainRecipe(
            data=DataRecipe(num_snippets=128, num_pairs=4, singles=8),
            model=ModelRecipe(
                host=Co2NetRecipe(width=128, attention_width=48, norm=0.2),
                ksm=KsmRecipe(width=96, heads=4, context=4),
                csr=CsrRecipe(width=96, heads=4, encoder_layers=1, decoder_layers=1, contrast=1.0, norm=0.02),
                dpid=DpidRecipe(schedule="joint", reconstruct_weight=0.2),
                head=HeadRecipe(
                    pseudo_labels=PseudoLabelRecipe(cams=("host",), curves=("attention",), teacher_decay=0.99)
                ),
            ),
            loop=LoopRecipe(steps=800, host_lr=5e-4, lr=2e-3, schedule="cosine", warmup=120, checkpoint_every=200),
        )
        return TrainRun(dataset=self.dataset, run=self.run, train=recipe)


class Smoke(Demo):
    """The demo with a few videos and steps: shows that every stage runs, and nothing else."""

    name = "smoke"

    def train(self) -> TrainRun:
        """A few steps."""
        run = super().train()
        loop = run.train.loop.model_copy(update={"steps": 40, "warmup": 4})
        return run.model_copy(update={"train": run.train.model_copy(update={"loop": loop})})


PRESETS: tuple[Preset, ...] = (Demo(), Smoke(), Thumos14(), ActivityNet12(), ActivityNet13())


def choices(recipe_of: Callable[[Preset], R]) -> dict[str, tuple[str, R]]:
    """One command's presets: name -> (what it is, the recipe)."""
    return {preset.name: ((type(preset).__doc__ or "").strip(), recipe_of(preset)) for preset in PRESETS}
