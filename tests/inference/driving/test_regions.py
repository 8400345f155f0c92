"""Eye and mouth rectangles: within the picture, apart from each other, with the face wherever it goes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.landmarks.sixty_eight import LEFT_EYE, LIPS, RIGHT_EYE, interocular
from inference.driving import cut_patches, region_boxes, region_pixels
from inference.driving.regions import EYE_MARGINS, EYES, MOUTH, REGION_CHOICES, RegionBoxes, cell_shares


def face(centre=(64.0, 64.0), unit=30.0, roll_deg=0.0) -> np.ndarray:
    """(68, 2) points of a plain face, `unit` px between the eye centres."""
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([np.cos(angle), 1.2 * np.sin(angle)], axis=1)
    for side, eye in ((-0.5, RIGHT_EYE), (0.5, LEFT_EYE)):
        turn = np.linspace(np.pi, 3 * np.pi, 6, endpoint=False)
        points[eye] = np.stack([side + 0.22 * np.cos(turn), -0.3 + 0.08 * np.sin(turn)], axis=1)
    turn = np.linspace(np.pi, 3 * np.pi, 20, endpoint=False)
    points[LIPS] = np.stack([0.4 * np.cos(turn), 0.75 + 0.15 * np.sin(turn)], axis=1)
    c, s = np.cos(np.radians(roll_deg)), np.sin(np.radians(roll_deg))
    return unit * points @ np.array([[c, s], [-s, c]]) + centre


def overlap(a, b) -> int:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return int(np.prod(np.maximum(sides, 0)))


faces = st.builds(
    face,
    centre=st.tuples(st.floats(-60, 190), st.floats(-60, 190)),
    unit=st.floats(0.01, 120),
    roll_deg=st.floats(-180, 180),
)
clouds = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(64, 40, (68, 2)))


@settings(max_examples=300, deadline=None)
@given(st.lists(faces | clouds, min_size=1, max_size=4), st.integers(1, 160), st.integers(1, 160))
def test_rectangles_lie_within_the_picture_and_the_mouth_overlaps_no_eye(points, height, width):
    boxes = region_boxes(np.stack(points), (height, width))
    every = np.concatenate([boxes.eyes, boxes.mouth[:, None]], axis=1)
    assert (every >= 0).all()
    assert (every[..., [0, 2]] <= width).all()
    assert (every[..., [1, 3]] <= height).all()
    empty = (every == 0).all(axis=-1)
    assert ((every[..., 2:] > every[..., :2]).all(axis=-1) | empty).all()
    for eyes, mouth in zip(boxes.eyes, boxes.mouth, strict=True):
        assert overlap(eyes[0], mouth) == 0
        assert overlap(eyes[1], mouth) == 0
    eye_pixels, mouth_pixels = (region_pixels(boxes, r, height, width) for r in (EYES, MOUTH))
    assert not (eye_pixels & mouth_pixels).any()
    assert mouth_pixels.sum() == np.prod(boxes.mouth[:, 2:] - boxes.mouth[:, :2], axis=1).sum()


@settings(max_examples=200, deadline=None)
@given(st.floats(8, 40), st.floats(-180, 180))
def test_a_whole_face_keeps_its_landmarks_within_the_rectangles(unit, roll_deg):
    points = face((128, 128), unit, roll_deg)
    boxes = region_boxes(points[None], 256)
    for box, part in ((boxes.eyes[0, 0], RIGHT_EYE), (boxes.eyes[0, 1], LEFT_EYE), (boxes.mouth[0], LIPS)):
        assert (points[part] >= box[:2]).all()
        assert (points[part] <= box[2:]).all()


def test_margins_are_parts_of_the_distance_between_the_eyes():
    for unit in (20.0, 40.0):
        points = face((128, 128), unit)
        assert interocular(points) == pytest.approx(unit)
        box = region_boxes(points[None], 256).eyes[0, 0]
        tight = np.concatenate([points[RIGHT_EYE].min(axis=0), points[RIGHT_EYE].max(axis=0)])
        np.testing.assert_allclose(np.abs(box - tight) / unit, EYE_MARGINS, atol=1.001 / unit)


def test_a_frame_without_a_face_has_no_regions_and_spoils_no_other():
    points = np.stack([face(), face(), face((70, 60))])
    points[1, 5] = np.nan
    boxes = region_boxes(points, 128)
    assert (boxes.eyes[1] == 0).all()
    assert (boxes.mouth[1] == 0).all()
    alone = region_boxes(points[[0, 2]], 128)
    np.testing.assert_array_equal(boxes.eyes[[0, 2]], alone.eyes)
    np.testing.assert_array_equal(boxes.mouth[[0, 2]], alone.mouth)


@pytest.mark.parametrize("choice", REGION_CHOICES)
def test_patches_are_the_frame_within_and_black_without(choice):
    frames = np.random.default_rng(0).integers(1, 255, (2, 128, 128, 3), dtype=np.uint8)
    before = frames.copy()
    boxes = region_boxes(np.stack([face(), face((60, 70), 35, 20)]), 128)
    patches = cut_patches(frames, boxes, REGION_CHOICES[choice])
    inside = np.zeros((2, 128, 128), bool)
    for region in REGION_CHOICES[choice]:
        inside |= region_pixels(boxes, region, 128, 128)
    np.testing.assert_array_equal(patches[inside], frames[inside])
    assert not patches[~inside].any()
    assert inside.any() == (choice != "none")
    np.testing.assert_array_equal(frames, before)


def test_the_rectangles_make_the_mask_of_equation_2():
    torch = pytest.importorskip("torch")
    from inference.models.masks import eye_mouth_mask, region_tokens

    boxes = region_boxes(np.stack([face((256, 256), 120), np.full((68, 2), np.nan)]), 512)
    eyes, mouth = (region_tokens(torch.from_numpy(region_pixels(boxes, r, 512, 512)))[None] for r in (EYES, MOUTH))
    assert eyes.shape == (1, 2, 32, 32)
    mask = eye_mouth_mask(eyes, mouth)
    assert mask.rows.tolist() == [0]


def test_bad_arguments():
    with pytest.raises(ValueError, match="frames, 68, 2"):
        region_boxes(np.zeros((68, 2)), 128)
    with pytest.raises(ValueError, match="at least one pixel"):
        region_boxes(np.zeros((1, 68, 2)), 0)
    boxes = RegionBoxes(np.zeros((1, 2, 4), int), np.zeros((1, 4), int))
    with pytest.raises(ValueError, match="unknown region 'nose'"):
        region_pixels(boxes, "nose", 8, 8)
    with pytest.raises(ValueError, match="2 frames and the boxes of 1"):
        cut_patches(np.zeros((2, 8, 8, 3), np.uint8), boxes, {EYES})


@given(st.lists(st.tuples(*[st.integers(0, 40)] * 4), min_size=1, max_size=5))
def test_a_cells_share_is_that_of_its_pixels(corners):
    boxes = np.array([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in corners])
    pixels = np.zeros((len(boxes), 40, 32), np.float32)
    for frame, (x0, y0, x1, y1) in zip(pixels, boxes, strict=True):
        frame[y0:y1, x0:x1] = 1
    np.testing.assert_allclose(cell_shares(boxes, (5, 4), 8), pixels.reshape(-1, 5, 8, 4, 8).mean(axis=(2, 4)), atol=1e-6)
