"""fit(): from data and a recipe to a checkpoint."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from training.checkpoint import (
    State,
    fill,
    fill_buffers,
    find_checkpoint,
    load_state,
    load_training,
    read_weights,
    refuse_other_recipe,
    remove_checkpoint,
    save_checkpoint,
)
from training.data import WtalData
from training.distillation import Phase, phase_of
from training.errors import TrainingError
from training.logs import Logs, Means
from training.model import Mllm4Wtal
from training.optimizers import BRANCHES, build_optimizers, rate_factor, take_step
from training.pseudo_labels import PseudoSegments
from training.recipe import TrainRecipe
from training.review import review_videos, with_notes
from training.teacher import copy_for_teaching, is_due, make_pseudo_segments, pseudo_of_batch, update_average

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called after every step with the steps taken, the steps in all, and the loss terms of this step."""


def fit(
    data: WtalData, recipe: TrainRecipe, *, run: Path, resume: bool = False, progress: Progress | None = None
) -> Path:
    """Train on `data` and return the checkpoint folder, `run`/checkpoint.

    `resume` goes on from the checkpoint of `run` (from the start if it has none yet); the result is, bit for bit on a
    CPU, that of a run that was never stopped. Without it a run starts anew and forgets the folder's earlier checkpoint.
    Ctrl-C writes a checkpoint and raises KeyboardInterrupt. Raises `TrainingError` before the first step if features,
    labels or texts do not suffice or the checkpoint is another recipe's, and at any step whose loss is not finite.
    """
    trainer, loop = Trainer(data, recipe, run=run), recipe.loop
    means = trainer.restore() if resume else remove_checkpoint(run)
    with (
        Logs(run, since=trainer.step, every=loop.log_every, tensorboard=loop.tensorboard, means=means) as logs,
        _deferred_interrupt() as interrupted,
    ):
        while trainer.step < loop.steps and not interrupted.is_set():
            terms = trainer.advance()
            logs.add(trainer.step, terms, rate_factor(trainer.step - 1, loop) * loop.lr)
            if progress is not None:
                progress(trainer.step, loop.steps, terms)
            if trainer.step % loop.checkpoint_every == 0 and trainer.step < loop.steps:
                trainer.save(logs.means)
        folder = trainer.save(logs.means)
    if trainer.step < loop.steps:
        raise KeyboardInterrupt(f"stopped after step {trainer.step}; {folder} holds the state to resume from")
    return folder


class Trainer:
    """Everything that changes from step to step; `advance` takes one."""

    def __init__(self, data: WtalData, recipe: TrainRecipe, *, run: Path) -> None:
        # copies with changed fields are not checked by pydantic
        recipe = TrainRecipe.model_validate(recipe.model_dump())
        if (data.recipe, data.seed, data.choice) != (recipe.data, recipe.seed, recipe.model.text_choice):
            raise ValueError("data: made with another recipe, seed or choice of texts than the run's")
        self.data, self.recipe, self.run = data, recipe, run
        if recipe.model.needs_texts and data.texts is None:
            raise TrainingError(
                "texts: found none, expected the embeddings of the priors (KSM or CSR is on); run `make priors`"
            )
        data.store.preflight(data.video_ids)
        # accelerate keeps its first choices for the life of the process; every run shall make its own
        AcceleratorState._reset_state(reset_partial_state=True)
        self.accelerator = Accelerator(cpu=recipe.loop.device == "cpu", mixed_precision=recipe.loop.precision)
        if self.accelerator.num_processes > 1:
            raise TrainingError(
                f"processes: found {self.accelerator.num_processes}, expected 1; start without a launcher"
            )
        self.device = self.accelerator.device
        torch.manual_seed(recipe.seed)
        vectors = None if data.texts is None else torch.from_numpy(data.texts.vocabulary.vectors)
        streams = data.store.grid.streams
        model = Mllm4Wtal(recipe.model, streams=streams, num_classes=len(data.classes), word_vectors=vectors)
        self.model = model.to(self.device)
        self.optimizers = build_optimizers(self.model, recipe.loop)
        keeps_average = recipe.model.use_head or recipe.loop.ema_eval or recipe.model.average_teaches
        self.average = copy_for_teaching(self.model) if keeps_average else None
        self.pseudo: dict[str, PseudoSegments] | None = None
        self.notes: dict[str, Tensor] = {}
        self.step = 0

    def advance(self) -> dict[str, float]:
        """One optimizer step. Everything random in it depends on (seed, step) alone."""
        recipe, step, total = self.recipe, self.step, self.recipe.loop.steps
        labels = recipe.model.head.pseudo_labels
        if recipe.model.use_head and self.average is not None and is_due(step, labels, total_steps=total):
            self.pseudo = make_pseudo_segments(self.average, self.data, device=self.device)
        host = self.model.host
        if host.reviews(step, total):
            self.notes = review_videos(host, self.data, self.notes, step=step, total_steps=total, device=self.device)
        torch.manual_seed(int(np.random.SeedSequence((recipe.seed, step)).generate_state(1, np.uint64)[0]))
        phase: Phase = phase_of(step, recipe.model.dpid) if recipe.model.use_csr else "match"
        batch = with_notes(self.data.batch(step).to(self.device), self.notes)
        pseudo = None if self.pseudo is None else pseudo_of_batch(self.pseudo, batch.video_ids, batch.scale)
        self.model.train()
        with self.accelerator.autocast():
            terms = self.model(batch, phase=phase, step=step, total_steps=total, pseudo=pseudo, average=self.average)
        values = finite_values(terms, step)
        self.accelerator.backward(torch.stack(list(terms.values())).sum())
        active = [self.optimizers[name] for name in BRANCHES[phase]]
        take_step(active, factor=rate_factor(step, recipe.loop), clip=recipe.loop.clip)
        if self.average is not None:
            update_average(self.average, self.model, step=step, decay=labels.teacher_decay)
        self.step += 1
        return values

    def save(self, means: Means) -> Path:
        """Write the checkpoint, with the class queries that its weights give. `means`: see `State`."""
        if self.model.ksm is not None:
            pool = self.data.query_pool().to(self.device)
            for model in (self.model, self.average):
                if model is not None:
                    model.store_queries(pool)
        words = () if self.data.texts is None else self.data.texts.vocabulary.words
        grid, fingerprint = self.data.store.grid, self.data.fingerprint()
        state = State(self.step, self.recipe, self.data.classes, words, grid, fingerprint, means)
        return save_checkpoint(
            self.run,
            state,
            model=self.model,
            average=self.average,
            optimizers=self.optimizers,
            pseudo=self.pseudo,
            notes=self.notes,
        )

    def restore(self) -> Means | None:
        """Take up the state of the run's checkpoint, if it has one, and return its `State.means`."""
        folder = find_checkpoint(self.run)
        if folder is None:
            return None
        state = load_state(folder)
        refuse_other_recipe(folder, state, self.recipe, self.data.fingerprint())
        for model, name in ((self.model, "model.safetensors"), (self.average, "ema.safetensors")):
            if model is not None:
                fill(model, read_weights(folder / name), folder / name)
        stored = load_training(folder)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(stored["optimizers"][name])
        fill_buffers(self.model, stored["buffers"], folder)
        self.pseudo, self.notes, self.step = stored["pseudo"], stored["notes"], state.step
        return state.means


def finite_values(terms: Mapping[str, Tensor], step: int) -> dict[str, float]:
    """Loss terms as numbers. Raises `TrainingError` naming those that are not finite: no optimizer may step on them."""
    values = dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))
    broken = {name: value for name, value in values.items() if not np.isfinite(value)}
    if broken:
        found = ", ".join(f"{name} = {value}" for name, value in broken.items())
        raise TrainingError(
            f"step {step}: found {found}, expected finite loss terms; the weights are those before this step. "
            "Lower loop.lr and loop.host_lr, or set loop.clip"
        )
    return values


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C inside sets the event, so that a step is never cut in two; a second one interrupts at once.

    Where Ctrl-C means nothing (in another thread, or where the shell said to ignore it) it stays so.
    """
    pressed = threading.Event()
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield pressed
        return

    def note(signum: int, frame: object) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
