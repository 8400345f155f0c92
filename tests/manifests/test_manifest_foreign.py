"""Manifests that went through other tools: pandas, Polars, DuckDB, `datasets`, or whatever writes Parquet."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import manifests


@pytest.fixture
def written(tmp_path):
    rows = [
        {
            "clip_id": manifests.clip_id("folder", f"{i}.mp4", 0, 2000 if i else None),
            "source": "folder",
            "source_key": f"{i}.mp4",
            "identity": f"{i}",
            "video_path": f"/v/{i}.mp4",
            "start_ms": 0,
            "end_ms": 2000 if i else None,
            "split": "train",
            "status": "scored",
            "n_frames": 50 if i else None,
            "head_rotation_deg": 4.5,
            "accepted": bool(i),
            "reject_reasons": [] if i else ["head_turned"],
        }
        for i in range(3)
    ]
    manifests.write(rows, tmp_path / "manifest.parquet", {"source": "folder"})
    return tmp_path / "manifest.parquet"


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one[[column.name for column in manifests.COLUMNS]], other[[column.name for column in manifests.COLUMNS]])


def through_pandas(file, out):
    manifests.load(file).to_parquet(out)


def through_plain_pandas(file, out):
    df = pq.read_table(file).to_pandas()  # integers with gaps become floats, texts objects
    assert df["end_ms"].dtype.kind == "f"
    df[df["clip_id"].notna()].to_parquet(out)


def through_wide_types(file, out):
    """What Polars and `datasets` make of texts and lists, and of repeated texts."""
    table = pq.read_table(file)
    wide = {pa.string(): pa.large_string()}
    fields = [
        pa.field(f.name, pa.large_list(pa.large_string()) if pa.types.is_list(f.type) else wide.get(f.type, f.type)) for f in table.schema
    ]
    table = table.cast(pa.schema(fields))
    at = table.schema.get_field_index("source")
    pq.write_table(table.set_column(at, "source", table["source"].cast(pa.string()).dictionary_encode()), out)


def through_polars(file, out):
    polars = pytest.importorskip("polars")
    polars.read_parquet(file).sort("source_key", descending=True).write_parquet(out)


def through_duckdb(file, out):
    duckdb = pytest.importorskip("duckdb")
    duckdb.sql(f"copy (select * from '{file}' order by source_key desc) to '{out}' (format parquet)")


def through_datasets(file, out):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_parquet(str(file)).to_parquet(str(out))


@pytest.mark.parametrize(
    "tool", [through_pandas, through_plain_pandas, through_wide_types, through_polars, through_duckdb, through_datasets]
)
def test_a_manifest_survives_other_tools(written, tmp_path, tool):
    out = tmp_path / "other.parquet"
    tool(written, out)
    same(manifests.load(out), manifests.load(written))
    assert manifests.validate(out) == []
    assert list(manifests.load(out, ["n_frames", "clip_id"]).columns) == ["n_frames", "clip_id"]
    manifests.write(manifests.load(out), tmp_path / "again.parquet", manifests.run_config(out))
    same(manifests.load(tmp_path / "again.parquet"), manifests.load(written))


def test_frames_and_tables_in_memory_are_manifests(written):
    df = manifests.load(written)
    same(manifests.load(df.iloc[::-1]), df)
    same(manifests.load(pq.read_table(written)), df)
    assert manifests.load(df, ["clip_id"]).columns.tolist() == ["clip_id"]


def test_own_columns_stay(written):
    df = manifests.load(written).assign(note="mine")
    assert manifests.load(df)["note"].tolist() == ["mine"] * 3


@pytest.mark.parametrize("missing", [["clip_id"], ["split", "status"]])
def test_a_missing_column_is_named(written, tmp_path, missing):
    df = manifests.load(written).drop(columns=missing)
    df.to_parquet(tmp_path / "cut.parquet")
    for given in (df, tmp_path / "cut.parquet"):
        with pytest.raises(manifests.UserError, match=f"lacks {', '.join(missing)}: .*needs the columns clip_id"):
            manifests.load(given)


def test_a_misspelt_column_is_suggested(written):
    with pytest.raises(manifests.UserError, match="lacks clip_id; 'clip_id' is probably 'clipid'"):
        manifests.load(manifests.load(written).rename(columns={"clip_id": "clipid"}))


def test_what_is_no_table_and_what_does_not_fit(written):
    with pytest.raises(manifests.UserError, match="no manifest"):
        manifests.load(5)
    df = manifests.load(written)
    with pytest.raises(manifests.UserError, match="'split' must not be null, but is in row 1"):
        manifests.load(df.assign(split=["train", None, "train"]))
    with pytest.raises(manifests.UserError, match="'n_frames' takes int64"):
        manifests.load(df.assign(n_frames=[1.5, 2.0, 3.0]))
