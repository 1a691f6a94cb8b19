"""Loads a model of transformers from a checkpoint that has all of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from priors.pretrained.model_files import ModelError


def load_whole(auto: Any, model: str, commit: Mapping[str, str], *, option: str, unused: str | None = None) -> Any:
    """The model that a class of transformers makes of a folder or hub id, in float32.

    Weights whose names begin with `unused` may be missing. Raises ModelError if others are, which would be random
    numbers, or have other shapes.
    """
    import torch

    loaded, told = auto.from_pretrained(
        model, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **commit
    )
    names = [name for name in told["missing_keys"] if unused is None or not name.startswith(unused)]
    wrong = [f"{name} is missing" for name in sorted(names)]
    wrong += [f"{name[0]} has another shape" for name in sorted(told["mismatched_keys"])]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ModelError(f"{option}: {model}: its weights are not those of a {type(loaded).__name__}: {wrong[0]}{more}")
    return loaded
