"""Random initialisation, after PixArt-α's recipe; what a small model trained from nothing starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from inference.models.megactor import MegActorModel


def initialise_randomly(model: MegActorModel) -> None:
    """Draws every tensor from torch's generator (seed it for repeatable weights).

    Linears Xavier-uniform with zero bias, the timestep network normal with deviation 0.02, tables normal / √width. Zero: the output layer,
    and the output projections of audio attention and temporal modules, so that both start as the identity.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for transformer in (model.reference, model.denoiser):
        weight = transformer.pos_embed.proj.weight
        nn.init.xavier_uniform_(weight.view(weight.shape[0], -1))
        nn.init.zeros_(transformer.pos_embed.proj.bias)
        embedder = transformer.adaln_single.emb.timestep_embedder
        for linear in (embedder.linear_1, embedder.linear_2, transformer.adaln_single.linear):
            nn.init.normal_(linear.weight, std=0.02)
    for name, parameter in model.named_parameters():
        if name.endswith("scale_shift_table"):
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    zero(model.denoiser.proj_out)
    for block in model.denoiser.transformer_blocks:
        if block.audio is not None:
            zero(block.audio.to_out)
        if block.temporal is not None:
            zero(block.temporal.proj_out)
    model.driven_encoder.initialise()


def zero(linear: nn.Linear) -> None:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)


@torch.no_grad()
def zero_driven_channels(model: MegActorModel) -> None:
    """Makes the patch embedding deaf to the driven channels, as the paper starts it."""
    model.denoiser.pos_embed.proj.weight[:, model.sizes.latent_channels :] = 0
