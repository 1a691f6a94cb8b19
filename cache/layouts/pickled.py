"""Reads pickled object arrays in .npy files without running any code in them.

Python's unpickler calls any function that a file names. This one accepts arrays, lists, strings and numbers, and
refuses everything else. It also skips long byte strings instead of reading them, so that the offset and shape of every
array in a file of gigabytes are known within milliseconds, and arrays can be read one by one.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from cache.errors import CacheError
from cache.files.kinds import not_a
from cache.files.npy import NPY_DAMAGE, check_npy_header, map_npy

_SHORT = 256
"""Strings of up to this many bytes are read at once; longer ones are skipped until they are needed."""
_DTYPES = re.compile(r"[?bhilfdeBHILOSU]\d*|[bifuSU?]\d+|O\d?")
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_DAMAGE = (
    *(pickle.UnpicklingError, EOFError, IndexError, KeyError, TypeError, ValueError),
    *(AttributeError, struct.error, OverflowError, MemoryError, RecursionError),
)


@dataclass(frozen=True)
class Passage:
    """Skipped bytes: their position in the file."""

    offset: int
    length: int
    text: bool
    """True if Python 3 wrote the bytes as latin-1 characters in UTF-8, as in pickles for Python 2."""


@dataclass
class StoredArray:
    """An array in a pickle: its shape and type, and where its data are."""

    shape: tuple[int, ...] = ()
    dtype: np.dtype = field(default_factory=lambda: np.dtype("f4"))
    fortran: bool = False
    data: Passage | bytes | list[Any] = b""

    def read(self, file: BinaryIO) -> np.ndarray:
        """Read the array from `file`, in which it was found. Raises CacheError if its data are incomplete."""
        if isinstance(self.data, list):
            raise CacheError(f"found an array of objects of shape {self.shape}, expected one of numbers")
        raw = _bytes_of(self.data, file)
        expected = math.prod(self.shape) * self.dtype.itemsize
        if len(raw) != expected:
            raise CacheError(f"found {len(raw)} bytes, expected {expected} for {self.dtype} of shape {self.shape}")
        return np.frombuffer(raw, self.dtype).reshape(self.shape, order="F" if self.fortran else "C")


def is_pickled(path: Path) -> bool:
    """Whether a .npy file holds Python objects. Raises CacheError if it is no .npy file."""
    with _opened(path) as file:
        return _header(path, file)[2].hasobject


def stored_objects(path: Path, *, allow_pickle: bool) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and items (in C order) of an array of objects; items that are arrays are `StoredArray`s.

    Raises CacheError if pickles are not allowed, the file is damaged, or it names anything but arrays and plain values.
    """
    with _opened(path) as file:
        shape, _, dtype = _header(path, file)
        if not dtype.hasobject:
            raise CacheError(f"{path}: found an array of {dtype}, expected one of objects")
        if not allow_pickle:
            raise CacheError(refusal(path))
        try:
            loaded = _PlacesReader(file, path).load()
        except _DAMAGE as error:
            raise CacheError(
                f"{path}: its pickle cannot be read ({type(error).__name__}: {error}); fetch it again"
            ) from error
    if not isinstance(loaded, StoredArray) or not isinstance(loaded.data, list) or math.prod(shape) != len(loaded.data):
        raise CacheError(f"{path}: its pickle does not hold the array of shape {shape} that its header promises")
    return shape, loaded.data


def plain_objects(path: Path, *, allow_pickle: bool) -> list[Any]:
    """The items of a small array, of objects or not, along its first axis: lists, bytes, str, numbers.

    Raises CacheError as `stored_objects` does.
    """
    if not is_pickled(path):
        return map_npy(path).tolist()
    shape, items = stored_objects(path, allow_pickle=allow_pickle)
    with _opened(path) as file:
        try:
            plain = [_plain(item, file) for item in items]
        except (CacheError, ValueError) as error:
            raise CacheError(f"{path}: {error}") from error
    width = math.prod(shape[1:])
    return plain if len(shape) < 2 else [plain[start : start + width] for start in range(0, len(plain), width)]


def refusal(path: Path) -> str:
    """Why pickled files are read on request only."""
    return (
        f"{path}: is pickled: found an array of Python objects, expected plain numbers or text.\n"
        "A pickle is a program: numpy and Python run what it says when they open it, and it can say anything, such as\n"
        "to read, send or delete your files. Here it is read without being run: arrays, lists, text and numbers are\n"
        "admitted, and a file that names anything else is refused. If you trust its origin, add --allow-pickle."
    )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise CacheError(f"{path}: cannot be read: {error.strerror or error}") from error


def _header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        check_npy_header(file)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(file)
    except NPY_DAMAGE as error:
        raise CacheError(f"{path}: {not_a(path, '.npy file', 'npy') or f'is no .npy file: {error}'}") from error


def _bytes_of(data: Passage | bytes, file: BinaryIO) -> bytes:
    if isinstance(data, bytes):
        return data
    file.seek(data.offset)
    raw = file.read(data.length)
    try:
        return raw.decode("utf-8").encode("latin-1") if data.text else raw
    except UnicodeError as error:
        raise CacheError(f"found bytes that are not what was written ({error}); fetch the file again") from error


def _plain(item: Any, file: BinaryIO) -> Any:
    match item:
        case StoredArray(data=list(items)):
            return [_plain(one, file) for one in items]
        case StoredArray():
            return item.read(file).tolist()
        case Passage(text=True):
            file.seek(item.offset)
            return file.read(item.length).decode("utf-8", "surrogatepass")
        case Passage():
            return _bytes_of(item, file)
        case list() | tuple():
            return [_plain(one, file) for one in item]
    return item


@dataclass
class _Dtype:
    code: str
    order: str = "="

    def resolved(self) -> np.dtype:
        dtype = np.dtype(self.code)
        match self.order:
            case "<" | ">":
                return dtype.newbyteorder(self.order)
        return dtype


def _name(value: object) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _new_array(kind: object, shape: object, code: object) -> StoredArray:
    return StoredArray()


def _from_buffer(data: Any, dtype: _Dtype, shape: tuple[int, ...], order: object) -> StoredArray:
    return _filled(StoredArray(), shape, dtype, _name(order) == "F", data)


def _filled(array: StoredArray, shape: Any, dtype: Any, fortran: object, data: Any) -> StoredArray:
    if not isinstance(dtype, _Dtype) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise pickle.UnpicklingError(f"an array of shape {shape!r} and type {dtype!r}")
    resolved = dtype.resolved()
    if resolved.hasobject != isinstance(data, list) or not isinstance(data, Passage | bytes | list):
        raise pickle.UnpicklingError(f"an array of {resolved} whose numbers are {type(data).__name__}")
    array.shape, array.dtype, array.fortran, array.data = tuple(shape), resolved, bool(fortran), data
    return array


def _new_dtype(code: object, align: object = False, copy: object = True) -> _Dtype:
    name = _name(code)
    if not _DTYPES.fullmatch(name):
        raise pickle.UnpicklingError(f"an array of type {name[:40]!r}")
    return _Dtype(name)


def _new_scalar(dtype: _Dtype, data: Any) -> Any:
    resolved = dtype.resolved()
    if resolved.hasobject or not isinstance(data, bytes):
        raise pickle.UnpicklingError(f"a number of type {resolved}")
    return np.frombuffer(data, resolved)[0].item()


def _encode(text: Any, encoding: object) -> Passage | bytes:
    if _name(encoding) not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text in the encoding {encoding!r}")
    return text if isinstance(text, Passage) else text.encode("latin-1")


def _no_bytes() -> bytes:
    return b""


_ADMITTED: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _new_array for module in _MULTIARRAY},
    **{(module, "scalar"): _new_scalar for module in _MULTIARRAY},
    **{(module, "_frombuffer"): _from_buffer for module in _NUMERIC},
    ("numpy", "dtype"): _new_dtype,
    ("numpy", "ndarray"): "numpy.ndarray",
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
}
_CALLED = tuple(value for value in _ADMITTED.values() if callable(value))


class _PlacesReader(pickle._Unpickler):
    """Python's own unpickler (the one in Python), restricted to the operations that data needs."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {}
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file, encoding="bytes")
        self._file, self._path = file, path
        self._size = os.fstat(file.fileno()).st_size

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[_name(module), _name(name)]
        except KeyError:
            raise CacheError(
                f"{self._path}: its pickle asks for {module}.{name}, which is neither an array nor text nor a number; "
                "it was refused, and nothing of it was run. Do not open this file with numpy or Python."
            ) from None

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        if not any(self.stack[-1] is function for function in _CALLED):
            raise pickle.UnpicklingError(f"a call of {self.stack[-1]!r}")
        self.stack[-1] = self.stack[-1](*arguments)

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Dtype) and isinstance(state, tuple) and not any(state[2:5]):
            target.order = _name(state[1])
        elif isinstance(target, StoredArray) and isinstance(state, tuple):
            _, shape, dtype, fortran, data = state
            _filled(target, shape, dtype, fortran, data)
        else:
            raise pickle.UnpicklingError(f"a state of {type(target).__name__}")

    def load_frame(self) -> None:
        self.read(8)  # frames only say how much to read ahead

    def _pass(self, size: str, *, text: bool = False) -> None:
        (length,) = struct.unpack(size, self.read(struct.calcsize(size)))
        offset = self._file.tell()
        if length < 0 or offset + length > self._size:
            raise CacheError(f"{self._path}: ends after {self._size} bytes, in the middle of an array; fetch it again")
        if length > _SHORT:
            self._file.seek(length, os.SEEK_CUR)
            self.append(Passage(offset, length, text))
        else:
            raw = self.read(length)
            self.append(raw.decode("utf-8", "surrogatepass") if text else raw)


_KEPT = """
PROTO STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 INT LONG LONG1 LONG4 FLOAT BINFLOAT
EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS GLOBAL STACK_GLOBAL
GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE
"""
_PASSED = {
    "BINSTRING": ("<i", False),
    "SHORT_BINSTRING": ("<B", False),
    "BINBYTES": ("<I", False),
    "SHORT_BINBYTES": ("<B", False),
    "BINBYTES8": ("<Q", False),
    "BYTEARRAY8": ("<Q", False),
    "BINUNICODE": ("<I", True),
    "SHORT_BINUNICODE": ("<B", True),
    "BINUNICODE8": ("<Q", True),
}


def _passing(size: str, text: bool) -> Callable[[_PlacesReader], None]:
    return lambda reader: reader._pass(size, text=text)


def _code(name: str) -> int:
    return getattr(pickle, name)[0]


_PlacesReader.dispatch |= {_code(name): pickle._Unpickler.dispatch[_code(name)] for name in _KEPT.split()}
_PlacesReader.dispatch |= {_code(name): _passing(*how) for name, how in _PASSED.items()}
_PlacesReader.dispatch |= {
    _code("REDUCE"): _PlacesReader.load_reduce,
    _code("BUILD"): _PlacesReader.load_build,
    _code("FRAME"): _PlacesReader.load_frame,
}
