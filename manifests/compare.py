"""Two manifests: put together, or compared."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import UserError
from manifests.schema import TIMING_COLUMNS
from manifests.store import load
from manifests.tables import as_arrow, to_frame, to_table

_SHOWN = 20  # lines of each kind in the text of a diff


def append(a: pd.DataFrame, b: pd.DataFrame, *, replace: bool = False) -> pd.DataFrame:
    """The rows of `a` and then of `b`; columns that one of them lacks are null there.

    Args:
        replace: a clip that both have keeps the row of `b`; otherwise such a clip is an error.

    Raises:
        UserError: clips in both without `replace`, or columns whose types do not agree.
    """
    first, second = to_table(a), to_table(b)
    both = pc.is_in(first["clip_id"], value_set=pc.unique(second["clip_id"]))
    if n_both := pc.sum(both).as_py() or 0:
        if not replace:
            example = first.filter(both)["clip_id"][0].as_py()
            raise UserError(f"{n_both} clips are in both manifests, for example {example}; replace=True keeps the rows of the second")
        first = first.filter(pc.invert(both))
    try:
        return to_frame(pa.concat_tables([first, second], promote_options="permissive"))
    except pa.ArrowException as error:
        raise UserError(f"the manifests' columns do not agree: {' '.join(str(error).split())}") from error


@dataclass(frozen=True)
class ManifestDiff:
    """What differs between manifests `a` and `b`. True if anything does; its text is for people.

    Attributes:
        added, removed: clip ids that only `b`, only `a` has, sorted.
        changed: one row a clip and column that differ: `clip_id`, `column`, `before`, `after`.
        columns_added, columns_removed: columns that only `b`, only `a` has.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: pd.DataFrame = field(repr=False)
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or len(self.changed) or self.columns_added or self.columns_removed)

    def __str__(self) -> str:
        if not self:
            return "no difference"
        lines = []
        for sign, names in (("+", self.columns_added), ("-", self.columns_removed)):
            lines += [f"{sign} column {name}" for name in names]
        for what, sign, ids in (("added", "+", self.added), ("removed", "-", self.removed)):
            if ids:
                lines += [f"{len(ids)} clips {what}", *_cut([f"  {sign} {clip}" for clip in ids])]
        if len(self.changed):
            lines.append(f"{self.changed.clip_id.nunique()} clips changed")
            lines += [f"  {name}: {count} clips" for name, count in self.changed["column"].value_counts(sort=True).items()]
            lines += _cut(
                [f"  ~ {row.clip_id} {row.column}: {_show(row.before)} -> {_show(row.after)}" for row in self.changed.itertuples()]
            )
        return "\n".join(lines)


def _cut(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], f"  ... and {len(lines) - _SHOWN} more"]


def diff(
    a: pd.DataFrame | str | os.PathLike,
    b: pd.DataFrame | str | os.PathLike,
    ignore: Collection[str] = TIMING_COLUMNS,
    tolerance: float = 0.0,
) -> ManifestDiff:
    """Compare two manifests clip by clip; the order of rows does not matter, null equals null.

    Args:
        a, b: data frames, or what `load` takes.
        ignore: columns that are not compared; by default timings and attempts.
        tolerance: numbers x and y count as equal if |x - y| <= tolerance * max(1, |x|, |y|).

    Raises:
        UserError: a manifest names a clip twice.
    """
    first, second = (_by_clip(side if isinstance(side, pd.DataFrame) else load(side)) for side in (a, b))
    common = first.index.intersection(second.index).sort_values()
    left, right = first.loc[common], second.loc[common]
    parts = [_changes(name, left[name], right[name], tolerance) for name in left.columns if name in right.columns and name not in ignore]
    parts = [part for part in parts if part is not None]
    empty = pd.DataFrame({"clip_id": [], "column": [], "before": [], "after": []}, dtype=object)
    changed = pd.concat(parts).sort_values("clip_id", kind="stable", ignore_index=True) if parts else empty
    return ManifestDiff(
        added=tuple(second.index.difference(first.index)),
        removed=tuple(first.index.difference(second.index)),
        changed=changed,
        columns_added=tuple(name for name in second.columns if name not in first.columns and name not in ignore),
        columns_removed=tuple(name for name in first.columns if name not in second.columns and name not in ignore),
    )


def _by_clip(df: pd.DataFrame) -> pd.DataFrame:
    indexed = df.set_index("clip_id")
    if not indexed.index.is_unique:
        raise UserError(f"clip {indexed.index[indexed.index.duplicated()][0]} is in one manifest twice")
    return indexed


def _changes(name: str, before: pd.Series, after: pd.Series, tolerance: float) -> pd.DataFrame | None:
    """Rows of `ManifestDiff.changed` for one column; None if it does not differ."""
    rows = np.flatnonzero(_differs(before, after, tolerance))
    if not rows.size:
        return None
    values = {what: pd.Series(as_arrow(side.iloc[rows]).to_pylist(), dtype=object) for what, side in (("before", before), ("after", after))}
    return pd.DataFrame({"clip_id": before.index[rows].astype(object), "column": name, **values})


def _differs(before: pd.Series, after: pd.Series, tolerance: float) -> np.ndarray:
    """(n,) bool."""
    null_before, null_after = before.isna().to_numpy(), after.isna().to_numpy()
    if _is_number(before) and _is_number(after):
        x, y = (side.to_numpy(np.float64, na_value=np.nan) for side in (before, after))
        with np.errstate(invalid="ignore"):
            unequal = (x != y) & ~(np.abs(x - y) <= tolerance * np.maximum(1.0, np.maximum(np.abs(x), np.abs(y))))
    else:
        x, y = as_arrow(before), as_arrow(after)
        if x.equals(y):
            return np.zeros(len(x), bool)
        if x.type == y.type and not pa.types.is_nested(x.type):
            unequal = pc.fill_null(pc.not_equal(x, y), False).to_numpy(zero_copy_only=False)
        else:
            unequal = np.array([p != q for p, q in zip(x.to_pylist(), y.to_pylist(), strict=True)], bool)
    return np.where(null_before | null_after, null_before != null_after, unequal)


def _is_number(series: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_bool_dtype(series.dtype)


def _show(value: object) -> str:
    return f"{value:.7g}" if isinstance(value, float) else repr(value)
