"""The accelerator of a run: device, mixed precision and gradient accumulation, set by the recipe alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from training.errors import TrainingError
from training.nn.devices import pick_device, refuse_other_arithmetic, use_tf32
from training.optimizers import LoopRecipe

if TYPE_CHECKING:
    from accelerate import Accelerator

_SETTINGS = ("ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_", "DEEPSPEED_", "MEGATRON_", "XLA_")
_LAUNCHERS = ("PMI_", "OMPI_", "MV2_", "TORCHELASTIC_")
_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "FORK_LAUNCHED")
_PROCESSES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def accelerator_of(recipe: LoopRecipe) -> Accelerator:
    """Raises `TrainingError` if a launcher started several processes, the device or precision is not available, or an
    environment variable would change the arithmetic."""
    for name in _PROCESSES:
        if os.environ.get(name, "1") not in ("", "1"):
            raise TrainingError(
                f"{name}: found {os.environ[name]}, expected 1, as a training is one process; start it without a "
                "launcher, or unset the variable"
            )
    device = pick_device(recipe.device)
    if recipe.precision == "tf32" and device.type != "cuda":
        raise TrainingError(f"loop.precision: found tf32, which only CUDA has, not {device.type}")
    refuse_other_arithmetic(device, tf32=recipe.precision == "tf32")
    use_tf32(recipe.precision == "tf32")
    with without_settings():
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        # accelerate keeps its first settings for the life of the process; every run needs its own
        AcceleratorState._reset_state(reset_partial_state=True)
        try:
            made = Accelerator(
                cpu=device.type == "cpu",
                mixed_precision="bf16" if recipe.precision == "bf16" else "no",
                gradient_accumulation_steps=recipe.accumulate,
            )
        except ValueError as error:
            raise TrainingError(
                f"loop.precision: found {recipe.precision}: {error}; use --loop.precision no"
            ) from error
    return made


@contextmanager
def without_settings() -> Iterator[None]:
    """Hide the environment variables that accelerate reads: a leftover `ACCELERATE_GRADIENT_ACCUMULATION_STEPS` would
    scale every gradient. It reads them when it is imported, when an accelerator is made, and at every step."""
    hidden = {
        name: value for name, value in os.environ.items() if name.startswith(_SETTINGS + _LAUNCHERS) or name in _RANKS
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
