"""Every back end of scaled-dot-product attention, forward and backward, and which one the model's own calls get."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

BACKENDS = [SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION]
HEAD = 72  # of the paper's blocks: not a power of two


def queries_keys_values(device: str, dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 4, 256, HEAD, generator=generator).to(device, dtype).requires_grad_() for _ in range(3)]


def output_and_gradients(inputs: list[torch.Tensor], mask: torch.Tensor | None) -> list[torch.Tensor]:
    answer = scaled_dot_product_attention(*inputs, attn_mask=mask)
    return [answer.detach(), *torch.autograd.grad(answer.float().square().sum(), inputs)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name.lower())
def test_a_back_end_agrees_with_float64(device, backend, masked) -> None:
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    mask = None
    if masked:
        mask = torch.ones(2, 1, 256, 256, dtype=torch.bool)
        mask[:, :, 100:130, 20:60] = False  # the mouth's queries do not see the eyes' keys
    exact = queries_keys_values("cpu", torch.float32)
    expected = output_and_gradients([tensor.detach().double().requires_grad_() for tensor in exact], mask)
    try:
        with sdpa_kernel(backend):
            found = output_and_gradients(queries_keys_values(device, dtype), None if mask is None else mask.to(device))
    except RuntimeError as error:
        if backend == SDPBackend.MATH or (device == "cuda" and backend == SDPBackend.EFFICIENT_ATTENTION):
            raise
        pytest.skip(f"{backend.name} does not take this here: {' '.join(str(error).split())[:80]}")
    for ours, theirs in zip(found, expected, strict=True):
        scale = theirs.abs().max()
        assert (ours.double().cpu() - theirs).abs().max() <= (0.03 if dtype == torch.bfloat16 else 1e-5) * scale


@pytest.mark.gpu
@pytest.mark.parametrize("masked", [False, True])
def test_the_kernel_that_runs_is_a_fused_one(masked) -> None:
    """With Eq. 2's boolean mask flash attention does not serve; then cuDNN's or the memory-efficient kernel must, never plain products,
    whose scores of 1,024 × 2,048 tokens would not fit beside the rest. On Hopper the choice without a mask is cuDNN's or flash."""
    from torch.profiler import ProfilerActivity, profile

    q, k, v = (torch.randn(8, 16, n, HEAD, device="cuda", dtype=torch.bfloat16, requires_grad=True) for n in (1024, 2048, 2048))
    mask = torch.ones(8, 1, 1024, 2048, dtype=torch.bool, device="cuda") if masked else None
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        scaled_dot_product_attention(q, k, v, attn_mask=mask).sum().backward()
        torch.cuda.synchronize()
    names = {event.key for event in seen.key_averages()}
    chosen = {
        kind
        for kind, call in (
            ("flash", "aten::_scaled_dot_product_flash_attention"),
            ("cudnn", "aten::_scaled_dot_product_cudnn_attention"),
            ("efficient", "aten::_scaled_dot_product_efficient_attention"),
            ("math", "aten::_scaled_dot_product_attention_math"),
        )
        if any(name == call for name in names)
    }
    print(f"masked={masked}: {chosen}")
    allowed = {"cudnn", "efficient"} if masked else {"flash", "cudnn"}
    assert chosen
    assert chosen <= allowed
