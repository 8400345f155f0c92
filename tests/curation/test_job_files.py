"""The ledger knows files, not only names: what arrived or changed is scored again, what vanished is marked, nothing is read to know it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import manifests
from curation.config import load_config
from curation.job.file_stamps import file_stamps
from curation.job.freshness import Todo, what_to_do
from curation.job.run import RunResult, run
from tests.curation.clip_files import write_face_clip


def scored(root: Path, out: Path, *overrides: str, **options: object) -> RunResult:
    config = load_config(overrides=("job.executor=inprocess", "job.shard_clips=2", *overrides))
    return run("folder", str(root), str(out), config, say=lambda line: None, **options)


def state_of(out: Path) -> dict[str, tuple[str, str | None]]:
    df = manifests.load(out)
    kinds = df["error_kind"].astype(object).where(df["error_kind"].notna(), None)
    return {key: (status, kind) for key, status, kind in zip(df["source_key"], df["status"], kinds, strict=True)}


@pytest.fixture
def clips(tmp_path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for seed in range(3):
        write_face_clip(folder / f"{seed}.mp4", seed=seed, n_frames=5, size_px=96)
    return folder


SCORED, MISSING = ("scored", None), ("failed", "missing_file")


@pytest.mark.parametrize("indexed", [False, True])
def test_files_arrive_change_vanish_and_come_back(clips, tmp_path, indexed):
    out = tmp_path / "out"
    root = clips
    if indexed:
        root = clips / "index.csv"
        root.write_text("path\n0.mp4\n1.mp4\n2.mp4\nlate.mp4\n")
    assert scored(root, out).fresh.clips == (4 if indexed else 3)
    late = {"late.mp4": MISSING} if indexed else {}
    assert state_of(out) == {"0.mp4": SCORED, "1.mp4": SCORED, "2.mp4": SCORED, **late}
    assert scored(root, out).fresh.clips == 0

    write_face_clip(clips / "late.mp4", seed=7, n_frames=5, size_px=96)
    assert scored(root, out).fresh.clips == 1
    assert state_of(out)["late.mp4"] == SCORED

    before = manifests.load(out).set_index("source_key")
    write_face_clip(clips / "1.mp4", seed=8, n_frames=9, size_px=96)
    assert scored(root, out).fresh.clips == 1
    after = manifests.load(out).set_index("source_key")
    assert (before["n_frames"]["1.mp4"], after["n_frames"]["1.mp4"]) == (5, 9)
    assert before["file_stamp"]["1.mp4"] != after["file_stamp"]["1.mp4"]
    assert before["file_stamp"]["0.mp4"] == after["file_stamp"]["0.mp4"]

    (clips / "2.mp4").rename(tmp_path / "away.mp4")
    assert scored(root, out).fresh.clips == 0
    gone = manifests.load(out).set_index("source_key").loc["2.mp4"]
    assert state_of(out)["2.mp4"] == MISSING
    assert not gone["accepted"]
    assert list(gone["reject_reasons"]) == ["failed:missing_file"]
    assert manifests.validate(out) == []
    unchanged = {file: file.stat().st_mtime_ns for file in (out / "ledger").iterdir()}
    assert scored(root, out).fresh.clips == 0
    assert unchanged == {file: file.stat().st_mtime_ns for file in (out / "ledger").iterdir()}

    (tmp_path / "away.mp4").rename(clips / "2.mp4")
    assert scored(root, out).fresh.clips == 0  # the scores stayed
    back = manifests.load(out).set_index("source_key").loc["2.mp4"]
    assert state_of(out)["2.mp4"] == SCORED
    assert back["head_rotation_deg"] == before["head_rotation_deg"]["2.mp4"]
    assert len(manifests.load_landmarks(out, back["clip_id"])[0]) == 5


def test_a_file_that_came_back_is_scored_again_where_the_settings_changed_meanwhile(clips, tmp_path):
    out = tmp_path / "out"
    scored(clips, out)
    (clips / "2.mp4").rename(tmp_path / "away.mp4")
    scored(clips, out, "scorers.cuts.min_difference=20")
    (tmp_path / "away.mp4").rename(clips / "2.mp4")
    assert scored(clips, out, "scorers.cuts.min_difference=20").fresh.clips == 1
    assert manifests.load(out)["config_hash"].nunique() == 1


def test_settings_that_changed_under_a_limit_reach_the_other_clips_later(clips, tmp_path):
    out = tmp_path / "out"
    scored(clips, out, "job.shard_clips=8")
    assert scored(clips, out, "scorers.cuts.min_difference=20", limit=1).fresh.clips == 1
    assert scored(clips, out, "scorers.cuts.min_difference=20").fresh.clips == 2
    assert manifests.load(out)["config_hash"].nunique() == 1


def test_nothing_is_read_to_know(clips, tmp_path):
    out = tmp_path / "out"
    scored(clips, out)
    for file in clips.iterdir():
        state = file.stat()
        file.write_bytes(b"\0" * state.st_size)  # whoever reads this fails
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert scored(clips, out).fresh.clips == 0
    assert set(state_of(out).values()) == {SCORED}


def test_stamps(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"one")
    paths = [str(file), str(tmp_path / "none"), f"{file}/below"]
    one = file_stamps(paths)
    assert one[paths[1]] is None
    assert one[paths[2]] is None
    file.write_bytes(b"other")
    assert file_stamps(paths)[paths[0]] != one[paths[0]]
    os.utime(file, (5, 5))
    touched = file_stamps(paths)[paths[0]]
    file.write_bytes(b"OTHER")
    assert file_stamps(paths)[paths[0]] != touched


def row(status="scored", kind=None, stamp="5-5", config="new", frames=25):
    return {"status": status, "error_kind": kind, "file_stamp": stamp, "config_hash": config, "n_frames": frames}


@pytest.mark.parametrize(
    ("committed", "stamp", "todo"),
    [
        (row(), "5-5", Todo.NOTHING),
        (row(), "6-6", Todo.SCORE),
        (row(), None, Todo.MARK_GONE),
        (row(stamp=None), "5-5", Todo.NOTE_FILE),
        (row(config="old"), "5-5", Todo.RESCORE_PARTS),
        (row(config="older"), "5-5", Todo.SCORE),
        (row(config="old"), None, Todo.MARK_GONE),
        (row("failed", "missing_file"), None, Todo.NOTHING),
        (row("failed", "missing_file"), "5-5", Todo.RESTORE),
        (row("failed", "missing_file"), "6-6", Todo.SCORE),
        (row("failed", "missing_file", config="old"), "5-5", Todo.SCORE),
        (row("failed", "missing_file", None, frames=None), None, Todo.NOTHING),
        (row("failed", "missing_file", None, frames=None), "5-5", Todo.SCORE),
        (row("failed", "not_a_video", frames=None), "5-5", Todo.NOTHING),
        (row("failed", "not_a_video", frames=None), "6-6", Todo.SCORE),
        (row("failed", "not_a_video", frames=None), None, Todo.SCORE),
        (row("failed", "not_a_video", None, frames=None), "5-5", Todo.NOTE_FILE),
        (row("failed", "unreadable", None, frames=None), None, Todo.NOTHING),
        (row("failed", "not_a_video", config="old", frames=None), "5-5", Todo.SCORE),
    ],
)
def test_what_a_committed_row_needs(committed, stamp, todo):
    assert what_to_do(committed, stamp, "new", "old") is todo
