"""Rendered people's clips as files: truth that equals what was rendered, the same bytes however they come about, a row a clip."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

import manifests
from curation.cli import main
from curation.config import load_config
from curation.job.run import make_source
from curation.people import Pose, Studio
from curation.people.acting import pose_at
from curation.people.clip import render_clip, voice_of
from curation.people.job import INDEX_FILE, TakeFile, is_finished, read_settings, render_people, take_files
from curation.people.settings import PeopleSettings, Take
from curation.people.truth import made_with, read_people_truth
from manifests import UserError

ROOT = Path(__file__).parents[2]
SMALL = PeopleSettings(count=3, seconds=0.4, size_px=96, camera_faults=False)


def quiet(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[Path, list[TakeFile]]:
    out = tmp_path_factory.mktemp("people")
    return out, render_people(out, SMALL, executor="inprocess", say=quiet)


def bytes_of(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file() and path.suffix}


def pictures_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_format(small):
    _, files = small
    for file in files:
        with av.open(str(file.video)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert (video.average_rate, video.width, video.height) == (25, 96, 96)
            assert len(list(container.decode(video=0))) == 10


def test_truth_is_what_was_rendered(small):
    _, files = small
    truth = read_people_truth(files[1].truth)
    studio = Studio(truth.person, truth.scene, SMALL.size_px)
    shots = [studio.render(pose_at(truth.pose, index)) for index in range(truth.n_frames)]
    np.testing.assert_array_equal(truth.points_px, np.stack([shot.points_px for shot in shots]))
    np.testing.assert_array_equal(truth.visible, np.stack([shot.visible for shot in shots]))
    np.testing.assert_array_equal(truth.lip_gap_px, np.float32([shot.lip_gap_px for shot in shots]))
    np.testing.assert_array_equal(truth.lid_gap_px, np.stack([shot.lid_gap_px for shot in shots]))
    np.testing.assert_array_equal(truth.skin_srgb, np.stack([shot.skin_srgb for shot in shots]))
    shown, rendered = pictures_of(files[1].video).astype(float), np.stack([shot.rgb for shot in shots]).astype(float)
    assert np.sqrt(np.mean((shown - rendered) ** 2)) < 6  # H.264 at 4:2:0


def test_truth_names_person_voice_and_words(small):
    _, files = small
    first, second = (read_people_truth(file.truth) for file in files[:2])
    assert first.identity == files[0].take.identity != second.identity
    assert first.person != second.person
    assert first.voice == voice_of(first.person) != second.voice
    assert first.phones[-1].end_s == pytest.approx(0.4)
    assert set(first.factors) >= {"mouth", "blink", "yaw_deg"}
    np.testing.assert_array_equal(first.factors["yaw_deg"], first.pose["yaw_deg"])


def test_the_same_seed_gives_the_same_bytes_in_whatever_order(small, tmp_path):
    _, files = small
    for file in reversed(files):
        again = TakeFile(file.take, tmp_path / file.video.name, tmp_path / file.truth.name)
        render_clip(file.take, SMALL, again.video, again.truth, made_with(file.truth)["maker"])
        assert again.video.read_bytes() == file.video.read_bytes()
        assert again.truth.read_bytes() == file.truth.read_bytes()


def test_a_row_a_clip_with_identity_and_split(small):
    out, files = small
    with (out / INDEX_FILE).open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["path"] for row in rows] == [file.video.relative_to(out).as_posix() for file in files]
    assert len({row["identity"] for row in rows}) == SMALL.count
    assert all(row["split"] == manifests.split(row["identity"]) for row in rows)
    assert all((out / row["truth"]).exists() for row in rows)


def test_split_is_nine_to_one_by_person():
    takes = PeopleSettings(count=2000, clips_per_person=2).takes()
    assert len({take.name for take in takes}) == 4000
    sides = {}
    for take in takes:
        sides.setdefault(take.identity, set()).add(manifests.split(take.identity))
    assert len(sides) == 2000
    assert all(len(side) == 1 for side in sides.values())
    assert np.mean([side == {"test"} for side in sides.values()]) == pytest.approx(0.1, abs=0.02)


def test_sets_of_two_seeds_share_nobody():
    people = {take.identity for take in PeopleSettings(count=50).takes()}
    assert people.isdisjoint(take.identity for take in PeopleSettings(count=50, seed=1).takes())


def test_what_is_there_is_not_rendered_again_and_more_may_be_added(small):
    out, files = small
    before = {file.video: file.video.stat().st_mtime_ns for file in files}
    said: list[str] = []
    render_people(out, SMALL, say=said.append)
    assert said == []
    more = render_people(out, replace(SMALL, count=4), executor="inprocess", say=said.append)
    assert said[0].startswith("1 of 4 clips")
    assert {file.video: file.video.stat().st_mtime_ns for file in files} == before
    assert all(is_finished(file) for file in more)
    assert read_settings(out).count == 4


def test_a_damaged_clip_is_rendered_again(small):
    out, files = small
    whole = files[0].video.read_bytes()
    files[0].video.write_bytes(whole[:-100])
    assert not is_finished(files[0])
    render_people(out, SMALL, executor="inprocess", say=quiet)
    assert files[0].video.read_bytes() == whole


def test_other_settings_and_other_files_are_mistakes(small, tmp_path):
    out, _ = small
    with pytest.raises(UserError, match="size_px 96"):
        render_people(out, replace(SMALL, size_px=128), say=quiet)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        render_people(tmp_path, SMALL, say=quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--size", "97"], ["--seconds", "-1"], ["--seed", "-3"]])
def test_mistakes_end_in_one_line_and_two(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["people", "--out", str(tmp_path / "out"), *wrong])
    assert end.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_killed_run_goes_on_to_the_same_bytes(small, tmp_path):
    reference, _ = small
    render_people(reference, SMALL, executor="inprocess", say=quiet)  # an earlier test may have added people
    command = [sys.executable, "-m", "curation", "people", "--out", str(tmp_path / "out"), "--count", "3", "--seconds", "0.4"]
    command += ["--size", "96", "--clean", "--executor", "inprocess"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out" / "truth").glob("*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "out" / INDEX_FILE).exists()
    (tmp_path / "out" / "clips" / ".left.mp4.1.ab.tmp").write_bytes(b"half a clip")
    render_people(tmp_path / "out", SMALL, executor="inprocess", say=quiet)
    wanted = {name: data for name, data in bytes_of(reference).items() if "000003" not in name}
    assert bytes_of(tmp_path / "out") == wanted


@pytest.mark.slow
def test_two_workers_on_ray_give_the_same_bytes(small, tmp_path):
    reference, _ = small
    render_people(reference, SMALL, executor="inprocess", say=quiet)
    render_people(tmp_path / "out", SMALL, executor="ray", workers=2, say=quiet)
    wanted = {name: data for name, data in bytes_of(reference).items() if "000003" not in name}
    assert bytes_of(tmp_path / "out") == wanted


def test_the_source_names_every_clip_and_renders_what_is_missing(small):
    out, _ = small
    render_people(out, SMALL, executor="inprocess", say=quiet)
    lost = take_files(out, SMALL)[2]
    lost.truth.unlink()
    clips = list(make_source("people", str(out), load_config("embedded")).clips())
    assert [clip.source_key for clip in clips] == [file.video.relative_to(out).as_posix() for file in take_files(out, SMALL)]
    assert [clip.identity for clip in clips] == [file.take.identity for file in take_files(out, SMALL)]
    assert all(Path(clip.video_path).exists() for clip in clips)
    assert is_finished(lost)


def test_the_source_takes_settings_for_a_new_set(tmp_path):
    config = load_config("embedded", None, ("source_settings.count=1", "source_settings.seconds=0.2", "source_settings.size_px=64"))
    clips = list(make_source("people", str(tmp_path / "new"), config).clips())
    assert len(clips) == 1
    assert json.loads((tmp_path / "new" / "people.json").read_text())["seconds"] == 0.2


def test_camera_faults_change_pictures_and_leave_the_truth(small, tmp_path):
    _, files = small
    worse = replace(SMALL, camera_faults=True)
    file = TakeFile(Take(0, 1, 0), tmp_path / "clip.mp4", tmp_path / "truth.safetensors")
    render_clip(file.take, worse, file.video, file.truth, "test")
    truth, clean = read_people_truth(file.truth), read_people_truth(files[1].truth)
    np.testing.assert_array_equal(truth.points_px, clean.points_px)
    np.testing.assert_array_equal(truth.skin_srgb, clean.skin_srgb)
    assert truth.faults != clean.faults
    assert np.abs(pictures_of(file.video).astype(float) - pictures_of(files[1].video)).mean() > 1


def test_a_truth_file_of_another_kind_is_a_mistake(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="no truth file"):
        read_people_truth(tmp_path / "x.safetensors")
    assert made_with(tmp_path / "x.safetensors") == {}


def test_a_wider_mouth_and_a_turned_head_are_seen_in_the_points(small):
    _, files = small
    truth = read_people_truth(files[0].truth)
    studio = Studio(truth.person, truth.scene, 128)
    rest = studio.render(Pose())
    spoken = studio.render(Pose(jaw_open=0.4, yaw_deg=15))
    assert spoken.lip_gap_px > rest.lip_gap_px + 2
    assert spoken.points_px[30, 0] > rest.points_px[30, 0]  # yaw > 0 turns the nose to the right of the picture
