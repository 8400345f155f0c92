"""Manifests that went through other tools: pandas, Polars, DuckDB, `datasets`, or whatever writes Parquet."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

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


def replaced(table: pa.Table, name: str, values) -> pa.Table:
    array = values if isinstance(values, pa.Array | pa.ChunkedArray) else table[name].cast(values)
    return table.set_column(table.schema.get_field_index(name), name, array)


def texts_as(kind: pa.DataType):
    def change(table: pa.Table) -> pa.Table:
        for field in table.schema:
            table = replaced(table, field.name, kind) if pa.types.is_string(field.type) else table
        return table

    return change


def lists_as(kind: pa.DataType):
    return lambda table: replaced(table, "reject_reasons", pa.array(table["reject_reasons"].to_pylist(), kind))


def numbers_as(**kinds: pa.DataType):
    def change(table: pa.Table) -> pa.Table:
        for name, kind in kinds.items():
            table = replaced(table, name, kind)
        return table

    return change


def with_values(name: str, values: list, kind: pa.DataType | None = None):
    return lambda table: replaced(table, name, pa.array(values, kind))


FOREIGN = {
    # Polars: views of text, categories; DuckDB: wide and decimal numbers, lists by view; `datasets`: large types; CSV readers: doubles
    "texts by view": texts_as(pa.string_view()),
    "large texts": texts_as(pa.large_string()),
    "categories": texts_as(pa.dictionary(pa.uint32(), pa.large_string())),
    "categories of one byte": texts_as(pa.dictionary(pa.int8(), pa.string())),
    "texts as bytes": numbers_as(clip_id=pa.large_binary(), source_key=pa.binary()),
    "lists of views": numbers_as(reject_reasons=pa.list_(pa.string_view())),
    "large lists": numbers_as(reject_reasons=pa.large_list(pa.large_string())),
    "lists by view": lists_as(pa.list_view(pa.string())),
    "large lists by view": lists_as(pa.large_list_view(pa.large_string())),
    "lists of categories": lists_as(pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    "unsigned": numbers_as(start_ms=pa.uint64(), end_ms=pa.uint64(), n_frames=pa.uint8()),
    "narrow": numbers_as(start_ms=pa.int8(), end_ms=pa.int16(), n_frames=pa.int8(), head_rotation_deg=pa.float16()),
    "doubles": numbers_as(start_ms=pa.float64(), end_ms=pa.float64(), n_frames=pa.float32(), head_rotation_deg=pa.float64()),
    "decimals": with_values("end_ms", [None, Decimal("2000.00"), Decimal("2000.00")], pa.decimal128(38, 2)),
    "not a number": with_values("end_ms", [float("nan"), 2000.0, 2000.0]),
    "numbers as text": numbers_as(start_ms=pa.string()),
    "lengths of time": with_values("end_ms", [None, 2_000_000, 2_000_000], pa.duration("us")),
    "flags as bytes": with_values("accepted", [0, 1, 1], pa.uint8()),
    "flags as text": with_values("accepted", ["False", "True", "True"]),
    "no verdict": lambda table: table.drop_columns(["accepted", "reject_reasons"]),
    "nothing known": with_values("error_kind", [None] * 3, pa.null()),
    "other order": lambda table: table.select(table.column_names[::-1]).take([2, 0, 1]),
    "nothing optional": lambda table: table.select(
        [*manifests.NEEDED_COLUMNS, "n_frames", "end_ms", "head_rotation_deg", "accepted", "reject_reasons"]
    ),
    "never null": lambda table: table.cast(
        pa.schema([pa.field(f.name, f.type, nullable=f.name not in manifests.NEEDED_COLUMNS) for f in table.schema])
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_every_type_that_others_give_a_column_is_read(written, tmp_path, kind):
    """In memory and as a file of several row groups, without anything that tells pandas' types."""
    table = FOREIGN[kind](pq.read_table(written).replace_schema_metadata(None))
    wanted = manifests.load(written)
    if kind == "no verdict":
        wanted = manifests.load(wanted.drop(columns=["accepted", "reject_reasons"]))
    pq.write_table(table, tmp_path / "other.parquet", row_group_size=2)
    same(manifests.load(tmp_path / "other.parquet"), wanted)
    same(manifests.load(table), wanted)
    problems = manifests.validate(tmp_path / "other.parquet")
    assert problems == [] or (kind == "no verdict" and problems[0].startswith("rejected without a reason: apply a preset"))


def test_columns_of_ones_own_may_have_any_type(written, tmp_path):
    table = pq.read_table(written).replace_schema_metadata(None)
    own = {
        "seen": pa.array([datetime(2026, 1, 1)] * 3, pa.timestamp("us", "UTC")),
        "took": pa.array([1, 2, None], pa.duration("ns")),
        "point": pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2)),
        "nested": pa.array([{"a": 1}] * 3),
        "small": pa.array([1, None, 3], pa.uint8()),
        "price": pa.array([Decimal("1.5")] * 3),
    }
    for name, values in own.items():
        table = table.append_column(name, values)
    pq.write_table(table, tmp_path / "other.parquet")
    loaded = manifests.load(tmp_path / "other.parquet")
    same(loaded, manifests.load(written))
    assert set(own) <= set(loaded.columns)
    manifests.write(loaded, tmp_path / "again.parquet")
    assert manifests.load(tmp_path / "again.parquet")["seen"].tolist() == loaded["seen"].tolist()


def test_a_column_that_is_there_twice_is_named(written, tmp_path):
    table = pq.read_table(written).replace_schema_metadata(None)
    pq.write_table(table.append_column("clip_id", table["clip_id"]), tmp_path / "twice.parquet")
    for given in (table.append_column("clip_id", table["clip_id"]), tmp_path / "twice.parquet"):
        with pytest.raises(manifests.UserError, match="has the column 'clip_id' twice"):
            manifests.load(given)


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
