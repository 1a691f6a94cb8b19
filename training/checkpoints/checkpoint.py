"""Contents of a checkpoint: weights, optimizer state and a readable state.json. `folder.py` has the layout on disk."""

import json
import math
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cache.errors import CacheError
from cache.features import FeatureGrid
from cache.files.json_text import read_json
from cache.files.kinds import not_a
from training.batches.scales import column_factors
from training.checkpoints.folder import STATE_FILE, finished, sizes, write_checkpoint
from training.checkpoints.plain_fields import PlainFields
from training.errors import TrainingError
from training.logs.logs import Means
from training.model.csr import ReconstructionAttention
from training.model.localizer import Localizer
from training.model.mllm4wtal import Mllm4Wtal, ModelRecipe, inference_model
from training.model.pseudo_labels import PseudoSegments
from training.recipe import TrainRecipe

VERSION = 3
_READABLE = (2, 3)
"""Version 2 was written by release 0.1: one checkpoint per run, whose steps count updates of L_match and L_rec
separately."""
TRAINING_FILE = "optimizer.pt"
"""State that only training needs."""


@dataclass(frozen=True)
class State:
    """Contents of state.json: how the weights were trained, and on what."""

    step: int
    """Steps taken."""
    recipe: TrainRecipe
    classes: tuple[str, ...]
    words: tuple[str, ...]
    """The vocabulary; the id of a word is its position plus 3."""
    grid: FeatureGrid
    data: str
    """Hash of the training videos, their labels, features and texts (`WtalData.fingerprint`)."""
    means: Means
    """Sums and counts since the last line of metrics.jsonl."""
    finished: bool = True
    """Whether training has taken its last step."""
    scales: tuple[float, ...] = ()
    """Factor of each stream of the features (`WtalData.scales`); empty if all are 1."""
    version: int = VERSION
    """Version of the checkpoint layout."""

    @property
    def counts_turns(self) -> bool:
        """Whether `step` counts updates of L_match and L_rec separately, so that only every other one updated the
        host."""
        model = self.recipe.model
        return self.version < 3 and model.use_csr and model.dpid.schedule == "alternate"


@dataclass(frozen=True)
class Trained:
    """A model ready for inference, and what it was trained with."""

    model: Localizer[Any]
    state: State
    csr: ReconstructionAttention | None = None
    """CSR's attention, if it was asked for; localization does not need it."""
    unread: int = 0
    """Parameters of the checkpoint that were not loaded: text tower, CSR and word vectors."""

    def inputs(self, features: Float[np.ndarray, "t d"]) -> Float[Tensor, "1 t d"]:
        """Features of a video as the model takes them: in float32, scaled as in training, on its device."""
        batch = torch.from_numpy(np.array(features, dtype=np.float32))[None]
        if (factors := column_factors(self.state.scales, self.state.grid)) is not None:
            batch *= torch.from_numpy(factors)
        return batch.to(next(self.model.parameters()).device)


def save_checkpoint(
    run: Path,
    state: State,
    *,
    model: Mllm4Wtal,
    average: Mllm4Wtal | None,
    optimizers: Mapping[str, torch.optim.Optimizer],
    pseudo: Mapping[str, PseudoSegments] | None,
    notes: Mapping[str, Tensor],
) -> Path:
    """Write `run`/checkpoint/step-<steps taken> and make it the run's latest checkpoint. If the process is killed
    meanwhile, the previous one stays the latest.

    `notes` are those of the host's last review; the model's non-persistent buffers are saved with them. Raises
    `TrainingError`, and writes nothing, if a weight is not finite.
    """
    models = {"model.safetensors": model} | ({} if average is None else {"ema.safetensors": average})
    for name, one in models.items():
        _refuse_broken_weights(one, name, state.step)
    segments = None if pseudo is None else {video: vars(fields) for video, fields in pseudo.items()}
    states = {name: optimizer.state_dict() for name, optimizer in optimizers.items()}
    rest = {"notes": dict(notes), "buffers": {name: value.cpu() for name, value in _training_buffers(model).items()}}

    def write(folder: Path) -> None:
        for name, one in models.items():
            save_weights(one, folder / name)
        torch.save({"optimizers": states, "pseudo": segments} | rest, folder / TRAINING_FILE)
        document = as_json(state) | {"files": sizes(folder)}
        (folder / STATE_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        for name in models:  # safetensors makes its files for their owner alone, whatever the umask
            shutil.copymode(folder / STATE_FILE, folder / name)

    return write_checkpoint(run, state.step, write)


def _refuse_broken_weights(model: nn.Module, name: str, step: int) -> None:
    """Checks all weights in one reduction, so that a GPU is waited for once."""
    values = [value for value in model.state_dict().values() if value.is_floating_point()]
    if bool(torch.stack([value.isfinite().all() for value in values]).all()):
        return
    broken = [key for key, value in model.state_dict().items() if not bool(value.isfinite().all())]
    raise TrainingError(
        f"step {step}: {name}: found weights that are not finite ({', '.join(broken[:3])}), so they are not saved; the "
        "previous checkpoint is unchanged. Lower loop.lr and loop.host_lr, or loop.clip"
    )


def load_state(folder: Path) -> State:
    """Read state.json. Raises `TrainingError` naming the file and what is wrong with it."""
    path = folder / STATE_FILE
    try:
        raw, _ = read_json(path)
    except (OSError, CacheError) as error:
        raise TrainingError(f"{path}: cannot be read: {error}; train again with `make train`") from error
    if not isinstance(raw, dict) or raw.get("version") not in _READABLE:
        found = raw.get("version") if isinstance(raw, dict) else type(raw).__name__
        raise TrainingError(f"{path}: version: found {found}, expected {VERSION}; train again with `make train`")
    try:
        plain = PlainFields.model_validate({**raw, "finished": finished(raw)})
        return State(
            step=plain.step,
            recipe=TrainRecipe.model_validate(raw["recipe"]),
            classes=plain.classes,
            words=plain.words,
            grid=FeatureGrid.model_validate(raw["grid"]),
            data=plain.data,
            means=plain.means,
            finished=plain.finished,
            scales=plain.scales,
            version=plain.version,
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise TrainingError(f"{path}: is no state of a training run: {error}; train again with `make train`") from error


def weights_file(state: State, weights: Literal["chosen", "last", "average"] = "chosen") -> str:
    """Name of the file of weights; see `load_trained`."""
    average = state.recipe.loop.ema_eval if weights == "chosen" else weights == "average"
    return "ema.safetensors" if average else "model.safetensors"


def load_trained(
    folder: Path,
    *,
    weights: Literal["chosen", "last", "average"] = "chosen",
    device: torch.device | str = "cpu",
    csr_attention: bool = False,
) -> Trained:
    """Load the inference model of a checkpoint, in eval mode. `chosen`: the moving average if loop.ema_eval is set,
    else the last weights.

    Text tower, CSR and word vectors are neither built nor read, except, with `csr_attention`, CSR's attention, if the
    model has a CSR. Raises `TrainingError` if files are missing or hold another model.
    """
    state = load_state(folder)
    recipe, streams = state.recipe.model, state.grid.streams
    path = folder / weights_file(state, weights)
    model = inference_model(recipe, streams=streams, num_classes=len(state.classes))
    csr = None
    if csr_attention and recipe.use_csr:
        csr = ReconstructionAttention(recipe.csr, feature_width=sum(streams.values())).eval().to(device)
    sizes = stored_sizes(path)
    if unknown := sorted(name for name in sizes.keys() - model.state_dict().keys() if not _teaches(name, recipe)):
        raise _of_another_model(path, f"it holds {', '.join(unknown)}, too")
    fill(model, read_weights(path, names=model.state_dict()), path)
    if csr is not None:
        fill(csr, read_weights(path, names=csr.state_dict(), prefix="csr."), path)
    modules = [module for module in (model, csr) if module is not None]
    read = sum(value.numel() for module in modules for value in module.state_dict().values())
    return Trained(model.eval().to(device), state, csr, unread=sum(sizes.values()) - read)


def _teaches(name: str, recipe: ModelRecipe) -> bool:
    """Whether weights of this name are used in training only."""
    text_tower, csr = recipe.use_ksm and name.startswith("ksm."), recipe.use_csr and name.startswith("csr.")
    return text_tower or csr or (recipe.needs_texts and name == "word_vectors")


def stored_sizes(path: Path) -> dict[str, int]:
    """Number of elements of each tensor of a safetensors file; reads its header only. Raises `TrainingError` if it
    cannot be read."""
    with _opened(path) as file:
        return {name: math.prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def read_weights(path: Path, *, names: Iterable[str] | None = None, prefix: str = "") -> dict[str, Tensor]:
    """Tensors of a safetensors file: all of them, or those of `prefix` + `names` that it has, without the prefix; the
    others stay on disk. Raises `TrainingError` if it cannot be read."""
    with _opened(path) as file:
        stored = set(file.keys())
        chosen = stored if names is None else {prefix + name for name in names} & stored
        return {name.removeprefix(prefix): file.get_tensor(name) for name in chosen}


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except Exception as error:  # safetensors raises several types of its own
        told = not_a(path, "safetensors file", "safetensors") or f"cannot be read: {error}"
        raise TrainingError(f"{path}: {told}; train again with `make train`") from error


def fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a model. Raises `TrainingError` if they are another model's."""
    kinds = {name: value.dtype for name, value in model.state_dict().items()}
    if other := sorted(name for name, value in tensors.items() if value.dtype != kinds.get(name, value.dtype)):
        found = ", ".join(f"{name} of {tensors[name].dtype} instead of {kinds[name]}" for name in other[:3])
        raise _of_another_model(path, f"it holds {found}")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise _of_another_model(path, str(error)) from error


def _of_another_model(path: Path, why: str) -> TrainingError:
    return TrainingError(f"{path}: holds the weights of another model; train again with `make train`\n{why}")


def load_training(folder: Path) -> dict[str, Any]:
    """Optimizer states, pseudo segments, notes and buffers of training, without running any pickled code."""
    path = folder / TRAINING_FILE
    try:
        _check_sums(path)
        stored = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged zip raises whatever its reader does
        told = not_a(path, "file of torch.save", "torch") or f"cannot be read: {error}"
        raise TrainingError(f"{path}: {told}; train again with `make train`") from error
    if stored["pseudo"] is not None:
        stored["pseudo"] = {video: PseudoSegments(**fields) for video, fields in stored["pseudo"].items()}
    return {"notes": {}, "buffers": {}} | stored


def _check_sums(path: Path) -> None:
    """Raise BadZipFile if a part of the archive does not have its checksum, at which torch does not look."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (name := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{name} does not have its checksum: the file is damaged")


def fill_buffers(model: nn.Module, stored: Mapping[str, Tensor], folder: Path) -> None:
    """Load the non-persistent buffers. Raises `TrainingError` if they are another model's."""
    buffers = _training_buffers(model)
    if {name: value.shape for name, value in buffers.items()} != {name: value.shape for name, value in stored.items()}:
        names = ", ".join(sorted(buffers.keys() | stored.keys()))
        raise _of_another_model(folder / TRAINING_FILE, f"buffers of training differ: {names}")
    for name, value in stored.items():
        buffers[name].copy_(value)


def _training_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Non-persistent buffers, which training needs to resume."""
    weights = model.state_dict().keys()
    return {name: value for name, value in model.named_buffers() if name not in weights}


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights of a model as safetensors."""
    save_file({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, path)


def as_json(state: State) -> dict[str, Any]:
    """The document of state.json, without the sizes of files."""
    recipe, grid = state.recipe.model_dump(mode="json"), state.grid.model_dump(mode="json")
    return asdict(state) | {"recipe": recipe, "grid": grid}
