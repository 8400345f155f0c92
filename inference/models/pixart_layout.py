"""PixArt-α's original tensor names → diffusers' names (facts: PixArt-alpha/PixArt-alpha, tools/convert_pixart_alpha_to_diffusers.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

MARKER = "x_embedder.proj.weight"  # a name that only the original layout has
_PREFIXES = {
    "x_embedder.proj": "pos_embed.proj",
    "t_embedder.mlp.0": "adaln_single.emb.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "adaln_single.emb.timestep_embedder.linear_2",
    "csize_embedder.mlp.0": "adaln_single.emb.resolution_embedder.linear_1",
    "csize_embedder.mlp.2": "adaln_single.emb.resolution_embedder.linear_2",
    "ar_embedder.mlp.0": "adaln_single.emb.aspect_ratio_embedder.linear_1",
    "ar_embedder.mlp.2": "adaln_single.emb.aspect_ratio_embedder.linear_2",
    "t_block.1": "adaln_single.linear",
    "y_embedder.y_proj.fc1": "caption_projection.linear_1",
    "y_embedder.y_proj.fc2": "caption_projection.linear_2",
    "final_layer.linear": "proj_out",
}
_IN_BLOCK = {
    "attn.proj": "attn1.to_out.0",
    "mlp.fc1": "ff.net.0.proj",
    "mlp.fc2": "ff.net.2",
    "cross_attn.q_linear": "attn2.to_q",
    "cross_attn.proj": "attn2.to_out.0",
}
_STACKED = {
    "attn.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v"),
}
# A fixed table that is computed, and the embedding of the empty caption.
_DROPPED = frozenset({"pos_embed", "y_embedder.y_embedding"})


def diffusers_layout(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Renames an original state dict; one that is already in diffusers' layout comes back as it is. Raises KeyError for an unknown name."""
    if MARKER not in tensors:
        return dict(tensors)
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name in _DROPPED:
            continue
        for new_name, part in _rename(name, tensor):
            renamed[new_name] = part
    return renamed


def _rename(name: str, tensor: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    if name == "final_layer.scale_shift_table":
        return [("scale_shift_table", tensor)]
    stem, _, leaf = name.rpartition(".")
    if stem in _PREFIXES:
        return [(f"{_PREFIXES[stem]}.{leaf}", tensor)]
    if match := re.fullmatch(r"blocks\.(\d+)\.(?:(\S+)\.)?(weight|bias|scale_shift_table)", name):
        index, inner, leaf = match.groups()
        block = f"transformer_blocks.{index}"
        if leaf == "scale_shift_table" and inner is None:
            return [(f"{block}.scale_shift_table", tensor)]
        if inner in _IN_BLOCK:
            return [(f"{block}.{_IN_BLOCK[inner]}.{leaf}", tensor)]
        if inner in _STACKED:
            stacked = _STACKED[inner]
            return [(f"{block}.{new}.{leaf}", part) for new, part in zip(stacked, tensor.chunk(len(stacked)), strict=True)]
    raise KeyError(name)
