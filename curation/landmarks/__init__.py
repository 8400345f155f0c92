"""Landmark backends: networks that find 68 face points on frames (`curation.contracts.LandmarkBackend`)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from curation.configuration import ConfigError, build, nearest
from curation.contracts import LandmarkBackend

_BACKENDS = {"facemesh": ("curation.landmarks.facemesh", "FaceMesh"), "dwpose": ("curation.dwpose.backend", "DWPose")}


def make_backend(name: str, settings: Mapping[str, Any] | None = None) -> LandmarkBackend:
    """Load the backend called `name`; its settings are the fields of its dataclass.

    Raises:
        ConfigError: an unknown name or setting.
    """
    if name not in _BACKENDS:
        raise ConfigError(f"unknown landmarks {name!r}{nearest(name, sorted(_BACKENDS))}")
    module, cls = _BACKENDS[name]
    return build(getattr(importlib.import_module(module), cls), settings or {}, "landmark_settings")
