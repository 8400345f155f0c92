"""`python -m benchmarks.audio_spikes --whisper FOLDER SOUND...`: what spikes in Whisper's states do to the audio attention.

A full-width block with random projections (the output projection too, which is zero at birth) hears frames of the given sounds, with and
without `audio_norm`; prints the RMS of what it adds on frames whose states hold a value above SPIKE, and on others.
"""

from __future__ import annotations

import argparse
import sys

import torch

from inference.driving.sound import open_sound
from inference.models import audio_windows
from inference.models.audio_encoders import WhisperStateEncoder
from inference.models.blocks import DenoisingBlock
from inference.models.config import ModelConfig
from inference.models.denoiser import audio_tokens

SPIKE = 100.0
FRAMES_EACH, SECONDS_EACH = 8, 10


def heard(config: ModelConfig, windows_FTC: torch.Tensor) -> torch.Tensor:
    """(F,) RMS of what one audio attention adds to 256 tokens of unit variance."""
    torch.manual_seed(0)
    block = DenoisingBlock(config, 0)
    for linear in (block.audio.to_q, block.audio.to_k, block.audio.to_v, block.audio.to_out):
        torch.nn.init.xavier_uniform_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    x = torch.randn(1, 256, config.width)
    with torch.no_grad():
        added = block.audio(block.norm_audio(x).expand(len(windows_FTC), -1, -1), audio_tokens(config, windows_FTC, torch.float32))
    return added.square().mean((1, 2)).sqrt()


def main(arguments: list[str] | None = None) -> int:
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audio_spikes", description=__doc__, formatter_class=plain)
    parser.add_argument("--whisper", required=True, help="a folder of Whisper-tiny in transformers' layout")
    parser.add_argument("sounds", nargs="+", metavar="SOUND", help="sound or video files")
    options = parser.parse_args(arguments)
    encoder = WhisperStateEncoder.from_pretrained(options.whisper)
    kept, with_spikes = [], 0
    for path in options.sounds:
        states = encoder.encode(torch.from_numpy(open_sound(path).waveform())[: SECONDS_EACH * 16_000]).float()
        windows = audio_windows(states, 25, max(1, len(states) // 2))
        peaks = windows.abs().amax((1, 2))
        with_spikes += bool(peaks.max() > SPIKE)
        even = torch.linspace(0, len(windows) - 1, FRAMES_EACH - 2).long()
        kept.append(windows[torch.unique(torch.cat([even, peaks.topk(min(2, len(peaks))).indices]))])
    windows = torch.cat(kept)
    spiky = windows.abs().amax((1, 2)) > SPIKE
    print(f"{with_spikes} of {len(options.sounds)} files hold spikes; {int(spiky.sum())} of {len(windows)} frames")
    for norm in (False, True):
        rms = heard(ModelConfig(audio_norm=norm), windows)
        on_spikes = f"{rms[spiky].mean():.2f}" if spiky.any() else "-"
        print(f"audio_norm {'on ' if norm else 'off'}: RMS on frames with spikes {on_spikes}, on others {rms[~spiky].mean():.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
