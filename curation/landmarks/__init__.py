"""Landmark backends: networks that find 68 face points on frames (`curation.contracts.LandmarkBackend`)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from curation.contracts import LandmarkBackend
from manifests.configuration import build
from manifests.errors import UserError, did_you_mean

_BACKENDS = {"facemesh": ("curation.landmarks.facemesh", "FaceMesh"), "dwpose": ("curation.dwpose.backend", "DWPose")}


def make_backend(name: str, settings: Mapping[str, Any] | None = None) -> LandmarkBackend:
    """Load the backend called `name`; its settings are the fields of its dataclass.

    Raises:
        UserError: an unknown name or setting.
    """
    if name not in _BACKENDS:
        raise UserError(f"unknown landmarks {name!r}{did_you_mean(name, sorted(_BACKENDS))}")
    module, cls = _BACKENDS[name]
    return build(getattr(importlib.import_module(module), cls), settings or {}, "landmark_settings")
