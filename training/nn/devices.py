"""Which device a model runs on."""

import os
from collections.abc import Mapping
from typing import Literal

import torch

from training.errors import TrainingError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
"""auto: CUDA, else MPS (Apple), else the CPU."""


_ARITHMETIC: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "cpu": dict.fromkeys(("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"), ("STRICT",)),
    "cuda": dict.fromkeys(("NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION", "HIPBLASLT_ALLOW_TF32"), ("0",)),
    "mps": {"PYTORCH_MPS_FAST_MATH": ("0",)},
}
"""By device, variables that let libraries below torch compute in another precision than they are asked for, each with
the values that do not. https://docs.nvidia.com/cuda/cublas, https://uxlfoundation.github.io/oneDNN (floating-point math
mode), https://docs.pytorch.org/docs/stable/mps_environment_variables.html."""


def pick_device(name: DeviceName) -> torch.device:
    """The device of that name, or the first there is for auto. Raises `TrainingError` where it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, found in there.items() if found))
    if not there[name]:
        found = ", ".join(device for device, found in there.items() if found)
        raise TrainingError(
            f"device: found {name}, which this torch ({torch.__version__}) can not use here; expected auto or one of: "
            f"{found}"
        )
    return torch.device(name)


def use_tf32(allowed: bool) -> None:
    """Whether CUDA may cut the float32 inputs of products and convolutions to 10 bits behind the point (TF32).

    torch's own choice is yes for convolutions and no for products; here both follow the recipe.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def refuse_other_arithmetic(device: torch.device, *, tf32: bool) -> None:
    """Raise `TrainingError` for a variable by which results would be of another precision than the recipe's. `tf32`:
    the recipe wants it, so no variable may forbid it."""
    for name, harmless in _ARITHMETIC.get(device.type, {}).items():
        value = os.environ.get(name, "").strip()
        allowed = () if tf32 and name == "NVIDIA_TF32_OVERRIDE" else harmless
        if value and value.upper() not in allowed:
            raise TrainingError(
                f"{name}: found {value}, by which numbers on {device.type} are of another precision than the recipe "
                "says (loop.precision); unset the variable"
            )
