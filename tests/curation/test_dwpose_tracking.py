"""The DWPose backend on clips of planted people: following, cuts, crowds, rates, batches; providers; weights."""

from __future__ import annotations

import numpy as np
import pytest
from dot_networks import DotPerson, draw, write_models
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import onnx_session
from curation.contracts import Clip, Faces, Frame, MediaInfo
from curation.dwpose.detector import Person
from curation.dwpose.people import PeopleFollower
from curation.dwpose.whole_body import load_whole_body
from curation.landmarks import make_backend
from manifests.errors import UserError

SIZE = (960, 540)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory) -> dict:
    return {**write_models(tmp_path_factory.mktemp("models")), "detector_batch": 2, "pose_batch": 4}


@pytest.fixture(scope="module")
def backend(runtime):
    return make_backend("dwpose", {"runtime": runtime})


def track(backend, script: list[list[DotPerson]], size=SIZE, **clip) -> Faces:
    info = MediaInfo(*size, 25.0, len(script), 40.0 * len(script), "h264", False, None)
    tracker = backend.track(Clip("folder", "a", "a", "a.mp4", **clip), info)
    canvas, drawn = np.zeros((size[1], size[0], 3), np.uint8), None
    for i, people in enumerate(script):
        if people != drawn:
            picture, drawn = draw(people, *size), people
        canvas[...] = picture  # frames may be views of one buffer
        tracker.on_frame(Frame(i, 40.0 * i, canvas))
    return tracker.finish()


def moving(n: int, x: float = 250.0, y: float = 200.0, eyes: float = 50.0) -> list[list[DotPerson]]:
    return [[DotPerson(x + 3 * i, y + 10 * np.sin(i / 3), eyes, 5 * np.sin(i / 4))] for i in range(n)]


def error_px(faces: Faces, script, who: int = 0) -> np.ndarray:
    """(T,) largest error of the 68 points; infinite where nothing is seen."""
    errors = [np.abs(p - s[who].face_px).max() if s else np.inf for p, s in zip(faces.points_px, script, strict=True)]
    return np.where(np.isfinite(errors), errors, np.inf)


def test_one_moving_face_is_found_on_every_frame_and_looked_for_on_every_fifth(backend):
    script = moving(21)
    detector, poser = backend.detector.network, backend.poser.network
    looks, poses = detector.n_runs, poser.n_runs
    faces = track(backend, script)
    assert error_px(faces, script).max() < 0.3
    assert (faces.n_faces == 1).all()
    assert faces.seen.all()
    assert faces.confidence.min() > 0.95
    np.testing.assert_allclose(faces.times_ms, 40.0 * np.arange(21))
    assert detector.n_runs - looks == 3  # frames 0, 5, 10, 15, 20 in twos
    assert poser.n_runs - poses == 6  # 21 people in fours


@given(
    people=st.lists(st.sampled_from(["stay", "leave", "come", "blink"]), min_size=1, max_size=2),
    n=st.integers(1, 17),
    detector_batch=st.integers(1, 5),
    pose_batch=st.integers(1, 9),
    buffer_mib=st.sampled_from([10, 256]),
)
@settings(max_examples=8, deadline=None)
def test_neither_batches_nor_the_buffer_change_anything(runtime, backend, people, n, detector_batch, pose_batch, buffer_mib):
    present = {"stay": lambda i: True, "leave": lambda i: i < 6, "come": lambda i: i >= 8, "blink": lambda i: i % 7 != 3}
    script = [[DotPerson(240 + 480 * k + 2 * i, 200, 40) for k, how in enumerate(people) if present[how](i)] for i in range(n)]
    other = make_backend(
        "dwpose", {"runtime": {**runtime, "detector_batch": detector_batch, "pose_batch": pose_batch}, "buffer_mib": buffer_mib}
    )
    one, two = track(backend, script), track(other, script)
    np.testing.assert_array_equal(one.n_faces, two.n_faces)
    np.testing.assert_allclose(one.points_px, two.points_px, atol=5e-3)
    np.testing.assert_allclose(one.confidence, two.confidence, atol=1e-4)


def test_nobody_is_no_face(backend):
    faces = track(backend, [[]] * 12)
    assert not faces.seen.any()
    assert (faces.n_faces == 0).all()
    assert (faces.confidence == 0).all()


def test_a_cut_is_found_to_the_frame_and_the_next_shots_person_takes_over(backend):
    script = moving(13) + [[DotPerson(700, 300, 40)]] * 9
    faces = track(backend, script)
    assert error_px(faces, script).max() < 0.3
    assert (faces.n_faces == 1).all()


def test_a_person_who_leaves_and_one_who_returns(backend):
    here = DotPerson(300, 200, 45)
    script = [[here]] * 7 + [[]] * 6 + [[here]] * 8
    faces = track(backend, script)
    np.testing.assert_array_equal(faces.seen, [bool(people) for people in script])
    np.testing.assert_array_equal(faces.n_faces, [len(people) for people in script])


def test_the_larger_of_two_is_followed_and_both_are_counted(backend):
    script = [[DotPerson(240, 200, 50), DotPerson(700 + i, 220, 38)] for i in range(11)]
    faces = track(backend, script)
    assert (faces.n_faces == 2).all()
    assert error_px(faces, script).max() < 0.3
    meant = track(backend, script, face_box_px=(600.0, 100.0, 800.0, 400.0))
    assert error_px(meant, script, who=1).max() < 0.3


def test_a_small_face_far_behind_does_not_count(backend):
    faces = track(backend, [[DotPerson(240, 220, 70), DotPerson(800, 200, 20)]] * 6)
    assert (faces.n_faces == 1).all()
    assert faces.seen.all()


def test_in_a_crowd_the_source_s_person_is_among_those_posed(runtime):
    one = make_backend("dwpose", {"runtime": runtime, "max_people": 1})
    script = [[DotPerson(240, 220, 60), DotPerson(800, 200, 30)]] * 6
    assert error_px(track(one, script), script, who=0).max() < 0.3
    assert error_px(track(one, script, face_box_px=(700.0, 100.0, 900.0, 300.0)), script, who=1).max() < 0.3


def test_a_person_whose_face_does_not_show_is_no_face(backend):
    import cv2

    info = MediaInfo(*SIZE, 25.0, 6, 240.0, "h264", False, None)
    tracker = backend.track(Clip("folder", "a", "a", "a.mp4"), info)
    disc_only = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
    cv2.circle(disc_only, (400, 200), 12, (255, 255, 255), -1, cv2.LINE_AA)
    assert len(backend.detector.detect([disc_only])[0]) == 1  # the detector sees somebody
    for i in range(6):
        tracker.on_frame(Frame(i, 40.0 * i, disc_only))
    assert not tracker.finish().seen.any()


def test_points_beyond_the_picture_have_no_confidence(backend):
    script = [[DotPerson(25, 200, 40)]] * 6
    faces = track(backend, script)
    outside = np.stack([s[0].face_px for s in script])[..., 0] < 0
    assert outside.any()
    np.testing.assert_array_equal(faces.confidence == 0, outside)


def test_a_lower_pose_rate_is_a_straight_line_between_poses_that_never_crosses_a_cut(runtime):
    slow = make_backend("dwpose", {"runtime": runtime, "pose_every_frames": 4})
    line = [[DotPerson(200 + 4 * i, 200, 45)] for i in range(14)]
    script = line + [[DotPerson(750, 300, 40)]] * 7
    faces = track(slow, script)
    assert error_px(faces, script).max() < 0.3
    assert slow.poser.network.n_runs == 2  # frames 0 4 8 12 13 | 14 16 20: eight in fours
    # A nod between two poses is not seen: that is what the rate costs.
    nod = [[DotPerson(300, 200 + (15 if i == 2 else 0), 45)] for i in range(5)]
    np.testing.assert_allclose(error_px(track(slow, nod), nod), [0, 0, 15, 0, 0], atol=0.3)


def test_whole_bodies_are_kept_for_those_who_want_them(runtime, tmp_path):
    keeper = make_backend("dwpose", {"runtime": runtime, "whole_body_dir": str(tmp_path)})
    script = [[DotPerson(240 + 2 * i, 200, 50), DotPerson(700, 220, 38)] if i < 8 else [] for i in range(12)]
    faces = track(keeper, script)
    body = load_whole_body(tmp_path, Clip("folder", "a", "a", "a.mp4").clip_id)
    wanted = np.stack([people[0].points_px for people in script[:8]])
    np.testing.assert_allclose(body.points_px[:8], wanted, atol=0.3)
    assert np.isnan(body.points_px[8:]).all()
    assert (body.scores[8:] == 0).all()
    np.testing.assert_array_equal(body.points_px[:8, 23:91], faces.points_px[:8])
    np.testing.assert_array_equal(body.times_ms, faces.times_ms)
    with pytest.raises(UserError, match="no points of clip"):
        load_whole_body(tmp_path, "ff00")


def test_pictures_that_do_not_fit_the_buffer_are_each_looked_at(runtime):
    tight = make_backend("dwpose", {"runtime": {**runtime, "detector_batch": 8}, "buffer_mib": 3})
    script = moving(7)
    tracker = tight.track(Clip("s", "k", "i", "p"), MediaInfo(*SIZE, 25, 7, 280, "h264", False, None))
    held = []
    for i, people in enumerate(script):
        tracker.on_frame(Frame(i, 40.0 * i, draw(people, *SIZE)))
        held.append(len(tracker._frames))
    assert max(held) <= 2
    assert error_px(tracker.finish(), script).max() < 0.3


def test_an_empty_clip_and_a_single_frame(backend):
    assert track(backend, []).points_px.shape == (0, 68, 2)
    assert track(backend, moving(1)).seen.all()


def test_the_same_person_found_again_much_later_is_another():
    follower = PeopleFollower(resume_within_ms=500)
    person = [Person(np.array([0.0, 0, 100, 100]), 0.9)]
    for frame, seen in enumerate([True, False, True, *[False] * 20, True]):
        follower.link(frame, 40.0 * frame, person if seen else [])
    assert len(follower.paths) == 2
    assert follower.paths[0].n_detected == 2


# Providers and weights.


def test_cuda_on_an_installation_without_it_is_an_error_that_says_what_to_do(runtime, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UserError, match=r"lacks CUDAExecutionProvider.*pip install \.\[gpu\]"):
        make_backend("dwpose", {"runtime": {**runtime, "provider": "cuda"}})


def test_a_session_that_fell_back_to_the_cpu_is_an_error():
    onnx_session.require_running("cpu", ["CPUExecutionProvider"])
    onnx_session.require_running("cuda", ["CUDAExecutionProvider", "CPUExecutionProvider"])
    for running in (["CPUExecutionProvider"], []):
        with pytest.raises(onnx_session.ProviderError, match=r"runs on .*nvidia-smi"):
            onnx_session.require_running("cuda", running)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_cuda_session_that_onnxruntime_opens_on_the_cpu_is_refused(runtime, monkeypatch):
    """This onnxruntime has no CUDA: it opens the session on the CPU with a warning, as one with CUDA does where there is no GPU."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    monkeypatch.setattr(onnx_session, "require_provider", lambda provider, otherwise="": None)
    monkeypatch.setattr("curation.dwpose.backend.require_provider", lambda provider: None)
    backend = make_backend("dwpose", {"runtime": {**runtime, "provider": "cuda"}})
    with pytest.raises(UserError, match=r"cuda was asked for|cannot open"):
        backend.track(Clip("s", "k", "i", "p"), MediaInfo(*SIZE, 25, 1, 40, "h264", False, None))


def test_an_unknown_provider_and_onnxruntime_missing(runtime, monkeypatch):
    with pytest.raises(UserError, match="provider is 'gpu'"):
        make_backend("dwpose", {"runtime": {**runtime, "provider": "gpu"}})
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install \.\[gpu\]"):
        onnx_session.require_provider("cuda")


def test_missing_weights_are_named_with_the_command_that_gets_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MEGACTOR_MODELS", str(tmp_path))
    monkeypatch.setattr("curation.weights.store.user_directory", lambda: tmp_path)
    with pytest.raises(UserError, match=r"dwpose-detector, dwpose-pose; get them with `make models PROFILE=paper`"):
        make_backend("dwpose")


def test_other_weights_are_refused_and_have_another_name(tmp_path):
    runtime = write_models(tmp_path)
    backend = make_backend("dwpose", {"runtime": runtime})
    assert backend.name.startswith("dwpose-1-")
    file = tmp_path / "dots" / "pose.onnx"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(UserError, match="is not dwpose-pose"):
        make_backend("dwpose", {"runtime": runtime})
    file.unlink()
    with pytest.raises(UserError, match="dwpose-pose; get"):
        make_backend("dwpose", {"runtime": runtime})


@pytest.mark.parametrize("wrong", [{"detector_every_frames": 0}, {"max_people": 0}, {"runtime": {"pose_batch": 0}}, {"detectr": 1}])
def test_wrong_settings_are_errors(wrong):
    with pytest.raises(UserError):
        make_backend("dwpose", wrong)


def test_memory_of_a_gpu_is_what_the_sessions_may_take(runtime):
    assert make_backend("dwpose", {"runtime": runtime}).gpu_memory_mib == 0
    from curation.dwpose.backend import Runtime

    assert Runtime(detector_arena_mib=1000, pose_arena_mib=500, context_mib=100).gpu_memory_mib == 1600
