"""Guidance: which rows a step needs, and their composition in closed form; presets and offloading."""

import pytest

torch = pytest.importorskip("torch", reason="guidance works on tensors: install the [train] extra")

from inference.sampling.guidance import FULL, NULL, SILENT, Guidance  # noqa: E402
from manifests.errors import UserError  # noqa: E402


@pytest.mark.parametrize(
    ("guidance", "has_audio", "rows"),
    [
        (Guidance(1.0), True, (FULL,)),
        (Guidance(2.0), True, (FULL, NULL)),
        (Guidance(2.0, 2.0), True, (FULL, NULL)),
        (Guidance(2.0, 3.0), True, (FULL, SILENT, NULL)),
        (Guidance(2.0, 1.0), True, (FULL, SILENT, NULL)),
        (Guidance(1.0, 3.0), True, (FULL, SILENT)),
        (Guidance(2.0, 3.0), False, (FULL, NULL)),
        (Guidance(1.0, 3.0), False, (FULL,)),
        (Guidance(1.0, mouth_scale=2.0), True, (FULL, NULL)),
        (Guidance(2.0, mouth_scale=1.0), False, (FULL, NULL)),
        (Guidance(1.0, mouth_scale=1.0), True, (FULL,)),
        (Guidance(1.0, 3.0, mouth_scale=1.0), True, (FULL, SILENT)),
        (Guidance(1.0, 3.0, mouth_scale=2.0), True, (FULL, SILENT, NULL)),
        (Guidance(1.0, 3.0, mouth_scale=3.0), True, (FULL, NULL)),
        (Guidance(1.0, 3.0, mouth_scale=2.0), False, (FULL, NULL)),
    ],
)
def test_only_the_rows_that_are_needed(guidance: Guidance, has_audio: bool, rows: tuple) -> None:
    assert guidance.branches(0, 10, has_audio) == rows


def test_composition_in_closed_form() -> None:
    full, silent, null = (torch.full((2,), value) for value in (5.0, 3.0, 1.0))
    for scale in (0.0, 1.0, 2.0, 7.5):
        for audio_scale in (0.0, 1.0, 3.0):
            guidance = Guidance(scale, audio_scale)
            rows = guidance.branches(0, 10, True)
            values = [{FULL: full, SILENT: silent, NULL: null}[row] for row in rows]
            assert guidance.combine(rows, values)[0] == pytest.approx(1 + scale * 2 + audio_scale * 2)
    assert Guidance(2.0).combine((FULL, NULL), (full, null))[0] == 9


@pytest.mark.parametrize("audio_scale", [None, 0.0, 1.0, 3.0])
@pytest.mark.parametrize("has_audio", [True, False])
@pytest.mark.parametrize(("scale", "mouth_scale"), [(1.0, 2.0), (2.0, 1.0), (0.0, 7.5), (1.0, 3.0)])
def test_the_mouths_region_has_scales_of_its_own(scale: float, mouth_scale: float, audio_scale: float | None, has_audio: bool) -> None:
    """In the region as if `mouth_scale` were the scale everywhere, elsewhere as if there were no guidance of sound, between them linear."""
    values = {FULL: 5.0, SILENT: 3.0 if has_audio else 5.0, NULL: 1.0}
    guidance = Guidance(scale, audio_scale, mouth_scale=mouth_scale)
    rows = guidance.branches(0, 10, has_audio)
    share = torch.tensor([0.0, 0.25, 1.0]).reshape(1, 1, 1, 3)
    found = guidance.combine(rows, [torch.full((1, 2, 1, 3), values[row]) for row in rows], share)
    elsewhere = 1 + scale * (values[SILENT] - 1) + scale * (5 - values[SILENT])
    within = 1 + mouth_scale * (values[SILENT] - 1) + (mouth_scale if audio_scale is None else audio_scale) * (5 - values[SILENT])
    expected = [elsewhere, 0.75 * elsewhere + 0.25 * within, within]
    assert found[0, 1, 0].tolist() == pytest.approx(expected)
    nowhere = guidance.combine(rows, [torch.full((1, 2, 1, 3), values[row]) for row in rows])
    assert nowhere.flatten().tolist() == pytest.approx([elsewhere] * 6)


def test_guidance_acts_in_its_interval_only() -> None:
    guidance = Guidance(2.0, interval=(0.25, 0.75))
    assert [len(guidance.branches(step, 8, True)) for step in range(8)] == [1, 1, 2, 2, 2, 2, 1, 1]
    assert all(len(Guidance(2.0).branches(step, 25, False)) == 2 for step in range(25))


@pytest.mark.parametrize(
    "wrong", [{"scale": -1.0}, {"scale": float("nan")}, {"audio_scale": 31.0}, {"mouth_scale": -1.0}, {"interval": (1, 0)}]
)
def test_scales_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError):
        Guidance(**wrong)


def test_presets_are_arguments_of_the_call() -> None:
    import inspect

    from inference.pipeline import MegActorSigmaPipeline
    from inference.sampling.samplers import SAMPLERS
    from inference.studio.presets import load_presets, preset

    known = load_presets()
    assert list(known) == ["paper", "balanced", "fast"]
    parameters = inspect.signature(MegActorSigmaPipeline.__call__).parameters
    for one in known.values():
        settings = one.sampling.to_tree()
        assert settings.pop("sampler") in SAMPLERS
        assert set(settings) <= set(parameters)
    with pytest.raises(UserError, match="did you mean 'fast'"):
        preset("fsat")


def test_the_calls_keywords_are_the_settings_with_the_same_defaults() -> None:
    import inspect
    from dataclasses import asdict

    from inference.pipeline import MegActorSigmaPipeline
    from inference.sampling.settings import SamplingSettings

    call = {name: p.default for name, p in inspect.signature(MegActorSigmaPipeline.__call__).parameters.items()}
    settings = asdict(SamplingSettings())
    assert settings.pop("sampler") is None  # the pipeline's own
    assert settings.items() <= call.items()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"window_batch": 0}, "window_batch is 0"),
        ({"audio_scale": -0.1}, "audio_scale is -0.1"),
        ({"guidance_scale": 31.0}, "guidance_scale is 31.0"),
        ({"guidance_interval": (0.5, 0.2)}, "two fractions"),
        ({"step_cache": 2.0}, "step_cache is 2.0"),
        ({"step_cache": 0.1, "window_shift": 3}, "window_shift 0"),
        ({"sampler": "eulr"}, "did you mean 'euler'"),
    ],
)
def test_settings_out_of_range_are_refused_when_they_are_made(wrong: dict, said: str) -> None:
    from inference.sampling.settings import SamplingSettings

    with pytest.raises(UserError, match=said):
        SamplingSettings(**wrong)


@pytest.mark.parametrize("mode", ["vae", "model"])
def test_offloaded_networks_are_on_the_device_only_while_they_work(mode: str) -> None:
    from inference.models.block_dct import BlockDctCodec
    from inference.pipeline.offload import OffloadedCodec

    places = {}

    class Network(torch.nn.Module):
        def __init__(self, name: str):
            super().__init__()
            self.name = name

        def to(self, device):
            places[self.name] = str(device)
            return self

    seen = []

    class Codec(BlockDctCodec):
        def decode(self, latents):
            seen.append(dict(places))
            return super().decode(latents)

    vae, transformer = Network("vae"), Network("transformer")
    codec = OffloadedCodec(Codec(), vae, "device", transformer if mode == "model" else None)
    latents = torch.randn(2, 21, 4, 4)
    assert torch.equal(codec.decode(latents), BlockDctCodec().decode(latents))
    assert codec.encode(torch.rand(2, 3, 32, 32)).shape == latents.shape
    if mode == "model":
        assert seen == [{"vae": "device", "transformer": "cpu"}]
        assert places == {"vae": "cpu", "transformer": "device"}
    else:
        assert seen == [{"vae": "device"}]
        assert places == {"vae": "cpu"}
