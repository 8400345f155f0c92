"""The loss: squared error of the noise, and the variational bound that trains the variance channels (Improved DDPM; DiT, PixArt-α).

Everything here is computed in float32 or better, outside autocast. Shape letters: B samples, F frames, C latent channels, h × w cells.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from inference.models.schedule import BITS, SCHEDULE, DiffusionSchedule
from training.data.modality import MODALITIES

BIN = 1.0 / 255.0  # half a bin of the discretised likelihood at t = 0
SMALLEST_PROBABILITY = 1e-12  # keeps the logarithm of a bin's probability finite in float32
QUARTILES = 4
_SIMPLE, _BOUND, _COUNT = range(3)  # columns of `LossSums`


class LossTerms(NamedTuple):
    """`total` () carries the gradient; `simple` and `bound` (B,) are the two terms of each sample, detached and without weights."""

    total: torch.Tensor
    simple: torch.Tensor
    bound: torch.Tensor


def training_loss(
    prediction: torch.Tensor,
    x0: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    schedule: DiffusionSchedule,
    *,
    keep: torch.Tensor | None = None,
    min_snr_gamma: float | None = None,
    error: str = "noise",
    emphasis: torch.Tensor | None = None,
) -> LossTerms:
    """mean over the batch of (simple + bound), both averaged over each sample's kept elements.

    A sample of which little is kept weighs as much as any other: sums are divided by that sample's own number of kept elements.

    Args:
        prediction: (B, F, 2C, h, w) from the model: noise prediction, then variance interpolation.
        x0, noise: (B, F, C, h, w), what `schedule.add_noise` mixed.
        timesteps: (B,) int64.
        keep: (B, F, h, w) bool, False where nothing is to be learnt; None keeps all.
        min_snr_gamma: weight of a sample's simple term is min(w, γ)/w (Min-SNR, arXiv 2303.09556), where w is the weight that the term
            gives to (x̂_0 − x_0)²: SNR for the error "noise", SNR + 1 for "velocity"; None is 1.
        error: "noise", or "velocity": the simple term is (v̂ − v)² = (ε̂ − ε)²/ᾱ, since both velocities come from the same x_t.
        emphasis: (B, F, C, h, w) or what broadcasts to it, positive: elements' weights within their sample; None weighs all alike.
    """
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    with torch.autocast(prediction.device.type, enabled=False):
        prediction, x0, noise = prediction.to(dtype), x0.to(dtype), noise.to(dtype)
        epsilon, interpolation = prediction.chunk(2, dim=2)
        weights = _weights(keep, x0, emphasis)
        simple = ((epsilon - noise).square() * weights).flatten(1).sum(1)
        x_t = schedule.add_noise(x0, noise, timesteps)
        bound = (variational_bound(epsilon.detach(), interpolation, x0, x_t, timesteps, schedule) * weights).flatten(1).sum(1)
        if error == "velocity":
            simple = simple / schedule.at(schedule.alphas_cumprod, timesteps, simple)
        weighted = simple if min_snr_gamma is None else simple * min_snr_weight(timesteps, min_snr_gamma, schedule, simple, error)
        return LossTerms((weighted + bound).mean(), simple.detach(), bound.detach())


class LossSums:
    """Sums of the loss by quarter of the timesteps and by modality, kept on the device until a record is due.

    Adding costs no synchronisation; `read` makes one, and sums over ranks. Samples whose loss is not finite are left out.
    """

    def __init__(self, device: torch.device):
        self._sums = torch.zeros(QUARTILES, len(MODALITIES), 3, dtype=torch.float64, device=device)

    def add(self, terms: LossTerms, timesteps: torch.Tensor, modality: torch.Tensor) -> None:
        quartile = timesteps * QUARTILES // SCHEDULE.num_steps
        values = torch.stack([terms.simple, terms.bound, torch.ones_like(terms.simple)], dim=1).to(self._sums)
        values = values * torch.isfinite(values).all(1, keepdim=True)
        values = torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        self._sums.index_put_((quartile, modality.long()), values, accumulate=True)

    def read(self) -> dict[str, float]:
        """Means since the last call by name, and starts again; groups without a sample are left out. All ranks must call it."""
        sums = self._sums
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        table = sums.cpu().clone()
        self._sums.zero_()
        found = {"loss": float("nan")}
        groups = {"": table.sum((0, 1))}
        groups |= {f"_t_q{q + 1}": table[q].sum(0) for q in range(QUARTILES)}
        groups |= {f"_{name}": table[:, m].sum(0) for m, name in enumerate(MODALITIES)}
        for name, group in groups.items():
            if group[_COUNT]:
                found[f"loss_simple{name}"] = float(group[_SIMPLE] / group[_COUNT])
                found[f"loss_bound{name}"] = float(group[_BOUND] / group[_COUNT])
        if "loss_simple" in found:
            found["loss"] = found["loss_simple"] + found["loss_bound"]
        return found


def variational_bound(
    epsilon: torch.Tensor,
    interpolation: torch.Tensor,
    x0: torch.Tensor,
    x_t: torch.Tensor,
    timesteps: torch.Tensor,
    schedule: DiffusionSchedule,
) -> torch.Tensor:
    """Each element's term of the variational bound in bits, of the shape of `x0`; a gradient reaches whatever of the arguments has one.

    t ≥ 1: KL(q(x_{t−1} | x_t, x_0) ‖ p). t = 0: the negative log-likelihood of x_0 in bins of 2/255, open beyond ±0.999; meant for pixels
    in −1…1 and only a convention on latents, kept as DiT and PixArt-α have it. x̂_0 is not clipped.
    """
    true_mean = schedule.posterior_mean(x0, x_t, timesteps)
    true_log_variance = schedule.at(schedule.posterior_log_variance, timesteps, x0)
    mean = schedule.posterior_mean(schedule.predict_x0(x_t, epsilon, timesteps), x_t, timesteps)
    log_variance = schedule.model_log_variance(interpolation, timesteps)
    divergence = 0.5 * (
        log_variance
        - true_log_variance
        + torch.exp(true_log_variance - log_variance)
        + (true_mean - mean).square() * torch.exp(-log_variance)
        - 1.0
    )
    first = (timesteps == 0).reshape(-1, *[1] * (x0.ndim - 1))
    # Two `where`s: the branch that is not taken must not send NaN into the gradient, so it is fed a harmless width.
    likelihood = _discretised_log_likelihood(x0, mean, torch.where(first, 0.5 * log_variance, torch.zeros_like(log_variance)))
    return torch.where(first, -likelihood, divergence) * BITS


def min_snr_weight(
    timesteps: torch.Tensor, gamma: float, schedule: DiffusionSchedule, like: torch.Tensor, error: str = "noise"
) -> torch.Tensor:
    """(B,) min(w, γ)/w of each sample's own timestep, with w = SNR = ᾱ/(1 − ᾱ) for noise and SNR + 1 for velocity."""
    abar = schedule.alphas_cumprod
    weight = (abar if error == "noise" else 1.0) / (1.0 - abar)
    return schedule.at(weight.clamp(max=gamma) / weight, timesteps, like)


def _weights(keep: torch.Tensor | None, x0: torch.Tensor, emphasis: torch.Tensor | None) -> torch.Tensor:
    """(B, F, 1 or C, h, w): each sample's weights sum to 1 over its kept elements; a sample of which nothing is kept weighs 0."""
    keep = torch.ones_like(x0[:, :, 0], dtype=torch.bool) if keep is None else keep
    expected = (*x0.shape[:2], *x0.shape[3:])
    if keep.shape != expected or keep.dtype != torch.bool:
        raise ValueError(f"keep has shape {tuple(keep.shape)} and is {keep.dtype}; it needs {tuple(expected)} of torch.bool")
    if emphasis is not None:
        weights = (keep[:, :, None] * emphasis.to(x0.dtype)).expand_as(x0)
        return weights / weights.flatten(1).sum(1).clamp(min=torch.finfo(x0.dtype).tiny).reshape(-1, 1, 1, 1, 1)
    count = keep.flatten(1).sum(1).clamp(min=1) * x0.shape[2]
    return (keep.to(x0.dtype) / count.reshape(-1, 1, 1, 1))[:, :, None]


def _discretised_log_likelihood(x0: torch.Tensor, mean: torch.Tensor, log_deviation: torch.Tensor) -> torch.Tensor:
    """log of the normal distribution's mass in x0's bin."""
    centred, inverse = x0 - mean, torch.exp(-log_deviation)
    below_upper = torch.special.ndtr(inverse * (centred + BIN))
    below_lower = torch.special.ndtr(inverse * (centred - BIN))
    mass = torch.where(x0 < -0.999, below_upper, torch.where(x0 > 0.999, 1.0 - below_lower, below_upper - below_lower))
    return mass.clamp(min=SMALLEST_PROBABILITY).log()
