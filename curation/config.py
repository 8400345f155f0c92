"""The configuration of a curation run. Units are in the names; a run saves its resolved form as `run.yaml`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation.media.limits import MediaLimits
from manifests import configuration
from manifests.config_files import config_file
from manifests.errors import UserError, did_you_mean

CONFIG_DIR = config_file("curation")


@dataclass(frozen=True)
class JobConfig:
    """How the work is spread; nothing here changes a number in the manifest.

    Attributes:
        executor: `inprocess`, `ray`, or `auto` (Ray from `ray_from_clips` clips and two workers on, or where RAY_ADDRESS is set).
        shard_clips: clips a shard, the unit of commitment; 0 = by the number of clips (1 to 128). Fixed by a run's first start.
        decode_attempts: how often a clip is tried whose decoder hung or died.
        worker_deaths: a clip during which so many workers died is given up as `crash`.
        gpus_per_worker: share of a GPU that Ray sets aside for a worker whose networks run on one; 0 = from the memory that they may
            take and the memory of the cluster's smallest GPU.
    """

    executor: str = "auto"
    ray_from_clips: int = 200
    shard_clips: int = 0
    decode_attempts: int = 2
    worker_deaths: int = 3
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        known = ("auto", "inprocess", "ray")
        if self.executor not in known:
            raise ValueError(f"executor is {self.executor!r}{did_you_mean(self.executor, known)}")
        if self.shard_clips < 0 or self.decode_attempts < 1 or self.worker_deaths < 1:
            raise ValueError("shard_clips needs 0 or more, decode_attempts and worker_deaths 1 or more")
        if not 0 <= self.gpus_per_worker <= 1:
            raise ValueError("gpus_per_worker must lie in 0..1")


@dataclass(frozen=True)
class CurationConfig:
    """Everything a run depends on, besides the clips.

    Attributes:
        profile: `embedded` or `paper`; names the YAML that filled the rest.
        preset: thresholds that fill `accepted` and `reject_reasons` (`configs/curation/presets.yaml`).
        sample_hz: rate at which frames are looked at.
        landmarks: the landmark backend's name.
        landmark_settings: its settings, by field; those under `runtime` say how it runs, not what is measured.
        scorers: the scorers that run, by name, each with its settings by field.
        source_settings: the source's settings, by field.
        media: bounds of the decoder; they decide which files fail, not what is measured.
        workers: processes that score clips; 0 = one a core (of the cluster, under Ray).
    """

    profile: str = "embedded"
    preset: str = "embedded"
    sample_hz: float = 25.0
    landmarks: str = "facemesh"
    landmark_settings: dict[str, Any] = field(default_factory=dict)
    scorers: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    source_settings: dict[str, Any] = field(default_factory=dict)
    workers: int = 0
    media: MediaLimits = field(default_factory=MediaLimits)
    job: JobConfig = field(default_factory=JobConfig)

    def __post_init__(self) -> None:
        if not 1 <= self.sample_hz <= 120:
            raise ValueError("sample_hz must lie in 1..120")
        if self.workers < 0:
            raise ValueError("workers needs 0 or more")


def load_config(profile: str = "embedded", file: str | None = None, overrides: tuple[str, ...] = ()) -> CurationConfig:
    """The profile's YAML, then `file`, then dotted overrides (`a.b=value`)."""
    profiles = sorted(path.stem for path in CONFIG_DIR.glob("*.yaml") if path.stem != "presets")
    if profile not in profiles:
        raise UserError(f"unknown profile {profile!r}{did_you_mean(profile, profiles)}")
    files: list[Path | str] = [CONFIG_DIR / f"{profile}.yaml", *([file] if file else [])]
    return configuration.load(CurationConfig, files, (f"profile={profile}", *overrides))


def digest(value: Any) -> str:
    """Twelve hexadecimal digits that name a tree of plain values."""
    text = json.dumps(configuration.to_tree(value), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
