"""The one diffusion schedule that loss, samplers and tests share (PixArt-α's: linear betas, noise prediction, learned range).

Linear betas end at a signal level of 4.0e-5, so neither zero-SNR rescaling nor a noise offset is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

BITS = 1.0 / math.log(2.0)


@dataclass(frozen=True)
class DiffusionSchedule:
    """Tables are float64 on one device, index t = 0 … num_steps − 1; `at` hands out values in the dtype and on the device of the data.

    A table that lies elsewhere is copied at every look-up: whoever looks up often takes `to(device)` once.
    """

    num_steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 2e-2
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.posterior_log_variance  # noqa: B018  all tables now: one that is made under a fake tensor mode would stay without values

    def to(self, device: torch.device | str) -> DiffusionSchedule:
        """The same schedule with its tables on `device`."""
        return replace(self, device=str(device))

    @cached_property
    def betas(self) -> torch.Tensor:
        return self._betas_here().to(self.device)

    @cached_property
    def alphas_cumprod(self) -> torch.Tensor:
        return torch.cumprod(1.0 - self._betas_here(), dim=0).to(self.device)  # multiplied in one order for every device

    def _betas_here(self) -> torch.Tensor:
        return torch.linspace(self.beta_start, self.beta_end, self.num_steps, dtype=torch.float64)

    @cached_property
    def alphas_cumprod_prev(self) -> torch.Tensor:
        return torch.cat([self.alphas_cumprod.new_ones(1), self.alphas_cumprod[:-1]])

    @cached_property
    def posterior_variance(self) -> torch.Tensor:
        """β̃_t, the variance of q(x_{t−1} | x_t, x_0); 0 at t = 0."""
        return self.betas * (1.0 - self.alphas_cumprod_prev) / (1.0 - self.alphas_cumprod)

    @cached_property
    def posterior_log_variance(self) -> torch.Tensor:
        """log β̃_t with β̃_0 replaced by β̃_1, whose logarithm exists (Improved DDPM)."""
        variance = self.posterior_variance
        return torch.log(torch.cat([variance[1:2], variance[1:]]))

    def at(self, table: torch.Tensor, t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Values of a table at timesteps t (B,), shaped to broadcast over `like` (B, …)."""
        if t.ndim != 1 or t.shape[0] != like.shape[0]:
            raise ValueError(f"timesteps have shape {tuple(t.shape)}; they need ({like.shape[0]},), one for each sample")
        values = table.to(t.device)[t].to(device=like.device, dtype=like.dtype)
        return values.reshape(-1, *[1] * (like.ndim - 1))

    def add_noise(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x_t = √ᾱ_t · x_0 + √(1 − ᾱ_t) · ε."""
        abar = self.alphas_cumprod
        return self.at(abar.sqrt(), t, x0) * x0 + self.at((1.0 - abar).sqrt(), t, x0) * noise

    def predict_x0(self, x_t: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        abar = self.alphas_cumprod
        return self.at((1.0 / abar).sqrt(), t, x_t) * x_t - self.at((1.0 / abar - 1.0).sqrt(), t, x_t) * noise

    def noise_of_velocity(self, velocity: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """ε = √ᾱ·v + √(1 − ᾱ)·x_t, for the velocity v = √ᾱ·ε − √(1 − ᾱ)·x_0 (Salimans and Ho, arXiv 2202.00512)."""
        abar = self.alphas_cumprod
        return self.at(abar.sqrt(), t, x_t) * velocity + self.at((1.0 - abar).sqrt(), t, x_t) * x_t

    def noise_of_sample(self, x0: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """ε = (x_t − √ᾱ·x_0)/√(1 − ᾱ), for the clean x_0; `predict_x0` solved for the noise."""
        abar = self.alphas_cumprod
        return self.at((1.0 / (1.0 - abar)).sqrt(), t, x_t) * x_t - self.at((abar / (1.0 - abar)).sqrt(), t, x_t) * x0

    def posterior_mean(self, x0: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """The mean of q(x_{t−1} | x_t, x_0)."""
        prev, abar, betas = self.alphas_cumprod_prev, self.alphas_cumprod, self.betas
        of_x0 = betas * prev.sqrt() / (1.0 - abar)
        of_xt = (1.0 - prev) * (1.0 - betas).sqrt() / (1.0 - abar)
        return self.at(of_x0, t, x0) * x0 + self.at(of_xt, t, x_t) * x_t

    def model_log_variance(self, interpolation: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """log σ² = f·log β_t + (1 − f)·log β̃_t with f = (v + 1)/2; v, the model's second half, is not clamped."""
        fraction = (interpolation + 1.0) / 2.0
        upper = self.at(torch.log(self.betas), t, interpolation)
        lower = self.at(self.posterior_log_variance, t, interpolation)
        return fraction * upper + (1.0 - fraction) * lower

    def scheduler_config(self) -> dict[str, Any]:
        """Keyword arguments for diffusers' schedulers, so that samplers use the schedule that was trained on."""
        return {
            "num_train_timesteps": self.num_steps,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
            "beta_schedule": "linear",
            "prediction_type": "epsilon",
            "timestep_spacing": "linspace",
        }


SCHEDULE = DiffusionSchedule()
