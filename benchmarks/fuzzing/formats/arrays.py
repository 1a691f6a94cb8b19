"""Snippet features: features.json and a .npy a video, as a store that is trained on, and as a folder to import."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzzing.mutations.json_values import changed, spelled
from benchmarks.fuzzing.mutations.json_values import written as written_json
from benchmarks.fuzzing.mutations.noise import another, noise
from benchmarks.fuzzing.mutations.texts import encoded
from benchmarks.fuzzing.plain.plain_arrays import parsed
from benchmarks.fuzzing.plain.plain_json import document_of, number_of, single
from benchmarks.fuzzing.trials import Input, Read, Unreadable
from cache.errors import CacheError
from cache.features import FeatureStore
from cache.layouts.convert import ConvertRecipe, plan
from cache.layouts.sources import FolderSource

_GRID = {"streams": {"rgb": 3, "flow": 2}, "fps": 25.0, "snippet_frames": 16, "snippet_stride": 16}
_WIDTH = 5
_ORDERS = "True False None 1 'False'"
_TYPES = "'<f4' '>f4' '<f8' '<i4' '|O' '<f2' [('a','<f4')] '<c8' '|S4' '<M8[s]' None"
_SHAPES = (
    "(5,8) (40,) (8,5,1) (1,8,5) (7,5) (9,5) (4,5) (8,5 (-8,-5) (8.0,5) (0,5) (10**12,5) (4000000000000,5) (True,5) ()"
)
_HEADERS = {"fortran_order": _ORDERS.split(), "descr": _TYPES.split(), "shape": _SHAPES.split()}


def saved(array: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def with_header(header: str, body: bytes, version: tuple[int, int] = (1, 0)) -> bytes:
    """Header and body of any kind."""
    text = (header + "\n").encode("utf-8" if version[0] == 3 else "latin-1", "replace")
    size = len(text).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + text + body


class Arrays:
    """See `Format`."""

    name = "arrays"
    share = 12

    def draw(self, rng: random.Random) -> Input:
        """See `Format`."""
        numpy = np.random.default_rng(rng.randrange(2**32))
        arrays = {name: numpy.standard_normal((8, _WIDTH)).astype("f4") for name in ("a", "b")}
        files = {f"f/{name}.npy": saved(array) for name, array in arrays.items()}
        files["f/features.json"] = json.dumps(_GRID).encode()
        files["import" if rng.random() < 0.3 else "store"] = b""
        kind = rng.choice(("header", "header", "same", "values", "grid", "noise", "noise", "another"))
        array = arrays["b"]
        match kind:
            case "header":
                field = rng.choice(list(_HEADERS))
                parts = {"descr": "'<f4'", "fortran_order": "False", "shape": "(8, 5)"}
                parts[field] = rng.choice(_HEADERS[field])
                header = "{" + ", ".join(f"'{name}': {value}" for name, value in parts.items()) + ", }"
                files["f/b.npy"] = with_header(header, array.tobytes())
                return Input(f"header: {field} {parts[field]}", files)
            case "same":
                done, files["f/b.npy"] = _same(rng, array)
                return Input(f"same: {done}", files, same={name: _value(array) for name, array in arrays.items()})
            case "values":
                array = array.copy()
                array[rng.randrange(8), rng.randrange(_WIDTH)] = bad = rng.choice((np.nan, np.inf, -np.inf, 1e38, -0.0))
                files["f/b.npy"] = saved(
                    array if rng.random() < 0.5 else array.astype("f4").astype(rng.choice(("f8", "f4")))
                )
                return Input(f"values: {bad}", files, named=("b.npy",))
            case "grid":
                return _grid(rng, files)
            case _:
                done, files["f/b.npy"] = (noise if kind == "noise" else another)(files["f/b.npy"], rng)
                return Input(done, files, named=("b.npy",))

    def read(self, folder: Path) -> Read:
        """See `Format`."""
        if (folder / "import").exists():
            return self._imported(folder / "f")
        store = FeatureStore.open(folder / "f")
        store.preflight(["a", "b"])
        return Read({name: _value(np.asarray(store.load(name))) for name in ("a", "b")})

    def _imported(self, folder: Path) -> Read:
        source = FolderSource(folder)
        planned = plan(source, ["a", "b"], ConvertRecipe(streams=_GRID["streams"]))
        if planned.unusable:
            raise CacheError(f"{folder}: {planned.unusable}")  # which the command lists
        return Read({name: _value(source.read(name)[0].astype("f4")) for name in planned.names})

    def plain(self, folder: Path) -> Any:
        """See `Format`."""
        imports = (folder / "import").exists()
        if not imports:
            _check_grid(single(document_of(folder / "f/features.json")))
        found = {name: parsed((folder / f"f/{name}.npy").read_bytes()) for name in ("a", "b")}
        for array in found.values():
            kinds = ("<f4", "<f2", "<f8", ">f4", ">f8") if imports else ("<f4", "<f2")
            if array.ndim != 2 or array.shape[1] != _WIDTH or not len(array) or array.dtype.str not in kinds:
                raise Unreadable(f"{array.shape} of {array.dtype}")
            if not imports and not np.isfinite(array).all():
                raise Unreadable("numbers that are not finite")
        return {name: _value(array.astype("f4") if imports else array) for name, array in found.items()}


def _same(rng: random.Random, array: np.ndarray) -> tuple[str, bytes]:
    """One array in other forms of the format."""
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (8, 5), }"
    version = rng.choice(((1, 0), (2, 0), (3, 0)))
    match rng.choice(("version", "order", "padding", "keys", "quotes")):
        case "version":
            return f"version {version}", with_header(header, array.tobytes(), version)
        case "order":
            return "columns first", saved(np.asfortranarray(array))
        case "padding":
            return "padding", with_header(header + " " * rng.choice((0, 1, 63, 500)), array.tobytes(), version)
        case "keys":
            return "keys in another order", with_header(
                "{'shape': (8, 5), 'descr': '<f4', 'fortran_order': False}", array.tobytes()
            )
        case _:
            return "double quotes", with_header(header.replace("'", '"'), array.tobytes())


def _grid(rng: random.Random, files: dict[str, bytes]) -> Input:
    """features.json, otherwise."""
    files = {name: data for name, data in files.items() if name != "import"} | {"store": b""}
    same = {name: _value(parsed(files[f"f/{name}.npy"])) for name in ("a", "b")}
    match rng.choice(("spelled", "encoded", "changed", "changed", "noise")):
        case "spelled":
            done, text = spelled(_GRID, random.Random(rng.random()))
            files["f/features.json"] = text.encode()
        case "encoded":
            done, files["f/features.json"] = encoded(json.dumps(_GRID, indent=1), rng)
        case "changed":
            done, way, mutated = changed(_GRID, rng)
            files["f/features.json"] = written_json(mutated).encode()
            return Input(f"grid: {done} at {'.'.join(map(str, way))}", files, named=("features.json",))
        case _:
            done, files["f/features.json"] = noise(files["f/features.json"], rng)
            return Input(f"grid: {done}", files)
    return Input(f"grid: {done}", files, same=same)


def _check_grid(grid: Any) -> None:
    if not isinstance(grid, dict) or set(grid) != set(_GRID):
        raise Unreadable("no grid")
    streams = grid["streams"]
    if not isinstance(streams, dict) or not all(isinstance(name, str) for name in streams):
        raise Unreadable("no streams")
    widths = [_whole(width) for width in streams.values()]
    if sum(widths) != _WIDTH or min(_whole(grid["snippet_frames"]), _whole(grid["snippet_stride"])) < 1:
        raise Unreadable("another width")
    if number_of(grid["fps"]) <= 0:
        raise Unreadable("no rate")


def _whole(value: Any) -> int:
    number = number_of(value)
    if number != int(number) or number < 1:
        raise Unreadable(f"{value!a} is no count")
    return int(number)


def _value(array: np.ndarray) -> tuple:
    return array.shape, array.dtype.str, np.ascontiguousarray(array).tobytes()


FORMAT = Arrays()
