"""The job on real files: one row an input, executors agree, only what changed is scored again, retry, presets, mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import manifests
from curation import cli
from curation.config import load_config
from curation.contracts import Clip
from curation.job.clip_scorer import ClipScorer
from curation.job.ledger import Ledger
from curation.job.run import run
from curation.job.worker import ShardTask
from tests.curation.clip_files import write_face_clip

ROOT = Path(__file__).resolve().parents[2]
QUIET = {"say": lambda line: None}


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for seed in range(6):
        write_face_clip(folder / f"{seed}.mp4", seed=seed)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video at all")
    return folder


def config(*overrides: str):
    return load_config(overrides=("job.executor=inprocess", "job.shard_clips=2", *overrides))


@pytest.fixture(scope="module")
def first_run(clips, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("first")
    run("folder", str(clips), str(out), config(), **QUIET)
    return out


def assert_same(one: Path, other: Path) -> None:
    ignored = (*manifests.TIMING_COLUMNS, "code_version")  # somebody may commit while the test runs
    difference = manifests.diff(manifests.load(one), manifests.load(other), ignore=ignored)
    assert not difference, str(difference)


def test_every_input_has_a_valid_row(first_run):
    df = manifests.load(first_run)
    assert manifests.validate(df) == []
    assert len(df) == 8
    kinds = df.set_index("source_key")["error_kind"].dropna().to_dict()
    assert kinds == {"empty.mp4": "empty_file", "text.mp4": "not_a_video"}
    scored = df[df["status"] == "scored"]
    assert (scored["valid_frame_ratio"] == 1).all()
    assert scored["head_rotation_deg"].notna().all()
    assert (scored["n_frames"] == 25).all()
    assert list(df["reject_reasons"][df["source_key"] == "empty.mp4"].iloc[0]) == ["failed:empty_file"]


def test_a_second_run_scores_nothing_and_touches_no_shard(clips, first_run):
    before = {file: file.stat().st_mtime_ns for file in (first_run / "ledger").iterdir()}
    result = run("folder", str(clips), str(first_run), config(), **QUIET)
    assert result.fresh.clips == 0
    assert before == {file: file.stat().st_mtime_ns for file in (first_run / "ledger").iterdir()}


def test_ray_gives_the_same_rows(clips, first_run, tmp_path):
    done = start(clips, tmp_path, "job.executor=ray", "workers=2")
    assert done.returncode == 0, done.stderr
    assert_same(first_run, tmp_path)


@pytest.mark.slow
def test_ray_works_on_one_cpu(clips, first_run, tmp_path):
    done = start(clips, tmp_path, "job.executor=ray", "workers=1")
    assert done.returncode == 0, done.stderr
    assert_same(first_run, tmp_path)


def start(clips: Path, out: Path, *settings: str) -> subprocess.CompletedProcess:
    options = [part for text in ("job.shard_clips=2", *settings) for part in ("--set", text)]
    command = [sys.executable, "-m", "curation", "run", "--source", "folder", "--root", str(clips), "--out", str(out), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


class ReadRecorder:
    """Stands before a `MediaReader` and notes what each clip was asked for."""

    def __init__(self, reader):
        self._reader, self.asked = reader, []

    def read(self, clip: Clip, **wanted):
        self.asked.append((wanted["frames"], wanted["audio"]))
        return self._reader.read(clip, **wanted)


@pytest.mark.parametrize(
    ("stale", "asked"),
    [({"cuts"}, (True, False)), ({"speech"}, (False, True)), ({"head_pose"}, (False, False)), ({"lipsync", "face"}, (False, True))],
)
def test_a_stale_scorer_decodes_only_what_it_reads_and_gives_the_same_numbers(clips, first_run, stale, asked):
    before = manifests.read_table(first_run).to_pylist()[0]
    clip = next(clip for clip in _clips(clips) if clip.clip_id == before["clip_id"])
    shard = manifests.shard_of(clip.source_key, Ledger(first_run).read_run()["n_shards"])
    with ClipScorer(config(), before["code_version"]) as scorer:
        reader, scorer._reader = scorer._reader, None
        recorder = scorer._reader = ReadRecorder(reader)
        try:
            again = scorer.rescore(clip, before, Ledger(first_run).faces(shard, clip.clip_id), frozenset(stale)).row
        finally:
            scorer._reader = reader
    assert recorder.asked == [asked]
    ignored = {*manifests.TIMING_COLUMNS, "accepted", "reject_reasons"}
    for name in set(before) - ignored:
        assert again.get(name) == pytest.approx(before[name], nan_ok=True, abs=1e-6), name


def _clips(folder: Path) -> list[Clip]:
    from curation.sources.folder import Folder

    return list(Folder(str(folder)).clips())


def test_a_changed_setting_changes_only_its_columns(clips, tmp_path):
    run("folder", str(clips), str(tmp_path), config(), **QUIET)
    one = manifests.load(tmp_path)
    run("folder", str(clips), str(tmp_path), config("scorers.cuts.min_difference=0", "scorers.cuts.adaptive_ratio=0.5"), **QUIET)
    difference = manifests.diff(one, manifests.load(tmp_path))
    changed = set(difference.changed["column"])
    assert changed <= {"n_cuts", "config_hash", "accepted", "reject_reasons", "code_version"}
    assert "config_hash" in changed


def test_another_preset_decodes_nothing(clips, first_run, tmp_path):
    before = {file: file.stat().st_mtime_ns for file in (first_run / "ledger").iterdir()}
    result = run("folder", str(clips), str(first_run), config("preset=paper"), **QUIET)
    assert before == {file: file.stat().st_mtime_ns for file in (first_run / "ledger").iterdir()}
    reasons = result.table.to_pandas().set_index("source_key")["reject_reasons"]["0.mp4"]
    assert "lip_sync_low:missing" in reasons
    run("folder", str(clips), str(first_run), config(), **QUIET)


def test_retry_scores_what_the_query_selects_and_nothing_else(clips, tmp_path):
    run("folder", str(clips), str(tmp_path), config(), **QUIET)
    longer = config("media.deadline_base_s=99")
    result = run("folder", str(clips), str(tmp_path), longer, retry_where="error_kind == 'empty_file'", **QUIET)
    assert result.fresh.clips == 1
    assert Ledger(tmp_path).read_run()["config"]["media"]["deadline_base_s"] == config().media.deadline_base_s
    attempts = manifests.load(tmp_path).set_index("source_key")["attempts"]
    assert attempts["empty.mp4"] == 2
    assert (attempts.drop("empty.mp4") == 1).all()


def test_retry_of_a_limited_run_adds_no_clip_and_counts_the_committed_ones(clips, tmp_path):
    run("folder", str(clips), str(tmp_path), config("job.shard_clips=8"), limit=2, **QUIET)
    said: list[str] = []
    result = run("folder", str(clips), str(tmp_path), config(), retry_where="source_key == '1.mp4'", say=said.append)
    assert (result.fresh.clips, result.fresh.reused, result.table.num_rows) == (1, 0, 2)
    assert "--where selects 1 of 2 committed clips" in said
    result = run("folder", str(clips), str(tmp_path), config(), retry_where="source_key == '5.mp4'", say=said.append)
    assert (result.fresh.clips, result.table.num_rows) == (0, 2)
    assert said[-2:] == ["--where selects 0 of 2 committed clips", "nothing to retry"]


def test_a_clip_retried_with_another_setting_is_not_taken_for_the_others(clips, tmp_path):
    run("folder", str(clips), str(tmp_path), config("job.shard_clips=8"), **QUIET)
    run("folder", str(clips), str(tmp_path), config("scorers.cuts.min_difference=20"), retry_where="source_key == '1.mp4'", **QUIET)
    assert manifests.load(tmp_path).query("status == 'scored'")["config_hash"].value_counts().tolist() == [5, 1]
    again = run("folder", str(clips), str(tmp_path), config(), **QUIET)
    assert again.fresh.clips == 1
    assert manifests.load(tmp_path)["config_hash"].nunique() == 1
    assert run("folder", str(clips), str(tmp_path), config(), **QUIET).fresh.clips == 0


def test_limit_and_growth(clips, first_run, tmp_path):
    result = run("folder", str(clips), str(tmp_path), config(), limit=3, **QUIET)
    assert result.table.num_rows == 3
    result = run("folder", str(clips), str(tmp_path), config(), **QUIET)
    assert result.fresh.clips == 5
    assert_same(first_run, tmp_path)


def test_a_long_deadline_is_not_a_changed_score(clips, first_run):
    result = run("folder", str(clips), str(first_run), config("media.deadline_base_s=99"), **QUIET)
    assert result.fresh.clips == 0


def test_a_clip_that_killed_its_workers_becomes_a_row(clips, tmp_path):
    from curation.job.ledger import Inflight
    from curation.job.worker import ShardWorker, WorkerSpec

    good, bad = _clips(clips)[:2]
    ledger, spec = Ledger(tmp_path), WorkerSpec(config(), str(tmp_path), "session", "0", {})
    for _ in range(3):
        assert Inflight(ledger.inflight_file(0), "session", 3).begin(bad)
    with ShardWorker(spec) as worker:
        tally = worker.run(ShardTask(0, (good, bad), (None, None)))
    rows = ledger.rows(0)
    assert (tally.clips, tally.failed) == (2, 1)
    assert rows[bad.clip_id]["error_kind"] == "crash"
    assert rows[good.clip_id]["status"] == "scored"
    assert not ledger.inflight_file(0).exists()


def test_tasks_travel_as_json():
    odd = Clip("folder", "a\nb", 'q"', os.fsdecode(b"/x/\xff.mp4"), 5, None, (1.0, 2.0, 3.0, 4.5), "CC")
    task = ShardTask(7, (odd, replace(odd, face_box_px=None, end_ms=9)), ("5-7", None), frozenset({"x"}), frozenset({"y"}))
    assert ShardTask.from_json(task.to_json()) == task


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--root", "nowhere/at/all", "--source", "folder"], "does not exist"),
        (["run", "--source", "foldr"], "did you mean 'folder'"),
        (["run", "--source", "folder", "--root", "CLIPS", "--preset", "papr"], "did you mean 'paper'"),
        (["run", "--source", "folder", "--root", "CLIPS", "--set", "wrokers=2"], "did you mean 'workers'"),
        (["run", "--source", "folder", "--root", "CLIPS", "--set", "scorers.cuts.treshold=2"], "unknown configuration key"),
        (["run", "--source", "folder", "--root", "CLIPS", "--set", "scorers.cutz={}"], "did you mean 'cuts'"),
        (["run", "--source", "folder", "--root", "CLIPS", "--profile", "papper"], "unknown profile"),
        (["run", "--source", "folder", "--root", "CLIPS", "--out", "/proc/nothing"], "cannot write"),
        (["run", "--source", "folder", "--root", "CLIPS", "--out", "CLIPS/0.mp4"], "cannot write"),
        (["run", "--source", "folder", "--root", "."], "holds no video"),
        (["run", "--limit", "0"], "limit"),
        (["retry", "OUT", "--where", "error_kind =="], "no query"),
        (["retry", "nowhere", "--where", "True"], "holds no run"),
        (["explain", "OUT", "zzzz"], "0 clips are called"),
        (["report", "nowhere"], "holds no run"),
        (["plan", "--source", "folder", "--root", "nowhere"], "does not exist"),
        (["runn"], "No such command"),
    ],
)
def test_mistakes_are_one_clear_line_and_exit_code_2(clips, first_run, tmp_path, monkeypatch, capfd, arguments, message):
    monkeypatch.chdir(tmp_path)
    words = [word.replace("CLIPS", str(clips)).replace("OUT", str(first_run)) for word in arguments]
    if words[0] == "run" and "--out" not in words:
        words += ["--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert message in lines[-1]
    assert lines[-1].startswith("error:")
    assert not any("Traceback" in line for line in lines)


def test_another_source_in_the_same_directory_is_refused(first_run, tmp_path, capfd):
    write_face_clip(tmp_path / "a.mp4", seed=1, n_frames=5)
    with pytest.raises(SystemExit):
        cli.main(["run", "--source", "folder", "--root", str(tmp_path), "--out", str(first_run)])
    assert "choose another OUT" in capfd.readouterr().err


def test_explain_prints_every_number_and_draws(first_run, tmp_path, capsys):
    picture = tmp_path / "x.png"
    cli.main(["explain", str(first_run), "2.mp4", "--picture", str(picture)])
    text = capsys.readouterr().out
    for column in manifests.COLUMNS:
        assert column.name in text
    assert "the manifest says" not in text
    import cv2

    assert np.ptp(cv2.imread(str(picture))) > 100
    cli.main(["explain", str(first_run), "empty.mp4"])
    assert "empty_file" in capsys.readouterr().out


def test_plan_names_clips_hours_and_time(clips, capsys):
    cli.main(["plan", "--source", "folder", "--root", str(clips), "--measure", "2"])
    text = capsys.readouterr().out
    assert "8 in 8 files" in text
    assert "2 of them unreadable" in text
    assert "x real time" in text
