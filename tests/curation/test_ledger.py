import json

import numpy as np
import pyarrow as pa
import pytest
import yaml

import manifests
from curation.config import digest
from curation.contracts import Clip, Faces, ScoredClip
from curation.job.ledger import Inflight, Ledger, clips_digest, row_key, shard_count
from manifests.errors import UserError


def scored(name: str, n_frames: int = 3) -> ScoredClip:
    clip = Clip("folder", name, name, f"/videos/{name}")
    rng = np.random.default_rng(len(name))
    points, confidence = manifests.quantise(rng.uniform(0, 500, (n_frames, 68, 2)).astype(np.float32), np.ones((n_frames, 68), np.float32))
    faces = Faces(np.arange(n_frames) * 40.0, np.ones(n_frames, np.int16), points, confidence)
    row = {
        "clip_id": clip.clip_id,
        "source": "folder",
        "source_key": name,
        "identity": name,
        "video_path": clip.video_path,
        "start_ms": 0,
        "split": "train",
        "status": "scored",
        "attempts": 1,
    }
    return ScoredClip(row, faces)


def test_commit_and_read_back(tmp_path):
    ledger = Ledger(tmp_path)
    items = [scored("a.mp4"), scored("bb.mp4", 5)]
    parts = {"landmarks": "x"}
    for item in items:
        item.row.update(config_hash=digest(parts), file_stamp="5-7")
    ledger.commit(3, items, parts, {"source": "folder"}, "embedded")
    assert set(ledger.rows(3)) == {item.row["clip_id"] for item in items}
    state = ledger.states()[3]
    assert (state.parts, state.n_rows) == ({"landmarks": "x"}, 2)
    assert state.clips_digest == clips_digest(row_key(item.row["clip_id"], "5-7") for item in items)
    for item in items:
        back = ledger.faces(3, item.row["clip_id"])
        np.testing.assert_array_equal(back.points_px, item.faces.points_px)
        np.testing.assert_array_equal(back.times_ms, item.faces.times_ms)
    assert ledger.rows(4) == {}
    assert not list(tmp_path.rglob("*.tmp*"))


def test_a_foreign_parquet_file_is_refused(tmp_path):
    (tmp_path / "ledger").mkdir()
    manifests.write([scored("a.mp4").row | {"accepted": True, "reject_reasons": []}], tmp_path / "ledger" / "00000.parquet", {})
    with pytest.raises(UserError, match="not a shard"):
        Ledger(tmp_path).states()


def test_only_one_run_may_write(tmp_path):
    with Ledger(tmp_path).lock(), pytest.raises(UserError, match="another run"), Ledger(tmp_path).lock():
        pass
    with Ledger(tmp_path).lock():
        pass


def test_run_file_round_trip_and_damage(tmp_path):
    ledger = Ledger(tmp_path)
    assert ledger.read_run() is None
    run = {"source": "folder", "root": "/videos/ünï", "config": {"workers": 2}, "n_shards": 4}
    ledger.write_run(run)
    assert ledger.read_run() == run
    ledger.run_file.write_text(yaml.safe_dump(["no", "run"]))
    with pytest.raises(UserError, match="not a run's file"):
        ledger.read_run()


@pytest.mark.parametrize(("n_clips", "size", "shards"), [(1, 0, 1), (14, 0, 14), (640, 0, 64), (100_000, 0, 782), (100, 7, 15)])
def test_shard_count(n_clips, size, shards):
    assert shard_count(n_clips, size) == shards


def test_a_clip_that_kills_workers_is_given_up_and_killed_drivers_hardly_count(tmp_path):
    clip, file = Clip("folder", "a", "a", "a"), tmp_path / "inflight" / "0.json"
    tried = 0
    while Inflight(file, "one session", limit=3).begin(clip):  # begins, and dies before the shard is committed
        tried += 1
    assert tried == 3
    file.unlink()
    tried = 0
    for session in range(100):
        if not Inflight(file, f"session {session}", limit=3).begin(clip):
            break
        tried += 1
    assert tried == 3 * Inflight.ACROSS_SESSIONS
    file.write_text("damaged")
    assert Inflight(file, "s", limit=3).begin(clip)
    assert json.loads(file.read_text())["clip_id"] == clip.clip_id


def test_a_column_of_a_scorer_of_ones_own_keeps_its_meaning(tmp_path):
    mine = manifests.Column("blink_rate_hz", pa.float32(), "Hz", "blinks a second")
    item = scored("a.mp4")
    item.row["blink_rate_hz"] = 0.25
    ledger = Ledger(tmp_path)
    ledger.commit(0, [item], {}, {}, "embedded", [mine])
    again = ScoredClip(ledger.rows(0)[item.row["clip_id"]], item.faces)
    ledger.commit(0, [again], {}, {}, "embedded", [mine])
    assert manifests.load(tmp_path)["blink_rate_hz"].tolist() == [0.25]
    described = manifests.describe(ledger.shard_file(0)).set_index("name").loc["blink_rate_hz"]
    assert (described["unit"], described["meaning"]) == ("Hz", "blinks a second")
