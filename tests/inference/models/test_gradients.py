"""Gradient liveness: after two optimiser steps every trainable tensor of a stage has moved, every frozen one is bit-equal."""

import pytest
import torch

from inference.models import MegActorModel, grow
from inference.models.megactor import parts

TRAINED = {
    1: {"denoising transformer", "reference transformer", "driven encoder"},
    2: {"denoising transformer", "reference transformer", "driven encoder", "audio attention"},
    3: {"temporal modules"},
}


def two_steps(model, inputs):
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    target = torch.randn(2, 3, 8, 16, 16, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    for _ in range(2):
        optimiser.zero_grad()
        (model(**inputs) - target).square().mean().backward()
        optimiser.step()


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_trainable_tensors_move_and_frozen_ones_do_not(make_model, make_inputs, stage):
    """Each stage starts as it does in training: stage 1 from PixArt-α, the later ones grown from the stage before."""
    model = make_model(with_audio=False, with_temporal=False)
    for later in range(2, stage + 1):
        model = grow(model, later)
    model.train()
    for part, tensors in parts(model).items():
        for tensor in tensors:
            tensor.requires_grad_(part in TRAINED[stage])
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    two_steps(model, make_inputs(audio=stage > 1))
    for name, tensor in model.named_parameters():
        assert torch.equal(tensor, before[name]) != tensor.requires_grad, name
    if stage == 1:  # the driven path: the zero channels first, then the encoder behind them
        assert model.denoiser.pos_embed.proj.weight[:, 4:].abs().min() > 0


def test_a_model_from_nothing_is_alive(make_inputs, tiny_sizes):
    torch.manual_seed(0)
    model = MegActorModel(**{**tiny_sizes, "with_audio": False, "with_temporal": False}).double()
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    two_steps(model, make_inputs(audio=False))
    for name, tensor in model.named_parameters():
        assert not torch.equal(tensor, before[name]), name


def test_two_zero_starts_would_be_dead(make_model, make_inputs):
    """The trap that the initialisation avoids: encoder output and patch channels both zero never get a gradient."""
    model = make_model(with_audio=False, with_temporal=False).train()
    with torch.no_grad():
        model.driven_encoder.proj_out.weight.zero_()
    before = {name: tensor.detach().clone() for name, tensor in model.driven_encoder.named_parameters()}
    model(**make_inputs(audio=False)).square().mean().backward()
    assert not model.driven_encoder.proj_out.weight.grad.any()
    assert not model.denoiser.pos_embed.proj.weight.grad[:, 4:].any()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.driven_encoder.named_parameters())


def test_every_parameter_receives_a_gradient_so_data_parallel_needs_no_search(make_model, make_inputs):
    model = make_model(lively=True).train()
    model(**make_inputs()).square().mean().backward()
    assert [name for name, tensor in model.named_parameters() if tensor.grad is None] == []
