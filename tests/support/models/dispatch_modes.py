"""What the tests of devices and precision see of torch's operations."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = ("_local_scalar_dense", "nonzero", "repeat_interleave", "masked_select", "_linalg_check_errors", "equal")
"""Operations whose result, or its size, the processor waits for; indexing by a boolean mask is one, too."""


class Recorded(TorchDispatchMode):
    """Names of the operations inside."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})


class WithoutFloat64(TorchDispatchMode):
    """A device without float64, as Apple's are: making such a tensor raises TypeError. numpy may have its own."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **kwargs or {})
        if any(isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64 for leaf in tree_leaves(found)):
            raise TypeError(f"{func}: made a float64 tensor")
        return found


class WithoutWaiting(TorchDispatchMode):
    """Raises RuntimeError where a processor would wait for its accelerator to catch up."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in WAITS or by_mask:
            raise RuntimeError(f"{func}: waits for the device")
        return func(*args, **kwargs or {})


@contextmanager
def cuda_autocast_rules() -> Iterator[None]:
    """CUDA's autocast on tensors of the CPU: it casts none of them, but refuses all that it refuses on a GPU."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        with torch._C._IncludeDispatchKeyGuard(torch._C.DispatchKey.AutocastCUDA):  # pyright: ignore
            yield
    finally:
        torch.set_autocast_enabled("cuda", False)
