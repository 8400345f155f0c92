"""Presets: named sampling settings, read from configs/inference/presets.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inference.models.components import CONFIGS
from manifests import configuration
from manifests.errors import UserError, did_you_mean

PRESETS_FILE = CONFIGS / "presets.yaml"


@dataclass(frozen=True)
class Preset:
    """Settings of `MegActorSigmaPipeline.__call__` that trade quality for time; see there.

    Attributes:
        description: one line for --help.
        sampler: see `inference.sampling.samplers`.
    """

    description: str
    sampler: str = "dpmsolver++"
    num_inference_steps: int = 25
    guidance_scale: float = 2.0
    audio_guidance_scale: float | None = None
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    window_overlap: int = 8
    window_shift: int = 0
    step_cache: float | None = None

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the pipeline's call."""
        tree = configuration.to_tree(self)
        del tree["description"], tree["sampler"]
        return {**tree, "guidance_interval": tuple(tree["guidance_interval"])}


def load_presets() -> dict[str, Preset]:
    return {name: configuration.build(Preset, tree, name) for name, tree in configuration.read_yaml(PRESETS_FILE).items()}


def preset(name: str) -> Preset:
    """Raises UserError for an unknown name and suggests the nearest."""
    known = load_presets()
    if name not in known:
        raise UserError(f"unknown preset {name!r}{did_you_mean(name, sorted(known))}")
    return known[name]
