"""The norms around the audio attention: no spike of Whisper decides what the mouth does; old checkpoints stay as they were."""

import json

import pytest
import torch

from inference.models import MegActorModel, audio_windows
from inference.models.blocks import DenoisingBlock
from inference.models.components import load_inference_config
from inference.models.config import ModelConfig
from inference.models.denoiser import audio_tokens
from inference.pipeline.folder import read_pipeline_file

SPIKE = 629.0  # the largest value of Whisper-tiny's states in 26 clips of speech
WIDE = {"num_layers": 2, "num_attention_heads": 4, "attention_head_dim": 16, "first_reference_block": 1, "temporal_heads": 2}


def heard(norm: bool, windows: torch.Tensor) -> torch.Tensor:
    """(F,) RMS of what a block's audio attention with random projections adds."""
    config = ModelConfig(**WIDE, audio_norm=norm)
    torch.manual_seed(0)
    block = DenoisingBlock(config, 0)
    for linear in (block.audio.to_q, block.audio.to_k, block.audio.to_v, block.audio.to_out):
        torch.nn.init.xavier_uniform_(linear.weight)
    x = torch.randn(1, 64, config.width).expand(len(windows), -1, -1)
    with torch.no_grad():
        added = block.audio(block.norm_audio(x), audio_tokens(config, windows, torch.float32))
    return added.square().mean((1, 2)).sqrt()


def test_a_spike_moves_the_mouth_no_more_than_other_sound():
    ordinary = torch.randn(8, 50, 384, generator=torch.Generator().manual_seed(1))
    spiky = ordinary.clone()
    spiky[:, 7, 100] = SPIKE  # as Whisper has them: one channel of one token
    assert heard(False, spiky).mean() > 5 * heard(False, ordinary).mean()
    assert heard(True, spiky).mean() == pytest.approx(heard(True, ordinary).mean().item(), rel=0.15)
    half = heard(True, spiky.half())  # as the loader hands windows over; the square of a spike is beyond half's range
    assert half.isfinite().all()
    assert torch.allclose(half, heard(True, spiky), rtol=1e-2)


@pytest.mark.corpus
def test_spikes_of_real_speech(corpus):
    from inference.driving.sound import open_sound
    from inference.models.audio_encoders import WhisperStateEncoder

    encoder = WhisperStateEncoder.from_pretrained(corpus / "models" / "whisper-tiny")
    sound = open_sound(corpus / "speech" / "echomimic_en.wav").waveform()[: 10 * 16_000]
    windows = audio_windows(encoder.encode(torch.from_numpy(sound)).float(), 25, 200)
    spiky = windows.abs().amax((1, 2)) > 100
    assert spiky.any()
    before, after = heard(False, windows), heard(True, windows)
    assert before[spiky].mean() > 5 * before[~spiky].mean()
    assert after[spiky].mean() == pytest.approx(after[~spiky].mean().item(), rel=0.15)


def test_the_norms_keep_the_identity_at_birth_and_add_no_tensor(make_model, make_inputs):
    """A zero output projection adds nothing whatever it hears; PixArt's weights load into either (`make_model` loads them)."""
    plain, normed = make_model(), make_model(audio_norm=True)
    inputs = make_inputs()
    assert plain.state_dict().keys() == normed.state_dict().keys()
    with torch.no_grad():
        silent = plain(**{**inputs, "audio": None})
        assert torch.equal(normed(**inputs), silent)
        assert torch.equal(plain(**inputs), silent)


def test_the_queries_do_not_depend_on_the_size_of_the_residual_stream(make_model, make_inputs):
    inputs = make_inputs()
    x = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain = torch.ones(2, 3, 1, 1, dtype=torch.float64)
    for norm in (False, True):
        block = make_model(lively=True, with_temporal=False, audio_norm=norm).denoiser.transformer_blocks[0]
        block.scale_shift_table.data[[2, 5]] = 0  # the gates of attention and feed-forward: what is left is the audio attention

        def added(size, block=block):
            with torch.no_grad():
                return block(size * x, torch.zeros(2, 6, 32).double(), (8, 8), None, None, None, None, inputs["audio"], gain) - size * x

        change = (added(100.0) - added(1.0)).abs().max()
        assert (change < 1e-3) == norm


def test_a_checkpoint_from_before_loads_as_it_was_trained(make_model, make_inputs, tmp_path):
    """Its config.json lacks the key: that means off, whatever the shipped profiles say now."""
    model = make_model(lively=True).float()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["audio_norm"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = MegActorModel.from_pretrained(tmp_path)
    assert loaded.sizes.audio_norm is False
    inputs = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in make_inputs().items()}
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**inputs), model(**inputs))


def test_a_pipeline_from_before_loads_and_each_shipped_profile_says_its_own(tmp_path):
    for profile, normed in (("paper", True), ("embedded", False)):
        config = load_inference_config(profile)
        assert config.model.audio_norm is normed
        tree = config.to_tree()
        del tree["model"]["audio_norm"]
        document = {"_class_name": "MegActorSigmaPipeline", "format": 1, "config": tree, "training": {"stage": 2}}
        (tmp_path / "pipeline.json").write_text(json.dumps(document))
        assert read_pipeline_file(tmp_path)[0].model.audio_norm is False


def test_a_saved_model_keeps_the_setting(make_model, tmp_path):
    make_model(audio_norm=True).float().save_pretrained(tmp_path)
    assert MegActorModel.from_pretrained(tmp_path).sizes.audio_norm is True
