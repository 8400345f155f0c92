"""The step that a plan times is the trainer's own, on batches like the loader's."""

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from tests.training.data_material import data_config, embedded, write_manifest  # noqa: E402
from tests.training.fakes import tiny_config, tiny_inference  # noqa: E402
from training.config import TrainingConfig  # noqa: E402
from training.cost.probe import NoAutoencoder, StepProbe, random_batch  # noqa: E402
from training.data.loader import make_loader, open_clips  # noqa: E402


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_manifest(tmp_path_factory.mktemp("data") / "run", 3)


@pytest.mark.parametrize("stage", [1, 3])
def test_a_random_batch_is_filled_as_the_loaders_are(run, stage) -> None:
    config, inference = TrainingConfig(stage=stage, inference="embedded", data=data_config(run)), embedded()
    loader = make_loader(config.data, inference, open_clips(config.data, inference, run, stage), seed=0, stage=stage, batch_size=2)
    real, made = next(iter(loader)), random_batch(config, inference, 2, encodes=True)
    for field in dataclasses.fields(real):
        if field.name in ("region_mask", "recolour", "skips", "clip_id", "augmentation", "shrinks"):  # by the draw
            continue
        one, other = getattr(real, field.name), getattr(made, field.name)
        assert (one is None) == (other is None), field.name
        if one is not None:
            assert (one.shape, one.dtype) == (other.shape, other.dtype), field.name
    for one, other in zip(real.augmentation, made.augmentation, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_probes_step_clips_updates_and_averages(stage) -> None:
    config = tiny_config(stage, optimiser_clip_norm=1e-9, optimiser_weight_decay=0.0)
    probe = StepProbe(config, tiny_inference(), torch.device("cpu"), 2)
    optimiser = probe._trainer.optimiser
    before = [parameter.detach().clone() for parameter in optimiser.parameters.values()]
    micro_batch_s, update_s = probe.timed_step()
    assert micro_batch_s > 0
    assert update_s > 0
    assert optimiser.average.optimization_step == 1
    assert any((parameter != old).any() for parameter, old in zip(optimiser.parameters.values(), before, strict=True))
    moments = [state["exp_avg"].norm() for state in optimiser.adamw.state.values()]
    assert float(torch.stack(moments).norm()) <= 1e-9  # of gradients that were clipped


def test_an_autoencoder_that_is_counted_aside_costs_nothing() -> None:
    assert NoAutoencoder(4).encode(torch.rand(2, 3, 3, 64, 32)).shape == (2, 3, 4, 8, 4)
