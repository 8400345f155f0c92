"""Portraits and drivers in the forms that a caller may give them."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from curation.face_crop import clip_square, crop_matrix
from inference.driving import Amplitude, Driving, DrivingOptions, Reference, open_driver
from inference.driving.opening import open_sources
from inference.models.components import load_inference_config
from inference.pipeline.inputs import model_picture
from manifests.errors import UserError
from tests.inference.driver_footage import PlantedBackend, PlantedFootage, face_points, write_video

PICTURE = model_picture(load_inference_config("embedded"), PlantedBackend, 64)


def portrait() -> Reference:
    points = face_points((80, 100), 30)
    return Reference(np.full((200, 160, 3), 128, np.uint8), points, clip_square(points[None]), 64)


def test_the_drivers_portrait_is_the_one_that_the_model_gets():
    first, other = portrait(), portrait()
    options = DrivingOptions()
    with Driving(PlantedFootage(8), first) as driving:
        np.testing.assert_array_equal(open_sources(first, driving, options, PICTURE, None).image, driving.reference.crop)
        assert open_sources(first, None, options, PICTURE, 1.0).image is first.crop
        other.rgb[0, 0] ^= 1
        with pytest.raises(UserError, match="another portrait"):
            open_sources(other, driving, options, PICTURE, None)
        with pytest.raises(UserError, match="motion belongs to a driver that is still to be read"):
            open_sources(first, driving, DrivingOptions(amplitude=Amplitude.of(0.5)), PICTURE, None)
    with Driving(PlantedFootage(8), size_px=64) as driving:
        assert open_sources(first, driving, options, PICTURE, None).image is first.crop


def test_what_is_no_portrait_or_driver_of_this_model_is_refused():
    with pytest.raises(UserError, match=r"cut to 64 px; this model makes 32 px"):
        open_sources(portrait(), None, DrivingOptions(), model_picture(load_inference_config("embedded"), PlantedBackend, 32), 1.0)
    with pytest.raises(UserError, match="driving is of int"):
        open_sources(portrait(), 3, DrivingOptions(), PICTURE, None)


def test_a_driver_of_no_portrait_keeps_its_place_in_the_crop_that_the_model_was_trained_on(tmp_path):
    settings = load_inference_config("embedded")
    path = tmp_path / "driver.mp4"
    write_video(path, Fraction(25), 20)
    with open_driver(None, str(path), DrivingOptions(), model_picture(settings, PlantedBackend)) as driving:
        expected = crop_matrix(clip_square(driving.footage.points_px, settings.crop_scale), settings.size_px)
        np.testing.assert_allclose(driving.matrices[0], expected)


def test_only_a_driver_that_was_opened_here_is_closed_here(tmp_path):
    path = tmp_path / "driver.mp4"
    write_video(path, Fraction(25), 6)
    opened = open_sources(np.zeros((64, 64, 3), np.uint8), path, DrivingOptions(), PICTURE, None)
    first = opened.driving.driven_frames(0, 6)
    opened.close()
    assert opened.opened._store is None
    np.testing.assert_array_equal(opened.driving.driven_frames(0, 6), first)
    opened.close()
    with Driving(PlantedFootage(8), portrait()) as driving:
        driving.driven_frames(0, 8)
        given = open_sources(portrait(), driving, DrivingOptions(), PICTURE, None)
        given.close()
        assert driving._store is not None


@pytest.mark.parametrize("sound_s", [None, 0.4])
def test_a_single_picture_is_shown_for_as_long_as_the_sound_lasts_or_as_asked(tmp_path, sound_s):
    Image.fromarray(np.full((128, 128, 3), 90, np.uint8)).save(tmp_path / "you.png")
    with open_driver(portrait(), tmp_path / "you.png", DrivingOptions(still_s=0.2), PICTURE, sound_s=sound_s) as driving:
        assert (driving.n_frames, driving.fps) == (10 if sound_s else 5, 25)
