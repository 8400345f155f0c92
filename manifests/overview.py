"""What a manifest's columns mean, and what it holds."""

from __future__ import annotations

import os

import pandas as pd

from manifests.schema import COLUMNS, Column, column_of
from manifests.store import load, schema_of
from manifests.tables import columns_of_frame

MEAN_SCORES = (
    "face_size_px_p5",
    "valid_frame_ratio",
    "head_rotation_deg",
    "speech_ratio",
    "lipsync_conf",
    "sync_c",
    "sync_d",
)
_SUMMARY_COLUMNS = ("source", "identity", "status", "accepted", "duration_ms", *MEAN_SCORES)


def describe(manifest: pd.DataFrame | str | os.PathLike | None = None) -> pd.DataFrame:
    """The columns of the schema, or of a manifest with its further columns: `name`, `type`, `unit`, `meaning`, `since` (schema version)."""
    if manifest is None:
        columns: tuple[Column, ...] = COLUMNS
    elif isinstance(manifest, pd.DataFrame):
        columns = columns_of_frame(manifest)
    else:
        columns = tuple(map(column_of, schema_of(manifest)))
    rows = [(column.name, type_name(column), column.unit, column.meaning, column.since) for column in columns]
    return pd.DataFrame(rows, columns=["name", "type", "unit", "meaning", "since"])


def type_name(column: Column) -> str:
    """The Arrow type as text, with the width of floats and without the names that Parquet gives to list elements."""
    text = str(column.type).replace("element: ", "").replace("item: ", "")
    for arrow, plain in (("halffloat", "float16"), ("double", "float64")):
        text = text.replace(arrow, plain)
    return "float32" if text == "float" else text


def summary(manifest: pd.DataFrame | str | os.PathLike) -> pd.DataFrame:
    """What every source contributes, and `(all)` of them: clips, identities, hours, scored, failed, accepted, and mean scores.

    Means are over the scored clips that have the score; NaN where none has.
    """
    df = manifest if isinstance(manifest, pd.DataFrame) else load(manifest, _SUMMARY_COLUMNS)
    groups = [(name, group) for name, group in df.groupby("source", sort=True)]
    rows = [_totals(str(name), group) for name, group in [*groups, ("(all)", df)]]
    return pd.DataFrame(rows).set_index("source")


def _totals(source: str, group: pd.DataFrame) -> dict[str, object]:
    scored = group["status"] == "scored"
    hours = group["duration_ms"].astype("float64") / 3.6e6
    return {
        "source": source,
        "clips": len(group),
        "identities": group["identity"].nunique(),
        "hours": float(hours.sum()),
        "scored": int(scored.sum()),
        "failed": int((~scored).sum()),
        "accepted": int(group["accepted"].sum()),
        "accepted_hours": float(hours[group["accepted"]].sum()),
        **{f"mean_{name}": float(group.loc[scored, name].astype("float64").mean()) for name in MEAN_SCORES},
    }
