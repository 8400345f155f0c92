"""Manifests of many rows, which `load` reads by columns: the same frame as the whole table gives, in less memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import manifests
from manifests.tables import to_frame

N_ROWS = 150_000  # of 1 << 16 rows a chunk, three chunks; more cells than are converted at once


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A manifest of constants with and without nulls, an empty text, few values and many, and a column of one's own."""
    rng = np.random.default_rng(3)
    failed = rng.random(N_ROWS) < 0.1
    ids = np.char.add("clip-", np.arange(N_ROWS).astype(str))
    table = pa.table(
        {
            "clip_id": ids,
            "source": np.full(N_ROWS, "folder"),
            "source_key": np.sort(ids),
            "identity": rng.choice(["Ada", "Zoë", ""], N_ROWS),
            "video_path": ids,
            "licence": np.full(N_ROWS, ""),
            "start_ms": np.zeros(N_ROWS, np.int64),
            "split": np.full(N_ROWS, "train"),
            "status": np.where(failed, "failed", "scored"),
            "attempts": np.ones(N_ROWS, np.int32),
            "sync_model": pa.array(np.full(N_ROWS, "größe-1"), mask=failed),
            "error_kind": pa.array(np.full(N_ROWS, "truncated"), mask=~failed),
            "code_version": pa.array(np.full(N_ROWS, "0.1.0"), mask=np.arange(N_ROWS) < 70_000),  # the first chunk is all null
            "profile": np.full(N_ROWS, "embedded"),
            "config_hash": np.full(N_ROWS, "h"),
            "accepted": ~failed,
            "face_width_px": pa.array(rng.gamma(4, 50, N_ROWS), mask=failed),
            "n_frames": pa.array(rng.integers(1, 500, N_ROWS), mask=failed),
            "mood": rng.choice(["glad", "sad"], N_ROWS),
        }
    )
    folder = tmp_path_factory.mktemp("many")
    manifests.write(table, folder / "manifest.parquet", {}, columns=[manifests.Column("mood", pa.string(), "", "how it looks", 1)])
    return folder / "manifest.parquet"


@pytest.mark.parametrize("columns", [None, ["mood", "sync_model", "accepted", "reject_reasons"], []])
def test_read_by_columns_a_manifest_is_what_it_is_read_whole(many, columns):
    by_columns, whole = manifests.load(many, columns), to_frame(manifests.read_table(many, columns))
    pd.testing.assert_frame_equal(by_columns, whole)
    assert by_columns.attrs == whole.attrs
    assert len(by_columns) == (0 if columns == [] else N_ROWS)  # without a column there are no rows to count


def test_what_is_done_with_constant_columns_sees_every_row(many, tmp_path):
    df = manifests.load(many)
    plain = pq.read_table(many).to_pandas()  # Arrow alone
    for name in ("sync_model", "error_kind", "code_version", "licence", "status"):
        df[name].array._pa_array.validate(full=True)
        assert df[name].iloc[60_000:75_000].tolist() == plain[name].iloc[60_000:75_000].where(plain[name].notna(), np.nan).tolist()
    assert (df.sync_model == "größe-1").sum() == plain.sync_model.notna().sum()
    assert df.query("code_version == '0.1.0' and accepted").index.equals(plain.query("code_version == '0.1.0' and accepted").index)
    assert df.groupby("error_kind").size().to_dict() == {"truncated": int((plain.status == "failed").sum())}
    assert df.sort_values("clip_id", ascending=False).sync_model.isna().sum() == plain.sync_model.isna().sum()
    df.loc[5, "licence"] = "CC0"
    assert df.licence.iloc[4:7].tolist() == ["", "CC0", ""]
    df.loc[5, "licence"] = ""
    manifests.write(df, tmp_path / "again.parquet", {})
    assert (tmp_path / "again.parquet").read_bytes() == many.read_bytes()


def test_constant_columns_are_held_once(many):
    spelt_out = N_ROWS * (8 + len("größe-1".encode()))
    df = manifests.load(many)
    buffers = {buffer.address: buffer.size for chunk in df.sync_model.array._pa_array.chunks for buffer in chunk.buffers() if buffer}
    assert sum(buffers.values()) < spelt_out / 2


def test_many_rows_are_judged_as_few_are(many):
    """In stretches of 1 << 17 rows, where some have no failed clip and the index is not a plain count."""
    df = manifests.load(many).iloc[::-1]
    df.loc[df.index[:140_000], "status"] = "scored"
    with pytest.warns(UserWarning, match="accepts none of these clips: .*lipsync_conf"):
        whole = manifests.apply(df, "embedded")
    parts = pd.concat([manifests.apply(df.iloc[i : i + 7_000], "embedded", warn=False) for i in range(0, N_ROWS, 7_000)])
    assert whole.index.equals(df.index)
    assert whole.accepted.tolist() == parts.accepted.tolist()
    assert whole.reject_reasons.tolist() == parts.reject_reasons.tolist()
    assert whole.reject_reasons.dtype == manifests.load(many).reject_reasons.dtype


@pytest.mark.slow
def test_a_million_rows_of_a_run_are_loaded_and_judged_in_one_gigabyte(tmp_path):
    from benchmarks.manifest_load import once, synthetic_table

    manifests.write(synthetic_table(1_000_000), tmp_path / "manifest.parquet", {})
    assert max(once(tmp_path / "manifest.parquet")[2] for _ in range(3)) < 1000
