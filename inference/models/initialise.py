"""Random initialisation, after PixArt-α's recipe; what a small model trained from nothing starts from."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from inference.models.denoiser import DenoisingTransformer
from inference.models.driven_encoder import DrivenEncoder
from inference.models.reference import ReferenceTransformer


def initialise_randomly(driven_encoder: DrivenEncoder, reference: ReferenceTransformer, denoiser: DenoisingTransformer) -> None:
    """Draws every tensor from torch's generator (seed it for repeatable weights).

    Linears Xavier-uniform with zero bias, the timestep network normal with deviation 0.02, tables normal / √width. Zero: the output layer,
    and the output projections of audio attention and temporal modules, so that both start as the identity.
    """
    for part in (driven_encoder, reference, denoiser):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    for transformer in (reference, denoiser):
        weight = transformer.pos_embed.proj.weight
        nn.init.xavier_uniform_(weight.view(weight.shape[0], -1))
        nn.init.zeros_(cast("torch.Tensor", transformer.pos_embed.proj.bias))
        embedder = transformer.adaln_single.emb.timestep_embedder
        for linear in (embedder.linear_1, embedder.linear_2, transformer.adaln_single.linear):
            nn.init.normal_(linear.weight, std=0.02)
    for part in (driven_encoder, reference, denoiser):
        for name, parameter in part.named_parameters():
            if name.endswith("scale_shift_table"):
                nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    zero(denoiser.proj_out)
    for block in denoiser.blocks:
        if block.audio is not None:
            zero(block.audio.to_out)
        if block.temporal is not None:
            zero(block.temporal.proj_out)
    driven_encoder.initialise()


def zero(linear: nn.Linear) -> None:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)


@torch.no_grad()
def zero_driven_channels(denoiser: DenoisingTransformer, latent_channels: int) -> None:
    """Makes the patch embedding deaf to the driven channels, as the paper starts it."""
    denoiser.pos_embed.proj.weight[:, latent_channels:] = 0
