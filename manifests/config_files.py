"""Where the project's YAML files lie: `configs/` of a checkout, which a wheel carries inside this package."""

from __future__ import annotations

from pathlib import Path


def config_file(*parts: str) -> Path:
    """Path of a file or folder below `configs/`: `config_file("curation", "presets.yaml")`. The file need not exist."""
    packaged = Path(__file__).resolve().parent / "configs"
    return (packaged if packaged.is_dir() else packaged.parents[1] / "configs").joinpath(*parts)
