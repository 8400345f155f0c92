"""The configuration of a curation run. Units are in the names; a run saves its resolved form as `run.yaml`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation import configuration
from curation.configuration import ConfigError, nearest

CONFIG_DIR = Path(__file__).resolve().parent.parent / "configs" / "curation"


@dataclass(frozen=True)
class MediaConfig:
    """Bounds of the decoder (see `curation.media`); they decide which files fail, not what is measured.

    Attributes:
        deadline_base_s, deadline_per_media_s: a clip of d seconds may take base + per_media * d seconds of decoding.
        stall_s: a decoder that says nothing for so long is killed.
        max_frame_px: width * height of the largest frame that is decoded.
        frame_budget_mib: shared memory for decoded frames, a worker.
        prefetch_blocks: how many blocks of frames the decoder may run ahead; 0 = decoder and worker share one core.
    """

    deadline_base_s: float = 20.0
    deadline_per_media_s: float = 4.0
    stall_s: float = 30.0
    max_frame_px: int = 8192 * 4608
    frame_budget_mib: int = 128
    prefetch_blocks: int = 0


@dataclass(frozen=True)
class JobConfig:
    """How the work is spread; nothing here changes a number in the manifest.

    Attributes:
        executor: `inprocess`, `ray`, or `auto` (Ray from `ray_from_clips` clips and two workers on, or where RAY_ADDRESS is set).
        shard_clips: clips a shard, the unit of commitment; 0 = by the number of clips (1 to 64). Fixed by a run's first start.
        decode_attempts: how often a clip is tried whose decoder hung or died.
        worker_deaths: a clip during which so many workers died is given up as `crash`.
    """

    executor: str = "auto"
    ray_from_clips: int = 200
    shard_clips: int = 0
    decode_attempts: int = 2
    worker_deaths: int = 3

    def __post_init__(self) -> None:
        known = ("auto", "inprocess", "ray")
        if self.executor not in known:
            raise ValueError(f"executor is {self.executor!r}{nearest(self.executor, known)}")
        if self.shard_clips < 0 or self.decode_attempts < 1 or self.worker_deaths < 1:
            raise ValueError("shard_clips needs 0 or more, decode_attempts and worker_deaths 1 or more")


@dataclass(frozen=True)
class CurationConfig:
    """Everything a run depends on, besides the clips.

    Attributes:
        profile: `embedded` or `paper`; names the YAML that filled the rest.
        preset: thresholds that fill `accepted` and `reject_reasons` (`configs/curation/presets.yaml`).
        sample_hz: rate at which frames are looked at.
        landmarks: the landmark backend's name.
        landmark_settings: its settings, by field.
        scorers: the scorers that run, by name, each with its settings by field.
        source_settings: the source's settings, by field.
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
    media: MediaConfig = field(default_factory=MediaConfig)
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
        raise ConfigError(f"unknown profile {profile!r}{nearest(profile, profiles)}")
    files = [CONFIG_DIR / f"{profile}.yaml", *([file] if file else [])]
    return configuration.load(CurationConfig, files, (f"profile={profile}", *overrides))


def digest(value: Any) -> str:
    """Twelve hexadecimal digits that name a tree of plain values."""
    text = json.dumps(configuration.to_tree(value), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
