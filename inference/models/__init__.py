"""MegActor-Σ's mixed-modal diffusion transformer and what feeds it.

Names load on first use: `import inference.models` needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "AudioFeatureCache": "audio_cache",
    "BlockDctCodec": "block_dct",
    "DiffusionSchedule": "schedule",
    "LogMelEncoder": "audio_encoders",
    "MegActorModel": "megactor",
    "ModelConfig": "config",
    "RegionMask": "masks",
    "SCHEDULE": "schedule",
    "TinyPreviewCodec": "codecs",
    "VaeCodec": "codecs",
    "WhisperStateEncoder": "audio_encoders",
    "audio_windows": "audio_rows",
    "eye_mouth_mask": "masks",
    "forward_flops": "flops",
    "grow": "weights",
    "initialise_from_pixart": "weights",
    "load_motion_weights": "weights",
    "load_tensors": "weight_files",
    "parameter_table": "summary",
    "region_tokens": "masks",
    "training_flops": "flops",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
