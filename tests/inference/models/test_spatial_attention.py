"""Reference keys and the Eq. 2 mask, against diffusers' Attention, closed forms and Jacobians."""

import pytest
import torch
from diffusers.models.attention_processor import Attention as DiffusersAttention
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel

from inference.models import RegionMask, eye_mouth_mask, region_tokens
from inference.models.attention import SpatialAttention
from inference.models.masks import dilate
from inference.models.shapes import ShapeError

WIDTH, HEADS = 32, 4


@pytest.fixture
def attention():
    torch.manual_seed(3)
    return SpatialAttention(WIDTH, HEADS).double()


def tokens(*shape, seed=0):
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def as_diffusers(ours):
    theirs = DiffusersAttention(WIDTH, heads=HEADS, dim_head=WIDTH // HEADS, bias=True).double()
    theirs.load_state_dict({name.replace("to_out.", "to_out.0."): tensor for name, tensor in ours.state_dict().items()})
    return theirs


def test_reads_the_reference_as_diffusers_attention_reads_concatenated_states(attention):
    x, feature = tokens(2, 3, 16), tokens(2, 16, seed=1)
    ours = attention(x, attention.keys_values(feature))
    states = torch.cat([x, feature[:, None].expand_as(x)], dim=2)
    theirs = as_diffusers(attention)(x.flatten(0, 1), encoder_hidden_states=states.flatten(0, 1)).unflatten(0, (2, 3))
    assert (ours - theirs).abs().max() <= 1e-12
    assert (ours - attention(x)).abs().max() > 1e-2


def test_a_reference_equal_to_the_frame_changes_nothing(attention):
    x = tokens(2, 1, 16)
    assert (attention(x, attention.keys_values(x[:, 0])) - attention(x)).abs().max() <= 1e-12


def test_no_reference_drops_the_keys_and_is_not_a_zeroed_reference(attention):
    """In a batch that mixes clips with and without a reference, those without equal plain self-attention, those with are untouched."""
    x, feature = tokens(3, 2, 16), tokens(3, 16, seed=1)
    reference, plain = attention.keys_values(feature), attention(x)
    mixed = attention(x, reference, torch.tensor([True, False, True]))
    whole = attention(x, reference)
    assert (mixed[1] - plain[1]).abs().max() <= 1e-12
    assert torch.equal(mixed[[0, 2]], whole[[0, 2]])
    zeroed = attention(x, attention.keys_values(torch.zeros_like(feature)))
    assert (zeroed - plain).abs().max() > 1e-3


def eyes_and_mouth(frames=1):
    eyes, mouth = torch.zeros(1, frames, 8, 8, dtype=torch.bool), torch.zeros(1, frames, 8, 8, dtype=torch.bool)
    eyes[..., 1, 1:3] = True
    mouth[..., 6, 3:5] = True
    return eyes, mouth


@pytest.mark.parametrize("with_reference", [False, True])
def test_jacobian_of_mouth_outputs_with_respect_to_eye_inputs_is_zero(attention, with_reference):
    eyes, mouth = eyes_and_mouth()
    mask = eye_mouth_mask(eyes, mouth)
    x, reference = tokens(1, 1, 64), attention.keys_values(tokens(1, 64, seed=2)) if with_reference else None
    mask = mask.with_reference(1, None) if with_reference else mask
    jacobian = torch.autograd.functional.jacobian(lambda y: attention(y, reference, None, mask).sum(-1), x)  # (1, 1, 64, 1, 1, 64, D)
    felt = jacobian.abs().amax(-1).squeeze()  # (64 outputs, 64 inputs)
    hidden = mouth.flatten()[:, None] & dilate(eyes, 2).flatten()[None, :]
    assert hidden.sum() == 2 * 20  # two mouth tokens; rows 0–3, columns 0–4 of eyes at row 1, columns 1–2, grown by two
    assert torch.all(felt[hidden] == 0)
    assert torch.all(felt[~hidden] > 0)


def test_mouth_still_sees_the_whole_reference(attention):
    eyes, mouth = eyes_and_mouth()
    mask = eye_mouth_mask(eyes, mouth).with_reference(1, None)
    x, feature = tokens(1, 1, 64), tokens(1, 64, seed=2)
    jacobian = torch.autograd.functional.jacobian(lambda f: attention(x, attention.keys_values(f), None, mask).sum(-1), feature)
    assert torch.all(jacobian.abs().amax(-1).squeeze() > 0)


def test_mask_reaches_a_clip_without_reference_whose_own_keys_stand_in(attention):
    eyes, mouth = (mask.expand(2, 2, 8, 8) for mask in eyes_and_mouth())
    mask = eye_mouth_mask(eyes.contiguous(), mouth.contiguous())
    x, feature = tokens(2, 2, 64), tokens(2, 64, seed=2)
    present = torch.tensor([True, False])
    mixed = attention(x, attention.keys_values(feature), present, mask.with_reference(2, present))
    assert (mixed[1] - attention(x, None, None, mask)[1]).abs().max() <= 1e-12
    both = attention(x, attention.keys_values(feature), None, mask.with_reference(2, None))
    assert (mixed[0] - both[0]).abs().max() <= 1e-12


def test_frames_that_need_no_mask_equal_the_path_without_one(attention):
    eyes, mouth = eyes_and_mouth(frames=3)
    eyes[0, 1] = False
    mask = eye_mouth_mask(eyes, mouth)
    assert mask.rows.tolist() == [0, 2]
    x = tokens(1, 3, 64)
    masked, plain = attention(x, None, None, mask), attention(x)
    assert torch.equal(masked[0, 1], plain[0, 1])
    untouched = ~mouth[0, 0].flatten()
    assert (masked[0, 0, untouched] - plain[0, 0, untouched]).abs().max() <= 1e-12
    assert (masked[0, 0, ~untouched] - plain[0, 0, ~untouched]).abs().max() > 1e-3


def test_all_true_mask_equals_no_mask(attention):
    x = tokens(2, 2, 64)
    for rows in ([0, 1, 2, 3], [1, 2]):
        mask = RegionMask(torch.tensor(rows), torch.ones(len(rows), 1, 64, 64, dtype=torch.bool))
        assert (attention(x, None, None, mask) - attention(x)).abs().max() <= 1e-12


def test_back_ends_agree(attention):
    """Flash and math without a mask, and math against the default choice with one (the CPU's flash kernel takes masks)."""
    eyes, mouth = eyes_and_mouth()
    attention, x = attention.float(), tokens(1, 1, 64).float()
    for mask in (None, eye_mouth_mask(eyes, mouth)):
        outputs = []
        for backend in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
            with sdpa_kernel(backend):
                outputs.append(attention(x, None, None, mask))
        assert (outputs[0] - outputs[1]).abs().max() <= 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_back_ends_agree_on_cuda(attention, dtype):
    eyes, mouth = eyes_and_mouth()
    attention, x = attention.to("cuda", dtype), tokens(1, 1, 64).to("cuda", dtype)
    for mask in (None, eye_mouth_mask(eyes, mouth).to("cuda")):
        backends = [SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION]
        if mask is None and dtype == torch.bfloat16:
            backends.append(SDPBackend.FLASH_ATTENTION)
        outputs = []
        for backend in backends:
            with sdpa_kernel(backend):
                outputs.append(attention(x, None, None, mask).float())
        for other in outputs[1:]:
            assert (outputs[0] - other).abs().max() <= (2e-2 if dtype == torch.bfloat16 else 1e-4)


def test_fused_projections_change_neither_result_nor_gradient_nor_checkpoint(attention):
    x, feature = tokens(1, 2, 16), tokens(1, 16, seed=1)
    names = list(attention.state_dict())
    results = []
    for fused in (False, True):
        attention.fused = fused
        attention.zero_grad()
        out = attention(x, attention.keys_values(feature))
        out.square().sum().backward()
        results.append((out.detach(), attention.to_k.weight.grad.clone(), attention.to_q.bias.grad.clone()))
    assert list(attention.state_dict()) == names
    for plain, fused in zip(*results, strict=True):
        assert (plain - fused).abs().max() <= 1e-12


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 63), st.integers(0, 63), st.integers(1, 40), st.integers(1, 40))
def test_a_token_belongs_to_a_region_that_touches_it(y, x, height, width):
    region = torch.zeros(64, 64, dtype=torch.bool)
    region[y : y + height, x : x + width] = True
    touched = region_tokens(region)
    for row in range(4):
        for column in range(4):
            assert touched[row, column] == region[16 * row : 16 * row + 16, 16 * column : 16 * column + 16].any()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16 - 1), st.integers(0, 3))
def test_dilation_is_chebyshev_distance(bits, by):
    mask = torch.tensor([bits >> i & 1 for i in range(16)], dtype=torch.bool).reshape(4, 4)
    set_cells = mask.nonzero()
    for cell in torch.cartesian_prod(torch.arange(4), torch.arange(4)):
        near = bool(set_cells.numel()) and bool((set_cells - cell).abs().amax(1).min() <= by)
        assert bool(dilate(mask, by)[tuple(cell)]) == near


def test_no_mask_where_none_is_needed_and_none_that_blinds_the_mouth():
    eyes, mouth = eyes_and_mouth()
    assert eye_mouth_mask(eyes, torch.zeros_like(mouth)) is None
    assert eye_mouth_mask(torch.zeros_like(eyes), mouth) is None
    with pytest.raises(ShapeError, match="nothing is left"):
        eye_mouth_mask(torch.ones_like(eyes), mouth)
    with pytest.raises(ShapeError, match=r"mouth has shape \(1, 1, 4, 4\); it needs \(B=1, F=1, h=8, w=8\)"):
        eye_mouth_mask(eyes, mouth[..., :4, :4])
    with pytest.raises(ShapeError, match=r"torch\.bool"):
        eye_mouth_mask(eyes.float(), mouth)
    with pytest.raises(ShapeError, match="multiple of 16"):
        region_tokens(torch.ones(40, 64, dtype=torch.bool))
