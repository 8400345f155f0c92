"""The sample clips as files: formats, planted shifts, broken files, and rendering them once only."""

import csv
import json
import time
from pathlib import Path

import av
import numpy as np
import pytest
from safetensors.numpy import load_file

from curation.samples import STAMP_FILE, TRUTH_FILE, SampleTruth, read_truth, render_samples, rendered
from curation.samples.encode import write_mp4
from curation.samples.plan import BROKEN, CLIPS, LOOKS
from manifests import ERROR_KINDS, UserError, split

SMALL = ("face_too_small", "truncated", "zero_bytes")


def sound_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def pictures_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[Path, list[SampleTruth]]:
    out = tmp_path_factory.mktemp("samples")
    return out, render_samples(out, only=SMALL)


def test_the_plan_is_sound():
    names = [plan.name for plan in CLIPS] + list(BROKEN)
    assert len(set(names)) == len(names)
    assert set(BROKEN.values()) <= set(ERROR_KINDS)
    assert {plan.identity for plan in CLIPS} <= set(LOOKS)
    assert sum(not plan.fault for plan in CLIPS) >= 4
    assert all(4 <= plan.duration_s <= 8 for plan in CLIPS)
    assert all(bool(plan.fault) == bool(plan.reason) for plan in CLIPS)


def test_clean_clips_fall_on_both_sides_of_the_split():
    assert {split(plan.identity) for plan in CLIPS if not plan.fault} == {"train", "test"}


def test_every_reason_is_one_that_the_preset_gives():
    import yaml

    presets = yaml.safe_load((Path(__file__).parents[2] / "configs/curation/presets.yaml").read_text("utf-8"))
    reasons = {rule["reason"] for rule in presets["embedded"]["rules"]}
    assert {plan.reason for plan in CLIPS if plan.fault} <= reasons


def test_format(small):
    out, truths = small
    truth = truths[0]
    with av.open(str(out / truth.file)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.average_rate, video.frames) == ("h264", 25, truth.n_frames)
        assert (video.width, video.height) == (truth.width_px, truth.height_px)
        assert (sound.codec_context.name, sound.rate, sound.codec_context.layout.name) == ("aac", 16000, "mono")
        assert abs(container.duration / 1000 - truth.duration_ms) < 70
    head = (out / truth.file).read_bytes()[:4096]
    assert b"moov" in head  # the index comes first, so that the clip can be played while it loads


def test_truth_of_the_frames(small):
    out, truths = small
    frames = load_file(out / truths[0].frames_file)
    assert frames["points_px"].shape == (truths[0].n_frames, 68, 2)
    box = np.ptp(frames["points_px"], axis=1)
    assert truths[0].face_width_px == pytest.approx(np.median(box[:, 0]), abs=0.01)
    assert truths[0].roll_deg_mean == pytest.approx(np.abs(frames["roll_deg"]).mean(), abs=0.01)
    assert frames["mouth_open"].max() > 0.1
    assert frames["mouth_open"].min() == 0
    assert frames["blink"].max() == pytest.approx(1, abs=0.5)


def test_truth_reads_back_and_serves_as_a_table(small):
    out, truths = small
    assert read_truth(out / TRUTH_FILE) == truths
    with (out / TRUTH_FILE).open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [f"{name}.mp4" for name in SMALL]


def test_broken_files_are_broken(small):
    out, truths = small
    by_name = {truth.file: truth for truth in truths}
    assert by_name["zero_bytes.mp4"].expected_error_kind == "empty_file"
    assert (out / "zero_bytes.mp4").read_bytes() == b""
    assert by_name["truncated.mp4"].expected_error_kind == "truncated"
    with av.open(str(out / "truncated.mp4")) as container:
        promised = container.streams.video[0].frames
        got = 0
        try:
            for _ in container.decode(video=0):
                got += 1
        except av.FFmpegError:
            pass
    assert got < promised


def test_rendering_twice_gives_the_same_bytes(small, tmp_path):
    out, _ = small
    render_samples(tmp_path, only=["truncated"], workers=1)
    first, second = (json.loads((folder / STAMP_FILE).read_text()) for folder in (out, tmp_path))
    assert first["maker"] == second["maker"]
    assert first["files"]["truncated.mp4"] == second["files"]["truncated.mp4"]


def test_rendered_clips_are_left_alone_until_something_changes(small, tmp_path):
    out, truths = small
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    lines = []
    assert render_samples(out, only=SMALL, progress=lines.append) == truths
    assert not lines
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert rendered(out, only=SMALL, seed=1) is None
    assert rendered(out) is None
    clip = out / "face_too_small.mp4"
    whole = clip.read_bytes()
    clip.write_bytes(whole[:-1])
    assert rendered(out, only=SMALL) is None
    clip.write_bytes(whole)
    (out / STAMP_FILE).rename(tmp_path / STAMP_FILE)
    assert rendered(out, only=SMALL) is None
    (tmp_path / STAMP_FILE).rename(out / STAMP_FILE)
    assert rendered(out, only=SMALL) == truths
    assert not list(out.glob(".rendering-*"))


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"maker": 3}', '{"maker": {}, "files": []}'])
def test_a_damaged_stamp_means_not_rendered(small, tmp_path, damage):
    (tmp_path / STAMP_FILE).write_text(damage)
    assert rendered(tmp_path) is None


def test_unwritable_directory_and_unknown_clip_are_users_errors(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write sample clips"):
        render_samples(tmp_path / "file" / "below", only=SMALL)
    with pytest.raises(UserError, match="no such sample clip: clean_frontl"):
        render_samples(tmp_path, only=["clean_frontl"])


def test_a_stop_ends_rendering_at_once_and_leaves_nothing(tmp_path):
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        render_samples(tmp_path, only=["face_too_small", "clean_frontal"], progress=stop)
    assert time.monotonic() - began < 60
    assert not list(tmp_path.iterdir())


def test_frames_and_sound_survive_the_encoder(tmp_path):
    """Frame i shows picture i, and a click at t seconds is heard at t seconds."""
    n = 50
    pictures = [np.full((96, 128, 3), 5 * i, np.uint8) for i in range(n)]
    sound = np.zeros(2 * 16000, np.int16)
    sound[16000:16040] = 20000
    write_mp4(tmp_path / "clip.mp4", pictures, sound)
    seen = pictures_of(tmp_path / "clip.mp4").mean((1, 2, 3))
    np.testing.assert_allclose(seen, 5 * np.arange(n), atol=3)
    heard = sound_of(tmp_path / "clip.mp4")
    assert abs(int(np.abs(heard).argmax()) - 16020) < 100
    write_mp4(tmp_path / "mute.mp4", pictures, None)
    with av.open(str(tmp_path / "mute.mp4")) as container:
        assert not container.streams.audio


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clean_frontal", "sound_late_7", "sound_early_5"])
def test_planted_shift_is_in_the_file(name, tmp_path):
    """Loudness of the decoded sound against the planted mouth: the shift with the best correlation is the planted one."""
    (truth,) = render_samples(tmp_path, only=[name])
    opening = load_file(tmp_path / truth.frames_file)["mouth_open"]
    sound = sound_of(tmp_path / truth.file) * 32768
    n = len(opening)
    envelope = np.array([np.log(30 + np.sqrt((sound[max(0, i * 640 - 320) : i * 640 + 320] ** 2).mean())) for i in range(n)])
    shifts = range(-15, 16)
    # The sound of picture i lies at i - offset: early sound has a positive offset. The mouth itself is up to three frames ahead.
    correlation = [np.corrcoef(opening[20:-20], envelope[20 - k : n - 20 - k])[0, 1] for k in shifts]
    assert -3 <= shifts[int(np.argmax(correlation))] - truth.offset_frames <= 0
