"""Manifests on disk."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import manifests
from manifests.atomic import atomic_path
from manifests.schema import NEVER_NULL

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


def _values(column: manifests.Column) -> st.SearchStrategy:
    if pa.types.is_string(column.type):
        return TEXT
    if pa.types.is_boolean(column.type):
        return st.booleans()
    if pa.types.is_integer(column.type):
        bound = 2 ** (column.type.bit_width - 1)
        return st.integers(-bound, bound - 1)
    if pa.types.is_floating(column.type):
        return st.floats(width=column.type.bit_width, allow_nan=False)
    return st.lists(TEXT, max_size=3)


@st.composite
def _any_rows(draw):
    """Rows of any values, nulls where they are allowed, with distinct ids."""
    ids = draw(st.lists(st.text("0123456789abcdef", min_size=4, max_size=4), min_size=1, max_size=5, unique=True))
    some = draw(st.lists(st.sampled_from(manifests.COLUMNS), max_size=8, unique_by=lambda column: column.name))
    chosen = {column.name: column for column in manifests.COLUMNS if column in some or column.name in NEVER_NULL}
    rows = []
    for clip in ids:
        cells = {name: _values(column) if name in NEVER_NULL else st.none() | _values(column) for name, column in chosen.items()}
        rows.append({name: draw(cell) for name, cell in cells.items()} | {"clip_id": clip})
    return rows


@given(_any_rows())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_rows_come_back_as_they_went_in(tmp_path, rows):
    file = tmp_path / "any.parquet"
    manifests.write(rows, file, {})
    back = {row["clip_id"]: row for row in manifests.read_table(file).to_pylist()}
    for row in rows:
        full = dict.fromkeys((column.name for column in manifests.COLUMNS), None) | row
        assert back[row["clip_id"]] == full
    # and through pandas
    manifests.write(manifests.load(file), tmp_path / "again.parquet", {})
    assert manifests.read_table(tmp_path / "again.parquet").equals(manifests.read_table(file))


def test_rows_are_sorted_and_bytes_do_not_depend_on_their_order(tmp_path, rows):
    rows.append({**rows[0], "start_ms": 2000, "clip_id": manifests.clip_id("folder", "b.mp4", 2000, None)})
    manifests.write(rows, tmp_path / "one", {"b": 1, "a": [2]})
    manifests.write(rows[::-1], tmp_path / "other", {"a": [2], "b": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    df = manifests.load(tmp_path / "one")
    keys = list(zip(df.source, df.source_key, df.start_ms, strict=True))
    assert keys == sorted(keys)


def test_run_configuration_and_versions_are_in_the_file(tmp_path, rows):
    file = tmp_path / "m.parquet"
    config = {"preset": "paper", "nested": {"größe": [1, 2.5, None, True]}}
    manifests.write(rows, file, config)
    assert manifests.run_config(file) == config
    field = pq.read_schema(file).field("face_width_px")
    assert field.metadata[b"unit"] == b"px"
    assert b"width" in field.metadata[b"meaning"]
    assert field.metadata[b"since"] == b"1"


def test_the_readme_query_works_whatever_is_null(tmp_path, rows):
    manifests.write(rows, tmp_path / "manifest.parquet", {})
    df = manifests.load(tmp_path)
    assert df.accepted.dtype == np.bool_
    assert df.query("accepted and head_rotation_deg < 15 and source == 'folder'").source_key.tolist() == ["b.mp4"]
    assert df.query("not accepted").source_key.tolist() == ["c.mp4", "d.mp4"]
    assert df.query("lipsync_offset_frames <= 0 and has_audio").source_key.tolist() == ["b.mp4", "a.mp4"]
    assert df.query("error_kind == 'truncated'").source_key.tolist() == ["d.mp4"]
    assert df.reject_reasons.explode().value_counts().to_dict() == {"no_audio": 1, "lip_sync_low": 1, "failed:truncated": 1}


def test_types_do_not_depend_on_which_values_are_null(tmp_path, rows):
    manifests.write(rows[:1], tmp_path / "full", {})
    manifests.write(rows[3:], tmp_path / "failed", {})
    full, failed = manifests.load(tmp_path / "full"), manifests.load(tmp_path / "failed")
    assert full.dtypes.to_dict() == failed.dtypes.to_dict()
    assert [str(full[name].dtype) for name in ("fps", "sync_c", "n_cuts", "start_ms", "has_audio", "accepted")] == [
        "float64",
        "float32",
        "Int32",
        "Int64",
        "boolean",
        "bool",
    ]


def test_an_unstated_verdict_is_a_rejection(tmp_path, make_row):
    row = make_row()
    del row["accepted"], row["reject_reasons"]
    manifests.write([row, {**make_row("z.mp4"), "accepted": None, "reject_reasons": None}], tmp_path / "m", {})
    df = manifests.load(tmp_path / "m")
    assert df.accepted.tolist() == [False, False]
    assert df.reject_reasons.tolist() == [[], []]


def test_a_running_job_is_read_from_its_shards(tmp_path, rows):
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    with pytest.raises(manifests.UserError, match="nor committed shards"):
        manifests.load(tmp_path)
    manifests.write(rows[2:], ledger / "00000.parquet", {"shard": 0})
    manifests.write(rows[:2], ledger / "00007.parquet", {"shard": 7})
    (ledger / ".00009.parquet.1.tmp").write_bytes(b"half")
    (ledger / ".hidden.parquet").write_bytes(b"half")
    df = manifests.load(tmp_path)
    manifests.write(rows, tmp_path / "manifest.parquet", {"whole": True})
    pd.testing.assert_frame_equal(df, manifests.load(tmp_path))
    assert manifests.run_config(tmp_path) == {"whole": True}


def test_urls_are_read_through_fsspec(tmp_path, rows):
    import fsspec

    manifests.write(rows, tmp_path / "m.parquet", {"a": 1})
    memory = fsspec.filesystem("memory")
    try:
        memory.pipe("/store/run/manifest.parquet", (tmp_path / "m.parquet").read_bytes())
        memory.pipe("/store/running/ledger/00000.parquet", (tmp_path / "m.parquet").read_bytes())
        expected = manifests.load(tmp_path / "m.parquet")
        for url in ("memory://store/run", "memory://store/run/manifest.parquet", "memory://store/running"):
            pd.testing.assert_frame_equal(manifests.load(url), expected)
            assert manifests.run_config(url) == {"a": 1}
        with pytest.raises(manifests.UserError, match="nothing there"):
            manifests.load("memory://store/none")
    finally:
        memory.rm("/store", recursive=True)
    with pytest.raises(manifests.UserError, match="nosuchprotocol"):
        manifests.load("nosuchprotocol://x/y")


def test_urls_are_written_whole(tmp_path, rows):
    import fsspec

    memory = fsspec.filesystem("memory")
    try:
        manifests.write(rows, tmp_path / "m.parquet", {"a": 1})
        manifests.write(rows, "memory://store/run/manifest.parquet", {"a": 1})
        assert memory.cat_file("/store/run/manifest.parquet") == (tmp_path / "m.parquet").read_bytes()
        with pytest.raises(manifests.UserError, match="wrong_column"):
            manifests.write([{"wrong_column": 1}], "memory://store/run/manifest.parquet")
        assert memory.find("/store") == ["/store/run/manifest.parquet"]
        pd.testing.assert_frame_equal(manifests.load("memory://store/run"), manifests.load(tmp_path / "m.parquet"))
    finally:
        memory.rm("/store", recursive=True)
    with pytest.raises(manifests.UserError, match="nosuchprotocol"):
        manifests.write(rows, "nosuchprotocol://x/m.parquet")


def test_a_path_with_key_value_directories_adds_no_column(tmp_path, rows):
    directory = tmp_path / "preset=paper" / "source=x"
    directory.mkdir(parents=True)
    manifests.write(rows, directory / "manifest.parquet", {})
    assert set(manifests.load(directory).source) == {"folder", "hdtf"}
    assert "preset" not in manifests.load(directory)


def test_columns_can_be_chosen(tmp_path, rows):
    manifests.write(rows, tmp_path / "m", {})
    df = manifests.load(tmp_path / "m", columns=["fps", "clip_id", "reject_reasons"])
    assert list(df.columns) == ["fps", "clip_id", "reject_reasons"]
    assert len(df) == 4
    with pytest.raises(manifests.UserError, match=r"'fsp'.*did you mean 'fps'"):
        manifests.load(tmp_path / "m", columns=["fsp"])


def _rewritten(file, change_table=lambda table: table, version=None):
    """The file with another table or schema version, written by Arrow itself."""
    table = pq.read_table(file)
    metadata = dict(table.schema.metadata)
    if version is not None:
        metadata[b"manifest.schema_version"] = str(version).encode()
    pq.write_table(change_table(table).replace_schema_metadata(metadata), file)


def test_an_older_manifest_gets_its_missing_columns_as_nulls(tmp_path, rows):
    file = tmp_path / "old.parquet"
    manifests.write(rows, file, {})
    _rewritten(file, lambda table: table.drop_columns(["speech_ratio", "n_cuts", "accepted", "reject_reasons"]), version=0)
    df = manifests.load(file)
    assert list(df.columns) == [column.name for column in manifests.COLUMNS]
    assert df.speech_ratio.isna().all()
    assert df.n_cuts.isna().all()
    assert str(df.n_cuts.dtype) == "Int32"
    assert df.accepted.tolist() == [False] * 4
    projected = manifests.load(file, columns=["n_cuts", "clip_id", "accepted"])
    assert projected.n_cuts.isna().all()
    assert projected.accepted.tolist() == [False] * 4


def test_a_newer_manifest_is_refused(tmp_path, rows):
    file = tmp_path / "new.parquet"
    manifests.write(rows, file, {})
    _rewritten(file, version=manifests.SCHEMA_VERSION + 1)
    with pytest.raises(manifests.UserError, match="upgrade"):
        manifests.load(file)
    with pytest.raises(manifests.UserError, match="upgrade"):
        manifests.run_config(file)


def test_what_is_no_manifest_is_refused_in_one_line(tmp_path, rows):
    file = tmp_path / "m.parquet"
    manifests.write(rows, file, {})
    whole = file.read_bytes()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    cases = {"empty": b"", "text": b"hello" * 10, "cut": whole[: len(whole) // 2], "holed": whole[:4] + bytes(300) + whole[304:]}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    for path in [*cases, "other.parquet", "nowhere"]:
        with pytest.raises(manifests.UserError) as caught:
            manifests.load(tmp_path / path)
        assert path in str(caught.value)
        assert "\n" not in str(caught.value)


def test_further_columns_keep_their_meaning_through_load_apply_and_write(tmp_path, rows):
    blur = manifests.Column("blur", pa.float32(), "px", "width of the blur of the face")
    for number, row in enumerate(rows):
        row["blur"] = number / 2
    with pytest.raises(manifests.UserError, match="unknown manifest column 'blur'"):
        manifests.write(rows, tmp_path / "m", {})
    manifests.write(rows, tmp_path / "m", {}, columns=[blur])
    judged = manifests.apply(manifests.load(tmp_path / "m"), "paper")
    manifests.write(judged, tmp_path / "again", {})
    for described in (manifests.describe(tmp_path / "again"), manifests.describe(judged)):
        row = described.set_index("name").loc["blur"]
        assert (row.type, row.unit, row.meaning) == ("float32", "px", "width of the blur of the face")
    assert manifests.load(tmp_path / "again").blur.tolist() == [0.0, 1.0, 1.5, 0.5]
    assert manifests.load(tmp_path / "again", columns=["blur"]).blur.dtype == np.float32


def test_a_column_that_a_user_adds_in_pandas_is_kept(tmp_path, rows):
    manifests.write(rows, tmp_path / "m", {})
    df = manifests.load(tmp_path / "m")
    df["mine"] = ["w", "x", None, "z"]
    df["rank"] = [1, 2, 3, 4]
    manifests.write(df, tmp_path / "again", {})
    back = manifests.load(tmp_path / "again")
    assert back["rank"].tolist() == [1, 2, 3, 4]
    assert back["mine"].isna().tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lipsync_offest_frames": 1}, "did you mean 'lipsync_offset_frames'"),
        ({"fps": "fast"}, "'fps' takes double"),
        ({"n_cuts": 1.5}, "'n_cuts' takes int32"),
        ({"n_cuts": 2**40}, "'n_cuts' takes int32"),
        ({"identity": None}, "'identity' must not be null"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path, make_row, change, message):
    with pytest.raises(manifests.UserError, match=message):
        manifests.write([make_row("fine.mp4"), make_row() | change], tmp_path / "m", {})
    assert list(tmp_path.iterdir()) == []


def test_numpy_values_and_nan_are_taken(tmp_path, make_row):
    manifests.write(
        [make_row(sync_c=np.float32("nan"), n_cuts=np.int64(3), has_audio=np.bool_(False), fps=np.float64(24))], tmp_path / "m", {}
    )
    row = manifests.read_table(tmp_path / "m").to_pylist()[0]
    assert (row["sync_c"], row["n_cuts"], row["has_audio"], row["fps"]) == (None, 3, False, 24.0)


def test_names_that_are_not_utf8_are_escaped(tmp_path, make_row):
    name = os.fsdecode(b"caf\xe9 \xff.mp4")
    row = make_row(name, error_message="lone \ud800 surrogate", reject_reasons=[name])
    manifests.write([row], tmp_path / "m", {})
    back = manifests.read_table(tmp_path / "m").to_pylist()[0]
    assert back["source_key"] == r"caf\xe9 \xff.mp4"
    assert back["reject_reasons"] == [r"caf\xe9 \xff.mp4"]
    assert back["error_message"] == "lone ? surrogate"
    assert back["clip_id"] == row["clip_id"] != manifests.clip_id("folder", back["source_key"], 0, None)
    assert manifests.validate(tmp_path / "m") == ["accepted, but has reject_reasons: 1 clips, for example " + _named(back)]


def _named(row):
    return f"{row['clip_id']} ({row['source']}, {row['source_key']!r})"


def test_an_empty_manifest_is_a_manifest(tmp_path):
    manifests.write([], tmp_path / "m", {})
    df = manifests.load(tmp_path / "m")
    assert len(df) == 0
    assert list(df.columns) == [column.name for column in manifests.COLUMNS]
    assert manifests.validate(df) == []
    assert len(manifests.apply(df, "embedded")) == 0


def test_writing_is_whole_or_not_at_all(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")

    def write_half():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            assert target.read_text() == "old"
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_half()
    assert target.read_text() == "old"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_path_that_cannot_be_written_is_one_clear_line(tmp_path, rows):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing" / "m.parquet", tmp_path / "file" / "m.parquet", tmp_path):
        with pytest.raises(manifests.UserError, match="cannot write") as caught:
            manifests.write(rows, path, {})
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
