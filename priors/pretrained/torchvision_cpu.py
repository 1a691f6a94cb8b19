"""Makes a CUDA build of torchvision (PyPI's default) importable beside a CPU build of torch.

Such a torchvision registers shapes for two of its compiled operators, which then do not exist. Video processors use
only its transforms, which are pure torch, so it is enough to declare the operators.
"""

from __future__ import annotations

import importlib
import sys

_declared: list[object] = []  # a library of operators lives as long as its object


def make_torchvision_importable() -> None:
    """Import torchvision, declaring the operators that its build lacks. Call it before transformers is imported."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        _declare_operators()
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        importlib.import_module("torchvision")


def _declare_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
