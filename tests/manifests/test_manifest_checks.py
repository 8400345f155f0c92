"""Validation: a good manifest passes, every promise broken is reported."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import manifests
from manifests.tables import to_frame, to_table


def frame_of(rows):
    return to_frame(to_table(rows))


def test_a_good_manifest_has_no_problem(tmp_path, rows):
    manifests.write(rows, tmp_path / "manifest.parquet")
    assert manifests.validate(tmp_path) == []
    assert manifests.validate(frame_of(rows)) == []


BROKEN = [
    ({"start_ms": -5}, "start_ms is negative"),
    ({"start_ms": 10, "end_ms": 10}, "start_ms is not before end_ms"),
    ({"clip_id": "0" * 20}, "clip_id is not the hash"),
    ({"split": "validation"}, "split is neither train nor test"),
    ({"status": "done", "accepted": False, "reject_reasons": ["x"]}, "status is neither scored nor failed"),
    ({"status": "failed", "accepted": False, "reject_reasons": ["failed:x"]}, "failed without an error_kind"),
    ({"error_kind": "timeout"}, "scored, but has an error_kind"),
    ({"error_kind": "gremlins", "status": "failed", "accepted": False, "reject_reasons": ["x"]}, "unknown error_kind"),
    ({"status": "failed", "error_kind": "timeout"}, "accepted, but not scored"),
    ({"reject_reasons": ["head_turned"]}, "accepted, but has reject_reasons"),
    ({"accepted": False}, "rejected without a reason"),
    ({"valid_frame_ratio": 1.5}, "valid_frame_ratio is outside 0..1"),
    ({"speech_ratio": -0.1}, "speech_ratio is outside 0..1"),
    ({"sync_c": float("inf")}, "sync_c is infinite"),
    ({"duration_ms": -1.0}, "duration_ms is negative"),
    ({"face_x1_px": 100.0}, "face_x0_px is not less than face_x1_px"),
]


@pytest.mark.parametrize(("change", "problem"), BROKEN, ids=[problem for _, problem in BROKEN])
def test_every_broken_promise_is_reported_with_its_clip(make_row, change, problem):
    bad = make_row("bad.mp4", **change)
    problems = manifests.validate(frame_of([make_row("good.mp4"), bad]))
    assert len(problems) == 1
    assert problems[0].startswith(problem)
    assert f"1 clips, for example {bad['clip_id']} (folder, 'bad.mp4')" in problems[0]


def test_clips_that_are_there_twice(make_row):
    problems = manifests.validate(frame_of([make_row("a"), make_row("b"), make_row("a")]))
    assert len(problems) == 1
    assert problems[0].startswith("clip_id is in the manifest more than once: 2 clips")


def test_a_person_on_both_sides_of_the_split(make_row):
    rows = [make_row("a", identity="x", split="train"), make_row("b", identity="x", split="test"), make_row("c", identity="y")]
    problems = manifests.validate(frame_of(rows))
    assert len(problems) == 1
    assert problems[0].startswith("identity is in train and in test: 2 clips")


def test_missing_columns_and_wrong_types(rows):
    df = frame_of(rows).drop(columns=["fps", "n_cuts"])
    df["n_cuts"] = [1.5, 2.0, 3.0, np.nan]
    assert manifests.validate(df) == ["column fps is missing", "column n_cuts has type float64, not int32"]


def test_nulls_where_none_may_be(rows):
    df = frame_of(rows)
    df["identity"] = pd.array([None, "x", "y", "z"], dtype=df["identity"].dtype)
    problems = manifests.validate(df)
    assert len(problems) == 1
    assert problems[0].startswith("identity is null: 1 clips")
