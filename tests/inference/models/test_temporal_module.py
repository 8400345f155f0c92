"""The temporal module against one rebuilt from diffusers' parts, and its symmetries."""

import pytest
import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import SinusoidalPositionalEmbedding

from inference.models.positions import sinusoidal_positions
from inference.models.temporal import TemporalModule
from inference.models.weights import WeightsError, load_motion_weights

WIDTH, GRID = 64, (4, 6)


def lively(seed=0):
    torch.manual_seed(seed)
    module = TemporalModule(WIDTH, num_heads=2).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def clip(frames, clips=2, seed=1):
    return torch.randn(clips, frames, GRID[0] * GRID[1], WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def positions(frames):
    return sinusoidal_positions(frames, WIDTH, torch.empty(0, dtype=torch.float64))


def rebuilt(module, x):
    """The published module's arithmetic from diffusers' building blocks, window by window."""
    state = module.state_dict()
    encode = SinusoidalPositionalEmbedding(WIDTH, max_seq_length=64).double()
    attentions = []
    for i in range(2):
        attention = Attention(WIDTH, heads=2, dim_head=WIDTH // 2, bias=False).double()
        attention.load_state_dict(
            {
                k.removeprefix(f"attentions.{i}.").replace("to_out.", "to_out.0."): v
                for k, v in state.items()
                if k.startswith(f"attentions.{i}.")
            }
        )
        attentions.append(attention)
    ff = FeedForward(WIDTH, activation_fn="geglu").double()
    ff.load_state_dict({k.removeprefix("ff."): v for k, v in state.items() if k.startswith("ff.")})
    clips, frames = x.shape[:2]
    image = x.flatten(0, 1).transpose(1, 2).unflatten(2, GRID)
    hidden = module.proj_in(module.norm(image).permute(0, 2, 3, 1)).unflatten(0, (clips, frames))
    out = torch.empty_like(hidden)
    for row in range(0, GRID[0], 2):
        for column in range(0, GRID[1], 2):
            window = hidden[:, :, row : row + 2, column : column + 2].reshape(clips, frames, 4, WIDTH)
            for norm, attention in zip(module.norms, attentions, strict=True):
                coded = torch.stack([encode(norm(window)[:, :, cell]) for cell in range(4)], dim=2)
                window = window + attention(coded.flatten(1, 2)).unflatten(1, (frames, 4))
            window = window + ff(module.ff_norm(window))
            out[:, :, row : row + 2, column : column + 2] = window.unflatten(2, (2, 2))
    return x + module.proj_out(out).flatten(2, 3)


def test_equals_the_module_rebuilt_from_diffusers_parts():
    module, x = lively(), clip(frames=5)
    with torch.no_grad():
        assert (module(x, GRID, positions(5)) - rebuilt(module, x)).abs().max() <= 1e-6  # diffusers' table is float32
        assert (module(x, GRID, positions(5)) - x).abs().max() > 0.1


def test_identity_at_initialisation(make_model, make_inputs):
    model, inputs = make_model(), make_inputs()
    with torch.no_grad():
        with_modules = model(**inputs)
        for block in model.denoiser.transformer_blocks:
            block.temporal = None
        assert torch.equal(with_modules, model(**inputs))


def test_equivariant_to_frame_permutation_exactly_when_positions_are_off():
    module, x, order = lively(), clip(frames=6), torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        assert (module(x[:, order], GRID, None) - module(x, GRID, None)[:, order]).abs().max() <= 1e-12
        with_positions = module(x[:, order], GRID, positions(6)) - module(x, GRID, positions(6))[:, order]
        assert with_positions.abs().max() > 1e-3


def test_windows_touch_only_through_group_statistics():
    """A change in one window that keeps all groups' mean and variance leaves other windows as they are; one that moves them does not."""
    module, x = lively(), clip(frames=3, clips=1)
    swapped = x.clone()
    swapped[0, 1, [0, 1], :2] = x[0, 1, [1, 0], :2]  # two tokens exchange the channels of one group: other tokens, the same statistics
    grown = x.clone()
    grown[0, 1, 0] += 1.0
    window = [0, 1, GRID[1], GRID[1] + 1]
    others = [token for token in range(GRID[0] * GRID[1]) if token not in window]
    with torch.no_grad():
        base = module(x, GRID, positions(3))
        by_swap = (module(swapped, GRID, positions(3)) - base).abs().amax((0, 1, 3))
        by_growth = (module(grown, GRID, positions(3)) - base).abs()
    assert by_swap[others].max() <= 1e-12
    assert by_swap[window].min() > 1e-4
    assert by_growth[0, 1, others].amax(-1).min() > 1e-6


@pytest.mark.parametrize("frames", [1, 2, 7, 16, 64])
def test_any_number_of_frames(frames):
    module = lively()
    with torch.no_grad():
        out = module(clip(frames, clips=1), GRID, positions(frames))
    assert out.shape == (1, frames, GRID[0] * GRID[1], WIDTH)
    assert out.isfinite().all()


def test_clips_do_not_touch_each_other():
    module, x = lively(), clip(frames=3)
    with torch.no_grad():
        assert (module(x, GRID, positions(3))[1] - module(x[1:], GRID, positions(3))[0]).abs().max() <= 1e-12


def motion_file(model, num_blocks):
    """A motion file as EasyAnimate-V1 names its tensors: a module in every block, position tables stored."""
    prefix = "transformer_blocks.{}.attn_temporal.temporal_transformer."
    names = {
        "norm": "norm", "proj_in": "proj_in", "proj_out": "proj_out",
        "norms.0": "transformer_blocks.0.norms.0", "norms.1": "transformer_blocks.0.norms.1", "ff_norm": "transformer_blocks.0.ff_norm",
        "ff.net.0.proj": "transformer_blocks.0.ff.net.0.proj", "ff.net.2": "transformer_blocks.0.ff.net.2",
    }  # fmt: skip
    for i in range(2):
        names |= {f"attentions.{i}.to_{x}": f"transformer_blocks.0.attention_blocks.{i}.to_{x}" for x in "qkv"}
        names[f"attentions.{i}.to_out"] = f"transformer_blocks.0.attention_blocks.{i}.to_out.0"
    shapes = {name: tensor.shape for name, tensor in model.denoiser.transformer_blocks[1].temporal.state_dict().items()}
    out = {}
    for block in range(num_blocks):
        for name, shape in shapes.items():
            stem, _, leaf = name.rpartition(".")
            out[f"{prefix.format(block)}{names[stem]}.{leaf}"] = torch.full(shape, float(block))
        for i in range(2):
            out[f"{prefix.format(block)}transformer_blocks.0.attention_blocks.{i}.pos_encoder.pe"] = torch.zeros(1, 8, 32)
    return out


def test_motion_weights_of_odd_blocks_load_strictly(make_model):
    model = make_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tensors = motion_file(model, num_blocks=4)
    report = load_motion_weights(model, tensors)
    for name, tensor in model.state_dict().items():
        if ".temporal." in name:
            assert torch.all(tensor == int(name.split(".")[2]))
        else:
            assert torch.equal(tensor, before[name])
    assert len(report.dropped) == len(tensors) // 2 + 4  # the even blocks' modules, and the odd ones' tables
    with pytest.raises(WeightsError, match="lacks"):
        load_motion_weights(model, motion_file(model, num_blocks=3))
    with pytest.raises(WeightsError, match="no place"):
        load_motion_weights(model, {**tensors, "transformer_blocks.1.attn2.to_q.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="stage 3"):
        load_motion_weights(make_model(with_temporal=False), tensors)
