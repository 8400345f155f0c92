"""The packaged model, what is trained on from it and what is packed of it are sampled alike."""

import pytest

pytest.importorskip("torch", reason="training needs torch: install the [train] extra")

from inference.models.components import PACKAGED
from inference.pipeline.folder import read_pipeline_file
from training.config import load_training_config
from training.run import inference_config


@pytest.mark.parametrize("name", ["embedded-weights", "adapt"])
def test_runs_from_the_packaged_weights_keep_its_limits_of_steps_and_guidance(name: str) -> None:
    packaged, record = read_pipeline_file(PACKAGED / "embedded")
    trained = inference_config(load_training_config(name, record.stage))
    for setting in ("most_steps", "most_guidance", "mouth_guidance", "sound_guidance", "patch_rule", "size_px", "crop_scale"):
        assert getattr(trained, setting) == getattr(packaged, setting), setting
