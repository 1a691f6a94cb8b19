"""Loggers beside metrics.jsonl: TensorBoard, Weights & Biases, MLflow. All are optional and imported only when used."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from training.errors import TrainingError
from training.recipe import TrainRecipe

_PROJECT = "mllm4wtal"
_ID_FILE = ".{}-id"
"""File in the run's folder that holds the logger's id of the run, so that a resumed run is logged as the same one."""


class Logger(Protocol):
    """Takes the figures of a line of metrics.jsonl, named as there ("host.mil")."""

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """The figures at `step`, once for each step."""
        ...

    def close(self) -> None:
        """Flush what is still buffered, and close."""
        ...


def loggers_of(recipe: TrainRecipe, run: Path, *, since: int) -> tuple[Logger, ...]:
    """The loggers that a recipe asks for; those of a resumed run continue after step `since`.

    Raises `TrainingError` if the package of one is not installed, except for TensorBoard, which is then left out.
    """
    chosen: list[Logger] = []
    if recipe.loop.tensorboard and find_spec("tensorboard") is not None:
        chosen.append(TensorBoard(run, since=since))
    if recipe.loop.wandb:
        chosen.append(WeightsAndBiases(_package("wandb"), recipe, run, goes_on=since > 0))
    if recipe.loop.mlflow:
        chosen.append(MLflow(_package("mlflow"), recipe, run, goes_on=since > 0))
    return tuple(chosen)


class TensorBoard:
    """Events in `run`/tensorboard."""

    def __init__(self, run: Path, *, since: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=since + 1)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """See `Logger`."""
        for name, value in figures.items():
            self._writer.add_scalar(name.replace(".", "/"), value, step)

    def close(self) -> None:
        """See `Logger`."""
        self._writer.close()


class WeightsAndBiases:
    """A W&B run, named after the run's folder; account and mode are taken from the environment."""

    def __init__(self, wandb: Any, recipe: TrainRecipe, run: Path, *, goes_on: bool) -> None:
        known = _known(run, "wandb") if goes_on else None
        self._run = wandb.init(
            project=_PROJECT,
            name=run.name,
            id=known,
            resume="allow",
            dir=str(run),
            config=recipe.model_dump(mode="json"),
        )
        _remember(run, "wandb", self._run.id)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """See `Logger`."""
        self._run.log({name.replace(".", "/"): value for name, value in figures.items()}, step=step)

    def close(self) -> None:
        """See `Logger`."""
        self._run.finish()


class MLflow:
    """An MLflow run, named after the run's folder; the tracking URI is taken from the environment."""

    def __init__(self, mlflow: Any, recipe: TrainRecipe, run: Path, *, goes_on: bool) -> None:
        self._mlflow = mlflow
        mlflow.set_experiment(_PROJECT)
        known = _known(run, "mlflow") if goes_on else None
        active = mlflow.start_run(run_id=known, run_name=run.name)
        _remember(run, "mlflow", active.info.run_id)
        if known is None:
            mlflow.log_dict(recipe.model_dump(mode="json"), "recipe.json")

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """See `Logger`."""
        self._mlflow.log_metrics(dict(figures), step=step)

    def close(self) -> None:
        """See `Logger`."""
        self._mlflow.end_run()


def _known(run: Path, logger: str) -> str | None:
    file = run / _ID_FILE.format(logger)
    return file.read_text(encoding="utf-8").strip() if file.exists() else None


def _remember(run: Path, logger: str, name: str) -> None:
    run.mkdir(parents=True, exist_ok=True)
    (run / _ID_FILE.format(logger)).write_text(name + "\n", encoding="utf-8")


def _package(name: str) -> Any:
    if find_spec(name) is None:
        raise TrainingError(f"loop.{name}: the package {name} is not installed; `pip install {name}`, or leave it out")
    return import_module(name)
