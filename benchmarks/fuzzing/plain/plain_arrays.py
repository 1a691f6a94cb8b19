"""The .npy format after numpy's description of it, second reader; pickles admit arrays, lists, text and numbers."""

from __future__ import annotations

import ast
import io
import math
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzzing.trials import Unreadable

_ADMITTED = {
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    *(("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"{module_name}.{global_name}")
        return super().find_class(module_name, global_name)


def array_of(path: Path) -> list[Any]:
    """The items of an array along its first axis, as lists."""
    return parsed(path.read_bytes()).tolist()


def parsed(data: bytes) -> np.ndarray:
    """The array in the bytes of a .npy file, all of which belong to it."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12 or data[6] not in (1, 2, 3) or data[7] != 0:
        raise Unreadable("no .npy")
    size, start = (struct.unpack("<H", data[8:10])[0], 10) if data[6] == 1 else (struct.unpack("<I", data[8:12])[0], 12)
    try:
        header = ast.literal_eval(data[start : start + size].decode("utf-8" if data[6] == 3 else "latin-1").strip())
        if set(header) != {"descr", "fortran_order", "shape"} or len(data) < start + size:
            raise Unreadable("another header")
        dtype, shape = np.dtype(header["descr"]), header["shape"]
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError, UnicodeDecodeError) as error:
        raise Unreadable(f"no header: {error}") from error
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise Unreadable("no shape")
    if type(header["fortran_order"]) is not bool:
        raise Unreadable("no order")
    body = data[start + size :]
    if dtype.hasobject:
        return _objects(body, shape)
    if len(body) != math.prod(shape) * dtype.itemsize:
        raise Unreadable(f"{len(body)} bytes for {shape} of {dtype}")
    return np.frombuffer(body, dtype).reshape(shape, order="F" if header["fortran_order"] else "C")


def _objects(body: bytes, shape: tuple[int, ...]) -> np.ndarray:
    file = io.BytesIO(body)
    try:
        array = _Unpickler(file, encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises anything
        raise Unreadable(f"its pickle: {type(error).__name__}: {error}") from error
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise Unreadable("another object")
    return array
