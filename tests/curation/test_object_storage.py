"""Videos in and manifests out by URL, against a local server that speaks S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest

import manifests
from curation.config import load_config
from curation.contracts import Clip, ClipError
from curation.job.ledger import Ledger
from curation.job.run import make_source, run
from curation.media import MediaLimits, MediaReader
from manifests.atomic import atomic_path, put
from manifests.errors import UserError
from manifests.places import place
from tests.curation.clip_files import write_face_clip

ROOT = Path(__file__).resolve().parents[2]
QUIET = {"say": lambda line: None}
N_CLIPS = 4


@pytest.fixture(scope="module")
def s3():
    """The server; the environment tells every process where it is."""
    server_module = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    saved = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    store = fsspec.filesystem("s3", use_listings_cache=False)
    store.mkdir("bucket")
    yield store
    server.stop()
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    (folder / "a b").mkdir()
    for seed in range(N_CLIPS):
        write_face_clip(folder / "a b" / f"{seed} é+.mp4" if seed == 1 else folder / f"{seed}.mp4", seed=seed)
    (folder / "text.mp4").write_text("no video at all")
    (folder / "empty.mp4").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def remote_clips(s3, clips) -> str:
    for file in clips.rglob("*.mp4"):
        s3.put_file(str(file), f"bucket/videos/{file.relative_to(clips)}")
    s3.pipe_file("bucket/videos/.hidden.mp4", b"x")
    s3.pipe_file("bucket/videos/notes.txt", b"x")
    return "s3://bucket/videos"


def config(*overrides: str):
    return load_config(overrides=("job.executor=inprocess", "job.shard_clips=2", *overrides))


@pytest.fixture(scope="module")
def local_run(clips, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("local")
    run("folder", str(clips), str(out), config(), **QUIET)
    return out


def assert_same(one, other) -> None:
    ignored = (*manifests.TIMING_COLUMNS, "code_version", "video_path")
    difference = manifests.diff(manifests.load(one), manifests.load(other), ignore=ignored)
    assert not difference, str(difference)
    for clip_id in manifests.load(one).query("status == 'scored'")["clip_id"]:
        for a, b in zip(manifests.load_landmarks(one, clip_id), manifests.load_landmarks(other, clip_id), strict=True):
            assert (a == b).all() or a.dtype.kind == "f"


def test_videos_and_manifest_in_the_store(local_run, remote_clips, s3):
    out = "s3://bucket/outputs/mine"
    result = run("folder", remote_clips, out, config(), **QUIET)
    assert result.fresh.clips == N_CLIPS + 2
    assert_same(local_run, out)
    df = manifests.load(out)
    assert manifests.validate(df) == []
    assert df.set_index("source_key")["error_kind"].dropna().to_dict() == {"empty.mp4": "empty_file", "text.mp4": "not_a_video"}
    assert set(df["video_path"]) == {f"{remote_clips}/{key}" for key in df["source_key"]}
    left = {name.split("/")[-1] for name in s3.find("bucket/outputs/mine")}
    assert not [name for name in left if name.endswith(".tmp") or name in (".probe", ".lease")]
    again = run("folder", remote_clips, out, config(), **QUIET)
    assert again.fresh.clips == 0


def test_report_goes_to_the_store_too(remote_clips, s3):
    from curation import cli

    cli.main(["run", "--source", "folder", "--root", remote_clips, "--out", "s3://bucket/outputs/cli", "--limit", "1"])
    assert {"run.yaml", "manifest.parquet", "report.html"} <= {name.split("/")[-1] for name in s3.find("bucket/outputs/cli")}


@pytest.mark.parametrize("where", ["videos", "manifest"])
def test_one_side_local(local_run, clips, remote_clips, s3, tmp_path, where):
    root, out = (remote_clips, str(tmp_path)) if where == "videos" else (str(clips), "s3://bucket/outputs/mixed")
    run("folder", root, out, config(), **QUIET)
    assert_same(local_run, out)


@pytest.mark.slow
def test_killed_drivers_resume_to_the_same_manifest(local_run, remote_clips, s3):
    out = "s3://bucket/outputs/killed"
    options = ["--source", "folder", "--root", remote_clips, "--out", out, "--set", "job.executor=inprocess", "--set", "job.shard_clips=1"]
    command = [sys.executable, "-m", "curation", "run", *options]
    hits = 0
    for kill in range(3):
        driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        deadline = time.monotonic() + 120
        while len(Ledger(out).shard_files()) <= kill and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        hits += driver.poll() is None
        os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()
    assert hits >= 2
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_same(local_run, out)


def test_a_second_run_waits_for_nobody_and_a_dead_one_is_replaced(s3, monkeypatch):
    from curation.job import lock

    monkeypatch.setattr(lock, "RENEW_S", 0.2)
    monkeypatch.setattr(lock, "PATIENCE_S", 2.0)
    out = place("s3://bucket/outputs/locked")
    with lock.hold(out), pytest.raises(UserError, match="another run"), lock.hold(out):
        pass
    put(out / ".lease", b'{"holder": "x", "n": 3, "host": "elsewhere", "pid": 1}')  # its driver died on another machine
    began = time.monotonic()
    with lock.hold(out):
        assert time.monotonic() - began >= 2.0
    assert not (out / ".lease").exists()
    with lock.hold(out):
        pass


def test_uploads_in_parts_appear_whole_or_not_at_all(s3, monkeypatch):
    data = os.urandom(12 << 20)
    with atomic_path("s3://bucket/parts/whole") as temporary:
        temporary.write_bytes(data)
        assert not s3.exists("bucket/parts/whole")
    assert s3.cat_file("bucket/parts/whole") == data

    store = place("s3://bucket/parts").fs

    def cut(lpath, rpath, **_):  # a part arrives, then the writer dies
        upload = store.call_s3("create_multipart_upload", Bucket="bucket", Key=rpath.split("/", 1)[1])
        part = {"Bucket": "bucket", "Key": upload["Key"], "UploadId": upload["UploadId"], "PartNumber": 1, "Body": data[: 6 << 20]}
        store.call_s3("upload_part", **part)
        raise ConnectionError("gone")

    monkeypatch.setattr(store, "put_file", cut)
    with pytest.raises(manifests.UserError, match="gone"), atomic_path("s3://bucket/parts/cut") as temporary:
        temporary.write_bytes(data)
    assert not s3.exists("bucket/parts/cut")


def test_mistakes_are_one_line(s3, remote_clips):
    with pytest.raises(UserError, match="cannot write to OUT s3://nobucket"):
        run("folder", remote_clips, "s3://nobucket/out", config(), **QUIET)
    with pytest.raises(UserError, match="does not exist"):
        run("folder", "s3://bucket/nowhere", "s3://bucket/outputs/x", config(), **QUIET)
    with pytest.raises(manifests.UserError, match="nosuch"):
        run("folder", remote_clips, "nosuch://bucket/x", config(), **QUIET)


def test_remote_files_are_bounded_fetched_once_and_leave_nothing(s3, remote_clips, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = f"{remote_clips}/0.mp4"
    with MediaReader() as reader:
        for span in ((0, 400), (400, 1000)):
            with reader.read(Clip("s", "k", "i", path, *span)) as stream:
                assert len(list(stream.frames())) == (span[1] - span[0]) // 40
        assert (reader.counts.n_fetched, reader.counts.n_opened) == (1, 1)
        assert list(tmp_path.iterdir()) == []  # the copy has no name: nothing can leave it behind
        with pytest.raises(ClipError) as missing:
            reader.probe(f"{remote_clips}/none.mp4")
        assert missing.value.kind == "missing_file"
        assert reader.probe(path).width_px == 192
    with MediaReader(MediaLimits(remote_file_mib=1)) as reader:
        s3.pipe_file("bucket/large.mp4", b"0" * (3 << 20))
        with pytest.raises(ClipError, match="at most 1 MiB") as large:
            reader.probe("s3://bucket/large.mp4")
        assert large.value.kind == "too_large"


def test_a_fetch_that_hangs_is_a_timeout(s3, remote_clips, monkeypatch):
    monkeypatch.setattr(place(remote_clips).fs, "cat_file", lambda *_, **__: time.sleep(5))
    limits = MediaLimits(deadline_base_s=0.5, fetch_mib_per_s=1000)
    with MediaReader(limits) as reader, pytest.raises(ClipError) as late:
        reader.probe(f"{remote_clips}/0.mp4")
    assert late.value.kind == "timeout"


def test_adapters_read_their_index_from_the_store(s3, tmp_path):
    """The same clips as from a disk, from the same tree."""
    youtube = "abcdefghij-"
    face = {"top": 0.1, "bottom": 0.5, "left": 0.2, "right": 0.6}
    entry = {"youtube_id": youtube, "duration": {"start_sec": 1, "end_sec": 2}, "bbox": face, "language": "dutch"}
    files = {
        "hdtf/RD_annotion_time.txt": "Ann1.mp4 00:10-00:20 00:30-00:40",
        "hdtf/RD_video_url.txt": f"Ann1.mp4 https://www.youtube.com/watch?v={youtube}",
        "hdtf/videos/RD_Ann1.mkv": "x",
        "voxceleb2/txt/id00012/"
        + youtube
        + "/00001.txt": f"Identity  : \tid00012\nReference : \t{youtube}\n\nFRAME X Y W H\n000100 0 0 1 1\n",
        f"voxceleb2/videos/{youtube}.mp4": "x",
        "talkinghead1kh/data_list/train_video_tubes.txt": f"{youtube}_0000, 720, 1280, 10, 19, 504, 63, 792, 351",
        f"talkinghead1kh/train/1min_clips/{youtube}_0000.mp4": "x",
        "ccv1/CC_annotations/CasualConversations.json": '{"1140": {"files": ["A/1140/1140_00.MP4", "../x.mp4"]}}',
        "ccv1/A/1140/1140_00.MP4": "x",
        "ccv2/annotations/CasualConversationsV2.json": '[{"video_name": "0000_a_1.mp4", "subject_id": "0000"}]',
        "ccv2/part_1/0000/0000_a_1.mp4": "x",
        "multitalk/annotations/dutch.json": json.dumps({f"{youtube}_0": entry}),
        f"multitalk/raw_video/dutch/{youtube}.mp4": "x",
        "folder/index.csv": "path,start_ms,end_ms\nv/1.mp4,0,1000\n../up.mp4,0,1\nv/2.mp4,0,1\n",
        "folder/v/1.mp4": "x",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        s3.pipe_file(f"bucket/sets/{name}", text.encode())
    for name in sorted({file.split("/")[0] for file in files}):
        settings = ("source_settings.fps=25",) if name == "talkinghead1kh" else ()
        where = f"{name}/index.csv" if name == "folder" else name
        near, far = (make_source(name, f"{base}/{where}", config(*settings)) for base in (tmp_path, "s3://bucket/sets"))
        there, here = list(far.clips()), list(near.clips())
        assert here, name
        assert [(c.clip_id, c.identity, c.start_ms, c.face_box_px) for c in there] == [
            (c.clip_id, c.identity, c.start_ms, c.face_box_px) for c in here
        ]
        assert [c.video_path for c in there] == [c.video_path.replace(str(tmp_path), "s3://bucket/sets") for c in here]
        assert [line.split(": ")[0] for line in far.report().malformed] == [line.split(": ")[0] for line in near.report().malformed]
        assert len(far.report().missing) == len(near.report().missing)
