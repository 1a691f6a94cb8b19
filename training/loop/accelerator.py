"""The accelerator of a run: device, mixed precision and gradient accumulation, set by the recipe alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import Accelerator
from accelerate.state import AcceleratorState

from training.errors import TrainingError
from training.nn.devices import pick_device, use_tf32
from training.optimizers import LoopRecipe

_SETTINGS = ("ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_", "DEEPSPEED_", "MEGATRON_", "XLA_")
_LAUNCHERS = ("PMI_", "OMPI_", "MV2_", "TORCHELASTIC_")
_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PROCESSES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def accelerator_of(recipe: LoopRecipe) -> Accelerator:
    """Raises `TrainingError` if a launcher started several processes, or the device or precision is not available."""
    for name in _PROCESSES:
        if os.environ.get(name, "1") not in ("", "1"):
            raise TrainingError(f"{name}: found {os.environ[name]}, expected 1; start without a launcher")
    device = pick_device(recipe.device)
    if recipe.precision == "tf32" and device.type != "cuda":
        raise TrainingError(f"loop.precision: found tf32, which only CUDA has, not {device.type}")
    use_tf32(recipe.precision == "tf32")
    # accelerate keeps its first settings for the life of the process; every run needs its own
    AcceleratorState._reset_state(reset_partial_state=True)
    with _without_settings():
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
def _without_settings() -> Iterator[None]:
    """Hide the environment variables that accelerate reads: a leftover `ACCELERATE_GRADIENT_ACCUMULATION_STEPS` would
    scale every gradient."""
    hidden = {
        name: value for name, value in os.environ.items() if name.startswith(_SETTINGS + _LAUNCHERS) or name in _RANKS
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
