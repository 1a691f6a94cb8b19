"""The trainer: the state of a training run, and one step of it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.batches.data import Batch, WtalData
from training.batches.prefetch import Prefetcher
from training.checkpoints.checkpoint import (
    State,
    Trained,
    fill,
    fill_buffers,
    load_state,
    load_training,
    read_weights,
    save_checkpoint,
)
from training.checkpoints.folder import find_checkpoint
from training.checkpoints.resuming import refuse_other_recipe
from training.errors import TrainingError
from training.hosts.recipes import refuse_streams
from training.logs.logs import Means
from training.loop.accelerator import accelerator_of, without_settings
from training.loop.review import review_videos, with_notes
from training.loop.teacher import (
    copy_for_teaching,
    is_due,
    make_pseudo_segments,
    pseudo_of_batch,
    update_average,
    warn_of_long_segments,
)
from training.model.distillation import Phase, updates_of
from training.model.mllm4wtal import Mllm4Wtal
from training.model.pseudo_labels import PseudoSegments
from training.optimizers import BRANCHES, build_optimizers, gradient_norm, rate_factor, take_step
from training.recipe import TrainRecipe

NORM = "gradient_norm."
"""Prefix of the gradient norms among the figures of a step: gradient_norm.match is that of L_match before clipping."""


class NotFinite(TrainingError):
    """A loss term or gradient is not finite; the weights are those before the update."""


class Trainer:
    """The state of a training run: model, optimizers, moving average, pseudo segments, notes. `advance` takes one
    step."""

    def __init__(self, data: WtalData, recipe: TrainRecipe, *, run: Path) -> None:
        # pydantic does not check copies with changed fields
        recipe = TrainRecipe.model_validate(recipe.model_dump()).in_steps(len(data))
        if (data.recipe, data.seed, data.choice) != (recipe.data, recipe.seed, recipe.model.text_choice):
            raise ValueError("data: made with another recipe, seed or choice of texts than the run's")
        self.data, self.recipe, self.run = data, recipe, run
        if recipe.model.needs_texts and data.texts is None:
            raise TrainingError(
                "texts: found none, expected the embeddings of the priors (KSM or CSR is on); run `make priors`"
            )
        streams = data.store.grid.streams
        refuse_streams(recipe.model.host, streams)
        data.store.preflight(data.video_ids)
        self.accelerator = accelerator_of(recipe.loop)
        self.device = self.accelerator.device
        torch.manual_seed(recipe.seed)
        vectors = None if data.texts is None else torch.from_numpy(data.texts.vocabulary.vectors)
        model = Mllm4Wtal(recipe.model, streams=streams, num_classes=len(data.classes), word_vectors=vectors)
        self.model = model.to(self.device)
        self.optimizers = build_optimizers(self.model, recipe.loop)
        keeps_average = recipe.model.use_head or recipe.loop.ema_eval or recipe.model.average_teaches
        self.average = copy_for_teaching(self.model) if keeps_average else None
        self.pseudo: dict[str, PseudoSegments] | None = None
        self.notes: dict[str, Tensor] = {}
        self.step = self.saved_step = 0
        self.snippets = 0
        """Snippets that the model has processed since the trainer was made, padding included."""
        self.ahead: Prefetcher | None = None
        """Makes batches ahead of the steps, while it is open; without it they are made when needed."""
        self.factor: Callable[[int], float] = lambda step: rate_factor(step, recipe.loop)
        """Factor on the learning rates at a step: that of the recipe's schedule."""
        self._held: dict[int, Batch] = {}

    def advance(self) -> dict[str, float]:
        """One update of the host, and the updates of CSR that are due. Returns their loss terms and gradient norms
        (`NORM`).

        Everything random in it depends on (seed, step) alone. Raises `NotFinite` before an update whose losses or
        gradients are not finite.
        """
        recipe, step, total = self.recipe, self.step, self.recipe.loop.steps
        labels = recipe.model.head.pseudo_labels
        if recipe.model.use_head and self.average is not None and is_due(step, labels, total_steps=total):
            first = self.pseudo is None
            self.pseudo = make_pseudo_segments(self.average, self.data, device=self.device)
            if first:
                warn_of_long_segments(self.pseudo, recipe.model.head)
        host = self.model.host
        if host.reviews(step, total):
            self.notes = review_videos(host, self.data, self.notes, step=step, total_steps=total, device=self.device)
        self.model.train()
        self._held = {}
        updates: list[tuple[Phase, int]] = [("match", step)]
        if recipe.model.use_csr:
            updates = updates_of(step, recipe.model.dpid, total_steps=total)
        values: dict[str, float] = {}
        for phase, of_step in updates:
            values |= self._update(phase, of_step)
        if self.average is not None:
            update_average(self.average, self.model, step=step, decay=labels.teacher_decay)
        self.step += 1
        return values

    def _update(self, phase: Phase, of_step: int) -> dict[str, float]:
        """One step of the phase's optimizers, on the batches of `of_step`."""
        loop = self.recipe.loop
        sums: dict[str, Tensor] = {}
        for part in range(loop.accumulate):
            torch.manual_seed(self._seed(phase, of_step, part))
            batch = self._batch(of_step * loop.accumulate + part, phase)
            self.snippets += batch.snippets.numel()
            pseudo = None if self.pseudo is None else pseudo_of_batch(self.pseudo, batch.video_ids, batch.scale)
            with without_settings(), self.accelerator.autocast():
                terms = self.model(
                    batch, phase=phase, step=self.step, total_steps=loop.steps, pseudo=pseudo, average=self.average
                )
            self.accelerator.backward(torch.stack(list(terms.values())).sum())
            sums = {name: sums.get(name, 0) + value.detach() / loop.accumulate for name, value in terms.items()}
        active = {name: self.optimizers[name] for name in BRANCHES[phase]}
        norms = {NORM + name: gradient_norm(optimizer, clip=loop.clip) for name, optimizer in active.items()}
        values = finite_values(sums | norms, self.step)
        for optimizer in active.values():
            take_step(optimizer, factor=self.factor(self.step))
        return values

    def _batch(self, number: int, phase: Phase) -> Batch:
        """Batch `number`. A separate update by L_rec uses a batch that L_match has used, at this step or an earlier
        one."""
        if number not in self._held:
            if self.ahead is not None and phase != "reconstruct":
                self._held[number] = self.ahead.get(number)
            else:
                self._held[number] = self.data.batch(number).to(self.device)
        return with_notes(self._held[number], self.notes)

    def _seed(self, phase: Phase, of_step: int, part: int) -> int:
        """Seed of dropout; a separate update by L_rec has another one than L_match of the same step."""
        alone = phase == "reconstruct"
        entropy = (self.recipe.seed, of_step, *((int(alone), part) if alone or part else ()))
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])

    def trained(self) -> Trained:
        """The model for inference, in eval mode: the moving average if loop.ema_eval is set, else the last weights."""
        self._store_queries()
        model = self.average if self.recipe.loop.ema_eval and self.average is not None else self.model
        return Trained(model.eval(), self._state({}))

    def save(self, means: Means) -> Path:
        """Write a checkpoint, with the class queries that its weights encode. `means`: see `State`."""
        self._store_queries()
        folder = save_checkpoint(
            self.run,
            self._state(means),
            model=self.model,
            average=self.average,
            optimizers=self.optimizers,
            pseudo=self.pseudo,
            notes=self.notes,
        )
        self.saved_step = self.step
        return folder

    def _store_queries(self) -> None:
        if self.model.ksm is not None:
            pool = self.data.query_pool().to(self.device)
            for model in (self.model, self.average):
                if model is not None:
                    model.store_queries(pool)

    def _state(self, means: Means) -> State:
        return State(
            step=self.step,
            recipe=self.recipe,
            classes=self.data.classes,
            words=() if self.data.texts is None else self.data.texts.vocabulary.words,
            grid=self.data.store.grid,
            data=self.data.fingerprint(),
            means=means,
            finished=self.step >= self.recipe.loop.steps,
            scales=self.data.scales,
        )

    def restore(self) -> Means | None:
        """Load the run's last complete checkpoint, if it has one, and return its `State.means`."""
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
        self.pseudo, self.notes = stored["pseudo"], stored["notes"]
        self.step = self.saved_step = state.step
        return state.means


def finite_values(figures: Mapping[str, Tensor], step: int) -> dict[str, float]:
    """Loss terms and gradient norms as numbers, in one transfer from the device.

    Raises `NotFinite` naming those that are not finite: no optimizer may step on them.
    """
    values = dict(zip(figures, torch.stack([value.float() for value in figures.values()]).tolist(), strict=True))
    broken = {name: value for name, value in values.items() if not np.isfinite(value)}
    if broken:
        found = ", ".join(f"{name} = {value}" for name, value in broken.items())
        raise NotFinite(
            f"step {step}: found {found}, expected finite loss terms and gradients; the weights are those before this "
            "update. Lower loop.lr and loop.host_lr, or loop.clip; with loop.precision bf16, try no"
        )
    return values
