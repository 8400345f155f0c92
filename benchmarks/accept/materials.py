"""`python -m benchmarks.accept.materials FOLDER`: frozen networks of the published sizes with random weights, where the store looks.

Speed, memory and devices do not depend on what the weights are; nothing has to be downloaded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.inference import SD_VAE


def write_vae(folder: Path) -> None:
    from diffusers import AutoencoderKL

    AutoencoderKL(**SD_VAE).save_pretrained(folder)


def write_whisper(folder: Path) -> None:
    """Whisper-tiny's encoder, as a folder of transformers'."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536, num_mel_bins=80)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    save_file({f"encoder.{name}": tensor for name, tensor in WhisperEncoder(config).state_dict().items()}, folder / "model.safetensors")


def main() -> int:
    folder = Path(sys.argv[1])
    torch.manual_seed(0)
    write_vae(folder / "sd-vae-ft-ema")
    write_whisper(folder / "whisper-tiny")
    print(f"random VAE and Whisper encoder in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
