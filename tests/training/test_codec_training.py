"""Training of the decoder: repeatable, killed and continued, better than the codec by itself on disturbed latents."""

import numpy as np
import pytest
import torch

from manifests import UserError
from training.codec import train as codec_train
from training.codec.pictures import batches, load_photographs
from training.codec.train import CodecTraining, disturbed, is_finished, picture_loss, train_codec

TINY = {"batch_size": 2, "every_steps": 2, "frames_per_clip": 1}


@pytest.fixture
def faces(monkeypatch) -> np.ndarray:
    """Stand-ins for the faces of a manifest: they are read by `VideoFrames`, which has its own tests."""
    rng = np.random.default_rng(0)
    pictures = np.clip(rng.normal(128, 30, (4, 1, 1, 3)) + np.linspace(-60, 60, 32)[None, :, None, None], 0, 255)
    pictures = np.broadcast_to(pictures, (4, 32, 32, 3)).astype(np.uint8).copy()
    monkeypatch.setattr(codec_train, "load_faces", lambda *_: pictures)
    return pictures


def test_pictures_depend_on_seed_and_step_alone(faces) -> None:
    photographs = load_photographs()
    first, later = batches(faces, photographs, 2, 7, 0), batches(faces, photographs, 2, 7, 3)
    whole = [next(first) for _ in range(5)]
    assert np.array_equal(whole[3], next(later))
    assert not np.array_equal(whole[0], whole[1])
    assert whole[0].shape == (2, 32, 32, 3)
    assert 0 <= min(w.min() for w in whole) <= max(w.max() for w in whole) <= 1


def test_a_killed_run_continues_to_the_same_weights(faces, tmp_path, monkeypatch) -> None:
    whole = train_codec(CodecTraining(steps=6, **TINY), "", str(tmp_path / "whole.safetensors"), say=lambda _: None)
    real = codec_train._write
    calls = []

    def killed(decoder, target) -> None:
        real(decoder, target)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(codec_train, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        train_codec(CodecTraining(steps=6, **TINY), "", str(tmp_path / "part.safetensors"), say=lambda _: None)
    assert is_finished(whole)
    assert not is_finished(tmp_path / "part.safetensors")
    assert not is_finished(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="other settings"):  # other pictures are another run too
        train_codec(CodecTraining(steps=6, **TINY), "elsewhere", str(tmp_path / "part.safetensors"), say=lambda _: None)
    with pytest.raises(UserError, match="other settings"):
        train_codec(CodecTraining(steps=8, **TINY), "", str(tmp_path / "part.safetensors"), say=lambda _: None)
    part = train_codec(CodecTraining(steps=6, **TINY), "", str(tmp_path / "part.safetensors"), say=lambda _: None)
    assert whole.read_bytes() == part.read_bytes()
    left = sorted(file.name for file in tmp_path.iterdir() if not file.name.endswith(".lock"))
    assert left == ["part.safetensors", "whole.safetensors"]


def test_a_second_training_of_the_same_decoder_is_refused(faces, tmp_path, monkeypatch) -> None:
    def start(name: str):
        return train_codec(CodecTraining(steps=2, **TINY), "", str(tmp_path / name), say=lambda _: None)

    real, other = codec_train._write, []

    def beside(decoder, target) -> None:
        real(decoder, target)
        if target.name == "one.safetensors":
            other.append(start("other.safetensors"))
            with pytest.raises(UserError, match=r"another run is writing .*one\.safetensors"):
                start("one.safetensors")

    monkeypatch.setattr(codec_train, "_write", beside)
    one = start("one.safetensors")
    assert is_finished(one)
    assert one.read_bytes() == other[0].read_bytes()


def test_disturbance_has_the_asked_deviation() -> None:
    config = CodecTraining(noise=0.6, faded_share=0.0, batch_size=64)
    noise = disturbed(torch.zeros(64, 21, 8, 8), config, 0)
    deviations = noise.flatten(1).std(1)
    assert deviations.max() < 0.62
    assert (deviations < 0.105).float().mean() > 0.4


def test_the_loss_weighs_steps_across_borders() -> None:
    flat = torch.zeros(1, 3, 16, 16)
    edge = flat.clone()
    edge[..., 8:] = 1
    inside = flat.clone()
    inside[..., 4:] = 1
    plain = picture_loss(flat, flat, 1.0, 3.0)
    assert plain == 0
    across, within = (picture_loss(x, flat, 1.0, 3.0) - x.mean() for x in (edge, inside))
    assert torch.isclose(across, 3 * within)
