"""Sound for the model from strangers' files: the track that players choose, nothing cancelled, and a word on what is missing."""

import struct
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from inference.driving.sound import open_sound, sound_notes
from manifests import UserError
from tests.faults import Recipe, tone, write_clip

RATE_HZ = 16_000


def write_wav(path: Path, samples: np.ndarray) -> Path:
    """(N, channels) int16 to a file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())
    return path


def test_opposite_channels_are_not_silence(tmp_path):
    left = tone(RATE_HZ)
    path = write_wav(tmp_path / "opposed.wav", np.stack([left, -left], axis=1))
    heard = open_sound(path).waveform()
    assert np.abs(heard).max() == pytest.approx(np.abs(left).max() / 32768, rel=0.05)
    assert sound_notes(open_sound(path)) == ()


def test_the_default_track_is_heard(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono") for _ in range(2)]
        streams[0].disposition = 0
        streams[1].disposition = av.stream.Disposition.default
        for stream, samples in zip(streams, (np.zeros(RATE_HZ, np.int16), tone(RATE_HZ)), strict=True):
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate = RATE_HZ
            container.mux(stream.encode(frame))
    assert np.abs(open_sound(path).waveform()).max() > 0.1


@pytest.mark.parametrize("kept_s", [0.3, 1.9])
def test_a_file_that_is_cut_off_is_said(tmp_path, kept_s):
    whole = write_wav(tmp_path / "whole.wav", tone(4 * RATE_HZ)[:, None])
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[: 44 + round(kept_s * RATE_HZ) * 2])
    (note,) = sound_notes(open_sound(cut))
    assert f"holds {kept_s:.2f} s of sound and says 4.00 s: it was cut off" in note
    assert sound_notes(open_sound(whole)) == ()


def test_streaming_writers_headers_promise_nothing(tmp_path):
    path = write_wav(tmp_path / "stream.wav", tone(RATE_HZ)[:, None])
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(data)
    assert sound_notes(open_sound(path)) == ()


@pytest.mark.parametrize("layout", ["5.1", "7.1"])
def test_surround_sound_is_heard_as_long_as_the_file_says(tmp_path, layout):
    """The last packet of AAC holds more than the header counts; eight channels are more than a frame has places for."""
    centre, n = 2, RATE_HZ + 160
    channels = np.zeros((n, int(layout[0]) + 1), np.int16)
    channels[RATE_HZ // 2 :, centre] = tone(n - RATE_HZ // 2)
    write_wav(tmp_path / "many.wav", channels)
    with av.open(str(tmp_path / "many.wav")) as source, av.open(str(tmp_path / "many.m4a"), "w") as target:
        stream = target.add_stream("aac", rate=RATE_HZ, layout=layout)
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=RATE_HZ, frame_size=1024)
        for frame in [*source.decode(audio=0), None]:
            for whole in resampler.resample(frame):
                target.mux(stream.encode(whole))
        target.mux(stream.encode(None))
    sound = open_sound(tmp_path / "many.m4a")
    heard = np.abs(sound.waveform())
    assert sound.duration_s == pytest.approx(n / RATE_HZ, abs=1e-3)
    assert np.flatnonzero(heard > 0.3 * heard.max())[0] / RATE_HZ == pytest.approx(0.5, abs=0.01)
    blocks = np.concatenate(list(sound.blocks(RATE_HZ, 2, 2.0)), axis=1)
    assert blocks.shape[1] == pytest.approx(n, abs=16)
    assert np.abs(blocks[0]).max() == pytest.approx(heard.max(), rel=0.05)


def write_float_wav(path: Path, samples: np.ndarray) -> Path:
    data = samples.astype("<f4").tobytes()
    head = struct.pack("<IHHIIHH", 16, 3, 1, RATE_HZ, 4 * RATE_HZ, 4, 32)
    path.write_bytes(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + head + b"data" + struct.pack("<I", len(data)) + data)
    return path


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path, value):
    samples = np.zeros(RATE_HZ)
    samples[9000] = value
    with pytest.raises(UserError, match=r"a\.wav: its sound has samples that are no numbers"):
        open_sound(write_float_wav(tmp_path / "a.wav", samples))


def test_samples_beyond_full_scale_are_cut_and_said(tmp_path):
    """As people write them who forget to divide by 32768."""
    whole = tone(RATE_HZ).astype(float)
    sound = open_sound(write_float_wav(tmp_path / "a.wav", whole))
    assert np.abs(sound.waveform()).max() == 1
    (note,) = sound_notes(sound)
    assert f"its samples reach {np.abs(whole).max():.3g}, full scale is 1" in note
    assert sound_notes(open_sound(write_float_wav(tmp_path / "b.wav", 1.2 * whole / np.abs(whole).max()))) == ()


def test_a_whole_video_has_no_note_and_a_silent_one_has(tmp_path):
    assert sound_notes(open_sound(write_clip(tmp_path / "a.mp4", Recipe(sound=tone(2 * RATE_HZ))))) == ()
    silent = write_clip(tmp_path / "b.mp4", Recipe(sound=np.zeros(2 * RATE_HZ, np.int16)))
    assert "silent for the model" in " ".join(sound_notes(open_sound(silent)))
