"""Checkpoints: state.json, weights in safetensors, the state of training, and the pointer to the latest."""

from __future__ import annotations

import io
import json
import random
import struct
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.fuzzing.mutations.json_values import changed, places, removed, renamed, replaced, spelled, written
from benchmarks.fuzzing.mutations.noise import another, noise
from benchmarks.fuzzing.plain.plain_json import document_of, name_of, number_of, single, storable
from benchmarks.fuzzing.trials import UNKNOWN, Input, Read, Unreadable
from cache.features import FeatureGrid
from training.checkpoints.checkpoint import State, load_state, load_trained, load_training, save_checkpoint
from training.checkpoints.folder import find_checkpoint, is_finished, steps_taken
from training.hosts.plain import PlainRecipe
from training.model.mllm4wtal import Mllm4Wtal, ModelRecipe
from training.optimizers import LoopRecipe
from training.recipe import TrainRecipe

_STEP = "step-00000003"
_GRID = FeatureGrid(streams={"rgb": 3, "flow": 2}, fps=25, snippet_frames=16, snippet_stride=16)
_FILES = ("state.json", "model.safetensors", "optimizer.pt", "latest")


@cache
def base() -> dict[str, bytes]:
    """The files of a run of a host alone, after three steps of six."""
    torch.manual_seed(0)
    parts = ModelRecipe(host=PlainRecipe(width=4), use_ksm=False, use_csr=False, use_dpid=False, use_head=False)
    recipe = TrainRecipe(model=parts, loop=LoopRecipe(steps=6, device="cpu"))
    model = Mllm4Wtal(parts, streams=_GRID.streams, num_classes=2)
    optimizer = torch.optim.Adam(model.parameters())
    sum(value.square().sum() for value in model.parameters()).backward()  # pyright: ignore[reportAttributeAccessIssue]
    optimizer.step()
    state = State(
        3, recipe, ("Dive", "High Kick"), ("a", "跳水"), _GRID, "0123abcd", {"loss": (1.5, 3)}, finished=False
    )
    with tempfile.TemporaryDirectory() as made:
        folder = save_checkpoint(
            Path(made), state, model=model, average=None, optimizers={"host": optimizer}, pseudo=None, notes={}
        )
        return {f"checkpoint/{_STEP}/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())} | {
            "checkpoint/latest": f"{_STEP}\n".encode()
        }


class Checkpoints:
    """See `Format`."""

    name = "checkpoints"
    share = 8

    def draw(self, rng: random.Random) -> Input:
        """See `Format`."""
        files = dict(base())
        file = rng.choice(
            ("state.json", "state.json", "model.safetensors", "model.safetensors", "optimizer.pt", "latest")
        )
        path = "checkpoint/latest" if file == "latest" else f"checkpoint/{_STEP}/{file}"
        if file == "state.json" and rng.random() < 0.7:
            return _state(rng, files, path)
        if file == "model.safetensors" and rng.random() < 0.5:
            done, data, unusable = _weights(rng, files[path])
        else:
            done, data = (another if rng.random() < 0.15 else noise)(files[path], rng)
            unusable = False
        files[path] = data
        if file in ("model.safetensors", "optimizer.pt") and rng.random() < 0.7:
            _resized(files, file, len(data))
        return Input(f"{file}: {done}", files, base_value() if file == "latest" else UNKNOWN, unusable)

    def read(self, folder: Path) -> Read:
        """See `Format`."""
        found = find_checkpoint(folder)
        if found is None:
            return Read("no checkpoint")
        steps_taken(folder)
        is_finished(folder)
        state = load_state(found)
        trained = load_trained(found, weights="last")
        weights = {name: value.numpy().tobytes() for name, value in trained.model.state_dict().items()}
        return Read(_value(state, weights, load_training(found)))

    def plain(self, folder: Path) -> Any:
        """See `Format`."""
        return _plain(folder / "checkpoint" / _STEP)


def _value(state: State, weights: dict[str, bytes], training: dict[str, Any]) -> dict[str, Any]:
    return {
        "step": state.step,
        "classes": state.classes,
        "words": state.words,
        "streams": dict(state.grid.streams),
        "data": state.data,
        "means": {name: tuple(map(float, pair)) for name, pair in state.means.items()},
        "finished": state.finished,
        "weights": dict(sorted(weights.items())),
        "training": _flat(training),
    }


def _flat(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), str(value.dtype), value.numpy().tobytes()
    if isinstance(value, dict):
        return {str(key): _flat(item) for key, item in value.items()}
    return [_flat(item) for item in value] if isinstance(value, (list, tuple)) else value


@cache
def base_value() -> dict[str, Any]:
    """Of the files as they were written."""
    with tempfile.TemporaryDirectory() as made:
        for name, data in base().items():
            (Path(made) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(made) / name).write_bytes(data)
        return FORMAT.read(Path(made)).value


def _resized(files: dict[str, bytes], file: str, size: int) -> None:
    """state.json says the new size, as if the file had been written so."""
    path = f"checkpoint/{_STEP}/state.json"
    document = json.loads(files[path])
    document["files"][file] = size
    files[path] = json.dumps(document).encode()


def _state(rng: random.Random, files: dict[str, bytes], path: str) -> Input:
    document = json.loads(files[path])
    if rng.random() < 0.25:
        done, text = spelled(document, rng)
        files[path] = (b"\xef\xbb\xbf" if rng.random() < 0.3 else b"") + text.encode()
        return Input(f"state.json: {done}", files, same=base_value())
    if rng.random() < 0.5:
        done, way, mutated = changed(document, rng)
        while way[0] == "recipe":  # whose fields are the business of its own class
            done, way, mutated = changed(document, rng)
    else:
        key = rng.choice([key for key in document if key != "recipe"])
        value = rng.choice(
            (None, 0, 1, True, "abc", "ab", [], {}, ["a", "b"], [1, 2], {"a": 1}, {"loss": [1]}, 3.5, -3, "3")
        )
        way, done, mutated = (key,), f"is {value!r}", replaced(document, (key,), value)
    files[path] = written(mutated).encode("utf-8", "surrogatepass")
    return Input(f"state.json: {'.'.join(map(str, way))}: {done}", files)


def _weights(rng: random.Random, data: bytes) -> tuple[str, bytes, bool]:
    """Another header before the same numbers; whether it is certainly of no use."""
    (size,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    names = [name for name in header if name != "__metadata__"]
    name = rng.choice(names)
    match rng.choice(("dtype", "shape", "removed", "renamed", "offsets", "metadata", "order", "length", "value")):
        case "dtype":
            kind = rng.choice(("I32", "U32", "F16", "I64", "BF16", "X", 5))
            changed_ = replaced(header, (name, "dtype"), kind)
            return f"dtype {kind}", _packed(changed_, body), True
        case "shape":
            shape = header[name]["shape"]
            other = rng.choice((shape[::-1], [1, *shape], [], [-1], [2**62, 2], [True], "x", [*shape, 1]))
            return f"shape {other}", _packed(replaced(header, (name, "shape"), other), body), False
        case "removed":
            return "a tensor less", _packed(removed(header, (name,)), body), True
        case "renamed":
            return "a tensor of another name", _packed(renamed(header, (name,), f"{name}x"), body), True
        case "offsets":
            other = rng.choice(names)
            swapped = replaced(header, (name, "data_offsets"), header[other]["data_offsets"])
            return "offsets of another tensor", _packed(swapped, body), other != name
        case "metadata":
            return "metadata", _packed({"__metadata__": {"format": "pt", "by": "é"}, **header}, body), False
        case "order":
            return (
                "names in another order",
                _packed({key: header[key] for key in rng.sample(list(header), len(header))}, body),
                False,
            )
        case "length":
            length = rng.choice((0, 1, size - 1, size + 1, 2**63, 2**32, 10**8))
            return f"length {length}", struct.pack("<Q", length) + data[8:], True
        case _:
            way, _ = rng.choice(list(places(header)))
            return (
                "a value of the header",
                _packed(replaced(header, way, rng.choice((None, -1, "x", [], {}))), body),
                False,
            )


def _packed(header: Any, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def _plain(folder: Path) -> dict[str, Any]:
    state = single(document_of(folder / "state.json"))
    if not isinstance(state, dict) or state.get("version") not in (2, 3) or isinstance(state["version"], bool):
        raise Unreadable("no state")
    files = state.get("files", {})
    if not isinstance(files, dict) or any(
        not (folder / name).is_file() or size != (folder / name).stat().st_size for name, size in files.items()
    ):
        raise Unreadable("other sizes")
    value: dict[str, Any] = {
        "step": _count(state.get("step")),
        "classes": _names(state.get("classes")),
        "words": _texts(state.get("words")),
        "streams": _streams(state.get("grid")),
        "data": state.get("data"),
        "means": _means(state.get("means")),
        "finished": state.get("finished", state["step"] in (0, state["recipe"]["loop"]["steps"])),
    }
    if not isinstance(value["data"], str) or not isinstance(value["finished"], bool):
        raise Unreadable("no text, or no yes and no")
    if len(value["classes"]) != len(base_value()["classes"]):
        raise Unreadable("another number of classes")
    if not isinstance(state.get("recipe"), dict):
        raise Unreadable("no recipe")
    return value | {"weights": _tensors(folder / "model.safetensors"), "training": _training(folder / "optimizer.pt")}


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise Unreadable("no count")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(set(map(name_of, value))) < len(value):
        raise Unreadable("no list of names")
    return tuple(map(storable, value))


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise Unreadable("no list of words")
    return tuple(value)


def _streams(grid: Any) -> dict[str, int]:
    if not isinstance(grid, dict) or set(grid) != {"streams", "fps", "snippet_frames", "snippet_stride"}:
        raise Unreadable("no grid")
    if min(number_of(grid[name]) for name in ("fps", "snippet_frames", "snippet_stride")) <= 0:
        raise Unreadable("no grid")
    streams = grid["streams"]
    if not isinstance(streams, dict) or [number_of(width) for width in streams.values()] != [3, 2]:
        raise Unreadable("other streams")
    return {name: int(number_of(width)) for name, width in streams.items()}


def _means(value: Any) -> dict[str, tuple[float, float]]:
    if not isinstance(value, dict) or any(not isinstance(pair, list) or len(pair) != 2 for pair in value.values()):
        raise Unreadable("no means")
    if any(isinstance(pair[0], str) or type(pair[1]) is not int for pair in value.values()):
        raise Unreadable("text in means, or half a count")
    return {name: (number_of(pair[0]), number_of(pair[1])) for name, pair in value.items()}


def _tensors(path: Path) -> dict[str, bytes]:
    """By the description of the format: 8 bytes of length, JSON, and the numbers without gaps."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or 8 + size > len(data):
        raise Unreadable("no safetensors")
    try:
        header = json.loads(data[8 : 8 + size], object_pairs_hook=_once)
        body = data[8 + size :]
        header.pop("__metadata__", None)
        found: dict[str, tuple[Any, Any, Any, Any]] = {}
        for name, one in header.items():
            start, end = one["data_offsets"]
            found[name] = one["dtype"], list(one["shape"]), start, end
        begins = 0
        for _, _, start, end in sorted(found.values(), key=lambda one: one[2]):
            if start != begins or end < start:
                raise Unreadable("a gap")
            begins = end
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"no header: {error}") from error
    expected = _expected()
    if {name: one[:2] for name, one in found.items()} != expected or begins != len(body):
        raise Unreadable("other tensors")
    return {name: body[found[name][2] : found[name][3]] for name in sorted(found)}


def _once(pairs: list) -> dict:
    if len(dict(pairs)) < len(pairs):
        raise Unreadable("a key twice")
    return dict(pairs)


@cache
def _expected() -> dict[str, tuple[str, list[int]]]:
    data = base()[f"checkpoint/{_STEP}/model.safetensors"]
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    header.pop("__metadata__", None)
    return {name: (one["dtype"], list(one["shape"])) for name, one in header.items()}


def _training(path: Path) -> Any:
    """That of the base, if the archive is whole and holds the same: its checksums tell."""
    try:
        with (
            zipfile.ZipFile(path) as archive,
            zipfile.ZipFile(io.BytesIO(base()[f"checkpoint/{_STEP}/optimizer.pt"])) as sound,
        ):
            members = {name: archive.read(name) for name in archive.namelist()}
            expected = {name: sound.read(name) for name in sound.namelist()}
    except Exception as error:  # whatever the reader of archives raises
        raise Unreadable(f"no archive: {error}") from error
    if members != expected:
        raise Unreadable("other members")
    return base_value()["training"]


FORMAT = Checkpoints()
