"""Sine-cosine codes for frames and audio tokens (Vaswani et al.): sine in the even channels, cosine in the odd."""

from __future__ import annotations

import math

import torch


def sinusoidal_positions(length: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """(length, width) in the dtype and on the device of `like`; computed, not stored, so no checkpoint carries tables."""
    position = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, device=like.device, dtype=torch.float32) * (-math.log(10000.0) / width))
    angle = position * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2).to(like.dtype)
