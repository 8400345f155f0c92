"""Ready for speed from outside: each block compiles as one graph, with and without references, masks and checkpointing."""

import pytest
import torch

from inference.models import eye_mouth_mask


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("backend", "checkpointing"),
    [("eager", False), pytest.param("aot_eager", False, marks=pytest.mark.slow), pytest.param("aot_eager", True, marks=pytest.mark.slow)],
)
def test_blocks_compile_whole(make_model, make_inputs, backend, checkpointing):
    """`fullgraph` raises at any graph break. "aot_eager" also traces the backward pass; neither generates code."""
    inputs = make_inputs()
    eyes, mouth = torch.zeros(2, 3, 8, 8, dtype=torch.bool), torch.zeros(2, 3, 8, 8, dtype=torch.bool)
    eyes[0, :, 1, 1:3], mouth[0, :, 6, 3:5] = True, True
    mask = eye_mouth_mask(eyes, mouth)
    results = []
    for compiled in (False, True):
        model = make_model(lively=True).train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        if compiled:
            model.compile_repeated_blocks(fullgraph=True, backend=backend)
        out = model(**inputs, region_mask=mask, reference_present=torch.tensor([True, False]))
        out.square().mean().backward()
        results.append((out.detach(), {name: p.grad for name, p in model.named_parameters()}))
    assert (results[0][0] - results[1][0]).abs().max() <= 1e-12
    for name, gradient in results[0][1].items():
        assert (gradient - results[1][1][name]).abs().max() <= 1e-10, name


@pytest.mark.slow
def test_one_graph_serves_all_blocks_of_a_kind(make_model, make_inputs):
    """A deep stack compiles no more graphs than a shallow one: per-block compilation pays once."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counts = []
    for layers in (3, 5):
        torch.compiler.reset()
        counter = CompileCounterWithBackend("aot_eager")
        model = make_model(num_layers=layers, with_audio=False, with_temporal=False)
        model.compile_repeated_blocks(fullgraph=True, backend=counter)
        with torch.no_grad():
            model(**make_inputs(audio=False))
        counts.append(counter.frame_count)
    assert counts[0] == counts[1]


@pytest.mark.slow
def test_what_training_and_sampling_give_in_turn_compiles(make_model, make_inputs):
    """Masks of no, some and all rows with references dropped here and there while training; without gradients, conditions left out.
    `fullgraph` would make torch's default limit of 8 graphs an error."""
    model, inputs = make_model(lively=True), make_inputs(clips=5, frames=1)
    model.compile_repeated_blocks(fullgraph=True, backend="eager")
    eyes, mouth = torch.zeros(5, 1, 8, 8, dtype=torch.bool), torch.zeros(5, 1, 8, 8, dtype=torch.bool)
    eyes[:, :, 1, 1:3], mouth[:, :, 6, 3:5] = True, True
    for masked in (0, 1, 2, 5):
        mask = eye_mouth_mask(eyes & (torch.arange(5) < masked)[:, None, None, None], mouth)
        assert model(**inputs, region_mask=mask, reference_present=torch.arange(5) % 2 == 0).isfinite().all()
    with torch.no_grad():
        for change in ({}, {"reference_latents": None}, {"audio": None}):
            assert model(**{**inputs, **change}).isfinite().all()


@pytest.mark.slow
def test_generated_code_agrees(make_model, make_inputs):
    """The real code generator, on the CPU."""
    model, inputs = make_model(lively=True), make_inputs()
    with torch.no_grad():
        eager = model(**inputs)
        model.compile_repeated_blocks(fullgraph=True)
        assert (model(**inputs) - eager).abs().max() <= 1e-10


@pytest.mark.gpu
def test_generated_code_agrees_on_cuda(make_model, make_inputs):
    model = make_model(lively=True).float().cuda()
    inputs = {n: t.cuda().float() if t.is_floating_point() else t.cuda() for n, t in make_inputs().items()}
    with torch.no_grad():
        eager = model(**inputs)
        model.compile_repeated_blocks(fullgraph=True)
        assert (model(**inputs) - eager).abs().max() <= 1e-3
