"""The trainer on a device against the trainer on the CPU: same samples, same draws, same weights to rounding; and exact continuation."""

import pytest
import torch

from tests.training.fakes import make_trainer, weights_of


def same_weights(ours: dict, theirs: dict, tolerance: float) -> None:
    """AdamW's first steps are of about the learning rate whatever the gradient's size: where a gradient is all rounding, its sign, and the
    step, may differ. So almost all elements must agree closely, and none may differ by more than the steps made."""
    assert ours.keys() == theirs.keys()
    different = total = 0
    for name, value in theirs.items():
        if not name.startswith("model."):
            continue
        gap = (ours[name].float().cpu() - value.float()).abs()
        different, total = different + int((gap > tolerance).sum()), total + gap.numel()
        assert gap.max() <= 3 * 2 * 1e-3, name  # three steps of 1e-3, forth and back
    assert different <= 0.02 * total


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_three_steps_in_float32_are_the_cpus(tmp_path, device, stage) -> None:
    """Stage 1 with Eq. 2's mask on every frame."""
    settings = {"steps": 3, "optimiser_warmup_steps": 0, "optimiser_lr": 1e-3, "optimiser_schedule": "constant"}
    here = make_trainer(tmp_path / "device", stage, hardware_device=device, **settings)
    assert here.device.type == device
    here.run()
    there = make_trainer(tmp_path / "cpu", stage, hardware_device="cpu", **settings)
    there.run()
    same_weights(weights_of(here), weights_of(there), 1e-5)


@pytest.mark.parametrize(("precision", "checkpointing"), [("bf16", False), ("bf16", True), ("no", True)])
@pytest.mark.parametrize("stage", [1, 3])
def test_losses_in_other_precisions_are_near_float32s(tmp_path, device, stage, precision, checkpointing) -> None:
    losses = {}
    for name, settings in (("exact", {"hardware_device": "cpu", "hardware_precision": "no"}), ("other", {"hardware_device": device})):
        if name == "other":
            settings |= {"hardware_precision": precision, "hardware_gradient_checkpointing": checkpointing}
        trainer = make_trainer(tmp_path / name, stage, steps=2, logging_every_steps=1, **settings)
        trainer.run()
        losses[name] = [record["loss"] for record in trainer.log.read() if record["kind"] == "train"]
    assert len(losses["other"]) == 2
    assert losses["other"] == pytest.approx(losses["exact"], rel=2e-2 if precision == "bf16" else 1e-4)


@pytest.mark.parametrize("stage", [1, 3])
def test_a_continued_run_ends_where_an_uninterrupted_one_does(tmp_path, device, stage) -> None:
    """On the CPU bit for bit; a GPU's sums may come in another order from run to run, so closely."""
    settings = {"hardware_device": device, "optimiser_warmup_steps": 0, "optimiser_schedule": "constant", "optimiser_lr": 1e-3}
    whole = make_trainer(tmp_path / "whole", stage, steps=4, **settings)
    whole.run()
    make_trainer(tmp_path / "parts", stage, steps=2, **settings).run()
    second = make_trainer(tmp_path / "parts", stage, steps=4, **settings)
    assert second.state.step == 2
    second.run()
    ours, theirs = weights_of(second), weights_of(whole)
    if device == "cpu":
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    else:
        same_weights(ours, {name: value.cpu() for name, value in theirs.items()}, 1e-5)
