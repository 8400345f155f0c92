"""Columns of text that hold few values: read as dictionaries, spelt out as pandas wants them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_TEXT = pa.string()
_ROWS_OF_CONSTANT = 1 << 16


def dictionary_coded(parquet: pq.ParquetFile) -> list[str]:
    """Columns of text that a file of ours keeps as a dictionary: quicker to read as one and to spell out then."""
    if not parquet.metadata.num_row_groups:
        return []
    group = parquet.metadata.row_group(0)
    coded = {group.column(i).path_in_schema for i in range(group.num_columns) if group.column(i).has_dictionary_page}
    return [field.name for field in parquet.schema_arrow if field.name in coded and pa.types.is_string(field.type)]


def spelt_out(table: pa.Table, names: Sequence[str], kind: pa.DataType = _TEXT) -> pa.Table:
    """The dictionaries `names` of a table as text: `pa.string()` or, as pandas holds it, `pa.large_string()`."""
    for index, field in enumerate(table.schema):
        if field.name in names and pa.types.is_dictionary(field.type):
            plain = pa.field(field.name, kind, field.nullable, field.metadata)
            column = table.column(index)
            table = table.set_column(index, plain, _constant(column) if _is_constant(column, kind) else column.cast(kind))
    return table


def _is_constant(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    long = len(column) > _ROWS_OF_CONSTANT and pa.types.is_large_string(kind)
    return long and len({value for chunk in column.chunks for value in chunk.dictionary.to_pylist()}) == 1


def _constant(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column whose values are all the same, or null, as `large_string`: its chunks share one stretch of text and offsets.

    A run's million rows name the same networks, licence and version: spelt out row by row, that is a fifth of the frame.
    """
    value = next(chunk.dictionary[0].as_py() for chunk in column.chunks if len(chunk.dictionary)).encode()
    offsets = pa.py_buffer(np.arange(_ROWS_OF_CONSTANT + 1, dtype=np.int64) * len(value))
    text = pa.py_buffer(value * _ROWS_OF_CONSTANT)
    known = column.is_valid().to_numpy() if column.null_count else None
    chunks = []
    for first in range(0, len(column), _ROWS_OF_CONSTANT):
        n_rows = min(_ROWS_OF_CONSTANT, len(column) - first)
        valid = None if known is None else pa.array(known[first : first + n_rows]).buffers()[1]
        chunks.append(pa.Array.from_buffers(pa.large_string(), n_rows, [valid, offsets, text]))
    return pa.chunked_array(chunks)
