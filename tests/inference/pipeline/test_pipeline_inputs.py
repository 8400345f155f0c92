"""Portraits and drivers in the forms that a caller may give them."""

from fractions import Fraction

import numpy as np
import pytest

from curation.face_crop import clip_square, crop_matrix
from inference.driving import Driving, Reference
from inference.models.components import load_inference_config
from inference.pipeline.inputs import cut_for, open_driver
from manifests.errors import UserError
from tests.inference.driver_footage import PlantedBackend, PlantedFootage, face_points, write_video


def portrait() -> Reference:
    points = face_points((80, 100), 30)
    return Reference(np.full((200, 160, 3), 128, np.uint8), points, clip_square(points[None]), 64)


def test_the_drivers_portrait_is_the_one_that_the_model_gets():
    first, other = portrait(), portrait()
    with Driving(PlantedFootage(8), first) as driving:
        np.testing.assert_array_equal(cut_for(driving, first, first.crop), driving.reference.crop)
        assert cut_for(None, first, first.crop) is first.crop
        other.rgb[0, 0] ^= 1
        with pytest.raises(UserError, match="another portrait"):
            cut_for(driving, other, other.crop)
    with Driving(PlantedFootage(8), size_px=64) as driving:
        assert cut_for(driving, first, first.crop) is first.crop


def test_a_driver_of_no_portrait_keeps_its_place_in_the_crop_that_the_model_was_trained_on(tmp_path):
    settings = load_inference_config("embedded")
    path = tmp_path / "driver.mp4"
    write_video(path, Fraction(25), 20)
    with open_driver(str(path), 1.0, None, settings, Fraction(25), PlantedBackend) as driving:
        expected = crop_matrix(clip_square(driving.footage.points_px, settings.crop_scale), settings.size_px)
        np.testing.assert_allclose(driving.matrices[0], expected)
