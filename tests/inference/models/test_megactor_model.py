"""The whole model: audio amplitude, the reference path, Eq. 2 across blocks, stages, and the doors' error messages."""

import inspect
import math
from dataclasses import fields

import pytest
import torch

from inference.models import SCHEDULE, MegActorModel, ModelConfig, RegionMask, eye_mouth_mask, grow
from inference.models.config import ModelConfigError
from inference.models.megactor import parts
from inference.models.shapes import ShapeError
from inference.models.weights import WeightsError


def test_parameters_of_the_full_configuration():
    with torch.device("meta"):
        counts = {part: sum(p.numel() for p in ps) for part, ps in parts(MegActorModel()).items()}
    assert counts == {
        "denoising transformer": 456_061_856,
        "reference transformer": 440_068_608,
        "audio attention": 99_219_456,
        "temporal modules": 409_086_720,
        "driven encoder": 164_792,
    }
    assert sum(counts.values()) == 1_404_601_432


def test_keyword_arguments_are_the_fields_of_the_configuration():
    parameters = list(inspect.signature(MegActorModel.__init__).parameters.values())[1:]
    assert {p.name: p.default for p in parameters} == {f.name: f.default for f in fields(ModelConfig)}


@pytest.mark.parametrize("seed", [0, 1])
def test_silent_audio_scale_and_the_stage_one_model_agree_bit_for_bit(make_model, make_inputs, seed):
    model = make_model(lively=True, seed=seed, with_temporal=False)
    inputs = make_inputs(seed=seed)
    stage_one = make_model(seed=seed, with_temporal=False, with_audio=False)
    stage_one.load_state_dict({n: t for n, t in model.state_dict().items() if ".audio." not in n})
    with torch.no_grad():
        audible = model(**inputs)
        silent = model(**inputs, audio_scale=0.0)
        absent = model(**inputs, audio_present=torch.zeros(2))
        without = model(**{**inputs, "audio": None})
        first = stage_one(**{**inputs, "audio": None})
    assert torch.equal(silent, absent)
    assert torch.equal(silent, without)
    assert torch.equal(silent, first)
    assert (audible - silent).abs().max() > 1e-4


def test_one_layer_is_linear_in_audio_scale(make_model, make_inputs):
    """With the blocks after the audio layer silenced, the residual stream is linear in the amplitude."""
    model = make_model(lively=True, with_temporal=False)
    block, inputs = model.denoiser.transformer_blocks[0], make_inputs()
    x = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    modulation = torch.zeros(2, 6, 32, dtype=torch.float64)
    with torch.no_grad():
        block.scale_shift_table[5] = 0  # the feed-forward's gate

        def at(scale):
            gain = torch.full((2, 3, 1, 1), scale, dtype=torch.float64)
            return block(x, modulation, (8, 8), None, None, None, None, inputs["audio"], gain)

        silent, unit = at(0.0), at(1.0)
        for scale in (0.3, 2.0, -1.5):
            assert (at(scale) - (silent + scale * (unit - silent))).abs().max() <= 1e-12
    assert (unit - silent).abs().max() > 1e-3


def test_audio_of_one_clip_changes_no_other_and_one_frame_only_its_own(make_model, make_inputs):
    model, inputs = make_model(lively=True, with_temporal=False), make_inputs()
    other = inputs["audio"].clone()
    other[1, 2] += 1.0
    with torch.no_grad():
        changed = (model(**inputs) - model(**{**inputs, "audio": other})).abs().amax((2, 3, 4))
    expected = torch.zeros(2, 3, dtype=torch.bool)
    expected[1, 2] = True
    assert torch.equal(changed > 0, expected)


def test_audio_amplitude_may_differ_by_clip_and_frame(make_model, make_inputs):
    model, inputs = make_model(lively=True, with_temporal=False), make_inputs()
    scale = torch.tensor([0.0, 1.0])
    with torch.no_grad():
        mixed = model(**inputs, audio_scale=scale)
        per_frame = model(**inputs, audio_scale=scale[:, None].expand(2, 3))
        assert torch.equal(mixed, per_frame)
        assert torch.equal(mixed[0], model(**inputs, audio_scale=0.0)[0])
        assert torch.equal(mixed[1], model(**inputs)[1])


def test_the_order_of_audio_tokens_matters(make_model, make_inputs):
    """Attention alone is blind to order; the fixed token code tells earlier sound from later."""
    model, inputs = make_model(lively=True), make_inputs()
    with torch.no_grad():
        assert (model(**inputs) - model(**{**inputs, "audio": inputs["audio"].flip(2)})).abs().max() > 1e-6


def test_reference_reaches_the_late_blocks_only_and_is_computed_once(make_model, make_inputs):
    """By hand equals the whole forward; a reference of the denoiser's weights, image and time changes nothing (blocks 0, 1 alike)."""
    model, inputs = make_model(), make_inputs(frames=1, audio=False)
    inputs["reference_latents"] = inputs["latents"][:, 0]
    with torch.no_grad():
        features = model.reference(inputs["reference_latents"], inputs["timesteps"])
        assert len(features) == 2
        assert features[0].shape == (2, 64, 32)
        whole = model(**inputs)
        keys = model.reference_keys(inputs["reference_latents"], inputs["timesteps"])
        driven = model.driven_encoder(inputs["driven_frames"])
        assert torch.equal(model.denoiser(inputs["latents"], inputs["timesteps"], driven, reference=keys), whole)
        alone = model(**{**inputs, "reference_latents": None})
        assert (whole - alone).abs().max() <= 1e-12
        other = model(**{**inputs, "reference_latents": inputs["reference_latents"].flip(0)})
        assert (other - alone).abs().max() > 1e-4


def test_one_projection_of_the_reference_serves_all_windows_of_a_clip(make_model, make_inputs):
    model, inputs = make_model(lively=True, with_temporal=False), make_inputs(frames=4, audio=False)
    with torch.no_grad():
        whole = model(**inputs)
        keys = model.reference_keys(inputs["reference_latents"], inputs["timesteps"])
        driven = model.driven_encoder(inputs["driven_frames"])
        for window in (slice(0, 2), slice(1, 4)):
            part = model.denoiser(inputs["latents"][:, window], inputs["timesteps"], driven[:, window], reference=keys)
            assert (part - whole[:, window]).abs().max() <= 1e-12


def test_a_batch_may_mix_clips_with_and_without_reference(make_model, make_inputs):
    model, inputs = make_model(lively=True), make_inputs()
    with torch.no_grad():
        mixed = model(**inputs, reference_present=torch.tensor([True, False]))
        assert (mixed[0] - model(**inputs)[0]).abs().max() <= 1e-12
        assert (mixed[1] - model(**{**inputs, "reference_latents": None})[1]).abs().max() <= 1e-10


def test_reference_timestep_zero_is_the_same_at_all_times(make_model, make_inputs):
    inputs = make_inputs()
    later = (inputs["timesteps"] + 77) % 1000
    for mode, equal in (("zero", True), ("same", False)):
        model = make_model(reference_timestep=mode)
        with torch.no_grad():
            now = model.reference_keys(inputs["reference_latents"], inputs["timesteps"])
            then = model.reference_keys(inputs["reference_latents"], later)
        assert torch.equal(now[0][0], then[0][0]) is equal


def test_eq2_reaches_every_block(make_model, make_inputs):
    """Mouth outputs of a one-block stack ignore eye inputs; so do the masked blocks of the whole model, fed by hand."""
    model = make_model(lively=True, num_layers=2, first_reference_block=1, with_audio=False, with_temporal=False)
    eyes, mouth = torch.zeros(1, 1, 8, 8, dtype=torch.bool), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    eyes[..., 1, 1:3], mouth[..., 6, 3:5] = True, True
    mask = eye_mouth_mask(eyes, mouth)
    x = torch.randn(1, 1, 64, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    reference = tuple(torch.randn(2, 1, 4, 64, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    modulation = torch.zeros(1, 6, 32, dtype=torch.float64)
    for index, block in enumerate(model.denoiser.transformer_blocks):
        keys, block_mask = (reference, mask.with_reference(1, None)) if index else (None, mask)

        def mouth_of(y, block=block, keys=keys, block_mask=block_mask):
            return block(y, modulation, (8, 8), keys, None, block_mask, None, None, None)[:, :, mouth.flatten()].sum()

        gradient = torch.autograd.functional.jacobian(mouth_of, x).abs().amax(-1).flatten()
        assert torch.all(gradient[eyes.flatten()] == 0)
        assert torch.all(gradient[~eyes.flatten()][-8:] > 0)
    inputs = make_inputs(clips=1, frames=1, audio=False)
    with torch.no_grad():
        assert (model(**inputs, region_mask=mask) - model(**inputs)).abs().max() > 1e-6
        everything = RegionMask(mask.rows, torch.ones_like(mask.keep))
        assert (model(**inputs, region_mask=everything) - model(**inputs)).abs().max() <= 1e-12


@pytest.mark.parametrize("reference", ["all", "none", "mixed"])
def test_a_mask_of_all_paths_leaves_the_mouth_nothing_of_the_eyes(make_model, make_inputs, reference):
    """Driven pixels of the eyes changed, four blocks: under Eq. 2 (one hop) the mouth still hears of it, under a mask of all paths not."""
    model = make_model(lively=True, with_temporal=False)
    inputs = make_inputs(clips=2, frames=1, grid=32)
    inputs["driven_frames"] *= 0
    inputs["driven_frames"][..., 16:48, 32:96] = 0.2
    other = inputs["driven_frames"].clone()
    other[..., 16:48, 32:96] = 0.9
    eyes, mouth = torch.zeros(2, 1, 16, 16, dtype=torch.bool), torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    eyes[..., 1:3, 2:6], mouth[..., 10:14, 4:10] = True, True
    present = {"all": None, "none": None, "mixed": torch.tensor([True, False])}[reference]
    inputs["reference_latents"] = None if reference == "none" else inputs["reference_latents"]
    change = {}
    with torch.no_grad():
        for paths in ("unmasked", "one_hop", "all"):
            mask = None if paths == "unmasked" else eye_mouth_mask(eyes, mouth, paths=paths)
            now, then = (
                model(**{**inputs, "driven_frames": frames}, region_mask=mask, reference_present=present)
                for frames in (inputs["driven_frames"], other)
            )
            difference = (now - then).abs()[:, 0]
            change[paths] = difference[..., 20:28, 8:20].max().item()
            assert difference[..., 2:6, 4:12].max() > 1e-3  # the eyes themselves do change
    assert change["unmasked"] > change["one_hop"] > 0
    assert change["all"] == 0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_checkpointing_changes_nothing(make_model, make_inputs, checkpointing):
    gradients = []
    for on in (False, checkpointing):
        model = make_model(lively=True).train()
        if on:
            model.enable_gradient_checkpointing()
            assert model.denoiser.gradient_checkpointing
            assert model.reference.gradient_checkpointing
        model(**make_inputs()).square().mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    for name in gradients[0]:
        assert torch.equal(gradients[0][name], gradients[1][name]), name


def test_fused_projections_agree_in_the_whole_model(make_model, make_inputs):
    model, inputs = make_model(lively=True), make_inputs()
    with torch.no_grad():
        plain = model(**inputs)
        model.fuse_qkv_projections()
        assert (model(**inputs) - plain).abs().max() <= 1e-12


def test_bfloat16_stays_near_float64(make_model, make_inputs):
    model, inputs = make_model(lively=True), make_inputs()
    with torch.no_grad():
        exact = model(**inputs)
        low = {n: t.bfloat16() if t.is_floating_point() else t for n, t in inputs.items()}
        out = model.to(torch.bfloat16)(**low)
    assert out.dtype == torch.bfloat16
    assert ((out.double() - exact).square().mean() / exact.square().mean()).sqrt() < 0.05


def test_mixed_precision_training_takes_every_path(make_model, make_inputs):
    """float32 weights under bfloat16 autocast, with mask, missing reference and checkpointing: dtypes meet, gradients are float32."""
    model, inputs = make_model(lively=True).float().train(), make_inputs()
    inputs = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}
    model.enable_gradient_checkpointing()
    eyes, mouth = torch.zeros(2, 3, 8, 8, dtype=torch.bool), torch.zeros(2, 3, 8, 8, dtype=torch.bool)
    eyes[0, :, 1, 1:3], mouth[0, :, 6, 3:5] = True, True
    conditions = {
        "region_mask": eye_mouth_mask(eyes, mouth),
        "reference_present": torch.tensor([False, True]),
        "audio_present": torch.ones(2),
    }
    exact = model(**inputs, **conditions)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(**inputs, **conditions)
    assert ((out.float() - exact).square().mean() / exact.square().mean()).sqrt() < 0.05
    out.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


def test_growth_keeps_what_is_learned_and_starts_as_the_identity(make_model, make_inputs):
    first = make_model(lively=True, with_audio=False, with_temporal=False)
    inputs = make_inputs()
    second, third = grow(first, 2), grow(grow(first, 2), 3)
    assert (second.sizes.stage, third.sizes.stage) == (2, 3)
    assert third.dtype == torch.float64
    with torch.no_grad():
        plain = first(**{**inputs, "audio": None})
        assert torch.equal(second(**inputs), plain)
        assert torch.equal(third(**inputs), plain)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, third.state_dict()[name])
    with pytest.raises(WeightsError, match="later stage"):
        grow(third, 3)


BAD_INPUTS = {
    "latents": (lambda t: t[:, :, :3], r"latents has shape \(2, 3, 3, 16, 16\); it needs \(B, F, 4, h, w\)"),
    "driven_frames": (lambda t: t[..., :64], r"driven_frames has shape \(2, 3, 3, 128, 64\); it needs \(B=2, F=3, 3, H=128, W=128\)"),
    "reference_latents": (lambda t: t[..., :8, :8], r"reference_latents has shape \(2, 4, 8, 8\); it needs \(B=2, 4, h=16, w=16\)"),
    "audio": (lambda t: t[..., :8], r"audio has shape \(2, 3, 6, 8\); it needs \(B=2, F=3, 6, 12\)"),
    "timesteps": (lambda t: t[:1], r"timesteps has shape \(1,\); it needs \(B=2\)"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_errors_name_the_tensor_its_shape_and_the_needed_shape(make_model, make_inputs, name):
    spoil, message = BAD_INPUTS[name]
    inputs = make_inputs()
    inputs[name] = spoil(inputs[name])
    with pytest.raises(ShapeError, match=message):
        make_model()(**inputs)


def test_errors_of_masks_grids_and_stages(make_model, make_inputs):
    model, inputs = make_model(), make_inputs()
    mask = RegionMask(torch.tensor([0]), torch.ones(1, 1, 16, 16, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"region_mask\.keep has shape \(1, 1, 16, 16\); it needs \(R=1, 1, N=64, N=64\)"):
        model(**inputs, region_mask=mask)
    with pytest.raises(ShapeError, match="audio_scale has shape"):
        model(**inputs, audio_scale=torch.ones(5))
    with pytest.raises(ShapeError, match="height of latents is 14; it needs a multiple of 4"):
        model(**make_inputs(grid=14))
    with pytest.raises(ShapeError, match="grow it to stage 2"):
        make_model(with_audio=False, with_temporal=False)(**inputs)
    with pytest.raises(ShapeError, match="needs 2, one for each block"):
        model.denoiser.reference_keys([torch.zeros(2, 64, 32)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layer": 3}, "did you mean 'num_layers'"),
        ({"num_layers": 2.0}, "needs an integer"),
        ({"first_reference_block": 28}, "below num_layers"),
        ({"reference_timestep": "later"}, "'same' or 'zero'"),
        ({"num_attention_heads": 3, "attention_head_dim": 9}, "multiple of 4"),
        ({"num_attention_heads": 5, "attention_head_dim": 4}, "multiple of 32"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ModelConfigError, match=message):
        ModelConfig.from_mapping(settings)


def test_driven_encoder_sees_its_stated_field():
    """Each latent cell sees 68 px: 30 px beyond its own 8 on either side, which is why Eq. 2 grows the eyes by two 16 px tokens."""
    from inference.models.driven_encoder import DrivenEncoder

    encoder = DrivenEncoder().double()
    encoder.initialise()
    frames = torch.rand(1, 1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
    encoder(frames)[0, 0, :, 8, 8].sum().backward()
    seen = frames.grad[0, 0].abs().amax((0, 1)).nonzero().flatten()
    assert (seen.min().item(), seen.max().item()) == (64 - 30, 64 + 7 + 30)
    assert math.ceil(30 / 16) == 2


@pytest.mark.parametrize("prediction", ["velocity", "sample"])
def test_a_model_of_velocities_or_samples_returns_noise(make_model, make_inputs, prediction):
    """The same weights give the velocity or the clean latents; what comes out is the noise of these, and the variance as before."""
    inputs = make_inputs()
    noise_model, other_model = (make_model(lively=True, prediction=each) for each in ("epsilon", prediction))
    with torch.no_grad():
        raw, made = noise_model(**inputs), other_model(**inputs)
    channels = inputs["latents"].shape[2]
    abar = SCHEDULE.alphas_cumprod[inputs["timesteps"]].reshape(-1, 1, 1, 1, 1)
    assert torch.equal(raw[:, :, channels:], made[:, :, channels:])
    said, noise = raw[:, :, :channels], made[:, :, :channels]
    clean = said if prediction == "sample" else abar.sqrt() * inputs["latents"] - (1 - abar).sqrt() * said
    assert (abar.sqrt() * clean + (1 - abar).sqrt() * noise - inputs["latents"]).abs().max() <= 1e-12
    with pytest.raises(ModelConfigError, match="prediction is 'x0'; it must be"):
        ModelConfig(prediction="x0")
