"""The loss against torch.distributions, finite algebra, and gradients."""

import math
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from torch.distributions import Normal, kl_divergence  # noqa: E402

from inference.models import SCHEDULE, BlockDctCodec  # noqa: E402
from inference.models.block_dct import DEVIATION  # noqa: E402
from manifests import UserError  # noqa: E402
from tests.training.fakes import fake_batch  # noqa: E402
from training.loop.inputs import emphasis  # noqa: E402
from training.loop.loss import training_loss, variational_bound  # noqa: E402


def sample(batch: int, frames: int = 1, channels: int = 4, cells: int = 2, seed: int = 0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def normal(c: int):
        return torch.randn(batch, frames, c, cells, cells, generator=generator, dtype=torch.float64).to(dtype)

    return normal(channels), normal(channels), normal(2 * channels)


def independent_bound(x0, noise, prediction, t: int):
    """The bound of one timestep from the forward process alone: Bayes' rule by torch's normals, the tables by plain Python."""
    betas = [1e-4 + (2e-2 - 1e-4) * i / 999 for i in range(1000)]
    abar = [math.prod(1 - b for b in betas[: i + 1]) for i in (t - 1, t) if i >= 0]
    now, before = abar[-1], abar[0] if t else 1.0
    x_t = math.sqrt(now) * x0 + math.sqrt(1 - now) * noise
    epsilon, v = prediction.chunk(2, dim=2)
    x0_hat = (x_t - math.sqrt(1 - now) * epsilon) / math.sqrt(now)

    def posterior(start):
        if t == 0:
            return start, None
        prior, step = 1 - before, betas[t] / (1 - betas[t])  # q(x_{t−1}|x_0), and q(x_t|x_{t−1}) seen as a density of x_{t−1}
        variance = 1 / (1 / prior + 1 / step)
        return variance * (math.sqrt(before) * start / prior + x_t / math.sqrt(1 - betas[t]) / step), variance

    true_mean, true_variance = posterior(x0)
    mean, _ = posterior(x0_hat)
    smallest = betas[1] * (1 - (1 - betas[0])) / (1 - (1 - betas[0]) * (1 - betas[1])) if t == 0 else true_variance
    fraction = (v + 1) / 2
    deviation = torch.exp(0.5 * (fraction * math.log(betas[t]) + (1 - fraction) * math.log(smallest)))
    if t:
        return kl_divergence(Normal(true_mean, math.sqrt(true_variance)), Normal(mean, deviation)) / math.log(2)
    normal = Normal(mean, deviation)
    upper, lower = normal.cdf(x0 + 1 / 255), normal.cdf(x0 - 1 / 255)
    mass = torch.where(x0 < -0.999, upper, torch.where(x0 > 0.999, 1 - lower, upper - lower))
    return -mass.clamp(min=1e-12).log() / math.log(2)


def test_bound_equals_torch_distributions_at_every_timestep() -> None:
    x0, noise, prediction = sample(1)
    prediction[:, :, :4] = noise + 0.1 * prediction[:, :, :4]
    prediction[:, :, 4:] *= 0.3
    every = torch.arange(1000)
    x0s, noises, predictions = (x.expand(1000, *x.shape[1:]) for x in (x0, noise, prediction))
    epsilon, v = predictions.chunk(2, dim=2)
    ours = variational_bound(epsilon, v, x0s, SCHEDULE.add_noise(x0s, noises, every), every, SCHEDULE)
    for t in range(1000):
        theirs = independent_bound(x0, noise, prediction, t)[0]
        assert ((ours[t] - theirs).abs() <= 1e-6 * theirs.abs().clamp(min=1.0)).all(), t


def test_float32_is_close_to_float64() -> None:
    x0, noise, prediction = sample(1000, seed=3)
    prediction[:, :, :4] = noise + 0.1 * prediction[:, :, :4]
    exact = training_loss(prediction, x0, noise, torch.arange(1000), SCHEDULE)
    single = training_loss(prediction.float(), x0.float(), noise.float(), torch.arange(1000), SCHEDULE)
    assert torch.allclose(single.bound.double(), exact.bound, rtol=2e-3, atol=1e-5)
    assert torch.allclose(single.simple.double(), exact.simple, rtol=1e-5)
    assert training_loss(prediction.bfloat16(), x0, noise, torch.arange(1000), SCHEDULE).total.dtype == torch.float32


def test_bound_sends_no_gradient_to_the_noise_channels() -> None:
    x0, noise, prediction = sample(6)
    prediction.requires_grad_()
    t = torch.tensor([0, 1, 2, 250, 500, 999])
    terms = training_loss(prediction, x0, noise, t, SCHEDULE)
    terms.total.backward()
    of_simple = 2 * (prediction - torch.cat([noise, noise], 2))[:, :, :4].detach() / noise[0].numel() / 6
    assert torch.allclose(prediction.grad[:, :, :4], of_simple, rtol=1e-12)  # exactly the simple term's gradient
    assert (prediction.grad[:, :, 4:].flatten(1).abs().sum(1) > 0).all()


def test_mask_of_ones_is_no_mask() -> None:
    x0, noise, prediction = sample(4, frames=3)
    t = torch.tensor([0, 10, 300, 999])
    assert training_loss(prediction, x0, noise, t, SCHEDULE, keep=torch.ones(4, 3, 2, 2, dtype=torch.bool)).total.equal(
        training_loss(prediction, x0, noise, t, SCHEDULE).total
    )
    plain = training_loss(prediction, x0, noise, t, SCHEDULE)
    assert torch.allclose(plain.simple, (prediction[:, :, :4] - noise).square().flatten(1).mean(1), rtol=1e-12)


def test_masked_gradient_is_zero_inside_the_mask_and_samples_weigh_the_same() -> None:
    x0, noise, prediction = sample(3, frames=2, cells=4)
    keep = torch.ones(3, 2, 4, 4, dtype=torch.bool)
    keep[0, :, 2:, 1:3] = False
    keep[1, 0] = False
    prediction.requires_grad_()
    t = torch.tensor([0, 40, 700])
    terms = training_loss(prediction, x0, noise, t, SCHEDULE, keep=keep)
    terms.total.backward()
    assert not prediction.grad[(~keep)[:, :, None].expand_as(prediction)].any()
    assert prediction.grad[keep[:, :, None].expand_as(prediction)].all()
    error = (prediction.detach()[:, :, :4] - noise).square()
    for b in range(3):
        assert terms.simple[b].item() == pytest.approx(error[b][keep[b][:, None].expand_as(error[b])].mean().item())
    assert terms.total.item() == pytest.approx((terms.simple + terms.bound).mean().item())


def test_min_snr_weighs_every_sample_by_its_own_timestep() -> None:
    x0, noise, prediction = sample(3)
    t = torch.tensor([5, 300, 900])
    abar = SCHEDULE.alphas_cumprod[t]
    weight = torch.minimum(abar / (1 - abar), torch.tensor(5.0)) / (abar / (1 - abar))
    terms = training_loss(prediction, x0, noise, t, SCHEDULE, min_snr_gamma=5.0)
    assert terms.total.item() == pytest.approx((weight * terms.simple + terms.bound).mean().item())
    assert weight[0] < 0.01
    assert weight[2] == 1
    terms = training_loss(prediction, x0, noise, t, SCHEDULE, min_snr_gamma=5.0, error="velocity")
    clean = SCHEDULE.predict_x0(SCHEDULE.add_noise(x0, noise, t), prediction[:, :, :4], t)
    capped = torch.minimum(1 / (1 - abar), torch.tensor(5.0)) * (clean - x0).square().flatten(1).mean(1)
    assert terms.total.item() == pytest.approx((capped + terms.bound).mean().item())


def test_a_wrong_mask_is_refused_and_an_empty_one_weighs_nothing() -> None:
    x0, noise, prediction = sample(2)
    t = torch.tensor([3, 4])
    with pytest.raises(ValueError, match=r"keep has shape .* it needs \(2, 1, 2, 2\)"):
        training_loss(prediction, x0, noise, t, SCHEDULE, keep=torch.ones(2, 2, 2, dtype=torch.bool))
    keep = torch.ones(2, 1, 2, 2, dtype=torch.bool)
    keep[0] = False
    terms = training_loss(prediction, x0, noise, t, SCHEDULE, keep=keep)
    assert terms.simple[0] == terms.bound[0] == 0
    assert torch.isfinite(terms.total)


def test_the_error_of_the_velocity_is_the_velocitys() -> None:
    x0, noise, prediction = sample(3)
    t = torch.tensor([5, 300, 990])
    terms = training_loss(prediction, x0, noise, t, SCHEDULE, error="velocity")
    abar = SCHEDULE.alphas_cumprod[t].reshape(3, 1, 1, 1, 1)
    x_t = abar.sqrt() * x0 + (1 - abar).sqrt() * noise
    epsilon = prediction[:, :, :4]
    implied_x0 = (x_t - (1 - abar).sqrt() * epsilon) / abar.sqrt()
    difference = abar.sqrt() * (epsilon - noise) - (1 - abar).sqrt() * (implied_x0 - x0)
    assert terms.simple.tolist() == pytest.approx(difference.square().flatten(1).mean(1).tolist())
    assert terms.total.item() == pytest.approx((terms.simple + terms.bound).mean().item())


def test_emphasis_weighs_within_a_sample_and_not_between_samples() -> None:
    x0, noise, prediction = sample(2)
    t = torch.tensor([5, 300])
    emphasis = torch.ones(2, 1, 4, 2, 2, dtype=torch.float64)
    emphasis[0, :, 1] = 9.0
    keep = torch.ones(2, 1, 2, 2, dtype=torch.bool)
    keep[0, 0, 0] = False
    terms = training_loss(prediction, x0, noise, t, SCHEDULE, keep=keep, emphasis=emphasis)
    error = (prediction[:, :, :4] - noise).square()[0, 0][:, 1]  # (C, w) of the row that is kept
    assert terms.simple[0].item() == pytest.approx(((error.sum() + 8 * error[1].sum()) / (6 + 18)).item())
    plain = training_loss(prediction, x0, noise, t, SCHEDULE, keep=keep)
    assert terms.simple[1].item() == pytest.approx(plain.simple[1].item())
    even = training_loss(prediction, x0, noise, t, SCHEDULE, keep=keep, emphasis=torch.full((2, 1, 1, 2, 2), 3.0))
    assert even.total.item() == pytest.approx(plain.total.item())


def test_emphasis_of_regions_and_channels() -> None:
    batch, codec = fake_batch(list(range(4)), stage=1), BlockDctCodec()
    assert emphasis(batch, codec, 1.0, "equal") is None
    regions = emphasis(batch, codec, 4.0, "equal")
    height, width = batch.loss_keep.shape[-2:]
    for row in range(height):
        for column in range(width):
            token = (batch.eye_tokens | batch.mouth_tokens)[:, :, row // 2, column // 2]
            assert torch.equal(regions[:, :, 0, row, column], torch.where(token, 4.0, 1.0))
    both = emphasis(batch, codec, 4.0, "pixels")
    assert torch.allclose(both / regions, torch.tensor(DEVIATION)[:, None, None] / (sum(DEVIATION) / len(DEVIATION)))
    with pytest.raises(UserError, match="is for the block-DCT codec"):
        emphasis(batch, SimpleNamespace(channel_weights=None), 1.0, "pixels")
