"""Sound → features at 50 Hz, the same for training and inference. Both encoders have `width`, `num_states`, `fingerprint` and `encode`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

from inference.models.shapes import ShapeError
from inference.models.weight_files import WeightsFileError, load_tensors

if TYPE_CHECKING:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

SAMPLE_RATE_HZ = 16_000
SAMPLES_PER_ROW = 320  # 20 ms
WINDOW_ROWS = 1500  # Whisper's 30 s


class AudioEncoder(Protocol):
    """`encode` maps (n,) float32 in −1…1 at 16 kHz to (⌈n/320⌉, num_states, width) float16."""

    width: int
    num_states: int
    fingerprint: str

    def encode(self, waveform: torch.Tensor) -> torch.Tensor: ...


class WhisperStateEncoder:
    """Hidden states of Whisper's encoder before its final layer norm: the convolutions' output with positions, then each layer's.

    Whisper's 30 s windows are filled with 10 s of sound each and silence after it. They start every 8 s whatever the file's length, and a
    row comes from the window that has at least 1 s of sound on either side of it (less only at the file's ends). So features depend neither
    on sound more than 9 s away nor on the file's length, and a long file shows the denoiser no positions that short training clips lack.
    """

    sound_rows, margin_rows = 500, 50
    hop_rows = sound_rows - 2 * margin_rows

    def __init__(self, encoder: WhisperEncoder, fingerprint: str):
        from transformers import WhisperFeatureExtractor

        self._encoder = encoder.eval().requires_grad_(False)
        self._log_mel = WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins)
        self.width = encoder.config.d_model
        self.num_states = encoder.config.encoder_layers + 1
        self.fingerprint = f"whisper:{fingerprint}:{self.sound_rows}-{self.margin_rows}"

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: torch.device | str = "cpu") -> WhisperStateEncoder:
        """A transformers folder of a Whisper model or of its encoder alone, in safetensors; computes in float32."""
        from transformers import WhisperConfig
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        folder = Path(folder)
        try:
            config: WhisperConfig = WhisperConfig.from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise WeightsFileError(f"{folder} is not a folder of a Whisper model: {error}") from error
        tensors = _encoder_tensors(load_tensors(folder / "model.safetensors"), folder)
        with torch.device("meta"):
            encoder = WhisperEncoder(config)
        encoder.to_empty(device="cpu")
        try:
            encoder.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=True)
        except RuntimeError as error:
            raise WeightsFileError(f"{folder} does not hold the encoder that its config.json describes: {error}") from error
        digest = hashlib.sha256()
        for name in sorted(tensors):
            digest.update(name.encode() + tensors[name].float().contiguous().numpy().tobytes())
        torch.nn.Module.to(encoder, device)  # past the wrapper of transformers, whose types ask for another argument
        return cls(encoder, digest.hexdigest()[:16])

    @torch.no_grad()
    def encode(self, waveform: torch.Tensor) -> torch.Tensor:
        """See `AudioEncoder`; on the CPU."""
        num_rows = _num_rows(waveform)
        pieces = []
        last_window = max(0, (num_rows - 1 - self.margin_rows) // self.hop_rows)
        for window in range(last_window + 1):
            start = window * self.hop_rows
            states = self.window_states(waveform[start * SAMPLES_PER_ROW : (start + self.sound_rows) * SAMPLES_PER_ROW])
            first = 0 if window == 0 else self.margin_rows
            end = num_rows - start if window == last_window else self.margin_rows + self.hop_rows
            pieces.append(states[first:end].half())
        return torch.cat(pieces).cpu()

    @torch.no_grad()
    def window_states(self, waveform: torch.Tensor) -> torch.Tensor:
        """(1500, num_states, width) float32 of up to 30 s of sound; silence follows it."""
        if waveform.shape[0] > WINDOW_ROWS * SAMPLES_PER_ROW:
            raise ShapeError(f"waveform has {waveform.shape[0]} samples; a window takes up to {WINDOW_ROWS * SAMPLES_PER_ROW}")
        encoder = self._encoder
        mel = self._log_mel(waveform.cpu().numpy(), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")["input_features"]
        hidden = functional.gelu(encoder.conv1(mel.to(encoder.conv1.weight)))
        hidden = functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
        hidden = hidden + encoder.embed_positions.weight
        states = [hidden]
        for layer in encoder.layers:
            hidden = layer(hidden, None)
            states.append(hidden)
        return torch.cat(states).transpose(0, 1)


class LogMelEncoder:
    """Log-mel energies, without weights: a row holds the two 10 ms frames of its 20 ms as two states of 80 bands.

    log10 of the energy, floored at 1e-10, as (x + 4)/4 like Whisper's input, but without its division by the file's loudest value: a row
    depends on its own 45 ms of sound alone.
    """

    width = 80
    num_states = 2
    fingerprint = "logmel:80:v1"

    def encode(self, waveform: torch.Tensor) -> torch.Tensor:
        """See `AudioEncoder`."""
        from transformers.audio_utils import mel_filter_bank

        num_rows = _num_rows(waveform)
        fft, hop = 400, SAMPLES_PER_ROW // 2
        filters = mel_filter_bank(1 + fft // 2, self.width, 0.0, 8000.0, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney")
        padded = functional.pad(waveform.float(), (fft // 2, num_rows * SAMPLES_PER_ROW - waveform.shape[0] + fft // 2))
        window = torch.hann_window(fft, device=waveform.device)
        spectrum = torch.stft(padded, fft, hop, window=window, center=False, return_complex=True)[:, : 2 * num_rows]
        mel = torch.as_tensor(filters, dtype=torch.float32, device=waveform.device).T @ spectrum.abs().square()
        log_mel = (mel.clamp(min=1e-10).log10() + 4) / 4
        return log_mel.T.unflatten(0, (num_rows, 2)).half().cpu()


def _num_rows(waveform: torch.Tensor) -> int:
    if waveform.ndim != 1 or not waveform.is_floating_point():
        raise ShapeError(f"waveform has shape {tuple(waveform.shape)} and is {waveform.dtype}; it needs (n,) of float in −1…1 at 16 kHz")
    if waveform.shape[0] == 0:
        raise ShapeError("waveform has no samples; the audio is empty")
    return -(-waveform.shape[0] // SAMPLES_PER_ROW)


def _encoder_tensors(tensors: dict[str, torch.Tensor], folder: Path) -> dict[str, torch.Tensor]:
    """The encoder's tensors by their own names; the decoder's are dropped, anything else is refused."""
    kept = {}
    for name, tensor in tensors.items():
        inner = name.removeprefix("model.")
        if inner.startswith("encoder."):
            kept[inner.removeprefix("encoder.")] = tensor
        elif not inner.startswith(("decoder.", "proj_out.")):
            raise WeightsFileError(f"{folder} holds {name!r}, which is not a tensor of a Whisper model")
    return kept
