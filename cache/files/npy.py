"""Arrays in .npy files: reading without a trust in their headers, and writing."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO

import numpy as np

from cache.errors import CacheError
from cache.files.kinds import not_a

NPY_DAMAGE = (OSError, ValueError, TypeError, EOFError, SyntaxError, TokenError)
"""What numpy raises for a damaged .npy file; the last two, and TypeError, are for a damaged header."""
_LONGEST_HEADER = 1 << 20


def map_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, memory-mapped. Raises FileNotFoundError, and CacheError, which says what the file is
    where it is none, if it cannot be read."""
    try:
        with path.open("rb") as file:
            check_npy_header(file)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except NPY_DAMAGE as error:
        raise CacheError(f"{path}: {not_a(path, '.npy file', 'npy') or f'cannot be read: {error}'}") from error
    promised, size = getattr(array, "offset", 0) + array.nbytes, path.stat().st_size
    if size > promised > array.nbytes:  # numpy passes over what is too much: numbers that were shifted, other arrays
        raise CacheError(f"{path}: holds {size} bytes, expected {promised} by its header ({array.shape} {array.dtype})")
    return array


def check_npy_header(file: BinaryIO) -> None:
    """Raise ValueError for what is no .npy file (numpy opens archives and pickles, too), and for a header longer than
    any is, for which numpy makes room at once. Leaves the file at its start."""
    head = file.read(12)
    file.seek(0)
    if head[:6] != np.lib.format.MAGIC_PREFIX:
        raise ValueError(f"it begins with {head[:6]!r}")
    if head[6:7] != b"\1" and int.from_bytes(head[8:12], "little") > _LONGEST_HEADER:
        raise ValueError(f"its header would have {int.from_bytes(head[8:12], 'little')} bytes")


def write_npy(path: Path, array: np.ndarray) -> None:
    """Like `numpy.save`, whose error does not say why a file cannot be written, such as that the disk is full."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
