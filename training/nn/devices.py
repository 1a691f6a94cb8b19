"""Which device a model runs on."""

from typing import Literal

import torch

from training.errors import TrainingError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
"""auto: CUDA, else MPS (Apple), else the CPU."""


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
