"""What is float32 whatever the precision of the forward pass: losses, geometry, and the logits of gates.

A forward pass runs under the autocast of its caller. What is made of its output does not: autocast would cast every
product of matrices back to bf16, whose eight bits put 301.0 snippets at 300 and sigmoid(6.5) at 1.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

DEVICES = ("cpu", "cuda", "mps")
"""Kinds of device whose autocast is switched off."""


@contextmanager
def full_precision() -> Iterator[None]:
    """Autocast off, on whichever kind of device it is on; also a decorator. Inputs keep their type (`as_float32`)."""
    with ExitStack() as off:
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                off.enter_context(torch.autocast(device, enabled=False))
        yield


def as_float32(value: Any) -> Any:
    """The floating-point tensors of a tuple or dataclass in float32, at any depth; all others as they are."""
    match value:
        case Tensor():
            return value.float() if value.is_floating_point() else value
        case tuple():
            return tuple(map(as_float32, value))
        case _:
            return replace(value, **{field.name: as_float32(getattr(value, field.name)) for field in fields(value)})
