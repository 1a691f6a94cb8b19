"""Converts dataclass rows to Arrow tables, with vectors as contiguous blocks of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa

from cache.errors import CacheError


def to_table(rows: Sequence[Any], schema: pa.Schema) -> pa.Table:
    """Dataclass rows of one class as a table of exactly this schema. Raises CacheError naming the column that does not
    fit."""
    names = [field.name for field in fields(rows[0])]
    if set(names) != set(schema.names):
        unmatched = sorted(set(names) ^ set(schema.names))
        raise CacheError(f"{type(rows[0]).__name__}: fields and columns differ in {unmatched}")
    columns = []
    for field in schema:
        values = [getattr(row, field.name) for row in rows]
        try:
            column = _to_array(values, field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise CacheError(f"column {field.name}: a value does not fit {field.type}: {error}") from error
        if column.null_count and not field.nullable:
            raise CacheError(f"column {field.name}: holds a null, and must not")
        if pa.types.is_list(field.type) and column.flatten().null_count:
            raise CacheError(f"column {field.name}: a list in it holds a null, and must not")
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def _to_array(values: list, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return _to_vectors(np.stack(values), kind)
    if pa.types.is_list(kind) and pa.types.is_fixed_size_list(kind.value_type):
        offsets = np.cumsum([0, *(len(block) for block in values)], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), _to_vectors(np.concatenate(values), kind.value_type), kind)
    return pa.array(values, type=kind)


def holds_vectors(kind: pa.DataType) -> bool:
    """Whether values of a type are vectors, or lists of vectors."""
    return pa.types.is_fixed_size_list(kind) or (pa.types.is_list(kind) and holds_vectors(kind.value_type))


def _to_vectors(block: np.ndarray, kind: pa.FixedSizeListType) -> pa.Array:
    block = block.astype(kind.value_type.to_pandas_dtype(), casting="safe", copy=False)
    if block.shape[1:] != (kind.list_size,):
        raise ValueError(f"found shape {block.shape[1:]}")
    return pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), type=kind)
