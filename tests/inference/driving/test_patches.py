"""Patches of one size a clip: their shape tells nothing of the mouth, they hold their part, and never a hidden part's pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import face_crop
from curation.landmarks.sixty_eight import LIPS, RIGID, interocular
from inference.driving.regions import (
    CHIN,
    PATCH_RULES,
    chin_boxes,
    clip_patches,
    greyed,
    patch_boxes,
    placed,
    region_boxes,
    region_pixels,
)
from inference.models import components
from tests.training.data_material import face_points

SIZE_PX = 256


def talking(n_frames: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(F, 68, 2) of a head that sways while it talks and blinks, and how far (F,) the mouth is open, in px."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_frames) / 25
    opening = 14 * np.abs(np.sin(2 * np.pi * 2.3 * time)) * (0.3 + 0.7 * (np.sin(2 * np.pi * 0.4 * time) > -0.3))
    sway = np.stack([10 * np.sin(2 * np.pi * 0.5 * time), 6 * np.sin(2 * np.pi * 0.8 * time + 1)], axis=1)
    points = np.stack([face_points((SIZE_PX / 2, SIZE_PX / 2 - 10), 130.0)] * n_frames) + sway[:, None]
    lower = [*range(55, 60), 65, 66, 67, *range(6, 11)]
    points[:, lower, 1] += opening[:, None]
    return points + rng.normal(0, 0.2, points.shape), opening


def correlation(values: np.ndarray, opening: np.ndarray) -> float:
    return 0.0 if values.std() < 1e-9 else abs(float(np.corrcoef(values, opening)[0, 1]))


@pytest.mark.parametrize("seed", range(3))
def test_the_shape_of_the_mouths_patch_does_not_tell_the_opening(seed):
    points, opening = talking(seed=seed)
    by_rule = {rule: patch_boxes(points, SIZE_PX, rule).mouth for rule in PATCH_RULES}
    heights = {rule: correlation(mouth[:, 3] - mouth[:, 1], opening) for rule, mouth in by_rule.items()}
    assert heights["frame"] > 0.95
    assert heights["clip"] < 0.2
    lower = by_rule["clip"][:, 3] - points[:, RIGID, 1].mean(axis=1)
    assert correlation(lower, opening) < 0.2


def test_a_patch_holds_its_part_and_is_not_much_larger():
    points, _ = talking()
    regions, patches = region_boxes(points, SIZE_PX), patch_boxes(points, SIZE_PX)
    lips = points[:, LIPS]
    held = (lips >= patches.mouth[:, None, :2]).all((1, 2)) & (lips <= patches.mouth[:, None, 2:]).all((1, 2))
    assert held.all()
    tallest = (regions.mouth[:, 3] - regions.mouth[:, 1]).max()
    assert (patches.mouth[:, 3] - patches.mouth[:, 1] <= 1.2 * tallest).all()


def test_one_bad_frame_does_not_swell_the_patch_and_unseen_frames_have_none():
    points, _ = talking()
    plain = patch_boxes(points, SIZE_PX).mouth
    bad = points.copy()
    bad[40, LIPS] += 60
    bad[7] = np.nan
    found = patch_boxes(bad, SIZE_PX)
    assert not found.mouth[7].any()
    assert not found.eyes[7].any()
    others = np.setdiff1d(np.arange(100), [7, 40])
    assert np.abs(found.mouth[others] - plain[others]).max() <= 3
    assert not patch_boxes(np.full((3, 68, 2), np.nan), SIZE_PX).mouth.any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_wherever_patches_are_moved_to_they_show_nothing_of_a_hidden_region(seed):
    rng = np.random.default_rng(seed)
    points = face_points((0, 0), rng.uniform(20, 200)) @ np.linalg.qr(rng.normal(size=(2, 2)))[0] + rng.uniform(0, SIZE_PX, 2)
    points = points + rng.normal(0, rng.choice([0, 3, 20]), points.shape)
    regions = region_boxes(points[None], SIZE_PX)
    patches = placed(clip_patches(points[None], "clip") + rng.integers(-60, 60, (1, 3, 4)), regions, SIZE_PX)
    eyes, mouth = ((region_pixels(regions, name, SIZE_PX, SIZE_PX)) for name in ("eyes", "mouth"))
    for box in patches.eyes[0]:
        assert not mouth[0, box[1] : box[3], box[0] : box[2]].any()
    x0, y0, x1, y1 = patches.mouth[0]
    assert not eyes[0, y0:y1, x0:x1].any()
    every = np.concatenate([patches.eyes[0], patches.mouth])
    assert (every >= 0).all()
    assert (every <= SIZE_PX).all()
    assert ((every[:, 2:] > every[:, :2]).all(1) | ~every.any(1)).all()


def test_the_masked_mouth_reaches_down_to_the_chin():
    """The region of before ended above it in every frame, so that the jaw was learnt from the eyes."""
    points, _ = talking()
    regions = region_boxes(points, SIZE_PX)
    chin = chin_boxes(points, regions, SIZE_PX)
    lowest = points[:, CHIN, 1].max(axis=1)
    assert (regions.mouth[:, 3] < lowest).all()
    assert (chin[:, 3] >= lowest).all()
    assert (chin[:, :2] <= regions.mouth[:, :2]).all()
    assert (chin[:, 2:] >= regions.mouth[:, 2:]).all()
    assert np.array_equal(patch_boxes(points, SIZE_PX, "frame").mouth, regions.mouth)  # the patch stays as it was
    upside_down = -points + SIZE_PX
    below = chin_boxes(upside_down, region_boxes(upside_down, SIZE_PX), SIZE_PX)
    assert (below[:, 1] <= upside_down[:, CHIN, 1].min(axis=1)).all()


def test_grey_is_luma_in_every_channel():
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [80, 80, 80]]], np.uint8)
    assert greyed(pixels).tolist() == [[[76] * 3, [150] * 3, [29] * 3, [80] * 3]]


def test_rules_are_named_alike_and_unknown_ones_refused():
    assert components.PATCH_RULES == PATCH_RULES
    with pytest.raises(ValueError, match="unknown rule of patches 'union'"):
        clip_patches(np.zeros((1, 68, 2)), "union")
    for profile in ("paper", "embedded"):
        config = components.load_inference_config(profile)
        assert config.patch_rule == "clip"
        tree = config.to_tree()
        del tree["patch_rule"]
        assert components.InferenceConfig.from_tree(tree).patch_rule == "frame"  # a model of before


@pytest.mark.corpus
@pytest.mark.slow
def test_shape_of_the_patch_on_real_clips(corpus):
    from curation.landmarks import make_backend
    from inference.driving.opening import open_footage

    backend, found = make_backend("facemesh"), {rule: [] for rule in PATCH_RULES}
    names = ("hdtf_RD_Radio10_0_clip_0", "lp_d6", "vox2_00067", "megactor_CHTF_2", "retalking_1", "vox2_00373", "moore_1")
    for name in names:
        footage = open_footage(corpus / "clips" / f"{name}.mp4", backend)
        points = np.asarray(footage.points_px, np.float64)
        points = face_crop.transform_points(points, face_crop.crop_matrix(face_crop.clip_square(points), 512))
        points = points[np.isfinite(points).all(axis=(1, 2))]
        opening = np.linalg.norm(points[:, 66] - points[:, 62], axis=-1) / interocular(points)
        for rule in PATCH_RULES:
            mouth = patch_boxes(points, 512, rule).mouth
            found[rule].append(correlation(mouth[:, 3] - mouth[:, 1], opening))
    print({rule: np.round(values, 2).tolist() for rule, values in found.items()})
    assert max(found["clip"]) < 0.2
    assert np.median(found["frame"]) > 0.8
