"""The schedule against diffusers' schedulers and figures of the literature."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from inference.models import SCHEDULE


def test_tables_equal_diffusers():
    theirs = DDPMScheduler(**SCHEDULE.scheduler_config(), variance_type="learned_range")
    assert (SCHEDULE.betas - theirs.betas).abs().max() <= 1e-8
    assert (SCHEDULE.alphas_cumprod - theirs.alphas_cumprod).abs().max() <= 1e-6
    for t in (1, 2, 250, 999):
        # diffusers' float32 tables are the weaker side
        assert SCHEDULE.posterior_variance[t].item() == pytest.approx(float(theirs._get_variance(t, variance_type="fixed_small")), rel=2e-3)


def test_closed_forms():
    assert SCHEDULE.alphas_cumprod[-1].item() == pytest.approx(4.036e-5, rel=1e-3)  # 4.0e-5: nearly pure noise
    assert SCHEDULE.betas[[0, -1]].tolist() == pytest.approx([1e-4, 2e-2])
    t = torch.tensor([0, 1, 500, 999])
    x0, noise = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind()
    x_t = SCHEDULE.add_noise(x0, noise, t)
    assert (SCHEDULE.predict_x0(x_t, noise, t) - x0).abs().max() <= 1e-12
    # Bayes: the posterior's precision is the sum of the precisions of the prior q(x_{t-1}|x_0) and of the step q(x_t|x_{t-1}).
    beta, prior = SCHEDULE.betas[1:], 1.0 - SCHEDULE.alphas_cumprod[:-1]
    precision = (1.0 - beta) / beta + 1.0 / prior
    assert torch.allclose(SCHEDULE.posterior_variance[1:], 1.0 / precision, rtol=1e-12)
    mean = ((1 - beta).sqrt() / beta * 2.0 + SCHEDULE.alphas_cumprod[:-1].sqrt() / prior * 3.0) / precision
    all_t = torch.arange(1, 1000)
    ours = SCHEDULE.posterior_mean(torch.full((999,), 3.0, dtype=torch.float64), torch.full((999,), 2.0, dtype=torch.float64), all_t)
    assert torch.allclose(ours, mean, rtol=1e-10)


def test_learned_range_ends_at_both_variances():
    t = torch.tensor([1, 400, 999])
    one = torch.ones(3, 2, dtype=torch.float64)
    assert torch.allclose(SCHEDULE.model_log_variance(one, t)[:, 0], SCHEDULE.betas[t].log())
    assert torch.allclose(SCHEDULE.model_log_variance(-one, t)[:, 0], SCHEDULE.posterior_variance[t].log())
    assert SCHEDULE.model_log_variance(-one[:1], torch.tensor([0]))[0, 0].item() == pytest.approx(math.log(SCHEDULE.posterior_variance[1]))


def test_learned_range_equals_diffusers():
    theirs = DDPMScheduler(**SCHEDULE.scheduler_config(), variance_type="learned_range")
    v = torch.linspace(-1.3, 1.3, 5)
    for t in (1, 300, 999):
        log_variance = SCHEDULE.model_log_variance(v.double()[None], torch.tensor([t]))[0]
        assert torch.allclose(log_variance, theirs._get_variance(t, predicted_variance=v).double(), atol=2e-3)


def test_samplers_take_the_same_schedule():
    sampler = DPMSolverMultistepScheduler(**SCHEDULE.scheduler_config(), algorithm_type="dpmsolver++")
    assert torch.allclose(sampler.alphas_cumprod.double(), SCHEDULE.alphas_cumprod, atol=1e-6)


def test_frozen_and_checked():
    with pytest.raises(AttributeError):
        SCHEDULE.beta_end = 0.5
    with pytest.raises(ValueError, match=r"they need \(2,\)"):
        SCHEDULE.add_noise(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([1]))
    x = torch.zeros(2, 3)
    assert SCHEDULE.add_noise(x, x, torch.tensor([1, 2])).dtype == torch.float32


@pytest.mark.parametrize(
    ("noise_of", "prediction_type"), [(SCHEDULE.noise_of_velocity, "v_prediction"), (SCHEDULE.noise_of_sample, "sample")]
)
def test_noise_of_a_velocity_or_a_sample_equals_diffusers(noise_of, prediction_type):
    """A step by noise made from a velocity is diffusers' step by that velocity; the same of a clean sample."""
    x_t, said = torch.randn(2, 1, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).unbind()
    for t in (20, 500, 980):
        noise = noise_of(said, x_t, torch.tensor([t]))
        settings = SCHEDULE.scheduler_config() | {"clip_sample": False}
        ours, theirs = DDIMScheduler(**settings), DDIMScheduler(**settings | {"prediction_type": prediction_type})
        for scheduler in (ours, theirs):
            scheduler.set_timesteps(50)
        assert ours.step(noise, t, x_t).prev_sample.sub(theirs.step(said, t, x_t).prev_sample).abs().max() <= 1e-4  # diffusers: float32
