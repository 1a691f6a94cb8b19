"""Presets: for each, the recipe that every command starts from; options on the command line change single fields.

The rooms are imported where a recipe is asked for, so that a command loads its own room alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipelines.settings import ACTIVITYNET_HOSTS, DEMO_HOSTS, MEASURED, PAPER, THUMOS14_HOSTS, Changes, MethodSettings

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
    from pipelines.migrate import MigrateRun
    from pipelines.report import ReportRun
    from pipelines.train import TrainRun
    from training.hosts.recipes import HostKind
    from training.recipe import TrainRecipe

R = TypeVar("R")
CHECKPOINTS = Path("pipelines/demo/checkpoints")


class Preset:
    """What a preset says for every command; the defaults of the recipes are those of THUMOS14."""

    name: str

    @property
    def method(self) -> Mapping[MethodSettings, Changes]:
        """What `--settings` chooses between."""
        return {"measured": MEASURED, "paper": PAPER}

    @property
    def hosts(self) -> Mapping[str, Changes]:
        """What its training changes on each host that it knows settings of."""
        return {}

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

    def training(self) -> TrainRecipe:
        """What is trained on its own host, but for the settings of the method."""
        from training.recipe import TrainRecipe

        return TrainRecipe()

    def train(self) -> TrainRun:
        """Of `make train`."""
        return self.train_on(None)

    def train_on(self, host: HostKind | None, settings: MethodSettings = "measured") -> TrainRun:
        """Of `make train ARGS="--host ... --settings ..."`: with what the preset changes for that host."""
        from pipelines.train import TrainRun, on_host

        training = self.training()
        known = tuple(dict.fromkeys((training.model.host.kind, *self.hosts)))
        if host is not None:
            training = on_host(training, host, self.hosts.get(host))
        training = training.changed(self.method[settings])
        run = TrainRun(dataset=self.dataset, run=self.run, train=training)
        return run.model_copy(update={"known_hosts": known, "preset_settings": settings})

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

    def tables(self, settings: MethodSettings = "measured") -> TableRun:
        """Of `make table3`, `table4`, `table5` and `ablations`."""
        from pipelines.experiments.grid import TableRun

        tables, method = Path("runs") / f"{self.name}-tables", self.method[settings]
        hosts = {host: {**changes, **method} for host, changes in self.hosts.items()}
        return TableRun(
            train=self.train_on(None, settings).model_copy(update={"run": tables}),
            evaluate=self.evaluate().model_copy(update={"run": tables}),
            hosts=hosts,
        )

    def compare(self) -> CompareRun:
        """Of the two runs that `make demo` trains: the host alone and MLLM4WTAL."""
        from pipelines.compare import CompareRun

        return CompareRun(runs=(self.run.with_name(f"{self.name}-host"), self.run))

    def inspect(self) -> InspectRun:
        """Of `make inspect`."""
        from pipelines.inspect_cache import InspectRun

        return InspectRun(dataset=self.dataset)

    def migrate(self) -> MigrateRun:
        """Of `make migrate`."""
        from pipelines.migrate import MigrateRun

        return MigrateRun(dataset=self.dataset)

    def export(self) -> ExportRun:
        """Of `python -m pipelines.export`."""
        from pipelines.export import ExportRun

        return ExportRun(dataset=self.dataset)


class Thumos14(Preset):
    """THUMOS14, or any dataset of your own: I3D-like features, VideoLLaMA3, GloVe, the hosts' public schedules."""

    name = "thumos14"

    @property
    def hosts(self) -> Mapping[str, Changes]:
        """The schedules of the hosts' public code."""
        return THUMOS14_HOSTS

    def training(self) -> TrainRecipe:
        """CO2-Net. The new modules have the paper's rate of 5e-4 and decay of 1e-3, the defaults."""
        from training.recipe import TrainRecipe

        return TrainRecipe().changed(self.hosts["co2net"])

    def evaluate(self) -> EvalRun:
        """Under `thumos14-212`: the test videos of the annotations that the field passes around, in seconds."""
        return super().evaluate().model_copy(update={"protocol": "thumos14-212"})

    def tables(self, settings: MethodSettings = "measured") -> TableRun:
        """Beside figures that were published. THUMOS14 has no videos to choose settings by: it trains on them."""
        published = Path("pipelines/experiments/published.csv")
        return super().tables(settings).model_copy(update={"published": published, "validation": None})

    def diagnose(self) -> DiagnoseRun:
        """With the borders of length, coverage and instances that DETAD has for THUMOS14."""
        from training.diagnosis.schema import DiagnosisRecipe

        return super().diagnose().model_copy(update={"diagnosis": DiagnosisRecipe(borders="thumos14")})


class ActivityNet12(Preset):
    """ActivityNet v1.2: 60 snippets a video, the hosts' public settings for it, mAP at 0.5 to 0.95 on validation."""

    name = "activitynet12"

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
        """CO2-Net. The new modules have the paper's rate of 3e-5; a video's classes are spoken for by a fifth of its
        snippets."""
        from training.ksm import KsmRecipe
        from training.model import ModelRecipe
        from training.optimizers import LoopRecipe
        from training.recipe import TrainRecipe

        model, loop = ModelRecipe(ksm=KsmRecipe(mil_ratio=5)), LoopRecipe(lr=3e-5, checkpoint_every=2500)
        return TrainRecipe(model=model, loop=loop).changed(self.hosts["co2net"])

    def evaluate(self) -> EvalRun:
        """Under the protocol of the dataset, on the validation videos: those of testing have no public truth."""
        return super().evaluate().model_copy(update={"protocol": self.name})

    def import_checkpoint(self) -> ImportCheckpointRun:
        """Weights of the public code's ActivityNet variant."""
        return super().import_checkpoint().model_copy(update={"variant": "activitynet"})

    def tables(self, settings: MethodSettings = "measured") -> TableRun:
        """The reported subset is the validation subset; there is no other with truth."""
        return super().tables(settings).model_copy(update={"validation": None})

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

    @property
    def hosts(self) -> Mapping[str, Changes]:
        """Chosen on the validation videos."""
        return DEMO_HOSTS

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

    def training(self) -> TrainRecipe:
        """The whole model, narrow, for two minutes of one core. Chosen by the score on the validation videos.

        The host's sparsity weight is the one that suits the host alone best; without the long warm-up one seed in five
        of the host alone attends to the scene for good.
        """
        from training.csr import CsrRecipe
        from training.data import DataRecipe
        from training.hosts.co2net import Co2NetRecipe
        from training.ksm import KsmRecipe
        from training.localization_head import HeadRecipe
        from training.model import ModelRecipe
        from training.optimizers import LoopRecipe
        from training.pseudo_labels import PseudoLabelRecipe
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
    """The demo with a few videos and steps: shows that every stage runs, and nothing else."""

    name = "smoke"

    def training(self) -> TrainRecipe:
        """A few steps."""
        return super().training().changed({"loop.steps": 40, "loop.warmup": 4})


PRESETS: tuple[Preset, ...] = (Demo(), Smoke(), Thumos14(), ActivityNet12(), ActivityNet13())


def choices(recipe_of: Callable[[Preset], R]) -> dict[str, tuple[str, R]]:
    """One command's presets: name -> (what it is, the recipe)."""
    return {preset.name: ((type(preset).__doc__ or "").strip(), recipe_of(preset)) for preset in PRESETS}
