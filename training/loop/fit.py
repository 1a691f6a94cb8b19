"""fit(): train a model by a recipe, write its checkpoints, and resume from them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from cache.files.lock import hold
from cache.files.stopping import Stopped, StopRequest, deferred_stops
from training.batches.data import WtalData
from training.batches.prefetch import Prefetcher
from training.checkpoints.folder import (
    FOLDER,
    Best,
    best_checkpoint,
    find_checkpoint,
    is_finished,
    mark_best,
    remove_checkpoints,
    reopen,
)
from training.logs.loggers import loggers_of
from training.logs.logs import Logs
from training.loop.trainer import Trainer
from training.loop.validation import Validator
from training.optimizers import rate_factor
from training.recipe import TrainRecipe

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called after every step with the number of steps taken, the total number of steps, and the figures of this step."""


def fit(
    data: WtalData,
    recipe: TrainRecipe,
    *,
    run: Path,
    resume: bool = True,
    validator: Validator | None = None,
    starting: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train on `data` and return the folder of the last checkpoint, inside `run`/checkpoint.

    A run is resumed from its last complete checkpoint, if it has one; on a CPU the result equals that of an
    uninterrupted run bit for bit. Without `resume` it starts over, and its earlier checkpoints are deleted. `starting`
    is called after all checks, if there are steps to take. `validator` scores the weights as often as recipe.validation
    says, and the best checkpoint is kept as well as the last.

    On Ctrl-C, SIGTERM or SIGUSR1 the current step is finished, a checkpoint is written and `Stopped` is raised. Raises
    `TrainingError` before the first step if features, labels or texts are missing or the checkpoint was made by another
    recipe, and at any step whose loss or gradient is not finite; `CacheError` if another process trains in `run`.
    """
    trainer = Trainer(data, recipe, run=run)
    recipe, loop = trainer.recipe, trainer.recipe.loop
    (run / FOLDER).mkdir(parents=True, exist_ok=True)
    with hold(run / FOLDER), deferred_stops() as stop:
        means = trainer.restore() if resume else None
        if trainer.step < loop.steps:
            loggers = loggers_of(recipe, run, since=trainer.step)
            if not resume:
                remove_checkpoints(run)
            elif trainer.step and is_finished(run):
                reopen(run, loop.steps)
            if starting is not None:
                starting()
            first, last = (step * loop.accumulate for step in (trainer.step, loop.steps))
            with (
                Logs(run, since=trainer.step, every=loop.log_every, loggers=loggers, means=means) as logs,
                Prefetcher(data.batch, first=first, last=last - 1, device=trainer.device) as trainer.ahead,
            ):
                _train(trainer, logs, validator=validator, stop=stop, progress=progress)
        folder = find_checkpoint(run)
    if stop.signum is not None:
        raise Stopped(stop.signum, f"stopped after step {trainer.step} of {loop.steps}")
    assert folder is not None
    return folder


def _train(
    trainer: Trainer, logs: Logs, *, validator: Validator | None, stop: StopRequest, progress: Progress | None
) -> None:
    """Take steps until the last one or until `stop`, and save the last one taken."""
    loop, every = trainer.recipe.loop, trainer.recipe.validation.every
    while trainer.step < loop.steps and not stop:
        factor, before = rate_factor(trainer.step, loop), trainer.snippets
        figures = trainer.advance()
        rates = {"lr": factor * loop.lr, "host_lr": factor * loop.host_lr}
        score = None
        if validator is not None and every and trainer.step % every == 0:
            score = figures[f"validation.{validator.name}"] = validator(trainer.trained())
        logs.add(trainer.step, figures, rates=rates, snippets=trainer.snippets - before)
        if progress is not None:
            progress(trainer.step, loop.steps, figures)
        if score is not None and validator is not None:
            best = best_checkpoint(trainer.run)
            if best is None or best.criterion != validator.name or score > best.score:
                mark_best(trainer.run, Best(trainer.save(logs.means), score, validator.name))
        if trainer.step % loop.checkpoint_every == 0 and trainer.saved_step < trainer.step:
            trainer.save(logs.means)
    if trainer.saved_step < trainer.step:
        trainer.save(logs.means)
