"""How an animation ends: with numbers that are none, or when nobody wants more of it."""

import gc
import os
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("av")
pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
pytest.importorskip("diffusers", reason="the pipeline needs diffusers: install the [train] extra")

import torch

from inference.sampling.settings import SamplingSettings
from manifests import UserError
from tests.inference.animation_parts import make_driving, make_reference, make_speech, tiny_pipeline
from tests.inference.driver_footage import PlantedBackend, write_video

ONE_STEP = SamplingSettings(num_inference_steps=1, guidance_scale=1.0)


class Codec:
    """A codec whose pictures are no numbers from one frame on."""

    def __init__(self, codec, bad_from: int, value: float):
        self._codec, self._left, self._value = codec, bad_from, value

    def __getattr__(self, name):
        return getattr(self._codec, name)

    def decode(self, latents):
        images = self._codec.decode(latents)
        images[max(0, self._left) :, :, 0, 0] = self._value
        self._left -= len(latents)
        return images


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pictures_that_are_no_numbers_stop_with_their_frame(value: float) -> None:
    pipe = tiny_pipeline()
    pipe._codec = Codec(pipe._codec, 5, value)
    with pytest.raises(UserError, match="frame 5: the latent codec gives numbers that are none"):
        pipe(make_reference(), make_driving(8), num_inference_steps=1, guidance_scale=1.0)


def test_tensors_to_tensors_stop_too() -> None:
    """What a trainer samples and an evaluator scores."""
    pipe = tiny_pipeline()
    with torch.no_grad():
        next(pipe.transformer.denoiser.proj_out.parameters()).fill_(float("nan"))
    reference = torch.from_numpy(make_reference()).permute(2, 0, 1)[None]
    with pytest.raises(UserError, match=r"frame 0: .* numbers that are none"):
        pipe.generate(reference, torch.from_numpy(make_driving(4).frames)[None], None, ONE_STEP, seeds=[0])


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool, torch.complex64])
def test_weights_that_are_no_fractions_are_one_line(tmp_path, dtype) -> None:
    from safetensors.torch import load_file, save_file

    from inference.pipeline import MegActorSigmaPipeline

    tiny_pipeline().save_pretrained(tmp_path / "model")
    (file,) = (tmp_path / "model" / "transformer").glob("*.safetensors")
    save_file({name: tensor.to(dtype) for name, tensor in load_file(file).items()}, file)
    with pytest.raises(UserError, match="floating point") as caught:
        MegActorSigmaPipeline.from_pretrained(tmp_path / "model")
    assert "\n" not in str(caught.value)


def open_files_and_children() -> tuple[set[str], set[str]]:
    gc.collect()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {file.name for file in Path("/proc/self/fd").iterdir()}, set(children.split())


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("n_read", [0, 2])
def test_a_stream_that_is_closed_lets_go_at_once(tmp_path, n_read) -> None:
    write_video(tmp_path / "you.mp4", Fraction(25), 30)
    pipe = tiny_pipeline(landmarks=PlantedBackend())
    next(pipe.stream(make_reference(), make_driving(2), num_inference_steps=1))  # what is loaded once
    before = open_files_and_children()
    stream = pipe.stream(make_reference(), str(tmp_path / "you.mp4"), num_inference_steps=1, window_overlap=0)
    for _ in range(n_read):
        assert next(stream).shape == make_reference().shape
    if n_read:
        assert len(open_files_and_children()[1]) > len(before[1]), "it was decoding"
    stream.close()
    assert open_files_and_children() == before
    assert list(stream) == []


def test_a_video_is_a_portrait_for_the_pipeline_as_for_the_command_line(tmp_path) -> None:
    write_video(tmp_path / "me.mp4", Fraction(25), 3)
    pipe = tiny_pipeline(landmarks=PlantedBackend())
    made = pipe(str(tmp_path / "me.mp4"), audio=make_speech(0.2), num_inference_steps=1)
    assert len(made.frames) == 5
