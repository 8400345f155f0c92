"""Validation: fixed samples, timesteps and noise; the sensitivity to swapped conditions; records and report."""

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from inference.models import SCHEDULE, MegActorModel, grow  # noqa: E402
from tests.training.fakes import fake_batch, make_trainer, weights_of  # noqa: E402
from training.loop.inputs import encoded  # noqa: E402
from training.watch.observers import Validation  # noqa: E402
from training.watch.sensitivity import Changes  # noqa: E402

torch.set_num_threads(1)


def batches(stage: int, count: int = 2) -> list:
    return [fake_batch(list(range(4 * k, 4 * k + 4)), stage, seed=9) for k in range(count)]


def sensitivity(trainer, given) -> dict[str, float]:
    changes = Changes(trainer.device)
    for batch in given:
        changes.add(trainer, encoded(batch, trainer.codec))
    return changes.read()


def lively(stage: int, audio_gain: float = 1.0) -> MegActorModel:
    """A model whose zero-initialised layers are not zero."""
    from tests.training.fakes import tiny_inference

    torch.manual_seed(0)
    model = MegActorModel.from_sizes(tiny_inference().model.at_stage(1))
    model = model if stage == 1 else grow(model, stage)
    with torch.no_grad():
        model.denoiser.proj_out.weight.normal_(std=0.2)
        for block in model.denoiser.transformer_blocks:
            if block.audio is not None:
                block.audio.to_out.weight.normal_(std=0.2 * audio_gain)
    return model


def test_timesteps_are_the_middles_of_strata() -> None:
    assert Validation([], 4, 0).timesteps == [125, 375, 625, 875]
    assert Validation([], 8, 0).timesteps[0] == 62


def test_the_same_weights_give_the_same_numbers_and_training_is_not_disturbed(tmp_path) -> None:
    validation = Validation(batches(1), 4, 2)
    watched = make_trainer(tmp_path / "a", steps=4, optimiser_warmup_steps=0, observers=(validation,))
    watched.run()
    records = [record for record in watched.log.read() if record["kind"] == "validation"]
    assert [record["step"] for record in records] == [2, 4]
    assert records[0]["loss"] != records[1]["loss"]
    at = [records[1][f"loss_t{t:03d}"] for t in validation.timesteps]
    assert records[1]["loss"] == pytest.approx(sum(at) / 4)
    validation(watched)
    again = [record for record in watched.log.read() if record["kind"] == "validation"][-1]
    assert again == records[1]
    alone = make_trainer(tmp_path / "b", steps=4, optimiser_warmup_steps=0)
    alone.run()
    ours, theirs = weights_of(watched), weights_of(alone)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert watched.model.training


def test_validation_sees_the_averaged_weights(tmp_path) -> None:
    """A model that starts with an output of zero says that the clean latents are those of the reference, moved; or zero, where that is
    dropped: its velocity is off by the difference over √(1 − ᾱ)."""
    validation = Validation(batches(1), 2, 0)
    trainer = make_trainer(tmp_path, steps=1, observers=(validation,))
    with torch.no_grad():
        for parameter in trainer.network.parameters():
            parameter.fill_(0.3)  # not the average
    validation(trainer)
    (record,) = [record for record in trainer.log.read() if record["kind"] == "validation"]
    errors = []
    for t in validation.timesteps:
        abar = SCHEDULE.alphas_cumprod[t].float()
        for batch in validation.batches:
            x0 = trainer.codec.encode(batch.target_frames.float() / 255)
            said = trainer.codec.encode(batch.moved_frames.float() / 255) * batch.reference_present.reshape(-1, 1, 1, 1, 1)
            off = (x0 - said) / (1 - abar).sqrt()
            keep = batch.loss_keep[:, :, None].expand_as(off)
            errors += [v[k].square().mean() for v, k in zip(off, keep, strict=True)]
    expected = torch.stack(errors).mean()
    assert record["loss_simple"] == pytest.approx(expected.item(), rel=1e-5)


def test_sound_that_is_not_heard_changes_nothing_and_heard_sound_does(tmp_path) -> None:
    deaf = make_trainer(tmp_path / "deaf", 2, lively(2, audio_gain=0.0))
    found = sensitivity(deaf, batches(2))
    assert found["sound_swapped_mouth"] == found["sound_swapped_eyes"] == 0
    assert found["driver_swapped_eyes"] > 0
    hearing = sensitivity(make_trainer(tmp_path / "hearing", 2, lively(2)), batches(2))
    assert hearing["sound_swapped_mouth"] > 0


def test_only_samples_that_see_the_condition_count(tmp_path) -> None:
    trainer = make_trainer(tmp_path, 2, lively(2))
    silent = [dataclasses.replace(batch, audio_present=torch.zeros_like(batch.audio_present)) for batch in batches(2)]
    assert "sound_swapped_mouth" not in sensitivity(trainer, silent)
    unseen = [dataclasses.replace(batch, shows_eyes=torch.zeros_like(batch.shows_eyes)) for batch in batches(2)]
    assert "driver_swapped_eyes" not in sensitivity(trainer, unseen)
    assert "sound_swapped_mouth" not in sensitivity(make_trainer(tmp_path / "one", 1, lively(1)), batches(1))
