"""What works but may surprise: guidance by conditions that the model was never trained on."""

import re
from types import SimpleNamespace

import pytest

from inference.driving import Driving, DrivingOptions
from inference.models.components import TrainingRecord
from inference.pipeline.inputs import mismatches, shown_regions
from inference.sampling.guidance import Guidance
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
