"""The temporal module of EasyAnimate-V1 (aigc-apps/EasyAnimate, "VanillaGrid", block size 2)."""

from __future__ import annotations

import torch
from diffusers.models.attention import FeedForward
from torch import nn

from inference.models.attention import Attention
from inference.models.config import NORM_GROUPS


class TemporalModule(nn.Module):
    """Lets the tokens of a small square of the grid attend to each other over all frames.

    Group norm a frame → linear → two times {layer norm → attention → add} → {layer norm → GEGLU feed-forward → add} → linear, added to the
    input. The last linear is zero at birth, so a new module is the identity. A window × window square of tokens over all F frames is one
    sequence of window²·F tokens; squares touch only through the group norm's statistics. The tokens of one frame share a position.
    """

    def __init__(self, width: int, num_heads: int, window: int = 2):
        super().__init__()
        self.window = window
        self.norm = nn.GroupNorm(NORM_GROUPS, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.attentions = nn.ModuleList([Attention(width, num_heads, bias=False) for _ in range(2)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.ff_norm = nn.LayerNorm(width)
        self.ff = FeedForward(width, activation_fn="geglu")
        self.proj_out = nn.Linear(width, width)

    def forward(self, x_BFND: torch.Tensor, grid: tuple[int, int], positions_FD: torch.Tensor | None) -> torch.Tensor:
        """
        Args:
            x_BFND: N = h·w tokens in rows.
            grid: (h, w), multiples of the window.
            positions_FD: the frames' code, added to the input of both attentions; None leaves the module blind to their order.
        """
        normed = self.norm(x_BFND.flatten(0, 1).transpose(1, 2)).transpose(1, 2).unflatten(0, x_BFND.shape[:2])
        tokens = self.to_windows(self.proj_in(normed), grid)
        for norm, attention in zip(self.norms, self.attentions, strict=True):
            hidden = norm(tokens)
            if positions_FD is not None:
                hidden = hidden + positions_FD.repeat_interleave(self.window**2, dim=0).to(hidden.dtype)
            tokens = tokens + attention(hidden)
        tokens = tokens + self.ff(self.ff_norm(tokens))
        return x_BFND + self.proj_out(self.from_windows(tokens, x_BFND.shape[0], grid))

    def to_windows(self, x_BFND: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """(B, F, h·w, D) → (B·h/n·w/n, F·n·n, D) with n the window."""
        n = self.window
        split = x_BFND.unflatten(2, (grid[0] // n, n, grid[1] // n, n))  # B F h n w m D
        return split.permute(0, 2, 4, 1, 3, 5, 6).flatten(3, 5).flatten(0, 2)

    def from_windows(self, tokens: torch.Tensor, num_clips: int, grid: tuple[int, int]) -> torch.Tensor:
        n = self.window
        split = tokens.unflatten(1, (-1, n, n)).unflatten(0, (num_clips, grid[0] // n, grid[1] // n))  # B h w F n m D
        return split.permute(0, 3, 1, 4, 2, 5, 6).flatten(2, 5)
