"""The scorer in the job: one opening of the file, both crop modes, scoring again, and what happens without weights or a GPU."""

import ctypes
import json
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from syncnet_planted import brightness_syncnet, disc_detector, disc_picture, flashing, later

from curation import landmarks
from curation.config import CurationConfig, load_config
from curation.contracts import Clip
from curation.job.clip_scorer import ClipScorer, make_scorers, part_digests
from curation.scorers.syncnet import Networks, Runtime, SyncNetScorer
from curation.syncnet.clip import TrackScore
from curation.syncnet.network import Embedder
from curation.syncnet.s3fd import FaceDetector
from curation.syncnet.score import SyncScore
from curation.syncnet.stream import LipTrack
from curation.weights import ModelRefusedError, Store
from manifests.errors import UserError
from tests.curation.clip_files import astronaut

N_FRAMES = 64


def write_clip(path: Path, pictures: list[np.ndarray], audio: np.ndarray) -> Clip:
    """Pictures at 25 Hz, lossless enough, with 16 kHz PCM sound, in Matroska."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "8", "threads": "1"})
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(video.encode(frame))
            chunk = av.AudioFrame.from_ndarray(audio[None, 640 * i : 640 * (i + 1)], format="s16", layout="mono")
            chunk.sample_rate, chunk.pts, chunk.time_base = 16000, 640 * i, Fraction(1, 16000)
            container.mux(sound.encode(chunk))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return Clip("test", path.name, "somebody", str(path))


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two discs; the right one flashes with the sound, which is three frames late, the left one by itself."""
    level, audio = flashing(N_FRAMES, seed=2)
    other, _ = flashing(N_FRAMES, seed=9)
    pictures = []
    for i in range(N_FRAMES):
        left = disc_picture(256, 192, 80, 96, other[i] // 2)
        right = disc_picture(256, 192, 176, 96 + i * 0.2, level[i] // 2)
        pictures.append(np.concatenate([left, right], axis=1))
    return write_clip(tmp_path_factory.mktemp("discs") / "discs.mkv", pictures, later(audio, 3))


def planted(scorer: SyncNetScorer, black: float, white: float) -> SyncNetScorer:
    """With hand-made weights in place of the published ones."""
    detector = FaceDetector(disc_detector()) if scorer.crop == "exact" else None
    scorer.notice, scorer.model_name = "", "planted"
    scorer.networks = Networks(Embedder(brightness_syncnet(black, white)), detector)
    return scorer


@pytest.fixture
def openings() -> Iterator:
    """Counts how often any process opens a file: `openings(path)` starts, the function that it gives tells."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)

    def watch(path: str):
        libc.inotify_add_watch(descriptor, os.fsencode(path), 0x20)  # IN_OPEN

        def count() -> int:
            try:
                data, n = os.read(descriptor, 1 << 16), 0
            except BlockingIOError:
                return 0
            while data:
                n += 1
                data = data[16 + struct.unpack_from("iIII", data)[3] :]
            return n

        return count

    yield watch
    os.close(descriptor)


def clip_scorer(settings: dict, black: float, white: float) -> ClipScorer:
    config = CurationConfig(scorers={"cuts": {}, "speech": {}, "lipsync": {}, "syncnet": settings})
    scorer = ClipScorer(config, "test")
    for part in scorer.scorers:
        if isinstance(part, SyncNetScorer):
            planted(part, black, white)
    return scorer


def test_exact_mode_end_to_end(discs: Clip, openings) -> None:
    with clip_scorer({"crop": "exact", "runtime": {"device": "cpu"}}, 100, 130) as scorer:
        count = openings(discs.video_path)
        scored = scorer.score(discs)
        assert count() == 1  # landmarks, cuts, lip sync and SyncNet see one and the same decoding
        row = scored.row
        assert row["status"] == "scored"
        assert (row["sync_tracks"], row["sync_track_ratio"]) == (2, 1.0)
        assert row["av_offset_frames"] == -3  # the sound is late: negative
        assert row["sync_c"] > row["sync_c_runner_up"]
        assert row["sync_windows"] == N_FRAMES - 5
        assert row["sync_ms"] > 0
        best, runner_up = sorted(json.loads(row["sync_track_scores"]), key=lambda track: -track["sync_c"])
        assert best["x_px"] > 256 > runner_up["x_px"]
        assert best["sync_c"] == pytest.approx(row["sync_c"], abs=1e-3)
        assert runner_up["sync_c"] == pytest.approx(row["sync_c_runner_up"], abs=1e-3)


def test_the_share_of_the_clip_that_the_best_track_covers() -> None:
    def track(first: int, n_frames: int, sync_c: float) -> TrackScore:
        lips = LipTrack(first, np.tile([50.0, 50.0, 20.0], (n_frames, 1)), np.zeros((n_frames, 8), np.float32))
        return TrackScore(lips, SyncScore(sync_c, 7.0, 1, n_frames - 5, np.zeros(31, np.float32), np.zeros(n_frames - 5, np.float32)))

    row = SyncNetScorer()._row([track(0, 300, 2.0), track(310, 51, 8.0)], 1000)
    assert (row["sync_c"], row["sync_track_ratio"]) == (8.0, pytest.approx(0.051))
    assert "sync_track_ratio" not in SyncNetScorer()._row([], 1000)


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A face that gets brighter when it is loud; the sound is two frames early."""
    level, audio = flashing(N_FRAMES, seed=5)
    face = astronaut(240).astype(np.float32)
    pictures = [(face * (0.8 + 0.2 * value / 255)).astype(np.uint8) for value in level]
    return write_clip(tmp_path_factory.mktemp("talking") / "talking.mkv", pictures, later(audio, -2))


def test_fast_mode_end_to_end(talking: Clip, openings) -> None:
    with clip_scorer({"min_face_size_px": 50, "runtime": {"device": "cpu"}}, 170, 225) as scorer:
        count = openings(talking.video_path)
        scored = scorer.score(talking)
        assert count() == 1
        row = scored.row
        assert row["status"] == "scored"
        assert (row["sync_tracks"], row["av_offset_frames"], row["sync_c_runner_up"]) == (1, 2, None)
        assert row["sync_windows"] == N_FRAMES - 5
        again = scorer.rescore(talking, dict(row), scored.faces, frozenset({"syncnet"}))
        columns = [c.name for c in SyncNetScorer.columns]
        assert {name: again.row[name] for name in columns} == {name: row[name] for name in columns}
        np.testing.assert_array_equal(again.faces.points_px, scored.faces.points_px)


def test_without_weights_the_columns_stay_null_and_the_notice_says_what_to_do(talking: Clip, tmp_path: Path) -> None:
    for crop, names in (("fast", "syncnet"), ("exact", "syncnet s3fd")):
        scorer = SyncNetScorer(crop=crop, runtime=Runtime(models_dir=str(tmp_path)))
        assert f"python -m curation models fetch {names}" in scorer.notice
        assert (scorer.model_name, scorer.networks, scorer.gpu_memory_mib) == ("", None, 0)
    settings = {"crop": "exact", "runtime": {"models_dir": str(tmp_path)}}
    with ClipScorer(CurationConfig(scorers={"speech": {}, "syncnet": settings}), "test") as scorer:
        row = scorer.score(talking).row
    assert row["status"] == "scored"
    assert [row[c.name] for c in SyncNetScorer.columns] == [None] * 8
    assert row["sync_model"] is None


def test_the_run_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curation.job.run import run

    said: list[str] = []
    config = CurationConfig(scorers={"syncnet": {"runtime": {"models_dir": str(tmp_path / "none")}}})
    (tmp_path / "videos").mkdir()
    with pytest.raises(UserError, match="holds no video"):
        run("folder", str(tmp_path / "videos"), str(tmp_path / "out"), config, say=said.append)
    assert "models fetch syncnet" in said[0]


def test_weights_of_ones_own_making_are_no_sync_c(tmp_path: Path) -> None:
    file = tmp_path / "models" / "syncnet" / "syncnet_v2.model"
    file.parent.mkdir(parents=True)
    torch.save(brightness_syncnet().state_dict(), file)
    with pytest.raises(ModelRefusedError, match="SHA-256"):
        _ = SyncNetScorer(runtime=Runtime(models_dir=str(tmp_path / "models"))).model_name
    with pytest.raises(ModelRefusedError):
        Store((tmp_path / "other",)).fetch("syncnet", origin=file.parent)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_ends_the_run(talking: Clip) -> None:
    scorer = SyncNetScorer()
    scorer.notice = ""
    with pytest.raises(UserError, match=r"runtime\.device=cpu"):
        _ = scorer.networks


def test_where_it_runs_makes_nothing_stale_and_what_it_measures_does() -> None:
    def part(**settings) -> str:
        return part_digests(CurationConfig(scorers={"syncnet": settings}), "facemesh-1")["syncnet"]

    assert part() == part(runtime={"device": "cpu", "windows_at_once": 8})
    assert len({part(), part(crop="exact"), part(min_track_frames=100), part(min_face_size_px=80)}) == 4
    assert GPU_NEED(device="cpu") == 0


def GPU_NEED(**runtime) -> int:  # noqa: N802
    scorer = SyncNetScorer(runtime=Runtime(**runtime))
    scorer.notice = ""
    return scorer.gpu_memory_mib


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": "exakt"}, "exact"),
        ({"min_track_frames": 4}, "min_track_frames"),
        ({"runtime": {"device": "gpu"}}, "cuda"),
        ({"rt": 1}, "rt"),
    ],
)
def test_mistakes_in_the_settings(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_scorers(CurationConfig(scorers={"syncnet": settings}))


def test_the_paper_profile_has_it() -> None:
    assert "syncnet" in load_config("paper").scorers


def test_every_face_is_told_frame_by_frame(talking: Clip) -> None:
    from curation.media import MediaReader

    backend = landmarks.make_backend("facemesh", {})
    with MediaReader() as reader, reader.read(talking, audio=False) as stream:
        tracker, seen, n = backend.track(talking, stream.info), [], 0
        for frame in stream.frames():
            n += 1
            tracker.on_frame(frame)
            if n % 3 == 0:
                seen += tracker.take_seen()
    faces = tracker.finish()
    seen += tracker.take_seen()
    assert len(seen) == n == len(faces.times_ms)
    for points, main in zip(seen, faces.points_px, strict=True):
        if len(points) == 1:
            np.testing.assert_array_equal(points[0], main)
