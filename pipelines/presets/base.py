"""Base class of the presets: for every command the recipe (config) to start from; options change single fields.

Packages are imported inside the methods, so that a command loads only what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.presets.encoders import streams_of
from pipelines.presets.method import MEASURED, PAPER, Changes

if TYPE_CHECKING:
    from pipelines.caches.check_features import CheckFeaturesRun
    from pipelines.caches.export import ExportRun
    from pipelines.caches.features import FeaturesRun
    from pipelines.caches.import_dataset import ImportDatasetRun
    from pipelines.caches.import_descriptions import ImportRun
    from pipelines.caches.inspect import InspectRun
    from pipelines.caches.priors import PriorsRun
    from pipelines.experiments.grid import TableRun
    from pipelines.experiments.migrate import MigrateRun
    from pipelines.run_folder.recipe import MethodSettings, TrainRun
    from pipelines.runs.compare import CompareRun
    from pipelines.runs.diagnose import DiagnoseRun
    from pipelines.runs.evaluate import EvalRun
    from pipelines.runs.export_model import ExportModelRun
    from pipelines.runs.import_checkpoint import ImportCheckpointRun
    from pipelines.runs.lr_range import LrRangeRun
    from pipelines.runs.report import ReportRun
    from pipelines.tuning.recipe import TuneRun
    from priors.features.recipes import EncoderSet
    from training.hosts.recipes import HostKind
    from training.recipe import TrainRecipe


class Preset:
    """A dataset and its settings. Whatever a subclass does not change has the default of its recipe."""

    name: str
    title: str
    """One line for `--help`."""

    @property
    def method(self) -> Mapping[MethodSettings, Changes]:
        """The choices of `--settings`."""
        return {"measured": MEASURED, "paper": PAPER}

    @property
    def hosts(self) -> Mapping[str, Changes]:
        """Host -> changes of the training; for each host that the preset has settings for."""
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
        """Recipe of `make import-dataset`."""
        from pipelines.caches.import_dataset import ImportDatasetRun

        return ImportDatasetRun(dataset=self.dataset, source=Path("downloads") / self.name)

    def import_checkpoint(self) -> ImportCheckpointRun:
        """Recipe of `make import-checkpoint`, with its own run folder."""
        from pipelines.runs.import_checkpoint import ImportCheckpointRun

        return ImportCheckpointRun(dataset=self.dataset, run=self.run.with_name(f"{self.name}-imported"))

    def priors(self) -> PriorsRun:
        """Recipe of `make priors`."""
        from pipelines.caches.priors import PriorsRun
        from priors.words.glove import GloveRecipe

        return PriorsRun(dataset=self.dataset, glove=GloveRecipe(path=Path("glove.6B.300d.txt")))

    def import_descriptions(self) -> ImportRun:
        """Recipe of `make import`: dataset and word vectors of the preset."""
        from pipelines.caches.import_descriptions import ImportRun

        return ImportRun(dataset=self.dataset, glove=self.priors().glove)

    def features(self) -> FeaturesRun:
        """Recipe of `make features`, with the preset's own encoders."""
        from pipelines.caches.features import FeaturesRun
        from priors.features.recipes import FeaturesRecipe

        return FeaturesRun(dataset=self.dataset, features=FeaturesRecipe(streams=streams_of("videomae")))

    def features_by(self, encoders: EncoderSet | None) -> FeaturesRun:
        """Recipe of `make features ARGS="--encoders ..."`, on the grid of the preset's own."""
        run = self.features()
        if encoders is None:
            return run
        recipe = run.features.model_copy(update={"streams": streams_of(encoders)})
        return run.model_copy(update={"features": recipe, "encoders": encoders, "preset_encoders": encoders})

    def check_features(self) -> CheckFeaturesRun:
        """Recipe of `make check-features`."""
        from pipelines.caches.check_features import CheckFeaturesRun

        return CheckFeaturesRun(dataset=self.dataset, against=())

    def training(self) -> TrainRecipe:
        """The training on the preset's own host, without the settings of the method."""
        from training.recipe import TrainRecipe

        return TrainRecipe()

    def train(self) -> TrainRun:
        """Recipe of `make train`."""
        return self.train_on(None)

    def train_on(
        self, host: HostKind | None, settings: MethodSettings = "measured", tuned: Path | None = None
    ) -> TrainRun:
        """Recipe of `make train ARGS="--host ... --settings ..."`, with the preset's settings for that host, and those
        of `tuned` on top."""
        from pipelines.run_folder.recipe import TrainRun, on_host
        from pipelines.run_folder.tuned import load_tuned

        training = self.training()
        known = tuple(dict.fromkeys((training.model.host.kind, *self.hosts)))
        if host is not None:
            training = on_host(training, host, self.hosts.get(host))
        training = training.changed(self.method[settings])
        reading = self.evaluate().localize.model_dump(mode="json", exclude_defaults=True)
        run = TrainRun(dataset=self.dataset, run=self.run, train=training, localize=reading)
        run = run.model_copy(update={"known_hosts": known, "preset_settings": settings})
        chosen = None if tuned is None else load_tuned(tuned).hosts.get(training.model.host.kind)
        if chosen is None:
            return run.model_copy(update={"tuned": tuned})
        tuning = {"tuned": tuned, "localize": {**reading, **chosen.localize}, "train": training.changed(chosen.train)}
        return run.model_copy(update=tuning)

    @property
    def finds_tuned(self) -> bool:
        """Whether settings that `make tune` chose are used without being asked for."""
        return False

    def tune(self, host: HostKind | None = None) -> TuneRun:
        """Recipe of `make tune`: the host alone."""
        from pipelines.tuning.recipe import TuneRun

        parts = ("use_ksm", "use_csr", "use_dpid", "use_head")
        start = self.train_on(host)
        alone = start.train.changed({f"model.{part}": False for part in parts})
        run = Path("runs") / f"{self.name}-tune"
        return TuneRun(train=start.model_copy(update={"run": run, "train": alone}))

    def lr_range(self, host: HostKind | None, settings: MethodSettings = "measured") -> LrRangeRun:
        """Recipe of `make lr-range`: that of `make train`, with rates that rise."""
        from pipelines.runs.lr_range import LrRangeRun

        return LrRangeRun(train=self.train_on(host, settings))

    def evaluate(self) -> EvalRun:
        """Recipe of `make eval`."""
        from pipelines.runs.evaluate import EvalRun

        return EvalRun(run=self.run)

    def export_model(self) -> ExportModelRun:
        """Recipe of `make export-model`: with the preset's post-processing."""
        from pipelines.runs.export_model import ExportModelRun

        return ExportModelRun(run=self.run, localize=self.evaluate().localize)

    def diagnose(self) -> DiagnoseRun:
        """Recipe of `make diagnose`."""
        from pipelines.runs.diagnose import DiagnoseRun

        return DiagnoseRun(run=self.run)

    def report(self) -> ReportRun:
        """Recipe of `make report`."""
        from pipelines.runs.report import ReportRun

        return ReportRun(run=self.run)

    def tables(self, settings: MethodSettings = "measured", tuned: Path | None = None) -> TableRun:
        """Recipe of `make table3`, `table4`, `table5` and `ablations`; every host has its settings of `tuned`, if there
        are any."""
        from pipelines.experiments.grid import TableRun
        from pipelines.run_folder.tuned import load_tuned

        tables, method = Path("runs") / f"{self.name}-tables", self.method[settings]
        chosen = {} if tuned is None else load_tuned(tuned).hosts
        hosts = {
            host: {**changes, **method, **(chosen[host].train if host in chosen else {})}
            for host, changes in self.hosts.items()
        }
        return TableRun(
            localize={host: one.localize for host, one in chosen.items()},
            train=self.train_on(None, settings, tuned).model_copy(update={"run": tables}),
            evaluate=self.evaluate().model_copy(update={"run": tables}),
            hosts=hosts,
        )

    def compare(self) -> CompareRun:
        """Recipe of `make compare`: the runs NAME-host (host alone) and NAME (MLLM4WTAL) of `make demo`."""
        from pipelines.runs.compare import CompareRun

        return CompareRun(runs=(self.run.with_name(f"{self.name}-host"), self.run))

    def inspect(self) -> InspectRun:
        """Recipe of `make inspect`."""
        from pipelines.caches.inspect import InspectRun

        return InspectRun(dataset=self.dataset)

    def migrate(self) -> MigrateRun:
        """Recipe of `make migrate`."""
        from pipelines.experiments.migrate import MigrateRun

        return MigrateRun(dataset=self.dataset)

    def export(self) -> ExportRun:
        """Recipe of `make export`."""
        from pipelines.caches.export import ExportRun

        return ExportRun(dataset=self.dataset)
