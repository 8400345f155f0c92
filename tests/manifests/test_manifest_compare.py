"""Append and diff."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import manifests
from manifests.tables import to_frame, to_table


def frame_of(rows):
    return to_frame(to_table(rows))


def test_append_puts_rows_together_and_refuses_a_clip_twice(make_row):
    a, b = frame_of([make_row("a"), make_row("b", fps=24.0)]), frame_of([make_row("b"), make_row("c")])
    with pytest.raises(manifests.UserError, match=rf"1 clips are in both manifests, for example {make_row('b')['clip_id']}; replace=True"):
        manifests.append(a, b)
    both = manifests.append(a, b, replace=True)
    assert dict(zip(both.source_key, both.fps, strict=True)) == {"a": 25.0, "b": 25.0, "c": 25.0}
    assert both.dtypes.to_dict() == a.dtypes.to_dict()
    assert manifests.append(a, b.iloc[1:]).source_key.tolist() == ["a", "b", "c"]


def test_append_keeps_columns_that_only_one_side_has(make_row):
    a, b = frame_of([make_row("a")]), frame_of([make_row("b")])
    a["blur"], b["text"] = 0.5, "x"
    both = manifests.append(a, b)
    assert both.blur.isna().tolist() == [False, True]
    assert both.text.isna().tolist() == [True, False]
    b["blur"] = "sharp"
    with pytest.raises(manifests.UserError, match="do not agree"):
        manifests.append(a, b)


def test_diff_of_a_manifest_with_itself_is_nothing(rows):
    df = frame_of(rows)
    difference = manifests.diff(df, df.sample(frac=1, random_state=1))
    assert not difference
    assert str(difference) == "no difference"


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_diff_finds_exactly_what_was_changed(make_row, data):
    rows = [make_row(f"{number}.mp4") for number in range(5)]
    new = [dict(row) for row in rows]
    values = {
        "fps": st.none() | st.sampled_from([24.0, 60.0]),
        "n_cuts": st.none() | st.integers(1, 5),
        "has_audio": st.sampled_from([None, False]),
        "video_codec": st.none() | st.sampled_from(["vp9", ""]),
        "reject_reasons": st.sampled_from([["x"], ["x", "y"], [""]]),
    }
    expected = {}
    for row in new:
        for name in data.draw(st.sets(st.sampled_from(list(values)))):
            before, row[name] = row[name], data.draw(values[name])
            expected[row["clip_id"], name] = (before, row[name])
        row["decode_ms"] = data.draw(st.floats(0, 1000, width=32))
    dropped = data.draw(st.sets(st.integers(0, 4), max_size=4))
    kept = [row for number, row in enumerate(new) if number not in dropped] + [make_row("new.mp4")]
    difference = manifests.diff(frame_of(rows), frame_of(kept))
    gone = {rows[number]["clip_id"] for number in dropped}
    assert difference.added == (make_row("new.mp4")["clip_id"],)
    assert set(difference.removed) == gone
    found = {(row.clip_id, row.column): (row.before, row.after) for row in difference.changed.itertuples()}
    assert found == {key: change for key, change in expected.items() if key[0] not in gone}
    assert difference


def test_tolerance_is_relative_for_large_and_absolute_for_small_numbers(make_row):
    a = frame_of([make_row("a", duration_ms=1000.0, sync_c=0.001), make_row("b", sync_c=np.nan)])
    b = frame_of([make_row("a", duration_ms=1000.9, sync_c=0.0015), make_row("b", sync_c=1.0)])
    assert set(manifests.diff(a, b).changed["column"]) == {"duration_ms", "sync_c"}
    near = manifests.diff(a, b, tolerance=1e-3)
    assert near.changed[["column", "before", "after"]].values.tolist() == [["sync_c", None, 1.0]]
    assert len(manifests.diff(a, b, tolerance=8e-4).changed) == 2


def test_infinities_are_equal_to_themselves_only(make_row):
    a, b = frame_of([make_row("a", sync_c=float("inf"))]), frame_of([make_row("a", sync_c=3.0)])
    assert not manifests.diff(a, a, tolerance=0.5)
    assert manifests.diff(a, b)


def test_timings_are_ignored_unless_asked_for(make_row):
    a, b = frame_of([make_row("a", attempts=1)]), frame_of([make_row("a", attempts=2, decode_ms=3.0)])
    assert not manifests.diff(a, b)
    assert set(manifests.diff(a, b, ignore=()).changed["column"]) == {"attempts", "decode_ms"}


def test_columns_of_one_side_are_told(make_row):
    a, b = frame_of([make_row("a")]), frame_of([make_row("a")]).drop(columns="sync_c")
    b["blur"] = 1.0
    difference = manifests.diff(a, b)
    assert (difference.columns_added, difference.columns_removed) == (("blur",), ("sync_c",))
    assert "+ column blur" in str(difference)
    assert "- column sync_c" in str(difference)


def test_the_text_is_short_and_says_what_changed(make_row):
    a = frame_of([make_row(f"{n}") for n in range(100)])
    b = frame_of([make_row(f"{n}", fps=29.97) for n in range(99)])
    text = str(manifests.diff(a, b))
    assert "1 clips removed" in text
    assert "99 clips changed" in text
    assert "fps: 99 clips" in text
    assert "fps: 25 -> 29.97" in text
    assert "... and 79 more" in text
    assert len(text.splitlines()) < 30


def test_diff_reads_paths_and_refuses_a_clip_twice(tmp_path, rows):
    manifests.write(rows, tmp_path / "a.parquet")
    manifests.write(rows[1:], tmp_path / "b.parquet")
    assert manifests.diff(tmp_path / "a.parquet", str(tmp_path / "b.parquet")).removed == (rows[0]["clip_id"],)
    twice = pd.concat([frame_of(rows), frame_of(rows[:1])])
    with pytest.raises(manifests.UserError, match="twice"):
        manifests.diff(twice, frame_of(rows))


def test_types_that_differ_are_changes(make_row):
    a, b = frame_of([make_row("a")]), frame_of([make_row("a")])
    a["mine"], b["mine"] = pd.array([1], dtype="Int64"), pd.array([[1]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))
    assert manifests.diff(a, b).changed[["before", "after"]].values.tolist() == [[1, [1]]]
