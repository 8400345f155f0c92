"""Multi-head attention on torch's SDPA, and the spatial attention that reads the reference.

Shape letters: B clips, F frames, N tokens of a frame, M any batch, D width, H heads, d channels of a head.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from inference.models.masks import RegionMask

KeysValues = tuple[torch.Tensor, torch.Tensor]


class Attention(nn.Module):
    """Queries of one width, keys and values of the same or another.

    `fused` projects queries, keys and values by one matrix product over the concatenated weights; the parameters stay apart, so
    checkpoints and optimisers do not change.
    """

    def __init__(self, width: int, num_heads: int, *, context_width: int | None = None, bias: bool = True):
        super().__init__()
        context_width = width if context_width is None else context_width
        self.num_heads = num_heads
        self.fused = False
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k = nn.Linear(context_width, width, bias=bias)
        self.to_v = nn.Linear(context_width, width, bias=bias)
        self.to_out = nn.Linear(width, width)

    def queries_keys_values(self, x_MND: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """q, k, v of (M, H, N, d) for self-attention."""
        return self._project(x_MND, self.to_q, self.to_k, self.to_v)

    def keys_values(self, context_MND: torch.Tensor) -> KeysValues:
        k, v = self._project(context_MND, self.to_k, self.to_v)
        return k, v

    def forward(self, x_MND: torch.Tensor, context_MND: torch.Tensor | None = None) -> torch.Tensor:
        if context_MND is None:
            q, k, v = self.queries_keys_values(x_MND)
        else:
            (q,), (k, v) = self._project(x_MND, self.to_q), self.keys_values(context_MND)
        return self.merge(functional.scaled_dot_product_attention(q, k, v))

    def merge(self, heads_MHNd: torch.Tensor) -> torch.Tensor:
        return self.to_out(heads_MHNd.transpose(1, 2).flatten(2))

    def _project(self, x_MND: torch.Tensor, *linears: nn.Linear) -> tuple[torch.Tensor, ...]:
        if self.fused and len(linears) > 1:
            weight = torch.cat([linear.weight for linear in linears])
            bias = None if linears[0].bias is None else torch.cat([linear.bias for linear in linears])
            flat = list(functional.linear(x_MND, weight, bias).chunk(len(linears), dim=-1))
        else:
            flat = [linear(x_MND) for linear in linears]
        return tuple(x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in flat)


class SpatialAttention(Attention):
    """Self-attention over a frame's tokens, with the reference's tokens as further keys (MegActor-Σ §3.2, after MagicAnimate).

    The reference's keys and values are projected by the denoiser's own matrices, once a clip, and shared by its frames. A clip without a
    reference has none of them. Where a batch mixes clips with and without, those without get their own keys a second time: softmax
    attention does not change when every key is duplicated, so that equals dropping them, needs no mask and keeps the shapes.
    """

    def forward(  # type: ignore[override]  # a network of its own: nobody calls it as an `Attention`
        self,
        x_BFND: torch.Tensor,
        reference: KeysValues | None = None,
        reference_present: torch.Tensor | None = None,
        mask: RegionMask | None = None,
    ) -> torch.Tensor:
        num_clips, num_frames = x_BFND.shape[:2]
        q, k, v = self.queries_keys_values(x_BFND.flatten(0, 1))
        if reference is not None:
            k, v = (
                _append(own.unflatten(0, (num_clips, num_frames)), shared, reference_present)
                for own, shared in zip((k, v), reference, strict=True)
            )
        return self.merge(_attend(q, k, v, mask)).unflatten(0, (num_clips, num_frames))


def _append(own_BFHNd: torch.Tensor, shared_BHNd: torch.Tensor, present_B: torch.Tensor | None) -> torch.Tensor:
    """Own tokens, then the clip's reference tokens: (B·F, H, 2N, d)."""
    shared = shared_BHNd[:, None].to(own_BFHNd.dtype).expand_as(own_BFHNd)
    if present_B is not None:
        shared = torch.where(present_B.reshape(-1, 1, 1, 1, 1), shared, own_BFHNd)
    return torch.cat([own_BFHNd, shared], dim=-2).flatten(0, 1)


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: RegionMask | None) -> torch.Tensor:
    """SDPA; only the rows that need a mask go through a kernel that takes one (the flash kernel takes none)."""
    if mask is None:
        return functional.scaled_dot_product_attention(q, k, v)
    if mask.keep.shape[0] == q.shape[0]:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.keep)
    rows = mask.rows
    masked = functional.scaled_dot_product_attention(q[rows], k[rows], v[rows], attn_mask=mask.keep)
    return functional.scaled_dot_product_attention(q, k, v).index_copy(0, rows, masked)
