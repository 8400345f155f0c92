"""Rows and data frames to typed Arrow tables, and back to pandas."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import UserError, did_you_mean
from manifests.places import one_line
from manifests.schema import COLUMNS, NEEDED_COLUMNS, NEVER_NULL, Column, column_of, with_extra

Rows = Sequence[Mapping[str, Any]]
EXTRA_ATTR = "manifest_columns"  # DataFrame.attrs: unit, meaning and since-version of columns that the schema lacks
_SCHEMA = {column.name: column for column in COLUMNS}
_WHERE_UNSTATED = {"accepted": False, "reject_reasons": []}


def to_table(data: Rows | pd.DataFrame | pa.Table, columns: Iterable[Column] = ()) -> pa.Table:
    """A table that has every column of the schema, in its order and types, then the further ones; nulls where `data` says nothing.

    Args:
        data: rows as mappings, a data frame or an Arrow table.
        columns: columns beyond the schema. Rows may only use these; frames and tables carry types and may bring undeclared ones.

    Raises:
        UserError: an undeclared key, a value that does not fit its column, or a null in a column that must be known.
    """
    own: Sequence[Column]
    if isinstance(data, pa.Table):
        names, get = data.column_names, data.column
        own = [column_of(field) for field in data.schema]
    elif isinstance(data, pd.DataFrame):
        names, get = [str(name) for name in data.columns], lambda name: data[name]
        own = columns_of_frame(data[[name for name in data.columns if name not in _SCHEMA]])
    else:
        data = list(data)
        names, get = list(dict.fromkeys(key for row in data for key in row)), lambda name: [row.get(name) for row in data]
        own = []
    declared = with_extra(columns)
    known = {further.name for further in declared}
    declared += tuple(further for further in own if further.name not in known)
    known.update(further.name for further in own)
    for name in names:
        if name not in known:
            raise UserError(
                f"unknown manifest column {name!r}{did_you_mean(name, known)}; declare further columns with columns=[Column(...)]"
            )
    present = set(names)
    arrays = [_array(get(further.name) if further.name in present else None, further, len(data)) for further in declared]
    return pa.table(arrays, schema=pa.schema([further.field() for further in declared]))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as mappings from column name to value."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def columns_of_frame(frame: pd.DataFrame) -> tuple[Column, ...]:
    """What a frame's columns are: types as they stand, meanings from the schema or, for further columns, as they were loaded."""
    loaded = frame.attrs.get(EXTRA_ATTR, {})
    columns = []
    for name in map(str, frame.columns):
        known = _SCHEMA.get(name)
        unit, meaning, since = (known.unit, known.meaning, known.since) if known else loaded.get(name, ("", "", 0))
        columns.append(Column(name, _arrow_type(frame[name], name), unit, meaning, since))
    return tuple(columns)


def _arrow_type(series: pd.Series, name: str) -> pa.DataType:
    try:
        kind = pa.array(series, from_pandas=True).type
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise UserError(f"column {name!r} holds what Arrow cannot store: {one_line(error)}") from error
    return pa.string() if pa.types.is_large_string(kind) else kind


def complete(table: pa.Table, names: Sequence[str] | None = None) -> pa.Table:
    """The columns `names` of a table that was read, or all; columns of the schema that an older manifest lacks are null.

    Raises:
        UserError: a name that neither the table nor the schema has.
    """
    if names is None:
        names = [*_SCHEMA, *(name for name in table.column_names if name not in _SCHEMA)]
    for name in dict.fromkeys(names):
        if name not in table.column_names:
            if name not in _SCHEMA:
                known = {*_SCHEMA, *table.column_names}
                raise UserError(f"unknown manifest column {name!r}{did_you_mean(name, known)}; manifests.describe(path) lists them")
            table = table.append_column(_SCHEMA[name].field(), _stated(pa.nulls(len(table), _SCHEMA[name].type), _SCHEMA[name]))
    return table.select(list(names))


def require_columns(names: Collection[str], what: str) -> None:
    """
    Raises:
        UserError: names that a manifest cannot do without are missing, or one is there twice.
    """
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise UserError(f"{what} has the column {twice[0]!r} twice: rename or drop one")
    missing = [name for name in NEEDED_COLUMNS if name not in names]
    if not missing:
        return
    meant = next((f"; {name!r} is probably {found!r}" for name in missing if (found := _probably(name, names))), "")
    told = f"{what} lacks {', '.join(missing)}"
    raise UserError(f"{told}{meant}: a manifest that others write needs the columns {', '.join(NEEDED_COLUMNS)}")


def _probably(name: str, names: Collection[str]) -> str | None:
    near = difflib.get_close_matches(name, [other for other in names if other not in _SCHEMA], n=1, cutoff=0.7)
    return near[0] if near else None


def typed_as_manifest(table: pa.Table) -> pa.Table:
    """Columns of a table that something else than `write` made, in the types of the schema; an index of pandas is dropped."""
    names = [name for name in table.column_names if not name.startswith("__index_level_")]
    arrays, fields = [], []
    for name in names:
        known, array = _SCHEMA.get(name), table.column(name)
        if known is None:
            plain = _plain_type(array.type)
            arrays.append(array if array.type == plain else array.cast(plain))
            fields.append(pa.field(name, plain, metadata=table.schema.field(name).metadata))
        else:
            arrays.append(_array(array, known, len(table)))
            fields.append(known.field())
    return pa.table(arrays, schema=pa.schema(fields))


def conformed(table: pa.Table, what: str) -> pa.Table:
    """A table in memory as a manifest: the needed columns are there, and all have the schema's types."""
    require_columns(table.column_names, what)
    return typed_as_manifest(table)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The usual one of types that hold the same: long and viewed texts, and dictionaries of texts."""
    text = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return pa.string() if text or (pa.types.is_dictionary(kind) and _plain_type(kind.value_type) == pa.string()) else kind


def as_arrow(series: pd.Series) -> pa.Array:
    """A column of a frame in one piece; NaN is null."""
    array = pa.array(series, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _array(values: Any, column: Column, n_rows: int) -> pa.Array | pa.ChunkedArray:
    array = _stated(pa.nulls(n_rows, column.type) if values is None else _typed(values, column), column)
    if array.null_count and column.name in NEVER_NULL:
        row = pc.index(pc.is_null(array), True).as_py()
        raise UserError(f"manifest column {column.name!r} must not be null, but is in row {row}")
    return array


def _stated(array: pa.Array | pa.ChunkedArray, column: Column) -> pa.Array | pa.ChunkedArray:
    """Nulls replaced in the columns of the verdict."""
    default = _WHERE_UNSTATED.get(column.name)
    if default is None or not array.null_count:
        return array
    if pa.types.is_list(column.type):
        return pa.array([default if value is None else value for value in array.to_pylist()], column.type)
    return pc.fill_null(array, default)


def _typed(values: Any, column: Column) -> pa.Array | pa.ChunkedArray:
    """Values as the column's type; NaN is null; a fraction in a column of integers is an error, not rounded."""
    try:
        if isinstance(values, pa.ChunkedArray | pa.Array):
            array = _castable(values, column)
        elif isinstance(values, pd.Series) or pa.types.is_integer(column.type):
            array = pa.array(values, from_pandas=True)
        else:
            array = pa.array(values, column.type, from_pandas=True)
        array = array if array.type == column.type else array.cast(column.type)
    except UnicodeEncodeError:
        return pa.array([text(value) for value in values], column.type, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise UserError(f"manifest column {column.name!r} takes {column.type}: {one_line(error)}") from error
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(array), pa.scalar(None, column.type), array)
    return array


def _castable(array: pa.Array | pa.ChunkedArray, column: Column) -> pa.Array | pa.ChunkedArray:
    """A column that another tool made, where a plain cast would say something else: NaN among integers, lengths of time, views of lists."""
    kind = array.type
    if pa.types.is_floating(kind) and pa.types.is_integer(column.type):
        return pc.if_else(pc.is_nan(array), pa.scalar(None, kind), array)
    if pa.types.is_duration(kind) and column.unit == "ms":
        return array.cast(pa.duration("ms")).cast(pa.int64())
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):  # Arrow 26 casts them to lists whose last offset is missing
        return pa.array(array.to_pylist(), column.type)
    return array


def text(value: Any) -> Any:
    """A string that Parquet can hold: bytes of a file name that are not UTF-8 are written as `\\xff`. Lists of strings likewise."""
    if isinstance(value, list | tuple):
        return [text(item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # surrogates that do not stand for a byte
        return value.encode("utf-8", "replace").decode()


def to_frame(table: pa.Table, *, last_use: bool = False) -> pd.DataFrame:
    """pandas, with types that do not depend on which rows happen to be null.

    Floats are NumPy floats (NaN = null), integers `Int32`/`Int64`, flags `boolean`, text pandas' Arrow-backed `str`, lists stay in Arrow;
    columns that are never null and flags (`accepted`) are NumPy `bool`, so that `df[df.accepted]` needs no care.

    Args:
        last_use: nobody needs the table any more; its columns are given back one by one as they are converted, which halves the peak.
    """
    schema, table = table.schema, table.replace_schema_metadata(None)
    frame = table.to_pandas(types_mapper=_pandas_type, split_blocks=True, self_destruct=last_use)
    del table
    for field in schema:
        if field.name in NEVER_NULL and pa.types.is_boolean(field.type):
            frame[field.name] = frame[field.name].astype(bool)
    further = {column.name: [column.unit, column.meaning, column.since] for column in map(column_of, schema) if column.name not in _SCHEMA}
    if further:
        frame.attrs[EXTRA_ATTR] = further
    return frame


def side_by_side(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One frame of the columns of frames that `to_frame` made, copying none."""
    if len(frames) == 1:
        return frames[0]
    frame = pd.concat(frames, axis=1)
    if further := {name: told for part in frames for name, told in part.attrs.get(EXTRA_ATTR, {}).items()}:
        frame.attrs[EXTRA_ATTR] = further
    return frame


_PANDAS_INTEGERS = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def _pandas_type(kind: pa.DataType) -> Any:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pd.StringDtype("pyarrow", na_value=np.nan)
    if pa.types.is_list(kind):
        return pd.ArrowDtype(kind)
    return _PANDAS_INTEGERS.get(kind)
