"""The loop: what moves, what stays, exact continuation, equality of batch splits, the average, steps without a finite gradient."""

import dataclasses
import signal

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from diffusers.training_utils import EMAModel  # noqa: E402

from inference.models import MegActorModel, grow  # noqa: E402
from inference.models.megactor import parts  # noqa: E402
from tests.training.fakes import FakeBatches, make_trainer, tiny_config, tiny_inference, weights_of  # noqa: E402
from training.config import OptimiserConfig  # noqa: E402
from training.loop.faults import StoppedError  # noqa: E402
from training.loop.optimiser import learning_rate, make_optimiser, set_learning_rate  # noqa: E402
from training.loop.stages import TRAINED, choose_trainable, table  # noqa: E402
from training.loop.start import Start, build_model, fresh_parts  # noqa: E402
from training.loop.tensors import trainable  # noqa: E402

torch.set_num_threads(1)


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def stage_model(stage: int) -> MegActorModel:
    """As in training: stage 1 at random, each later one grown from the one before."""
    torch.manual_seed(0)
    model = MegActorModel.from_sizes(tiny_inference().model.at_stage(1))
    if stage > 1:  # a trained model's output layer is not zero any more
        torch.nn.init.normal_(model.denoiser.proj_out.weight, std=0.02)
    for later in range(2, stage + 1):
        model = grow(model, later)
    return model


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_frozen_stays_bit_equal_and_trainable_moves_by_step_two(stage, tmp_path) -> None:
    trainer = make_trainer(tmp_path, stage, stage_model(stage), steps=2, optimiser_warmup_steps=0)
    before = {name: tensor.detach().clone() for name, tensor in trainer.network.named_parameters()}
    trained = {id(tensor) for part, tensors in parts(trainer.network).items() if part in TRAINED[stage] for tensor in tensors}
    trainer.run()
    for name, tensor in trainer.network.named_parameters():
        assert torch.equal(tensor, before[name]) != (id(tensor) in trained), name
    if stage == 3:
        latents = torch.randn(1, 21, 4, 4)
        keys = trainer.network.reference_keys(latents, torch.tensor([5]))
        assert not any(tensor.requires_grad for pair in keys for tensor in pair)  # no graph is kept for the reference


def test_n_steps_equal_k_and_the_rest_bit_for_bit(tmp_path) -> None:
    whole = make_trainer(tmp_path / "a", steps=5, checkpoints_every_steps=2)
    state = whole.run()
    first = make_trainer(tmp_path / "b", steps=5, checkpoints_every_steps=2)
    batches = first._batches
    for _ in range(3):  # dies after step 3; step 2 was saved
        first._advance(first._step(iterated := batches(first.state.next_sample)), 0.0)
        if first.state.step % 2 == 0:
            first.save()
        iterated.close()
    second = make_trainer(tmp_path / "b", steps=5, checkpoints_every_steps=2)
    assert second.state.step == 2
    resumed = second.run()
    assert equal(weights_of(whole), weights_of(second))
    assert dataclasses.replace(state, seconds=0) == dataclasses.replace(resumed, seconds=0)
    assert sorted(second._batches.drawn) == list(range(8, 20))
    log = [record for record in second.log.read() if record["kind"] == "train"]
    assert [record["step"] for record in log] == sorted({record["step"] for record in log})


def test_accumulation_makes_the_same_step(tmp_path) -> None:
    one = make_trainer(tmp_path / "a", steps=2, optimiser_warmup_steps=0)
    one.run()
    two = make_trainer(tmp_path / "b", steps=2, optimiser_warmup_steps=0, hardware_micro_batch=1)
    two.run()
    assert two.accumulation == 4
    assert one._batches.drawn == two._batches.drawn
    losses = [[r["loss"] for r in t.log.read() if r["kind"] == "train"][-1] for t in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    a, b = weights_of(one), weights_of(two)
    for name in a:
        if name.startswith("exp_avg."):
            assert torch.allclose(a[name], b[name], rtol=1e-3, atol=1e-7), name


def test_average_follows_its_closed_form(tmp_path) -> None:
    """diffusers' EMAModel is used; this pins its decay, which the checkpoint's one counter must reproduce."""
    trainer = make_trainer(tmp_path, steps=4, optimiser_warmup_steps=0, optimiser_ema_decay=0.25)
    name = "denoiser.proj_out.bias"
    history, expected = [], trainer.optimiser.parameters[name].detach().double().clone()
    batches = trainer._batches(0)
    for n in range(1, 5):
        trainer._advance(trainer._step(batches), 0.0)
        history.append(trainer.optimiser.parameters[name].detach().double().clone())
        decay = 0.0 if n == 1 else min((1 + n - 1) / (10 + n - 1), 0.25)
        expected = decay * expected + (1 - decay) * history[-1]
    shadow = dict(zip(trainer.optimiser.parameters, trainer.optimiser.average.shadow_params, strict=True))[name]
    assert torch.allclose(shadow.double(), expected, atol=1e-8)
    assert isinstance(trainer.optimiser.average, EMAModel)


def test_averaged_weights_are_lent_and_given_back(tmp_path) -> None:
    trainer = make_trainer(tmp_path, steps=3, optimiser_warmup_steps=0)
    trainer.run()
    before = weights_of(trainer)
    with trainer.optimiser.averaged_weights():
        name = "denoiser.proj_out.weight"
        assert torch.equal(trainer.optimiser.parameters[name], before[f"ema.{name}"])
        assert not torch.equal(trainer.optimiser.parameters[name], before[f"model.{name}"])
    assert equal(before, weights_of(trainer))


def spoiled(first: int, last: int):
    """NaN in the targets of the batches that start at these samples."""

    def spoil(batch):
        if first <= int(batch.sample_index[0]) <= last:
            return dataclasses.replace(batch, noise=batch.noise * float("nan"))
        return batch

    return spoil


def test_a_step_without_a_finite_gradient_is_skipped_and_counted(tmp_path) -> None:
    said: list[str] = []
    trainer = make_trainer(tmp_path, batches=FakeBatches(1, 4, spoil=spoiled(4, 7)), steps=3, say=said.append, logging_every_steps=1)
    state = trainer.run()
    assert (state.step, state.updates, state.skipped, state.skipped_in_row, state.next_sample) == (3, 2, 1, 0, 12)
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(trainer).values())
    assert any("step 2: the gradient is not finite; skipped (1 so far)" in line for line in said)
    losses = [record["loss"] for record in trainer.log.read() if record["kind"] == "train"]
    assert losses[0] > 0
    assert losses[2] > 0
    assert trainer.optimiser.average.optimization_step == 2


def test_too_many_of_them_stop_the_run_with_the_weights_saved(tmp_path) -> None:
    trainer = make_trainer(tmp_path, batches=FakeBatches(1, 4, spoil=spoiled(4, 10**9)), steps=50, loss_max_skipped_in_row=3)
    with pytest.raises(StoppedError, match=r"3 steps in a row had no finite gradient; stopped at step 4.*samples 4…15"):
        trainer.run()
    again = make_trainer(tmp_path, steps=50)
    assert again.state.step == 4
    assert again.state.updates == 1


def test_an_interrupt_saves_and_the_run_continues(tmp_path) -> None:
    def interrupting(batch):
        if int(batch.sample_index[0]) == 4:
            signal.raise_signal(signal.SIGINT)
        return batch

    trainer = make_trainer(tmp_path, batches=FakeBatches(1, 4, spoil=interrupting), steps=3, checkpoints_every_steps=100)
    with pytest.raises(StoppedError, match="interrupted at step 2") as stopped:
        trainer.run()
    assert stopped.value.interrupted
    again = make_trainer(tmp_path, steps=3)
    assert again.state.step == 2
    again.run()
    straight = make_trainer(tmp_path / "other", steps=3)
    straight.run()
    assert equal(weights_of(again), weights_of(straight))


def test_records_hold_quartiles_modalities_and_times(tmp_path) -> None:
    trainer = make_trainer(tmp_path, 2, stage_model(2), steps=4, logging_every_steps=4, hardware_peak_tflops=0.1)
    trainer.run()
    (record,) = [record for record in trainer.log.read() if record["kind"] == "train"]
    assert record["loss"] == pytest.approx(record["loss_simple"] + record["loss_bound"])
    assert record["loss_simple_mixed"] == pytest.approx(record["loss_simple"])
    assert {f"loss_simple_t_q{q}" for q in (1, 2, 3, 4)} <= set(record)
    assert {"data_s", "forward_s", "backward_s", "optimiser_s", "samples_per_s", "mfu", "peak_memory_gib", "gradient_norm", "lr"} <= set(
        record
    )
    parts_s = sum(record[f"{phase}_s"] for phase in ("data", "forward", "backward", "optimiser"))
    assert 0.5 * record["step_s"] < parts_s <= record["step_s"]
    assert record["mfu"] == pytest.approx(record["tflops_per_s"] / 0.1)


def test_first_weights_depend_on_seed_and_stage_alone() -> None:
    torch.manual_seed(1)
    one = build_model(tiny_config(), tiny_inference(), Start("random")).state_dict()
    state = torch.get_rng_state()
    torch.manual_seed(2)
    two = build_model(tiny_config(), tiny_inference(), Start("random")).state_dict()
    other = build_model(tiny_config(seed=5), tiny_inference(), Start("random")).state_dict()
    assert equal(one, two)
    assert not equal(one, other)
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_learning_rate() -> None:
    config = OptimiserConfig(lr=1.0, warmup_steps=10, schedule="cosine", final_lr_ratio=0.1)
    rates = [learning_rate(config, step, 110) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert sorted(rates[10:], reverse=True) == rates[10:]
    assert learning_rate(OptimiserConfig(lr=2.0, warmup_steps=0), 10**6, 10) == 2.0


@pytest.mark.parametrize(
    ("stage", "start", "expected"),
    [
        (1, Start("pixart", "x"), {"driven encoder"}),
        (1, Start("random"), {"denoising transformer", "reference transformer", "driven encoder"}),
        (2, Start("stage", "x", 1), {"audio attention"}),
        (3, Start("stage", "x", 1), {"temporal modules"}),
        (3, Start("stage", "x", 1, motion="y"), set()),
    ],
)
def test_parts_that_start_at_random_learn_at_a_rate_of_their_own(stage, start, expected) -> None:
    fresh = fresh_parts(stage, start)
    assert fresh == expected
    model = stage_model(stage)
    choose_trainable(model, stage)
    members = {id(parameter) for part in fresh for parameter in parts(model)[part]}
    trained = list(trainable(model).values())
    config = OptimiserConfig(lr=1e-5, fresh_lr=1e-3, warmup_steps=10)
    optimiser = make_optimiser(trained, config, [parameter for parameter in trained if id(parameter) in members])
    set_learning_rate(optimiser, config, 4, 100)
    rates = {id(parameter): group["lr"] for group in optimiser.param_groups for parameter in group["params"]}
    assert rates.keys() == {id(parameter) for parameter in trained}
    for key, rate in rates.items():
        assert rate == pytest.approx((1e-3 if key in members else 1e-5) * 0.5)
    assert len(make_optimiser(trained, OptimiserConfig(lr=1e-5), trained).param_groups) == 1


def test_the_trainer_moves_fresh_parts_by_their_rate(tmp_path) -> None:
    """AdamW's first step moves every weight by about its learning rate, so the rates show in the weights."""
    moved = {}
    for fresh_lr in (None, 1e-2):
        trainer = make_trainer(
            tmp_path / str(fresh_lr), 2, stage_model(2), fresh=frozenset({"audio attention"}), steps=1, optimiser_lr=1e-4,
            optimiser_fresh_lr=fresh_lr, optimiser_warmup_steps=0, optimiser_weight_decay=0.0, optimiser_schedule="constant",
        )  # fmt: skip
        before = {part: [p.detach().clone() for p in members] for part, members in parts(trainer.network).items()}
        trainer.run()
        for part in ("audio attention", "denoising transformer"):
            pairs = zip(parts(trainer.network)[part], before[part], strict=True)
            moved[fresh_lr, part] = max(float((new.detach() - old).abs().max()) for new, old in pairs)
    assert moved[None, "audio attention"] == pytest.approx(1e-4, rel=0.01)
    assert moved[1e-2, "audio attention"] == pytest.approx(1e-2, rel=0.01)
    assert moved[1e-2, "denoising transformer"] == pytest.approx(1e-4, rel=0.01)


def test_table_of_parts_names_what_is_trained() -> None:
    text = table(choose_trainable(stage_model(3), 3))
    assert "temporal modules" in text
    assert text.count("frozen") == 4
    with pytest.raises(ValueError, match="stage 3 trains temporal modules"):
        choose_trainable(stage_model(2), 3)
