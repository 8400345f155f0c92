"""What a step takes of a GPU's memory, beside what `plan` says it takes."""

import pytest
import torch

from training.config import load_training_config
from training.cost.memory import estimate_memory
from training.cost.probe import StepProbe
from training.run import inference_config


@pytest.mark.gpu
@pytest.mark.parametrize(("stage", "micro", "checkpointing"), [(1, 2, False), (1, 4, True), (2, 2, False), (3, 1, True)])
def test_the_peak_of_a_step_is_within_ten_per_cent_of_the_plan(stage, micro, checkpointing) -> None:
    settings = (f"hardware.micro_batch={micro}", f"batch_size={micro}", f"hardware.gradient_checkpointing={str(checkpointing).lower()}")
    config = load_training_config("paper", stage, (*settings, "hardware.compile=false"))
    inference = inference_config(config)
    planned = estimate_memory(
        inference.model.at_stage(stage), stage, micro, config.data.frames_of_stage(stage), inference.size_px, "bf16", checkpointing
    )
    expected = planned.total
    if torch.cuda.get_device_properties(0).total_memory < 1.2 * expected:
        pytest.skip(f"needs {1.2 * expected / 1e9:.0f} GB")
    probe = StepProbe(config, inference, torch.device("cuda"), micro)
    probe.step()  # makes the optimiser's state
    torch.cuda.reset_peak_memory_stats()
    probe.step()
    assert torch.cuda.max_memory_allocated() == pytest.approx(expected, rel=0.10)
