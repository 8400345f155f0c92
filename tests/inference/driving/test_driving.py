"""Drivers: what of which frame reaches the model, in any order, with any face missing; files of all kinds; motion templates."""

import re
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from curation.face_crop import clip_square, crop_matrix, transform_points, warp
from curation.landmarks.sixty_eight import RIGID
from curation.media.timing import exact_rate
from inference.driving import (
    Amplitude,
    Driving,
    DrivingOptions,
    Reference,
    cut_patches,
    open_driver,
    open_footage,
    region_boxes,
    save_template,
)
from inference.driving.amplitude import Motion, corrections
from inference.driving.estimator import estimate_motion
from inference.driving.regions import greyed, patch_boxes
from inference.driving.retarget import retarget_matrix
from inference.driving.template import TemplateFootage
from manifests import UserError
from tests.faults import Recipe, picture_number, tone, write_clip
from tests.inference.driver_footage import SIZE, PlantedBackend, PlantedFootage, face_points, write_video

HALF = Amplitude.of(0.5)


def portrait(size_px: int = 64) -> Reference:
    rgb = np.full((200, 160, 3), 128, np.uint8)
    points = face_points((80, 100), 30)
    return Reference(rgb, points, clip_square(points[None]), size_px)


def channels_last(frames: np.ndarray) -> np.ndarray:
    return frames.transpose(0, 2, 3, 1)


def test_at_full_amplitude_the_model_sees_the_drivers_own_pixels_resampled_once():
    footage = PlantedFootage(8)
    with Driving(footage, options=DrivingOptions(retarget="none"), size_px=64) as driving:
        frames = channels_last(driving.driven_frames(0, 8))
    with Driving(footage, options=DrivingOptions(retarget="none", grey=True), size_px=64) as driving:
        np.testing.assert_array_equal(channels_last(driving.driven_frames(0, 8)), greyed(frames))
    matrix = crop_matrix(clip_square(footage.points_px), 64)
    points = np.stack([transform_points(p, matrix) for p in footage.points_px])
    crops = np.stack([warp(footage.frame(i), matrix, 64) for i in range(8)])
    np.testing.assert_array_equal(frames, cut_patches(crops, patch_boxes(points, 64), {"eyes", "mouth"}))
    assert frames.any(axis=(1, 2, 3)).all()


def test_amplitude_and_retargeting_are_one_resample_and_the_patches_follow_the_warped_landmarks():
    footage, reference = PlantedFootage(8), portrait()
    with Driving(footage, reference, DrivingOptions(amplitude=HALF, smooth_ms=0, patch_rule="frame")) as driving:
        frames = channels_last(driving.driven_frames(0, 8))
    motion = estimate_motion(footage.points_px)
    canvas = np.vstack([driving.reference.matrix, [0, 0, 1]]) @ np.vstack(
        [retarget_matrix(footage.points_px[0], reference.points_px), [0, 0, 1]]
    )
    for i, correction in enumerate(corrections(motion.matrices, motion.pivot_px, HALF)):
        matrix = (canvas @ np.vstack([correction, [0, 0, 1]]))[:2]
        points = transform_points(footage.points_px[i], matrix)
        expected = cut_patches(warp(footage.frame(i), matrix, 64)[None], region_boxes(points[None], 64), {"eyes", "mouth"})[0]
        np.testing.assert_array_equal(frames[i], expected)


def test_the_first_face_lies_over_the_portraits():
    footage, reference = PlantedFootage(4), portrait()
    with Driving(footage, reference) as driving:
        mapped, wanted = driving.points_px[0, RIGID], driving.reference.crop_points_px[RIGID]
    np.testing.assert_allclose(mapped.mean(axis=0), wanted.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(mapped - mapped.mean(0)), np.linalg.norm(wanted - wanted.mean(0)), rtol=1e-4)
    wide = face_points((64, 64), 20) * [1.5, 1.0]
    boxed = transform_points(wide, retarget_matrix(wide, reference.crop_points_px, "box"))
    np.testing.assert_allclose(np.ptp(boxed, axis=0), np.ptp(reference.crop_points_px, axis=0), atol=1e-6)


def test_a_portrait_out_of_its_own_driver_is_cut_as_training_cuts_the_clip():
    footage = PlantedFootage(40)
    first = Reference(footage.frame(0), footage.points_px[0], clip_square(footage.points_px[:1], 1.6), 64, scale=1.6)
    square = clip_square(footage.points_px, 1.6)
    assert abs(square - first.square).max() > 0.5, "the planted head moves"
    with Driving(footage, first) as driving:
        np.testing.assert_allclose(driving.reference.square, square, atol=1e-4)
        np.testing.assert_allclose(driving.matrices, np.tile(crop_matrix(square, 64), (40, 1, 1)), atol=1e-4)
    still = DrivingOptions(amplitude=Amplitude.of(0.0), smooth_ms=0)
    with Driving(footage, first, still) as driving:
        assert abs(driving.reference.square - first.square).max() < abs(square - first.square).max(), "a head that is held needs no room"


def test_windows_in_any_order_give_the_same_frames_from_one_pass():
    reference = portrait()
    options = DrivingOptions(amplitude=HALF, missing="hold")
    with Driving(PlantedFootage(40, missing=[0, 1, 17, 18]), reference, options) as driving:
        whole = driving.driven_frames(0, 40)
    footage = PlantedFootage(40, missing=[0, 1, 17, 18])
    with Driving(footage, reference, options) as driving:
        for _ in range(3):
            for start in (0, 8, 24, 12, 16, 4):
                np.testing.assert_array_equal(driving.driven_frames(start, start + 16), whole[start : start + 16])
        assert driving.driven_frames(5, 5).shape == (0, 3, 64, 64)
    assert footage.n_passes == 1
    assert footage.n_decoded == 40


def test_frames_are_decoded_only_as_far_as_they_are_asked_for():
    footage = PlantedFootage(500)
    with Driving(footage, portrait()) as driving:
        driving.driven_frames(0, 16)
    assert footage.n_decoded == 16


def test_memory_does_not_grow_with_the_length():
    def peak_bytes(n_frames: int) -> int:
        with Driving(PlantedFootage(n_frames), portrait()) as driving:
            tracemalloc.start()
            try:
                for start in range(0, n_frames - 16, 8):
                    driving.driven_frames(start, start + 16)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    short, long = peak_bytes(48), peak_bytes(320)
    # What grows is where each patch lies, some hundred bytes a frame; a kept frame would be 12,288.
    assert long - short < 300 * (320 - 48)


# Missing faces --------------------------------------------------------------------------------------------------------------------------
def test_hold_repeats_the_last_patches_and_the_first_ones_before_the_face_is_seen():
    with Driving(PlantedFootage(10, missing=[0, 4, 5, 9]), portrait()) as driving:
        frames = driving.driven_frames(0, 10)
        assert driving.report.n_missing == 4
        assert driving.report.notes == ("planted: 4 of 10 frames show no face; the last patches are held",)
        np.testing.assert_array_equal(driving.seen, [i not in (0, 4, 5, 9) for i in range(10)])
        np.testing.assert_array_equal(driving.points_px[5], driving.points_px[3])
    for frame, shown in {0: 1, 4: 3, 5: 3, 9: 8}.items():
        np.testing.assert_array_equal(frames[frame], frames[shown])
    assert (frames[3] != frames[6]).any()


def test_skip_shows_the_model_nothing_and_error_says_where():
    footage = PlantedFootage(10, missing=[4, 5])
    with Driving(footage, portrait(), DrivingOptions(missing="skip")) as driving:
        frames = driving.driven_frames(0, 10)
        np.testing.assert_array_equal(frames.any(axis=(1, 2, 3)), driving.seen)
        assert np.isnan(driving.points_px[4]).all()
        assert driving.n_frames == 10
    with pytest.raises(UserError, match=r"planted: 2 of 10 frames show no face, the first at 0\.16 s"):
        Driving(footage, portrait(), DrivingOptions(missing="error"))
    with pytest.raises(UserError, match="planted: no face found in the driver"):
        Driving(PlantedFootage(3, missing=range(3)), portrait())


def test_several_faces_and_unmeasured_motion_are_reported():
    footage = PlantedFootage(10, several=[2, 3, 4])
    footage.points_px[6] = 30.0  # all points the same
    with Driving(footage, portrait(), DrivingOptions(amplitude=HALF)) as driving:
        assert driving.report.n_several == 3
        assert driving.report.n_degenerate == 1
        assert "3 of 10 frames show several faces; the largest drives" in "".join(driving.report.notes)


@pytest.mark.parametrize(("regions", "eyes", "mouth"), [("eyes", True, False), ("mouth", False, True), ("none", False, False)])
def test_regions(regions, eyes, mouth):
    footage = PlantedFootage(4)
    with Driving(footage, portrait(), DrivingOptions(regions=regions)) as driving:
        frames = driving.driven_frames(0, 4)
        assert driving.boxes.eyes.any() == eyes
        assert driving.boxes.mouth.any() == mouth
        assert driving.face_boxes.mouth.any()
    assert frames.any() == (eyes or mouth)
    assert footage.n_decoded == (0 if regions == "none" else 4)


def test_pixels_from_outside_the_drivers_picture_are_counted():
    still = np.tile(np.eye(2, 3), (3, 1, 1))
    still[:, 0, 2] = -48  # the right eye and half of the mouth lie beyond the left edge
    with Driving(PlantedFootage(3, matrices=still), portrait()) as driving:
        frames = channels_last(driving.driven_frames(0, 3))
        inside = np.zeros((64, 64), bool)
        for x0, y0, x1, y1 in [*driving.boxes.eyes[0], driving.boxes.mouth[0]]:
            inside[y0:y1, x0:x1] = True
        black = (frames[0] == 0).all(axis=-1) & inside
        assert driving.report.filled_share == pytest.approx(black.sum() / inside.sum(), abs=0.02)
        assert driving.report.filled_share > 0.05
        assert "lie outside the driver's picture" in driving.report.notes[-1]


@pytest.mark.parametrize(("amplitude", "small"), [(Amplitude.of(1.0), True), (Amplitude.of(0.0), False)])
def test_a_head_that_goes_far_says_how_small_the_portrait_becomes(amplitude, small):
    still = np.tile(np.eye(2, 3), (30, 1, 1))
    still[:, 0, 2] = np.linspace(0, 900, 30)
    with Driving(PlantedFootage(30, matrices=still), portrait(), DrivingOptions(amplitude=amplitude)) as driving:
        notes = " ".join(driving.report.notes)
    assert ("the portrait's face becomes" in notes) == small
    if small:
        assert re.search(r"becomes \d+ of 64 px; --motion 0 keeps it large", notes)
    else:
        assert "less amplitude" not in notes


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"regions": "nose"}, "driving regions is 'nose'; it must be one of eyes, mouth, both, none"),
        ({"retarget": "warp"}, "driving retarget is 'warp'"),
        ({"missing": "guess"}, "driving missing is 'guess'; it must be one of hold, skip, error"),
        ({"smooth_ms": -1}, "driving smooth_ms is -1"),
    ],
)
def test_unknown_options(setting, message):
    with pytest.raises(UserError, match=message):
        DrivingOptions(**setting)


# Files ----------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rate", "n_frames"), [(Fraction(24), 17), (Fraction(25), 50), (Fraction(30000, 1001), 31), (Fraction(30), 23), (Fraction(50), 51)]
)
def test_frame_count_rate_and_duration_are_the_files(rate, n_frames, tmp_path):
    write_video(tmp_path / "driver.mp4", rate, n_frames)
    footage = open_footage(tmp_path / "driver.mp4", PlantedBackend())
    assert footage.fps == rate
    assert footage.n_frames == n_frames
    assert abs(len(footage.audio) / 16000 - n_frames / rate) < 0.010
    with Driving(footage, portrait()) as driving:
        assert driving.duration_s == n_frames / rate
        assert driving.driven_frames(n_frames - 3, n_frames).shape == (3, 3, 64, 64)
        assert [picture_number(rgb) for rgb in footage.frames()] == list(range(n_frames))


def test_rates_that_headers_round():
    assert exact_rate(29.969999999999995) == Fraction(30000, 1001)
    assert exact_rate(23.976) == Fraction(24000, 1001)
    assert exact_rate(24.99996) == 25
    assert exact_rate(22.131147540983605) == Fraction(1350, 61)


def test_a_single_picture_drives_for_as_long_as_asked(tmp_path):
    from PIL import Image

    Image.fromarray(PlantedFootage(1).frame(0)).save(tmp_path / "driver.png")
    footage = open_footage(tmp_path / "driver.png", PlantedBackend(), still_frames=7, still_fps=Fraction(30))
    with Driving(footage, portrait()) as driving:
        frames = driving.driven_frames(0, 7)
    assert driving.fps == 30
    assert (frames == frames[0]).all()
    assert frames.any()
    assert footage.audio is None


def test_files_that_cannot_drive_are_one_clear_line(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    whole = write_clip(tmp_path / "whole.mp4", Recipe()).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    write_clip(tmp_path / "sound.m4a", Recipe(codec="", sound=tone(16000)))
    (tmp_path / "bad.safetensors").write_bytes(b"\x10" * 64)
    expected = {
        "nothing.mp4": "the file is not there",
        "empty.mp4": "the file has no bytes",
        "text.mp4": "no container that can be opened",
        "cut.mp4": "cut off before the end",
        "sound.m4a": "no video stream",
        "bad.safetensors": "the motion template is damaged",
        "folder": "no pictures in this folder",
    }
    for name, message in expected.items():
        with pytest.raises(UserError, match=message) as caught:
            open_footage(tmp_path / name, PlantedBackend())
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


# Motion templates -----------------------------------------------------------------------------------------------------------------------
def test_a_lossless_template_drives_exactly_as_its_video(tmp_path):
    footage = PlantedFootage(12, missing=[3], audio=tone(16000 * 12 // 25))
    save_template(footage, tmp_path / "nod.safetensors", lossless=True)
    template = open_footage(tmp_path / "nod.safetensors", PlantedBackend())
    assert (template.fps, template.n_frames, template.width_px) == (25, 12, SIZE)
    np.testing.assert_array_equal(template.audio, footage.audio)
    for alpha in (0.0, 0.5, 1.0, 1.5):
        options = DrivingOptions(amplitude=Amplitude.of(alpha))
        with Driving(footage, portrait(), options) as a, Driving(template, portrait(), options) as b:
            np.testing.assert_array_equal(a.driven_frames(0, 12), b.driven_frames(0, 12))


def test_a_template_is_small_and_close(tmp_path):
    footage = PlantedFootage(12)
    y, x = np.mgrid[:SIZE, :SIZE]
    smooth = np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8)
    footage.frame = lambda index: smooth
    save_template(footage, tmp_path / "a.safetensors", with_audio=False)
    save_template(footage, tmp_path / "b.safetensors", lossless=True)
    with Driving(footage, portrait()) as a, Driving(TemplateFootage(tmp_path / "a.safetensors"), portrait()) as b:
        error = a.driven_frames(0, 12).astype(float) - b.driven_frames(0, 12)
    assert np.sqrt((error**2).mean()) < 2


def test_a_template_shows_nothing_but_eyes_and_mouth(tmp_path):
    footage = PlantedFootage(2)
    save_template(footage, tmp_path / "a.safetensors", lossless=True)
    frame = TemplateFootage(tmp_path / "a.safetensors").frame(0)
    assert frame[52:76, 40:88].any()
    assert not frame[:20].any()
    assert (frame == 0).all(axis=-1).mean() > 0.5


@pytest.mark.parametrize("damage", ["format", "offsets", "boxes", "fps", "missing", "patch", "size", "sound"])
def test_a_damaged_template_is_one_clear_line(damage, tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "a.safetensors"
    save_template(PlantedFootage(3, audio=tone(1920)), path, lossless=True)
    tensors = load_file(path)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    if damage == "format":
        metadata["format"] = "another"
    elif damage == "fps":
        metadata["fps"] = "25/0"
    elif damage == "offsets":
        tensors["offsets"][-1] += 5
    elif damage == "boxes":
        tensors["boxes_px"][0, 0, 2] = 10_000
    elif damage == "missing":
        del tensors["boxes_px"]
    elif damage == "patch":
        tensors["packed"][: tensors["offsets"][1]] = 7
    elif damage == "size":
        tensors["boxes_px"][0, 0, 2] -= 1
    elif damage == "sound":
        tensors["audio"] = np.tile(tensors["audio"], 20)
    save_file(tensors, path, metadata)
    with pytest.raises(UserError, match=r"(damaged|not a motion template)") as caught:
        Driving(TemplateFootage(path), portrait()).driven_frames(0, 3)
    assert "\n" not in str(caught.value)


def test_an_animation_leaves_the_drivers_template(tmp_path):
    pytest.importorskip("diffusers", reason="the pipeline needs diffusers: install the [train] extra")
    from inference.studio.animate import animate
    from inference.studio.request import Request
    from tests.inference.animation_parts import tiny_pipeline

    write_video(tmp_path / "driver.mp4", Fraction(25), 6)
    names = {"reference": "driver.mp4", "driving": "driver.mp4", "out": "out.mp4", "save_template": "kept.safetensors"}
    request = Request.from_tree({"num_inference_steps": 1, **{key: str(tmp_path / name) for key, name in names.items()}})
    pipe = tiny_pipeline(landmarks=PlantedBackend())
    animate(pipe, request)
    one, other = (open_driver(request.reference, file, DrivingOptions(), pipe.picture) for file in (request.driving, request.save_template))
    with one as driving, other as again:
        error = driving.driven_frames(0, 6).astype(float) - again.driven_frames(0, 6)
    assert np.sqrt((error**2).mean()) < 3
    with pytest.raises(UserError, match="must end in"):
        Request("me.png", "out.mp4", "you.mp4", save_template="kept.npz")
    with pytest.raises(UserError, match="give driving"):
        Request("me.png", "out.mp4", audio="speech.wav", save_template="kept.safetensors")


def test_a_template_without_a_face_is_not_written(tmp_path):
    with pytest.raises(UserError, match="a template would be empty"):
        save_template(PlantedFootage(3, missing=range(3)), tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


# Real footage ---------------------------------------------------------------------------------------------------------------------------
REAL = ("lp_d6.mp4", "lp_d11.mp4", "megactor_CHTF_2.mp4", "skyreels_5.mp4", "styletalk_Obama_clip2.mp4", "vox2_741400163.mp4")
MAX_FRAMES = 150
# Standard deviation of a part of the motion, on a picture of 512 px, from which on it is well above the landmarks' own error.
LEAST = {"roll_deg": 1.5, "zoom_pct": 4.0, "x_px": 4.0, "y_px": 4.0}


@pytest.mark.slow
@pytest.mark.corpus
@pytest.mark.parametrize("name", REAL)
def test_landmarks_found_again_at_half_amplitude_show_half_of_the_motion(name, corpus):
    """Landmarks are detected on the warped pictures; the in-plane motion fitted to them is regressed on the driver's."""
    slopes = measured_slopes(corpus / "clips" / name, alpha=0.5)
    print(name, {part: round(slope, 3) for part, slope in slopes.items()})
    assert slopes, "nothing moved"
    for part, slope in slopes.items():
        assert slope == pytest.approx(0.5, abs=0.05), (part, slopes)


def measured_slopes(path, alpha: float) -> dict[str, float]:
    """Of each part of the motion that is large enough: how much of the driver's the warped pictures show."""
    from curation.contracts import Clip, Frame, MediaInfo
    from curation.landmarks import make_backend

    backend = make_backend("facemesh")
    footage = open_footage(path, backend)
    n = min(footage.n_frames, MAX_FRAMES)
    tracker = backend.track(Clip("warped", "", "", ""), MediaInfo(512, 512, float(footage.fps), n, 0.0, "", False, None))
    with Driving(footage, options=DrivingOptions(retarget="none", amplitude=Amplitude.of(alpha)), size_px=512) as driving:
        for index, rgb in zip(range(n), footage.frames(), strict=False):
            tracker.on_frame(Frame(index, float(1000 * index / footage.fps), warp(rgb, driving.matrices[index], 512)))
        points = np.stack([transform_points(p, driving.own_matrix) for p in footage.points_px[:n]])
    found = tracker.finish().points_px
    both = np.isfinite(points).all(axis=(1, 2)) & np.isfinite(found).all(axis=(1, 2))
    assert both.mean() > 0.9
    driver, result = _parts(points[both]), _parts(found[both])
    moving = [name for name in LEAST if driver[name].std() > LEAST[name]]
    return {name: float(np.polyfit(driver[name], result[name], 1)[0]) for name in moving}


def _parts(points: np.ndarray) -> dict[str, np.ndarray]:
    estimate = estimate_motion(points)
    motion = Motion.of(estimate.matrices, estimate.pivot_px)
    return {
        "roll_deg": np.degrees(motion.angle_rad),
        "zoom_pct": 100 * np.log(motion.scale[:, 0]),
        "x_px": motion.shift_px[:, 0],
        "y_px": motion.shift_px[:, 1],
    }
