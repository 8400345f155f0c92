"""Paste-back: nothing changes outside the crop, the face is the animation's, and between them there is no edge."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.driving.reference import Reference
from inference.output.paste_back import PasteBack
from tests.inference.driver_footage import face_points


def portrait(width: int, height: int, square: tuple[float, float, float], size_px: int = 64) -> Reference:
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([110 + 60 * np.sin(x / 17), 120 + 50 * np.cos(y / 13), 90 + 40 * np.sin((x + y) / 23)], axis=-1)
    points = face_points(square[:2], square[2] / 8)
    return Reference(np.round(rgb).astype(np.uint8), points, np.array(square), size_px)


squares = st.tuples(st.floats(0, 160), st.floats(0, 120), st.floats(20, 220))


@settings(max_examples=100, deadline=None)
@given(squares, st.floats(0.02, 0.5), st.sampled_from([32, 64, 128]))
def test_only_the_crop_changes_and_its_middle_wholly(square, feather, size_px):
    reference = portrait(160, 120, square, size_px)
    paste = PasteBack(reference, feather)
    result = paste(np.full((size_px, size_px, 3), 255, np.uint8))
    assert result.shape == reference.rgb.shape
    x, y = np.meshgrid(np.arange(160) + 0.5, np.arange(120) + 0.5)
    cx, cy, side = square
    reach = np.maximum(np.abs(x - cx), np.abs(y - cy)) / side  # 0.5 on the crop's border
    np.testing.assert_array_equal(result[reach >= 0.5], reference.rgb[reach >= 0.5])
    px = max(1, side / size_px)
    from_edge = np.minimum(np.minimum(x, 160 - x), np.minimum(y, 120 - y))
    assert (result[(reach <= 0.5 - feather - 2 / min(side, size_px)) & (from_edge > 3 * px + 1)] == 255).all()
    weight = paste.weight
    assert (weight[reach >= 0.5] < 1e-12).all()  # a pixel on the border itself is rounded
    assert ((weight >= 0) & (weight <= 1)).all()
    # No edge: from one pixel to the next the weight changes by at most the slope of the rim.
    steepest = 1.5 / (feather * side) + 1e-6
    inner = weight[4:-4, 4:-4] if px == 1 else weight[20:-20, 20:-20]
    assert np.abs(np.diff(inner, axis=0)).max(initial=0) <= steepest
    assert np.abs(np.diff(inner, axis=1)).max(initial=0) <= steepest


def test_work_is_bounded_by_the_portrait_not_by_the_crop():
    """A small face that crosses a large driver asks for a crop of tens of thousands of pixels (3 GB a picture)."""
    reference = portrait(160, 120, (80, 60, 30_000), 64)
    tracemalloc.start()
    result = PasteBack(reference)(np.full((64, 64, 3), 255, np.uint8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert result.shape == (120, 160, 3)


def test_a_large_portrait_takes_the_memory_of_a_few_pictures():
    """All of it in floating point would take a dozen."""
    reference = portrait(1500, 1200, (750, 600, 30_000), 64)
    paste = PasteBack(reference)
    tracemalloc.start()
    paste(np.full((64, 64, 3), 255, np.uint8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * reference.rgb.nbytes


@pytest.mark.parametrize("square", [(80, 60, 90), (20, 20, 90), (80.3, 61.7, 64)])
def test_the_portraits_own_crop_pasted_back_is_the_portrait(square):
    reference = portrait(160, 120, square, 128)
    error = PasteBack(reference)(reference.crop).astype(float) - reference.rgb
    assert np.abs(error).max() <= 6
    assert np.sqrt((error**2).mean()) < 1


def test_the_face_lies_within_the_part_that_is_replaced_wholly():
    from curation.face_crop import clip_square

    points = face_points((80, 60), 20)
    reference = Reference(np.zeros((120, 160, 3), np.uint8), points, clip_square(points[None]), 64)
    weight = PasteBack(reference).weight
    low, high = points.min(axis=0).astype(int), points.max(axis=0).astype(int)
    assert (weight[low[1] : high[1], low[0] : high[0]] == 1).all()


def test_bad_arguments():
    reference = portrait(160, 120, (80, 60, 90))
    with pytest.raises(ValueError, match="feather is 0"):
        PasteBack(reference, 0)
    with pytest.raises(ValueError, match="for a crop of 64 px"):
        PasteBack(reference)(np.zeros((32, 32, 3), np.uint8))
