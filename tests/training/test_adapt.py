"""`make adapt`: clips of the portrait and of other people, one run on both."""

from pathlib import Path

import pytest

import manifests
from inference.pipeline import MegActorSigmaPipeline
from training.adapt import CLIPS, adapt

PORTRAIT = Path(__file__).resolve().parents[2] / "inference" / "studio" / "examples" / "portrait_1.jpg"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("people", [0, 2])
def test_a_portrait_is_learnt_beside_other_people(tmp_path: Path, people: int) -> None:
    said: list[str] = []
    model = adapt(str(PORTRAIT), str(tmp_path), steps=2, people=people, overrides=("batch_size=2",), say=said.append)
    table = manifests.load(tmp_path / "curation", columns=["identity", "clip_id"])
    assert len(table) == CLIPS + people
    assert table.identity.nunique() == 1 + people
    pipe = MegActorSigmaPipeline.from_pretrained(model)
    assert pipe.record.step == 2
    adapt(str(PORTRAIT), str(tmp_path), steps=2, people=people, overrides=("batch_size=2",), say=said.append)  # all is there already
