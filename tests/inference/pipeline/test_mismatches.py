"""What works but may surprise: guidance by conditions that the model was never trained on."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from inference.driving import Driving, DrivingOptions
from inference.driving.opening import Sources
from inference.models.components import TrainingRecord
from inference.pipeline.inputs import mismatches
from inference.sampling.guidance import Guidance
from tests.inference.animation_parts import make_driving
from tests.inference.driver_footage import PlantedFootage

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
    found = mismatches(guidance.compared(sound is not None), TrainingRecord(combinations=STAGE_2), shown, sound, 1.0)
    assert len(found) == (named is not None)
    assert named is None or re.search(named, found[0])


def test_a_record_of_before_is_asked_for_its_dropout():
    compared = Guidance(2.0).compared(has_audio=False)
    assert not mismatches(compared, TrainingRecord(dropout={"all": 0.05}), BOTH, None, 1.0)
    assert "no condition" in mismatches(compared, TrainingRecord(), BOTH, None, 1.0)[0]


def test_what_a_driver_shows():
    image = np.zeros((64, 64, 3), np.uint8)
    assert Sources(image, None, None).regions == BLACK
    assert Sources(image, None, make_driving()).regions is None
    with Driving(PlantedFootage(8), options=DrivingOptions(regions="eyes"), size_px=64) as driving:
        assert Sources(image, None, driving).regions == EYES
