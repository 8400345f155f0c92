"""Whether a manifest keeps its promises."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from manifests.ids import clip_id
from manifests.overview import type_name
from manifests.schema import COLUMNS, ERROR_KINDS, NEVER_NULL, SPLITS, STATUSES, Column
from manifests.store import load
from manifests.tables import as_arrow, columns_of_frame


def validate(manifest: pd.DataFrame | str | os.PathLike) -> list[str]:
    """Everything that is wrong with a manifest, one line a kind of problem with its number of clips and an example; empty if nothing is.

    Checked: columns and types, nulls where none may be, clip ids (unique, and the hash of what they name), spans, splits (no identity on
    both sides), status against error kind, verdict against status and reasons, shares within 0..1, finite numbers, face boxes.
    """
    df = manifest if isinstance(manifest, pd.DataFrame) else load(manifest)
    problems = _types(df)
    if problems:
        return problems
    return [line for check in (_nulls, _ids, _spans, _splits, _status, _verdict, _numbers) for line in check(df)]


def _types(df: pd.DataFrame) -> list[str]:
    found = {column.name: column for column in columns_of_frame(df)}
    problems = []
    for column in COLUMNS:
        if column.name not in found:
            problems.append(f"column {column.name} is missing")
        elif not _suits(found[column.name].type, column, df):
            problems.append(f"column {column.name} has type {type_name(found[column.name])}, not {type_name(column)}")
    return problems


def _suits(found: pa.DataType, column: Column, df: pd.DataFrame) -> bool:
    return found == column.type or (pa.types.is_null(found) and bool(df[column.name].isna().all()))


def _nulls(df: pd.DataFrame) -> list[str]:
    return [line for name in sorted(NEVER_NULL) for line in _report(df, df[name].isna(), f"{name} is null")]


def _ids(df: pd.DataFrame) -> list[str]:
    have, *spans = (as_arrow(df[name]).to_pylist() for name in ("clip_id", "source", "source_key", "start_ms", "end_ms"))
    wrong = np.array([clip != _expected_id(clip, *span) for clip, *span in zip(have, *spans, strict=True)], bool)
    return [
        *_report(df, df["clip_id"].duplicated(keep=False), "clip_id is in the manifest more than once"),
        *_report(df, wrong, "clip_id is not the hash of source, source_key, start_ms and end_ms"),
    ]


def _expected_id(clip: str | None, source: str | None, source_key: str | None, start_ms: int | None, end_ms: int | None) -> str | None:
    """`clip` itself where it cannot be known: nulls, and names that are not UTF-8, which the manifest holds in an escaped form."""
    if source is None or source_key is None or start_ms is None or "\\x" in source_key:
        return clip
    return clip_id(source, source_key, start_ms, end_ms)


def _spans(df: pd.DataFrame) -> list[str]:
    start, end = (df[name].to_numpy(float, na_value=np.nan) for name in ("start_ms", "end_ms"))
    return [*_report(df, start < 0, "start_ms is negative"), *_report(df, start >= end, "start_ms is not before end_ms")]


def _splits(df: pd.DataFrame) -> list[str]:
    both = df.groupby("identity")["split"].nunique()
    leaking = df["identity"].isin(both.index[both > 1])
    return [
        *_report(df, df["split"].notna() & ~df["split"].isin(SPLITS), "split is neither train nor test"),
        *_report(df, leaking, "identity is in train and in test"),
    ]


def _status(df: pd.DataFrame) -> list[str]:
    status, kind = df["status"], df["error_kind"]
    return [
        *_report(df, status.notna() & ~status.isin(STATUSES), "status is neither scored nor failed"),
        *_report(df, (status == "failed") & kind.isna(), "failed without an error_kind"),
        *_report(df, (status == "scored") & kind.notna(), "scored, but has an error_kind"),
        *_report(df, kind.notna() & ~kind.isin(list(ERROR_KINDS)), "unknown error_kind"),
    ]


def _verdict(df: pd.DataFrame) -> list[str]:
    accepted = df["accepted"].fillna(False).to_numpy(bool)
    n_reasons = pc.list_value_length(as_arrow(df["reject_reasons"]).cast(pa.list_(pa.string())))
    has_reason = pc.fill_null(pc.greater(n_reasons, 0), False).to_numpy(zero_copy_only=False)
    scored = (df["status"] == "scored").fillna(False).to_numpy(bool)
    return [
        *_report(df, accepted & ~scored, "accepted, but not scored"),
        *_report(df, accepted & has_reason, "accepted, but has reject_reasons"),
        *_report(df, ~accepted & ~has_reason, "rejected without a reason: apply a preset"),
    ]


def _numbers(df: pd.DataFrame) -> list[str]:
    problems = []
    for column in COLUMNS:
        if pa.types.is_floating(column.type):
            values = df[column.name].to_numpy(float, na_value=np.nan)
            problems += _report(df, np.isinf(values), f"{column.name} is infinite")
            if column.unit == "0..1":
                problems += _report(df, (values < 0) | (values > 1), f"{column.name} is outside 0..1")
            elif column.unit == "ms" or column.name == "fps":
                problems += _report(df, values < 0, f"{column.name} is negative")
    for low, high in (("face_x0_px", "face_x1_px"), ("face_y0_px", "face_y1_px")):
        x0, x1 = (df[name].to_numpy(float, na_value=np.nan) for name in (low, high))
        problems += _report(df, x0 >= x1, f"{low} is not less than {high}")
    return problems


def _report(df: pd.DataFrame, wrong: pd.Series | np.ndarray, problem: str) -> list[str]:
    rows = np.flatnonzero(pd.array(wrong).fillna(False) if not isinstance(wrong, np.ndarray) else wrong)
    if not rows.size:
        return []
    example = df.iloc[rows[0]]
    return [f"{problem}: {rows.size} clips, for example {example['clip_id']} ({example['source']}, {example['source_key']!r})"]
