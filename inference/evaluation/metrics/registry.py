"""The metrics by name, and which of them can run here."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inference.evaluation.metrics.base import ClipMetric, FeatureMetric, MetricColumn, UnavailableError
from manifests import UserError
from manifests.errors import did_you_mean

_HERE = "inference.evaluation.metrics"
METRICS: dict[str, tuple[str, str]] = {
    "fid": (f"{_HERE}.fid", "Fid"),
    "fvd": (f"{_HERE}.fvd", "FvdI3d"),
    "fvd_videomae": (f"{_HERE}.fvd", "FvdVideoMae"),
    "lpips_alex": (f"{_HERE}.lpips_distance", "LpipsAlex"),
    "lpips_vgg": (f"{_HERE}.lpips_distance", "LpipsVgg"),
    "syncnet": (f"{_HERE}.sync", "SyncNet"),
    "csim": (f"{_HERE}.identity", "Csim"),
    "face_motion": (f"{_HERE}.face", "FaceMotion"),
    "eye_motion": (f"{_HERE}.face", "EyeMotion"),
    "amplitude": (f"{_HERE}.amplitude", "Amplitude"),
    "stability": (f"{_HERE}.stability", "Stability"),
    "lipsync": (f"{_HERE}.lipsync", "LandmarkLipSync"),
}


@dataclass(frozen=True)
class Metrics:
    """What runs, and why the rest does not.

    Attributes:
        unavailable: metric → reason.
    """

    clip: list[ClipMetric]
    features: list[FeatureMetric]
    unavailable: dict[str, str]

    @property
    def names(self) -> list[str]:
        """Of the metrics that run."""
        return [*(metric.name for metric in self.clip), *(metric.name for metric in self.features)]


def load_metrics(names: Iterable[str] | None = None, settings: Mapping[str, Mapping[str, Any]] | None = None) -> Metrics:
    """Load metrics.

    Args:
        names: of METRICS; None = all.
        settings: keyword arguments by metric name, e.g. {"fid": {"device": "cuda"}}.

    Raises:
        UserError: an unknown name.
    """
    settings = settings or {}
    found = Metrics([], [], {})
    for name in METRICS if names is None else names:
        if name not in METRICS:
            raise UserError(f"unknown metric {name!r}{did_you_mean(name, METRICS)}")
        try:
            metric = _kind(name)(**settings.get(name, {}))
        except UnavailableError as error:
            found.unavailable[name] = str(error)
            continue
        if isinstance(metric, FeatureMetric):
            found.features.append(metric)
        else:
            found.clip.append(metric)
    return found


def metric_columns() -> list[MetricColumn]:
    """Every column of every metric, in the order of METRICS; a feature metric's column bears the metric's name."""
    return [column for name in METRICS for column in _columns(_kind(name))]


def _columns(kind: type[ClipMetric] | type[FeatureMetric]) -> tuple[MetricColumn, ...]:
    return (kind.column,) if issubclass(kind, FeatureMetric) else kind.columns


def _kind(name: str) -> type[ClipMetric] | type[FeatureMetric]:
    module, kind = METRICS[name]
    return getattr(importlib.import_module(module), kind)


def settings_for(device: str, models_dir: str | None) -> dict[str, dict[str, Any]]:
    """Keyword arguments that put every network on one device and let it look into one models directory first."""
    torch_based = ("fid", "fvd", "fvd_videomae", "lpips_alex", "lpips_vgg", "syncnet")
    provider = "cuda" if device.startswith("cuda") else "cpu"
    return {
        **{name: {"device": device, "models_dir": models_dir} for name in torch_based},
        "csim": {"provider": provider, "models_dir": models_dir},
    }
