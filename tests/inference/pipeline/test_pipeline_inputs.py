"""Portraits and drivers in the forms that a caller may give them."""

import re
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from curation.face_crop import clip_square, crop_matrix
<<<<<<< HEAD
from inference.driving import Driving, Reference
from inference.models.components import load_inference_config
from inference.pipeline.inputs import cut_for, open_driver
from manifests.errors import UserError
=======
from inference.driving import Driving, DrivingOptions, Reference
from inference.models.components import TrainingRecord, load_inference_config
from inference.pipeline.inputs import cut_for, mismatches, open_driver, shown_regions
from inference.sampling.guidance import Guidance
>>>>>>> 886a7d9 (Masks of attention and loss are two settings, masks of all paths; conditions that guidance compares with are drawn and recorded; regions: patches of one size a clip, mouth to chin)
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


SOUND = SimpleNamespace(duration_s=1.0)
BOTH, EYES, BLACK = frozenset({"eyes", "mouth"}), frozenset({"eyes"}), frozenset()
STAGE_2 = {"no condition": 0.05, "eyes+audio+reference": 0.6, "eyes+mouth+reference": 0.03, "audio+reference": 0.2}


@pytest.mark.parametrize(
    ("guidance", "shown", "sound", "named"),
    [
        (Guidance(1.0), BOTH, SOUND, None),
        (Guidance(2.0), BOTH, SOUND, None),
        (Guidance(2.0, 3.0), BOTH, SOUND, None),
        (Guidance(2.0, 3.0), BLACK, SOUND, "trained on reference:"),
        (Guidance(2.0, 3.0), EYES, SOUND, r"trained on eyes\+reference:"),
        (Guidance(2.0, 3.0, (0.5, 0.5)), EYES, SOUND, None),
        (Guidance(2.0, 3.0), None, SOUND, None),
        (Guidance(2.0, 3.0), EYES, None, None),
    ],
)
def test_guidance_by_what_training_never_drew_is_said(guidance, shown, sound, named):
    found = mismatches(guidance, TrainingRecord(combinations=STAGE_2), shown, sound, 1.0)
    assert len(found) == (named is not None)
    assert named is None or re.search(named, found[0])


def test_a_record_of_before_is_asked_for_its_dropout():
    assert not mismatches(Guidance(2.0), TrainingRecord(dropout={"all": 0.05}), BOTH, None, 1.0)
    assert "no condition" in mismatches(Guidance(2.0), TrainingRecord(), BOTH, None, 1.0)[0]


def test_what_a_driver_shows():
    assert shown_regions(None) == BLACK
    assert shown_regions(SimpleNamespace()) is None
    with Driving(PlantedFootage(8), options=DrivingOptions(regions="eyes"), size_px=64) as driving:
        assert shown_regions(driving) == EYES
