"""Planted clips of a portrait: what was planted is found again on it, and the rest of the picture is its own."""

import numpy as np
import pytest

from curation.samples.motion import MotionTrack
from curation.samples.mouth import REST_WIDTH_PX, MouthTrack
from curation.samples.portrait import load_picture
from curation.samples.puppet import SIDE_PX, Puppet, puppet_clips
from manifests import UserError


@pytest.fixture(scope="module")
def puppet() -> Puppet:
    return Puppet.of(load_picture())


def tracks(gap_px: list[float], blink: list[float] | None = None) -> tuple[MouthTrack, MotionTrack]:
    gap, zero = np.array(gap_px, float), np.zeros(len(gap_px))
    mouth = MouthTrack(gap, zero + REST_WIDTH_PX, zero, zero, zero, 0.6 * gap)
    return mouth, MotionTrack(zero, zero, zero, np.array(blink) if blink else zero, zero, zero, zero)


def frames(puppet: Puppet, mouth: MouthTrack, motion: MotionTrack, place: np.ndarray | None = None) -> list[np.ndarray]:
    place = np.zeros((len(mouth.gap_px), 6)) if place is None else place
    return [puppet.frame(mouth, motion, place, i) for i in range(len(mouth.gap_px))]


def test_mouths_open_as_planted(puppet: Puppet) -> None:
    from curation.landmarks.facemesh import FaceMesh

    finder, gaps = FaceMesh(), [0.0, 3.0, 6.0, 9.0, 12.0]
    meshes = [finder.detect_image(frame)[0].mesh_px for frame in frames(puppet, *tracks(gaps))]
    seen = [float(np.linalg.norm(mesh[13, :2] - mesh[14, :2])) / puppet.unit_px for mesh in meshes]
    assert np.corrcoef(seen, gaps)[0, 1] > 0.95
    assert seen[-1] - seen[0] > 5


def test_lids_close_as_planted(puppet: Puppet) -> None:
    from curation.landmarks.facemesh import FaceMesh
    from curation.landmarks.lids import LidNetwork

    shown = frames(puppet, *tracks([2.0] * 3, [0.0, 0.5, 1.0]))
    finder, lids = FaceMesh(), LidNetwork()
    openings = [lids.opening(frame, finder.detect_image(frame)[0].points_px) for frame in shown]
    assert openings[0] > openings[1] > openings[2]
    assert openings[2] < 0.6 * openings[0]


def test_heads_turn_and_nod_as_planted_and_no_farther_aside_than_holds(puppet: Puppet) -> None:
    from curation.landmarks.facemesh import FaceMesh

    planted = np.array([(yaw, pitch) for yaw in (-10.0, 0.0, 10.0) for pitch in (-8.0, 0.0, 8.0)])
    place = np.zeros((len(planted) + 2, 6))
    place[: len(planted), 4:], place[-2, 4], place[-1, 4] = planted, -60.0, 60.0
    finder, turned = FaceMesh(looks=7), []
    for frame in frames(puppet, *tracks([0.0] * len(place)), place):
        mesh = finder.detect_image(frame)[0].mesh_px
        across, down = mesh[356] - mesh[127], mesh[152] - mesh[10]
        turned.append((np.degrees(np.arctan2(across[2], across[0])), np.degrees(np.arctan2(down[2], down[1]))))
    yaw, pitch = (np.array(turned) - turned[4]).T
    assert np.polyfit(planted[:, 0], yaw[: len(planted)], 1)[0] == pytest.approx(1, abs=0.3)
    assert np.polyfit(planted[:, 1], pitch[: len(planted)], 1)[0] == pytest.approx(1, abs=0.4)
    assert np.abs(np.array(turned)[-2:, 0]).max() < 20


def test_at_rest_only_the_face_differs_and_a_shift_shifts(puppet: Puppet) -> None:
    shown = frames(puppet, *tracks([4.0, 4.0]), np.array([[0.0, 0, 0, 0, 0, 0], [0.0, 0, 6, 0, 0, 0]]))
    assert np.abs(shown[0][:40].astype(int) - puppet.rgb[:40]).mean() < 0.5
    assert np.abs(shown[1][40:-40, 46:-40].astype(int) - shown[0][40:-40, 40:-46]).mean() < 1


def test_clips_are_the_same_every_time(tmp_path) -> None:
    picture = load_picture()
    first, again = (puppet_clips(picture, tmp_path / name, 1, 0.2) for name in "ab")
    assert first[0].read_bytes() == again[0].read_bytes()


def test_clips_that_are_there_are_kept_and_a_killed_one_leaves_nothing(tmp_path, monkeypatch) -> None:
    from curation.samples import puppet as module

    def killed(path, frames, sound) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    picture = load_picture()
    first = puppet_clips(picture, tmp_path, 1, 0.2)[0]
    kept = first.stat().st_mtime_ns
    monkeypatch.setattr(module, "write_mp4", killed)
    with pytest.raises(KeyboardInterrupt):
        puppet_clips(picture, tmp_path, 2, 0.2)
    assert [file.name for file in tmp_path.iterdir()] == [first.name]
    assert first.stat().st_mtime_ns == kept


def test_a_picture_without_a_face_is_said() -> None:
    with pytest.raises(UserError, match="no face"):
        Puppet.of(np.full((SIDE_PX, SIDE_PX, 3), 127, np.uint8))
