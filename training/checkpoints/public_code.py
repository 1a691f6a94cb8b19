"""Import of a state dict of a host's public code as a checkpoint: the host alone, without KSM, CSR and head."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from cache.features import FeatureGrid
from cache.files.kinds import kind_of, not_a
from training.batches.data import DataRecipe
from training.checkpoints.checkpoint import State, save_checkpoint
from training.compat.names import CLASS_WEIGHTS, RECIPE_WEIGHTS, UNUSED, PublicHost, load_official, official_name
from training.errors import TrainingError
from training.hosts import co2net, ddgnet, delu
from training.hosts.recipes import HostRecipe, default_recipe
from training.hosts.two_stream import TwoStreamRecipe
from training.model.mllm4wtal import Mllm4Wtal, ModelRecipe
from training.recipe import TrainRecipe

Variant = Literal["thumos14", "activitynet"]

_ACTIVITYNET: Mapping[PublicHost, HostRecipe] = {
    "co2net": co2net.ACTIVITYNET,
    "delu": delu.ACTIVITYNET,
    "ddgnet": ddgnet.ACTIVITYNET,
}
_NESTED = ("state_dict", "model")


@dataclass(frozen=True)
class Imported:
    """Result of an import."""

    checkpoint: Path
    recipe: TrainRecipe
    weights: int
    """Number of imported parameters."""
    passed_over: tuple[str, ...]
    """Names that the public code saves and never runs."""


def read_official(path: Path, *, allow_pickle: bool) -> dict[str, Tensor]:
    """Tensors by name of a file of torch.save, bare or under `state_dict` or `model`, without the prefix `module.`.

    It is read with weights_only=True first. If that fails and `allow_pickle` is set, the file is unpickled in full,
    which runs any code in it. Raises `TrainingError` if it is no such file.
    """
    if not path.is_file():
        raise TrainingError(f"{path}: no such file; expected a state dict of a host's public code")
    if told := not_a(path, "checkpoint of torch.save", "torch", "pickle", "tar"):  # tar: before torch 0.4
        raise TrainingError(f"{path}: {told}")
    try:
        stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if kind_of(path).name not in ("torch", "pickle", "tar"):
            raise TrainingError(f"{path}: is no checkpoint of torch.save: {str(error).splitlines()[0]}") from error
        if not allow_pickle:
            raise TrainingError(
                f"{path}: cannot be read as weights alone: {str(error).splitlines()[0]}\nIf it is a pickle from a "
                "source that you trust, add --allow-pickle: it is then unpickled in full, which runs any code in it"
            ) from error
        stored = _unpickle(path)
    except Exception as error:  # torch's readers of zip and tar raise types of their own
        raise TrainingError(f"{path}: is no checkpoint of torch.save: {error}") from error
    for name in _NESTED:
        if isinstance(stored, Mapping) and isinstance(stored.get(name), Mapping):
            stored = stored[name]
    if not isinstance(stored, Mapping) or not stored or not all(torch.is_tensor(value) for value in stored.values()):
        raise TrainingError(f"{path}: found {type(stored).__name__}, expected a state dict: tensors by name")
    return {str(name).removeprefix("module."): value for name, value in stored.items()}


def _unpickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # unpickling can raise anything
        raise TrainingError(f"{path}: is no checkpoint of torch.save: {error}") from error


def import_official(
    path: Path,
    kind: PublicHost,
    *,
    variant: Variant,
    run: Path,
    classes: tuple[str, ...],
    grid: FeatureGrid,
    streams: tuple[str, ...] | None = None,
    allow_pickle: bool = False,
) -> Imported:
    """Write `run`/checkpoint from a file of the public code. Widths are those of its weights; `streams`, those of
    the grid, if they were chosen, are kept in the recipe.

    Raises `TrainingError` before anything is written where names are missing or unknown, or the weights do not fit the
    classes and features.
    """
    weights = read_official(path, allow_pickle=allow_pickle)
    host = _official_recipe(kind, variant, weights)
    parts = ModelRecipe(host=host, use_ksm=False, use_csr=False, use_dpid=False, use_head=False)
    recipe = TrainRecipe(model=parts, data=DataRecipe(streams=streams))
    model = Mllm4Wtal(parts, streams=grid.streams, num_classes=len(classes))
    expected = {official_name(kind, ours): value for ours, value in model.host.state_dict().items()}
    _refuse_other_names(path, kind, weights, expected)
    _refuse_other_sizes(path, kind, weights, expected, classes, grid)
    load_official(model.host, kind, weights)
    state = State(step=0, recipe=recipe, classes=classes, words=(), grid=grid, data=f"{kind}, {variant}", means={})
    checkpoint = save_checkpoint(run, state, model=model, average=None, optimizers={}, pseudo=None, notes={})
    numbers = sum(value.numel() for value in model.state_dict().values())
    return Imported(checkpoint, recipe, numbers, tuple(sorted(weights.keys() - expected.keys())))


def _official_recipe(kind: PublicHost, variant: Variant, weights: Mapping[str, Tensor]) -> HostRecipe:
    if variant == "activitynet" and kind not in _ACTIVITYNET:
        raise TrainingError(f"variant: found activitynet, expected thumos14, the only one that {kind} has")
    recipe = _ACTIVITYNET[kind] if variant == "activitynet" else default_recipe(kind)
    found: dict[str, Any] = {"official": True} if isinstance(recipe, TwoStreamRecipe) else {}
    # if one of these is missing, the message about all missing names comes later
    for field, name in RECIPE_WEIGHTS[kind].items():
        if name in weights and weights[name].ndim:
            found[field] = len(weights[name])
    return type(recipe).model_validate(recipe.model_dump() | found)


def _refuse_other_names(
    path: Path, kind: PublicHost, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    missing = sorted(expected.keys() - weights.keys())
    unknown = sorted(name for name in weights.keys() - expected.keys() if not name.startswith(UNUSED))
    lines = [f"  {what}: {', '.join(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names]
    if lines:
        raise TrainingError(
            "\n".join([f"{path}: holds other weights than the public code of {kind}; is --host right?", *lines])
        )


def _refuse_other_sizes(
    path: Path,
    kind: PublicHost,
    weights: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    classes: tuple[str, ...],
    grid: FeatureGrid,
) -> None:
    name = CLASS_WEIGHTS[kind]
    more = len(weights[name]) - len(expected[name])
    if more:
        raise TrainingError(
            f"{path}, {name}: found weights of {len(classes) + more} classes, "
            f"expected the {len(classes)} of the dataset"
        )
    name = RECIPE_WEIGHTS[kind]["width"]
    if weights[name].shape[1] != grid.width:
        raise TrainingError(
            f"{path}, {name}: found weights for features {weights[name].shape[1]} wide, expected {grid.width}, "
            f"the width of features.json ({grid.streams})"
        )
