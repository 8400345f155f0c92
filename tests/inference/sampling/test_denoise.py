"""The wave over windows and steps, against the plain loops that it stands for."""

from dataclasses import replace

import pytest
import torch

from inference.sampling.denoise import ClipConditions, Denoiser, pad_frames
from inference.sampling.noise import frame_noise
from inference.sampling.samplers import make_scheduler
from inference.sampling.settings import SamplingSettings
from inference.sampling.windows import WINDOW, WindowPlan, padded_length, pyramid

GRID, STEPS = 4, 3


def make_model(**sizes):
    from inference.models import MegActorModel

    torch.manual_seed(0)
    model = MegActorModel(
        num_layers=2, num_attention_heads=4, attention_head_dim=8, sample_size=GRID, first_reference_block=1, audio_width=6, audio_tokens=4,
        temporal_heads=2, **sizes,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return make_model()


def assert_near(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for float32 rounding; latents of a random model are large, and the first step divides by a signal level of 0.006."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 2e-4 * expected.abs().max()


def make_clip(num_frames: int, seed: int = 3, audio: bool = True, driven: bool = True) -> ClipConditions:
    draw = torch.Generator().manual_seed(seed)
    frames = torch.rand(num_frames, 3, 8 * GRID, 8 * GRID, generator=draw)
    sounds = torch.randn(num_frames, 4, 6, generator=draw)
    return ClipConditions(
        padded_length(num_frames, 16),
        torch.randn(4, GRID, GRID, generator=draw),
        pad_frames(lambda a, b: frames[a:b], num_frames) if driven else None,
        pad_frames(lambda a, b: sounds[a:b], num_frames) if audio else None,
        seed,
    )


def sample(model, clips, plan: SamplingSettings, scheduler=None, **callbacks) -> list[torch.Tensor]:
    found = [[] for _ in clips]
    for clip, first, latents in Denoiser(model, scheduler or make_scheduler(), plan, **callbacks).run(clips):
        assert first == sum(len(part) for part in found[clip])  # in order, nothing twice
        found[clip].append(latents)
    return [torch.cat(parts) for parts in found]


@torch.no_grad()
def plain(model, clip: ClipConditions, plan: SamplingSettings, scheduler=None) -> torch.Tensor:
    """Steps outside, windows inside, one model call a branch, one solver for the clip."""
    scheduler = scheduler or make_scheduler()
    scheduler.set_timesteps(plan.num_inference_steps)
    windows = WindowPlan(clip.num_frames, WINDOW, plan.window_overlap, plan.window_shift)
    same = not model.sizes.with_temporal
    latents = frame_noise(clip.seed, 0, clip.num_frames, tuple(clip.reference_latents.shape), same) * scheduler.init_noise_sigma
    weights = torch.from_numpy(pyramid(WINDOW))[:, None, None, None]
    black = torch.zeros(clip.num_frames, 3, 8 * GRID, 8 * GRID)
    driven = clip.driven(0, clip.num_frames) if clip.driven else black
    audio = clip.audio(0, clip.num_frames) if clip.audio and plan.audio_scale else None
    for step, t in enumerate(scheduler.timesteps):
        total, weight = torch.zeros_like(latents), torch.zeros(clip.num_frames, 1, 1, 1)
        shown = scheduler.scale_model_input(latents, t)
        for start in windows.starts(step):
            part = slice(start, start + WINDOW)

            def call(frames, reference, heard, part=part, t=t, shown=shown):
                return model(
                    shown[None, part], t[None], frames[None, part], reference,
                    audio=None if heard is None else heard[None, part], audio_scale=plan.audio_scale,
                )[0, :, :4]  # fmt: skip

            full = call(driven, clip.reference_latents[None], audio)
            noise, scale, audio_scale = full, plan.guidance.scale, plan.guidance.audio_scale
            if plan.guidance.interval[0] * plan.num_inference_steps <= step < plan.guidance.interval[1] * plan.num_inference_steps:
                null = call(black, clip.reference_latents[None] if model.sizes.copied_channels else None, None)
                if audio_scale is None:
                    noise = null + scale * (full - null)
                else:
                    silent = call(driven, clip.reference_latents[None], None)
                    noise = null + scale * (silent - null) + audio_scale * (full - silent)
            total[part] += weights * noise
            weight[part] += weights
        latents = scheduler.step(total / weight, t, latents).prev_sample
    return latents


PLANS = {
    "paper": SamplingSettings(STEPS),
    "no guidance": SamplingSettings(STEPS, guidance_scale=1.0),
    "shift": SamplingSettings(STEPS, window_overlap=4, window_shift=3),
    "no overlap, shift": SamplingSettings(STEPS, guidance_scale=1.0, window_overlap=0, window_shift=7),
    "audio guidance": SamplingSettings(STEPS, audio_guidance_scale=3.0, audio_scale=1.5),
    "interval": SamplingSettings(4, guidance_scale=3.0, guidance_interval=(0.25, 0.75)),
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("num_frames", [1, 41])
def test_the_wave_equals_the_plain_loop(model, name: str, num_frames: int) -> None:
    clip = make_clip(num_frames)
    (found,) = sample(model, [clip], PLANS[name])
    assert_near(found, plain(model, make_clip(num_frames), PLANS[name]))


@pytest.mark.parametrize("name", ["paper", "audio guidance"])
def test_a_model_that_copies_the_reference_is_compared_with_the_portrait_that_nothing_drives(name: str) -> None:
    model = make_model(copied_reference="still", prediction="sample")
    (found,) = sample(model, [make_clip(17)], PLANS[name])
    assert_near(found, plain(model, make_clip(17), PLANS[name]))


@pytest.mark.parametrize("sampler", ["unipc", "ddim", "euler"])
def test_other_schedulers_follow_their_own_trajectory(model, sampler: str) -> None:
    plan = SamplingSettings(4, window_overlap=4, window_shift=3)
    (found,) = sample(model, [make_clip(33)], plan, make_scheduler(sampler))
    assert_near(found, plain(model, make_clip(33), plan, make_scheduler(sampler)))


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_window_batch_changes_nothing(model, batch: int) -> None:
    plan = SamplingSettings(STEPS, window_overlap=4, window_shift=3)
    one, many = (sample(model, [make_clip(60)], replace(plan, window_batch=b))[0] for b in (1, batch))
    assert_near(one, many)


def test_a_batch_of_two_equals_two_of_one(model) -> None:
    plan = SamplingSettings(STEPS, window_batch=3)
    clips = [(20, 1), (33, 2)]
    both = sample(model, [make_clip(*clip) for clip in clips], plan)
    for (frames, seed), together in zip(clips, both, strict=True):
        assert_near(together, sample(model, [make_clip(frames, seed)], plan)[0])


def test_the_same_seed_is_bitwise_the_same_and_another_is_not(model) -> None:
    plan = SamplingSettings(STEPS)
    one, again = (sample(model, [make_clip(20)], plan)[0] for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.allclose(one, sample(model, [replace(make_clip(20), seed=4)], plan)[0])


def test_noise_of_a_frame_depends_on_seed_and_frame_alone() -> None:
    whole = frame_noise(7, 0, 50, (4, 2, 2))
    assert torch.equal(whole[13:20], frame_noise(7, 13, 7, (4, 2, 2)))
    assert not torch.equal(whole[:5], frame_noise(8, 0, 5, (4, 2, 2)))
    many = frame_noise(7, 0, 3000, (4, 4, 4))
    assert abs(many.mean()) < 0.01
    assert abs(many.std() - 1) < 0.01


def test_frames_that_nothing_ties_together_start_from_the_same_noise() -> None:
    """Without temporal modules, frames with the same driver are the same frame; with them every frame has noise of its own."""
    still = torch.rand(1, 3, 8 * GRID, 8 * GRID, generator=torch.Generator().manual_seed(1))
    held = replace(make_clip(20, audio=False), driven=lambda a, b: still.expand(b - a, *still.shape[1:]))
    alone = sample(make_model(with_temporal=False), [held], SamplingSettings(STEPS))[0]
    assert_near(alone, alone[:1].expand_as(alone))
    assert_near(alone, plain(make_model(with_temporal=False), held, SamplingSettings(STEPS)))
    tied = sample(make_model(), [held], SamplingSettings(STEPS))[0]
    assert (tied[1:] - tied[:-1]).abs().amax(dim=(1, 2, 3)).min() > 0.1


def test_ancestral_sampling_uses_the_learned_variance_and_noise_of_seed_and_frame(model) -> None:
    plan = SamplingSettings(4, guidance_scale=1.0)
    scheduler = make_scheduler("ancestral")
    one, again = (sample(model, [make_clip(24)], plan, make_scheduler("ancestral"))[0] for _ in range(2))
    assert torch.equal(one, again)
    assert torch.isfinite(one).all()
    assert scheduler.config.variance_type == "learned_range"
    batched = sample(model, [make_clip(24)], replace(plan, window_batch=4), make_scheduler("ancestral"))[0]
    assert_near(one, batched)


def test_first_frames_leave_before_the_last_are_begun_and_few_are_in_memory(model) -> None:
    asked, alive = [], []
    draw = torch.rand(3, 8 * GRID, 8 * GRID)
    clip = replace(make_clip(16), num_frames=200, driven=lambda a, b: asked.append((a, b)) or draw.expand(b - a, -1, -1, -1), audio=None)
    denoiser = Denoiser(model, make_scheduler(), SamplingSettings(STEPS, guidance_scale=1.0))
    for _, first, _latents in denoiser.run([clip]):
        alive.append(asked[-1][1] - first)
    assert [a for a, _ in asked[1:]] == [b for _, b in asked[:-1]]  # ascending, each frame once
    assert max(alive) <= 16 + STEPS * 8 + 8


def test_audio_scale_zero_leaves_the_sound_out_bit_for_bit(model) -> None:
    plan = SamplingSettings(STEPS, audio_scale=0.0)
    one = sample(model, [make_clip(20)], plan)[0]
    loud = replace(make_clip(20), audio=lambda a, b: torch.full((b - a, 4, 6), float("nan")))
    assert torch.equal(one, sample(model, [loud], plan)[0])
    assert torch.equal(one, sample(model, [make_clip(20, audio=False)], plan)[0])


def test_without_a_driver_the_model_sees_black(model) -> None:
    plan = SamplingSettings(STEPS)
    one = sample(model, [make_clip(20, driven=False)], plan)[0]
    black = replace(make_clip(20), driven=lambda a, b: torch.zeros(b - a, 3, 8 * GRID, 8 * GRID))
    assert_near(one, sample(model, [black], plan)[0])


def test_callbacks_see_every_step_and_may_change_latents(model) -> None:
    steps = []
    sample(model, [make_clip(9)], SamplingSettings(STEPS), on_step_end=lambda segment, step, latents: steps.append((segment.first, step)))
    assert steps == [(0, 0), (0, 1), (0, 2)]
    count = []
    plan = SamplingSettings(STEPS, window_batch=2)
    denoiser = Denoiser(model, make_scheduler(), plan)
    clip = make_clip(40)
    list(denoiser.run([clip], count.append))
    assert sum(count) == denoiser.evaluations([clip]) == STEPS * 4
    zero = sample(model, [make_clip(9)], SamplingSettings(STEPS), on_step_end=lambda segment, step, latents: torch.zeros_like(latents))
    assert not zero[0].any()


def test_model_without_temporal_modules_sees_frames_alone(model) -> None:
    from inference.models import MegActorModel

    torch.manual_seed(0)
    still = MegActorModel(
        num_layers=2, num_attention_heads=4, attention_head_dim=8, sample_size=GRID, first_reference_block=1, with_audio=False,
        with_temporal=False,
    ).eval()  # fmt: skip
    frames = torch.rand(20, 3, 8 * GRID, 8 * GRID)
    clip = ClipConditions(20, torch.randn(4, GRID, GRID), lambda a, b: frames[a:b], None, 0)
    wide, narrow = (sample(still, [clip], SamplingSettings(STEPS, window_overlap=0), window_size=size)[0] for size in (16, 1))
    assert_near(wide, narrow)


def test_step_cache_at_zero_changes_nothing_and_skips_more_the_higher_it_is(model) -> None:
    from inference.models.block_cache import BlockCache

    plan = SamplingSettings(12)
    exact = sample(model, [make_clip(24)], plan)[0]
    assert torch.equal(exact, sample(model, [make_clip(24)], replace(plan, step_cache=0.0))[0])
    errors, counts, calls = [], [], []
    tail = model.denoiser.transformer_blocks[1]
    handle = tail.register_forward_hook(lambda *_: calls.append(1))
    for threshold in (0.0, 0.2, 1.0):
        calls.clear()
        found = sample(model, [make_clip(24)], replace(plan, step_cache=threshold))[0]
        errors.append(((found - exact).abs().mean() / exact.abs().mean()).item())
        counts.append(len(calls))
    handle.remove()
    assert 2 * 12 == counts[0] >= counts[1] >= counts[2] < 2 * 12  # two windows
    assert errors[0] == 0 < errors[2]
    cache = BlockCache(0.5)
    first = torch.ones(1, 2, 16, 4)
    assert cache.rest(first) is None
    cache.keep(first * 3)
    assert torch.equal(cache.rest(first * 1.4), first * 3)
    assert cache.rest(first * 2) is None
    assert (cache.evaluated, cache.skipped) == (2, 1)
    for wrong in ({"window_shift": 3}, {"window_batch": 2}, {"step_cache": 2.0}):
        with pytest.raises(ValueError, match="step_cache"):
            replace(plan, **{"step_cache": 0.1, **wrong})
