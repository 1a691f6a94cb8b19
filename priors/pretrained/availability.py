"""Which pretrained models can be used on this machine: folders, the Hugging Face cache, or a Hub that answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from priors.pretrained.model_files import is_folder

_PATIENCE = 5.0
"""Seconds in which the Hub has to answer."""


@dataclass(frozen=True)
class Available:
    """A model that can be used, and where it is; files: weight files in the working folder."""

    model: str
    place: Literal["folder", "files", "cache", "hub"]
    bytes: int | None = None
    """To be downloaded, where the Hub says so."""


def available(model: str) -> Available | None:
    """Whether and where a model is: a Hub id or a folder. None if the Hub is not asked (HF_HUB_OFFLINE), cannot be
    reached, or has no such model."""
    if is_folder(model):
        return Available(model, "folder")
    if (snapshot := _snapshot(model)) is not None and _is_complete(snapshot):
        return Available(model, "cache")
    return _on_hub(model)


def first_available(models: Sequence[str], *, kinds: Sequence[str]) -> Available | None:
    """The model to use when none is named: the first of `models` that is in the Hugging Face cache, any other one
    there whose config names one of the `kinds` (its model_type or one of its architectures), or the first of `models`
    that the Hub has."""
    here = {model: snapshot for model, snapshot in _cached() if _is_complete(snapshot)}
    for model in (*models, *sorted(here)):
        if model in here and (model in models or _kinds_of(here[model]) & set(kinds)):
            return Available(model, "cache")
    return next((found for model in models if (found := _on_hub(model)) is not None), None)


def _snapshot(model: str) -> Path | None:
    """The folder of a model's main branch in the cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(model, "config.json")
    except HFValidationError:
        return None
    return Path(config).parent if isinstance(config, str) else None


def _cached() -> Iterator[tuple[str, Path]]:
    from huggingface_hub.constants import HF_HUB_CACHE

    for folder in sorted(Path(HF_HUB_CACHE).glob("models--*")):
        model = folder.name.removeprefix("models--").replace("--", "/")
        if (snapshot := _snapshot(model)) is not None:
            yield model, snapshot


def _is_complete(snapshot: Path) -> bool:
    """Whether all weights are there: those of the index, if there is one."""
    index = snapshot / "model.safetensors.index.json"
    if not index.exists():
        return any(snapshot.glob("*.safetensors"))
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return all((snapshot / name).exists() for name in names)


def _kinds_of(snapshot: Path) -> set[str]:
    try:
        config = json.loads((snapshot / "config.json").read_text(encoding="utf-8"))
        return {config.get("model_type", ""), *config.get("architectures", ())}
    except (OSError, ValueError, TypeError, AttributeError):
        return set()


def _on_hub(model: str) -> Available | None:
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE or model.count("/") != 1:
        return None
    try:
        info = HfApi().model_info(model, files_metadata=True, timeout=_PATIENCE)
    except Exception:  # offline, no such model, not allowed: each raises what its client raises
        return None
    weights = [file.size or 0 for file in info.siblings or () if file.rfilename.endswith(".safetensors")]
    return Available(model, "hub", sum(weights)) if weights else None
