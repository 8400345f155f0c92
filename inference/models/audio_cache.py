"""Audio features on disk, computed once for each clip and encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

from inference.models.audio_encoders import AudioEncoder
from manifests.atomic import atomic_path


class AudioFeatureCache:
    """One safetensors file a clip in `folder`, under a name made of the clip's key and the encoder's fingerprint, so that encoders and
    weights never read each other's features."""

    def __init__(self, folder: str | Path, encoder: AudioEncoder):
        self.folder = Path(folder)
        self.encoder = encoder

    def path(self, key: str) -> Path:
        digest = hashlib.sha256(f"{self.encoder.fingerprint}\n{key}".encode()).hexdigest()
        return self.folder / f"{digest[:32]}.safetensors"

    def features(self, key: str, load_waveform: Callable[[], torch.Tensor]) -> torch.Tensor:
        """(T, S, W) float16 of the clip `key`; decodes and encodes only if no sound file is there. A damaged file is written anew."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file, save_file

        path = self.path(key)
        if path.is_file():
            try:
                return load_file(path)["states"]
            except (SafetensorError, KeyError):
                path.unlink()
        states = self.encoder.encode(load_waveform()).contiguous()
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            save_file({"states": states}, temporary, metadata={"encoder": self.encoder.fingerprint, "key": key})
        return states
