"""The pipeline: modes, saving and loading, what goes in and out."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
pytest.importorskip("diffusers", reason="the pipeline needs diffusers: install the [train] extra")

from inference.driving import Driving, DrivingOptions  # noqa: E402
from inference.driving.regions import cell_shares, chin_boxes, region_boxes  # noqa: E402
from inference.pipeline import MegActorSigmaPipeline  # noqa: E402
from inference.sampling.settings import SamplingSettings  # noqa: E402
from manifests.errors import UserError  # noqa: E402
from tests.inference.animation_parts import SIZE_PX, SIZES, make_driving, make_reference, make_speech, tiny_pipeline  # noqa: E402
from tests.inference.driver_footage import PlantedFootage  # noqa: E402

FEW = {"num_inference_steps": 2, "generator": 3}


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline()


@pytest.mark.parametrize(("n_frames", "fps"), [(1, Fraction(25)), (15, Fraction(24)), (17, Fraction(30000, 1001)), (24, Fraction(50))])
def test_as_many_frames_out_as_in(pipe, n_frames: int, fps: Fraction) -> None:
    out = pipe(make_reference(), make_driving(n_frames, fps=fps), make_speech(), **FEW)
    assert out.frames.shape == (n_frames, SIZE_PX, SIZE_PX, 3)
    assert out.frames.dtype == np.uint8
    assert out.fps == fps
    assert len(out.audio) == round(16_000 * n_frames / fps)
    assert out.report.mode == "A+V"
    json.dumps(out.report.to_tree())


@pytest.mark.parametrize(("duration_s", "n_frames"), [(0.03, 1), (0.8, 20), (0.81, 21), (1.23, 31)])
def test_sound_alone_gives_25_frames_a_second_as_long_as_it_lasts(pipe, duration_s: float, n_frames: int) -> None:
    out = pipe(make_reference(), audio=make_speech(duration_s), **FEW)
    assert len(out.frames) == n_frames
    assert out.fps == 25
    assert out.report.mode == "A"


def test_sound_alone_shows_the_model_only_black(pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    encoder = pipe.transformer.driven_encoder
    monkeypatch.setattr(encoder, "forward", lambda frames, real=encoder.forward: seen.append(frames) or real(frames))
    pipe(make_reference(), audio=make_speech(), **FEW)
    assert seen
    assert not any(frames.any() for frames in seen)


def test_audio_scale_zero_makes_the_sound_irrelevant_bit_for_bit(pipe) -> None:
    quiet = {**FEW, "audio_scale": 0.0}
    one = pipe(make_reference(), make_driving(), make_speech(seed=2), **quiet).frames
    assert np.array_equal(one, pipe(make_reference(), make_driving(), make_speech(seed=9), **quiet).frames)
    assert np.array_equal(one, pipe(make_reference(), make_driving(), **FEW).frames)
    assert not np.array_equal(one, pipe(make_reference(), make_driving(), make_speech(), **FEW).frames)


def test_the_same_seed_gives_the_same_video_and_the_report_can_repeat_it(pipe) -> None:
    out = pipe(make_reference(), make_driving(), num_inference_steps=2, generator=torch.Generator().manual_seed(5))
    again = pipe(make_reference(), make_driving(), num_inference_steps=2, generator=torch.Generator().manual_seed(5))
    repeated = pipe(make_reference(), make_driving(), num_inference_steps=2, generator=out.report.seed)
    assert np.array_equal(out.frames, again.frames)
    assert np.array_equal(out.frames, repeated.frames)
    assert not np.array_equal(out.frames, pipe(make_reference(), make_driving(), num_inference_steps=2, generator=6).frames)
    assert (
        pipe(make_reference(), make_driving(1), num_inference_steps=1).report.seed
        != pipe.prepare(make_reference(), make_driving(1)).report.seed
    )


def test_stream_gives_the_frames_of_the_call_one_by_one(pipe) -> None:
    whole = pipe(make_reference(), make_driving(70), **FEW).frames
    driving = make_driving(70)
    stream = pipe.stream(make_reference(), driving, **FEW)
    first = next(stream)
    assert driving.asked[-1][1] < 70  # the end of the driver was not needed for it
    assert np.array_equal(np.stack([first, *stream]), whole)


def test_tensors_in_tensors_out_equals_the_call(pipe) -> None:
    drivings, references = [make_driving(20, seed=s) for s in (4, 5)], [make_reference(s) for s in (6, 7)]
    both = pipe.generate(
        torch.from_numpy(np.stack(references)).permute(0, 3, 1, 2),
        torch.from_numpy(np.stack([d.frames for d in drivings])),
        None,
        SamplingSettings(2, window_batch=4),
        seeds=[11, 12],
    )
    for index in range(2):
        alone = pipe(references[index], drivings[index], num_inference_steps=2, generator=11 + index).frames
        difference = both[index].permute(0, 2, 3, 1).numpy().astype(int) - alone
        assert np.abs(difference).max() <= 2  # float32 rounding of a random model's large latents


def test_save_and_load(pipe, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "pipeline")
    loaded = MegActorSigmaPipeline.from_pretrained(tmp_path / "pipeline")
    assert (loaded.settings, loaded.record) == (pipe.settings, pipe.record)
    assert set(loaded.components) == {"transformer", "scheduler", "vae"}
    assert np.array_equal(loaded(make_reference(), make_driving(), **FEW).frames, pipe(make_reference(), make_driving(), **FEW).frames)
    half = MegActorSigmaPipeline.from_pretrained(tmp_path / "pipeline", torch_dtype=torch.bfloat16)
    assert half.transformer.dtype == torch.bfloat16
    assert half(make_reference(), make_driving(2), **FEW).frames.shape[0] == 2


def test_a_folder_that_is_not_whole_is_refused(pipe, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "pipeline")
    for name, damage, said in (
        ("pipeline.json", "{", "damaged"),
        ("pipeline.json", "[" * 100_000, "damaged: it is nested too deeply"),
        ("pipeline.json", '{"_class_name": "MegActorSigmaPipeline"}', "damaged: it has no 'format'"),
        ("pipeline.json", None, "holds no pipeline"),
    ):
        file = tmp_path / "pipeline" / name
        text = file.read_text()
        file.unlink() if damage is None else file.write_text(damage)
        with pytest.raises(UserError, match=said):
            MegActorSigmaPipeline.from_pretrained(tmp_path / "pipeline")
        file.write_text(text)
    document = json.loads((tmp_path / "pipeline" / "pipeline.json").read_text())
    document["config"]["model"]["num_layers"] = 5
    (tmp_path / "pipeline" / "pipeline.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="different sizes"):
        MegActorSigmaPipeline.from_pretrained(tmp_path / "pipeline")
    with pytest.raises(UserError, match="no model at"):
        MegActorSigmaPipeline.from_pretrained(tmp_path / "nowhere")


def test_models_of_earlier_stages_animate_too() -> None:
    first, second = tiny_pipeline(stage=1), tiny_pipeline(stage=2)
    assert len(first(make_reference(), make_driving(18), **FEW).frames) == 18
    assert len(second(make_reference(), audio=make_speech(), **FEW).frames) == 20
    with pytest.raises(UserError, match="stage 1 and has no audio layers"):
        first(make_reference(), make_driving(), make_speech(), **FEW)


def test_a_models_own_limits_of_guidance_and_steps() -> None:
    limited, free = tiny_pipeline(), tiny_pipeline()
    limited.settings = replace(limited.settings, most_steps=2, most_guidance=1.0, sound_guidance=3.0)
    asked = {"num_inference_steps": 9, "guidance_scale": 2.0, "generator": 0}
    alike = {"num_inference_steps": 2, "guidance_scale": 1.0, "audio_guidance_scale": 3.0, "generator": 0}
    for sources in ((make_driving(9), make_speech()), (make_driving(9), None), (None, make_speech())):
        assert np.array_equal(limited(make_reference(), *sources, **asked).frames, free(make_reference(), *sources, **alike).frames)
    own = limited(make_reference(), make_driving(9), make_speech(), **asked, audio_guidance_scale=1.5).frames
    assert np.array_equal(own, free(make_reference(), make_driving(9), make_speech(), **{**alike, "audio_guidance_scale": 1.5}).frames)
    with pytest.raises(UserError, match="most_guidance is 31"):
        replace(limited.settings, most_guidance=31.0)


def test_a_models_own_guidance_of_the_mouth_changes_the_mouths_region_alone() -> None:
    pipe, plain = tiny_pipeline(stage=2), tiny_pipeline(stage=2)
    pipe.settings = replace(pipe.settings, mouth_guidance=3.0)
    one_step = {"num_inference_steps": 1, "guidance_scale": 1.0, "generator": 0, "output_type": "latent"}
    reference, driving = make_reference(), Driving(PlantedFootage(4), options=DrivingOptions(retarget="none"), size_px=SIZE_PX)
    found, free = (one(reference, driving, **one_step).frames for one in (pipe, plain))
    own = plain(reference, driving, **one_step, mouth_guidance_scale=3.0).frames
    everywhere = plain(reference, driving, **{**one_step, "guidance_scale": 3.0}).frames
    assert torch.equal(found, own)
    boxes = chin_boxes(driving.points_px, region_boxes(driving.points_px, driving.size_px), driving.size_px)
    share = torch.from_numpy(cell_shares(boxes, found.shape[-2:], 8))[:, None]
    assert 0 < share.mean() < 0.5
    torch.testing.assert_close(found, free + share * (everywhere - free), rtol=1e-4, atol=1e-4)
    assert torch.equal(pipe(reference, driving, **one_step, mouth_guidance_scale=1.0).frames, free)  # what is asked for goes before


def test_callbacks_follow_diffusers(pipe) -> None:
    calls = []

    def callback(called, step, timestep, values):
        calls.append((called is pipe, step, int(timestep), values["latents"].shape[0]))

    pipe(make_reference(), make_driving(9), callback_on_step_end=callback, **FEW)
    assert calls == [(True, 0, 999, 16), (True, 1, 500, 16)]


def test_progress_counts_evaluations_and_measures_time(pipe) -> None:
    seen = []
    out = pipe(make_reference(), make_driving(40), on_progress=seen.append, **FEW)
    assert seen[0].seconds_per_frame is None
    assert [p.done for p in seen] == list(range(1, out.report.evaluations + 1))
    assert seen[-1].left_s == 0
    assert out.report.seconds_per_frame > 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"driving": None}, "nothing drives"),
        ({"guidance_scale": -1}, "guidance_scale"),
        ({"audio_scale": float("nan")}, "audio_scale"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"window_overlap": 16}, "window_overlap"),
        ({"guidance_interval": (0.5, 0.1)}, "guidance_interval"),
        ({"output_type": "avi"}, "output_type"),
        ({"motion": 0.5}, "motion"),
    ],
)
def test_what_does_not_go_together_is_one_line(pipe, wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        pipe(make_reference(), **{"driving": make_driving(), **wrong})
    assert "\n" not in str(caught.value)


def test_an_unknown_keyword_is_an_error(pipe) -> None:
    with pytest.raises(TypeError, match="guidence_scale"):
        pipe(make_reference(), make_driving(), guidence_scale=2.0)


def test_untrained_guidance_is_reported() -> None:
    out = tiny_pipeline(dropout=0.0)(make_reference(), make_driving(2), **FEW)
    assert "never trained" in out.report.warnings[0]
    assert not tiny_pipeline(dropout=0.0)(make_reference(), make_driving(2), guidance_scale=1.0, **FEW).report.warnings


def test_importing_the_command_line_is_cheap() -> None:
    import subprocess
    import sys

    modules = "inference.cli, inference.pipeline, inference.models.components, inference.sampling.windows"
    code = f"import sys, {modules}; print([n for n in ('torch', 'diffusers', 'av', 'cv2') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_vae_by_its_path_offloaded_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from diffusers import AutoencoderKL

    from inference.models import MegActorModel
    from inference.models.components import CodecConfig, build_codec

    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(32,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
    ).save_pretrained(tmp_path / "models" / "sd-vae-ft-ema")
    monkeypatch.setenv("MEGACTOR_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    pipe = tiny_pipeline()
    model = MegActorModel(**{**SIZES, "latent_channels": 4}).eval()
    settings = replace(pipe.settings, model=model.sizes, codec=CodecConfig("vae", "sd-vae-ft-ema"))
    MegActorSigmaPipeline(model, pipe.scheduler, build_codec(settings).module, settings, pipe.record).save_pretrained("saved")
    loaded = MegActorSigmaPipeline.from_pretrained("saved")
    frames = loaded(make_reference(), make_driving(18), **FEW).frames
    for mode in ("vae", "model"):
        loaded.enable_offload(mode, "cpu")
        assert np.array_equal(loaded(make_reference(), make_driving(18), **FEW).frames, frames)
    with pytest.raises(UserError, match="hf download stabilityai/sd-vae-ft-ema"):
        MegActorSigmaPipeline.from_pretrained("saved", overrides=["codec.path=elsewhere"])
    with pytest.raises(UserError, match="latent channels"):
        build_codec(replace(settings, model=replace(settings.model, latent_channels=16)))
