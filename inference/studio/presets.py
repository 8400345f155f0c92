"""Presets: named sampling settings, read from configs/inference/presets.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inference.models.components import CONFIGS
from inference.sampling.settings import SamplingSettings
from manifests import configuration
from manifests.errors import UserError, did_you_mean

PRESETS_FILE = CONFIGS / "presets.yaml"


@dataclass(frozen=True)
class Preset:
    """Settings that trade quality for time.

    Attributes:
        description: one line for --help.
        sampling: a file that names no sampler means dpmsolver++.
    """

    description: str
    sampling: SamplingSettings


def load_presets() -> dict[str, Preset]:
    """Raises UserError for a file that is damaged, or settings that are unknown or wrong."""
    return {name: _preset(name, tree) for name, tree in configuration.read_yaml(PRESETS_FILE).items()}


def preset(name: str) -> Preset:
    """Raises UserError for an unknown name and suggests the nearest."""
    known = load_presets()
    if name not in known:
        raise UserError(f"unknown preset {name!r}{did_you_mean(name, sorted(known))}")
    return known[name]


def _preset(name: str, tree: dict[str, Any]) -> Preset:
    settings = {"sampler": "dpmsolver++", **tree}
    description = str(settings.pop("description", ""))
    return Preset(description, configuration.build(SamplingSettings, settings, name))
