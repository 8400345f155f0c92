"""Whisper states against transformers, the rows of a frame at many rates, the log-mel encoder and the cache."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from inference.models import AudioFeatureCache, LogMelEncoder, WhisperStateEncoder, audio_windows
from inference.models.audio_rows import frame_rows
from inference.models.shapes import ShapeError
from inference.models.weight_files import WeightsFileError


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory):
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1, decoder_attention_heads=2,
        decoder_ffn_dim=32, vocab_size=60, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, num_mel_bins=80,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("whisper")
    WhisperModel(config).save_pretrained(folder)
    return folder


def sound(seconds, seed=0):
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(int(seconds * 16_000)) / 16_000
    return 0.3 * torch.sin(2 * math.pi * 220 * time) * (1 + torch.sin(2 * math.pi * 3 * time)) / 2 + 0.01 * torch.randn(
        time.shape, generator=generator
    )


def states_by_hooks(encoder, waveform):
    """transformers' own forward; hooks record what each layer gets and gives."""
    mel = WhisperFeatureExtractor()(waveform.numpy(), sampling_rate=16_000, return_tensors="pt")["input_features"]
    inputs, outputs = [], []
    for layer in encoder.layers:
        layer.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
        layer.register_forward_hook(lambda module, args, output: outputs.append(output))
    with torch.no_grad():
        final = encoder.eval()(mel, output_hidden_states=True)
    return torch.cat([inputs[0], *outputs]).transpose(0, 1), final


def compare_with_transformers(folder):
    waveform = sound(9.7)
    encoder = WhisperModel.from_pretrained(folder, torch_dtype=torch.float32).encoder
    expected, final = states_by_hooks(encoder, waveform)
    ours = WhisperStateEncoder.from_pretrained(folder).window_states(waveform)
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() <= 1e-4
    for index, state in enumerate(final.hidden_states[:-1]):
        assert (ours[:, index] - state[0]).abs().max() <= 1e-4
    with torch.no_grad():  # the last state is before the final norm, transformers' last hidden state after it
        assert (encoder.layer_norm(ours[:, -1]) - final.last_hidden_state[0]).abs().max() <= 1e-3
        assert (ours[:, -1] - final.last_hidden_state[0]).abs().max() > 0.1
    return ours


def test_states_equal_transformers_before_the_final_norm(whisper_folder):
    assert compare_with_transformers(whisper_folder).shape == (1500, 3, 16)


@pytest.mark.corpus
def test_states_equal_transformers_with_real_weights(corpus):
    assert compare_with_transformers(corpus / "models" / "whisper-tiny").shape == (1500, 5, 384)


def test_encoding_is_50_hz_and_its_windows_join(whisper_folder):
    encoder, waveform = WhisperStateEncoder.from_pretrained(whisper_folder), sound(23.01)
    states = encoder.encode(waveform)
    assert states.shape == (1151, 3, 16)  # 23.01 s: 1150.5 rows, rounded up
    assert states.dtype == torch.float16
    for first, start in ((0, 0), (450, 8), (850, 16)):  # each kept stretch comes from the 10 s window that starts at 0, 8, 16 s
        window = encoder.window_states(waveform[start * 16_000 : (start + 10) * 16_000]).half()
        end = min(first + (450 if first == 0 else 400), 1151)
        assert torch.equal(states[first:end], window[first - start * 50 : end - start * 50])


@pytest.mark.parametrize("seconds", [0.01, 0.5, 8.98, 9.0, 9.02, 10.0, 17.0])
def test_every_length_has_all_its_rows(whisper_folder, seconds):
    states = WhisperStateEncoder.from_pretrained(whisper_folder).encode(sound(seconds))
    assert states.shape[0] == math.ceil(round(seconds * 50, 6))
    assert states.isfinite().all()


def test_features_do_not_depend_on_the_length_of_the_file(whisper_folder):
    """The first 9 of 10 s are bit-equal in a 10 s and a 60 s file: they see the same window of sound."""
    encoder, waveform = WhisperStateEncoder.from_pretrained(whisper_folder), sound(60)
    short, long = encoder.encode(waveform[: 10 * 16_000]), encoder.encode(waveform)
    assert torch.equal(short[:450], long[:450])
    assert not torch.equal(short[450:], long[450:500])


@pytest.mark.slow
@pytest.mark.corpus
def test_real_features_do_not_depend_on_the_length_of_the_file(corpus):
    """Real weights and speech: bit-equal up to the last second before the short file's end, and near there (mean cosine per state)."""
    av = pytest.importorskip("av")
    pieces = []
    for path in sorted((corpus / "speech").glob("*.wav")):
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
            pieces += [torch.from_numpy(out.to_ndarray()[0]) for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    speech = torch.cat(pieces)[: 60 * 16_000]
    assert speech.shape[0] == 60 * 16_000
    encoder = WhisperStateEncoder.from_pretrained(corpus / "models" / "whisper-tiny")
    short, long = encoder.encode(speech[: 10 * 16_000]).float(), encoder.encode(speech).float()[:500]
    assert torch.equal(short[:450], long[:450])
    cosine = torch.nn.functional.cosine_similarity(short[450:], long[450:], dim=-1).mean(0)
    print("mean cosine of the last second, state by state:", [round(c, 4) for c in cosine.tolist()])
    assert cosine.min() > 0.95


@pytest.mark.parametrize(
    ("fps", "frame", "centre"),
    [
        (24, 0, 0), (24, 1, 2), (24, 24, 50), (24, 25, 52), (25, 7, 14), (25, 250, 500), (29.97, 30, 50), (30000 / 1001, 29, 48),
        (Fraction(30000, 1001), 30, 50), (Fraction(30000, 1001), 30000, 50050), (30, 1, 1), (30, 2, 3), (30, 3, 5), (30, 300, 500),
    ],
)  # fmt: skip
def test_row_indices(fps, frame, centre):
    assert frame_rows(1, fps, first_frame=frame)[0].tolist() == list(range(centre - 4, centre + 6))


@settings(deadline=None)
@given(st.integers(1, 120), st.integers(1, 2000), st.integers(0, 10**6))
def test_the_centre_row_is_the_one_in_which_the_frame_lies(numerator, denominator, frame):
    fps = Fraction(numerator * 1000, denominator).limit_denominator(1001)
    if fps == 0:
        return
    centre = frame_rows(1, fps, first_frame=frame)[0, 4].item()
    assert Fraction(centre, 50) <= frame / fps < Fraction(centre + 1, 50)


def test_windows_are_rows_in_time_with_their_states_and_repeat_the_edges():
    rows, states = 100, 5
    features = torch.stack([torch.full((states, 2), float(row)) for row in range(rows)])
    features[:, :, 1] = torch.arange(states)
    windows = audio_windows(features, fps=25, num_frames=50)
    assert windows.shape == (50, 50, 2)
    assert windows[20, :, 0].tolist() == [row for row in range(36, 46) for _ in range(states)]
    assert windows[20, :, 1].tolist() == list(range(states)) * 10
    assert windows[0, ::states, 0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert windows[49, ::states, 0].tolist() == [94, 95, 96, 97, 98, 99, 99, 99, 99, 99]
    assert torch.equal(audio_windows(features, 25, 10, first_frame=30), windows[30:40])


def test_wrong_sound_and_rates_are_named():
    with pytest.raises(ShapeError, match=r"waveform has shape \(2, 100\)"):
        LogMelEncoder().encode(torch.zeros(2, 100))
    with pytest.raises(ShapeError, match=r"torch\.int16"):
        LogMelEncoder().encode(torch.zeros(100, dtype=torch.int16))
    with pytest.raises(ShapeError, match="empty"):
        LogMelEncoder().encode(torch.zeros(0))
    with pytest.raises(ValueError, match="positive"):
        frame_rows(3, 0.0)
    with pytest.raises(ValueError, match="num_frames is 0"):
        frame_rows(0, 25)
    with pytest.raises(ShapeError, match=r"states has shape \(100, 5\); it needs \(T, S, W\)"):
        audio_windows(torch.zeros(100, 5), 25, 3)


def test_log_mel_equals_whispers_up_to_its_normalisation():
    """Whisper's own extractor clamps to 8 decades below the file's loudest value; where that does not bite the values are the same."""
    waveform = sound(4.0)
    ours = LogMelEncoder().encode(waveform).float().flatten(0, 1)
    theirs = torch.from_numpy(WhisperFeatureExtractor()(waveform.numpy(), sampling_rate=16_000)["input_features"][0]).T[:400]
    unclamped = theirs > theirs.min() + 1e-3
    assert unclamped[5:-5].float().mean() > 0.5
    assert (ours - theirs)[5:-5][unclamped[5:-5]].abs().max() <= 2e-3


def test_log_mel_is_local_and_silence_is_finite():
    encoder, waveform = LogMelEncoder(), sound(12.0)
    assert torch.equal(encoder.encode(waveform)[:198], encoder.encode(waveform[: 4 * 16_000])[:198])
    silent = encoder.encode(torch.zeros(32_000))
    assert silent.shape == (100, 2, 80)
    assert torch.all(silent == -1.5)
    assert audio_windows(silent, 25, 50).shape == (50, 20, 80)


def test_cache_encodes_once_for_each_clip_and_encoder(tmp_path, whisper_folder):
    loads = []

    def load():
        loads.append(1)
        return sound(1.0)

    cache = AudioFeatureCache(tmp_path / "audio", LogMelEncoder())
    first = cache.features("source/clip", load)
    assert torch.equal(cache.features("source/clip", load), first)
    assert len(loads) == 1
    cache.features("source/../../other", load)
    AudioFeatureCache(tmp_path / "audio", WhisperStateEncoder.from_pretrained(whisper_folder)).features("source/clip", load)
    assert len(loads) == 3
    files = list((tmp_path / "audio").iterdir())
    assert len(files) == 3
    assert {path.suffix for path in files} == {".safetensors"}
    cache.path("source/clip").write_bytes(b"cut off")
    assert torch.equal(cache.features("source/clip", load), first)


def test_cache_leaves_nothing_behind_when_decoding_fails(tmp_path):
    cache = AudioFeatureCache(tmp_path / "audio", LogMelEncoder())

    def load():
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        cache.features("clip", load)
    assert not (tmp_path / "audio").exists()


def test_damaged_whisper_folders_are_named(whisper_folder, tmp_path):
    with pytest.raises(WeightsFileError, match="not a folder of a Whisper model"):
        WhisperStateEncoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(
        (whisper_folder / "config.json").read_text().replace('"encoder_layers": 2', '"encoder_layers": 3')
    )
    (tmp_path / "model.safetensors").write_bytes((whisper_folder / "model.safetensors").read_bytes())
    with pytest.raises(WeightsFileError, match="does not hold the encoder"):
        WhisperStateEncoder.from_pretrained(tmp_path)
