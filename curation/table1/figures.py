"""Table 1 from manifests: which clips count, and what they come to a source, before and after filtering."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import manifests
from manifests import Preset, UserError
from manifests.store import schema_of

ALL = "(all)"
MEANS = ("face_width_px", "face_height_px", "sync_c", "sync_d", "head_rotation_deg", "lipsync_conf")
_TEXTS = ("clip_id", "source", "status", "error_kind", "accepted", "reject_reasons", "duration_ms", "sync_model")
_EXTRA = ("parent_clip_id", "crop_zoom", "duplicate_of")
_PX = ("face_x0_px", "face_y0_px", "face_x1_px", "face_y1_px", "face_width_px", "face_height_px", "face_size_px_p5", "interocular_px_p5")
_NO_SYNCNET = "no SyncNet run: `make models` fetches the weights, `make curate PROFILE=paper` scores with them"
_WHY = {
    "sync_c": _NO_SYNCNET,
    "sync_d": _NO_SYNCNET,
    "face_width_px": "scorer face_resolution did not run, or saw no face",
    "face_height_px": "scorer face_resolution did not run, or saw no face",
    "head_rotation_deg": "scorer head_pose did not run, or saw no face",
    "lipsync_conf": "scorer lipsync did not run, or heard no sound",
}


@dataclass(frozen=True)
class Figures:
    """Sums and means over the scored clips of a group; every clip weighs the same.

    Attributes:
        clips: scored clips.
        hours: their length.
        face_width_px .. lipsync_conf: means over the clips that have the score; NaN where none has, and then `why` says why.
        counted: clips behind each mean.
    """

    clips: int
    hours: float
    face_width_px: float
    face_height_px: float
    sync_c: float
    sync_d: float
    head_rotation_deg: float
    lipsync_conf: float
    counted: dict[str, int] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceFigures:
    """One source, or all: before and after filtering, and the clips that could not be scored."""

    source: str
    failed: int
    before: Figures
    after: Figures


@dataclass(frozen=True)
class Ours:
    """Our side of Table 1.

    Attributes:
        sources: a row a source, sorted, then `(all)`.
        survival: as `manifests.survival` gives it, under `preset`.
        notes: what was left out or is not known, a sentence each.
    """

    preset: Preset
    sources: tuple[SourceFigures, ...]
    survival: pd.DataFrame
    notes: tuple[str, ...]

    def of(self, source: str) -> SourceFigures | None:
        return next((row for row in self.sources if row.source == source), None)


def measure(paths: Sequence[str | os.PathLike], preset: str | None = None) -> Ours:
    """Figures of one or several manifests.

    Args:
        paths: runs or manifest files; what is no manifest is passed over with a note, so that `outputs/*` will do.
        preset: the filter; None takes that of the runs, which must agree.

    Raises:
        UserError: no manifest among them, an unknown preset, or runs of different presets.
    """
    other: list[tuple[str, UserError]] = []
    parts: list[tuple[str | os.PathLike, set[str]]] = []
    presets: dict[str, str] = {}
    for path in paths:
        try:
            present = set(schema_of(path).names)
            own = _preset_of(manifests.run_config(path))
        except UserError as error:
            other.append((str(path), error))
            continue
        if own:
            presets.setdefault(own, str(path))
        parts.append((path, present))
    if not parts:
        raise UserError(f"none of the {len(other)} paths holds a manifest; the first: {other[0][1]}")
    if preset is None and len(presets) != 1:
        held = ", ".join(f"{name} ({path})" for name, path in presets.items()) or "none"
        raise UserError(f"the manifests do not agree on a preset: {held}; name one with --preset")
    chosen = manifests.preset(preset or next(iter(presets)))
    wanted = dict.fromkeys([*_TEXTS, *MEANS, *_PX, *(rule.column for rule in chosen.rules)])
    frames = [manifests.load(path, [*wanted, *(name for name in _EXTRA if name in present)]) for path, present in parts]
    df, dropped = _distinct(pd.concat(frames, ignore_index=True))
    df = manifests.apply(_at_source_scale(df), chosen, warn=False)
    groups = [(str(name), group) for name, group in df.groupby("source", sort=True)]
    rows = tuple(_source(name, group) for name, group in [*groups, (ALL, df)])
    survival = manifests.survival(df, chosen)
    return Ours(chosen, rows, survival, (*_passed_over(other), *dropped, *_partial(rows[-1].before), *_unpassable(df, chosen)))


def _passed_over(other: Sequence[tuple[str, UserError]]) -> list[str]:
    """What was no manifest, by name; all of it in one sentence."""
    names = [Path(path).name for path, _ in other[:8]] + (["..."] if len(other) > 8 else [])
    return [f"{len(other)} paths hold no manifest and were passed over: {', '.join(names)}."] if other else []


def _preset_of(run_config: dict[str, Any]) -> str | None:
    """The preset that a run judged by; that of its parent where it was materialised."""
    while "parent" in run_config:
        run_config = run_config["parent"].get("run_config") or {}
    return (run_config.get("config") or {}).get("preset")


def _distinct(df: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Every recording once: the same clip in two manifests, crops beside what they were cut from, and marked duplicates count once."""
    notes = []
    twice = df["clip_id"].duplicated().to_numpy(copy=True)
    if "parent_clip_id" in df:
        twice |= df["parent_clip_id"].isin(set(df["clip_id"])).to_numpy(bool)
    if twice.any():
        notes.append(f"{int(twice.sum())} clips are in several manifests, as they are or cut out; each counts once.")
    if "duplicate_of" in df:
        duplicate = df["duplicate_of"].isin(set(df["clip_id"])).to_numpy(bool) & ~twice
        if duplicate.any():
            notes.append(f"{int(duplicate.sum())} clips are marked as duplicates of other clips; each recording counts once.")
        twice |= duplicate
    return df[~twice].reset_index(drop=True), notes


def _at_source_scale(df: pd.DataFrame) -> pd.DataFrame:
    """Pixels of materialised clips back in pixels of the files that they were cut from."""
    if "crop_zoom" not in df:
        return df
    zoom = df["crop_zoom"].astype("float64").fillna(1.0)
    return df.assign(**{name: (df[name].astype("float64") / zoom).astype("float32") for name in _PX})


def _source(name: str, group: pd.DataFrame) -> SourceFigures:
    scored = (group["status"] == "scored").to_numpy(bool)
    after = scored & group["accepted"].to_numpy(bool)
    return SourceFigures(
        name, int((~scored).sum()), _figures(group[scored], "no clip was scored"), _figures(group[after], "no clip passed the filter")
    )


def _figures(df: pd.DataFrame, why_empty: str) -> Figures:
    values = {name: df[name].astype("float64").to_numpy() for name in MEANS}
    counted = {name: int(np.isfinite(column).sum()) for name, column in values.items()}
    means = {name: float(np.nanmean(column)) if counted[name] else float("nan") for name, column in values.items()}
    why = {name: _WHY[name] if len(df) else why_empty for name in MEANS if not counted[name]}
    hours = float(df["duration_ms"].astype("float64").sum() / 3.6e6)
    return Figures(len(df), hours, **means, counted=counted, why=why)


def _partial(figures: Figures) -> list[str]:
    """Means that not every scored clip has a part in."""
    return [
        f"{name} is known of {n:,} of {figures.clips:,} scored clips; the means are over those."
        for name, n in figures.counted.items()
        if 0 < n < figures.clips
    ]


def _unpassable(df: pd.DataFrame, preset: Preset) -> list[str]:
    """Rules that nobody can pass because their column was not measured."""
    scored = df[df["status"] == "scored"]
    names = dict.fromkeys(rule.column for rule in preset.rules if rule.missing == "reject")
    missing = [name for name in names if len(scored) and scored[name].isna().all()]
    return [f"No clip can pass the rules on {name}: {_WHY.get(name, 'it was not measured')}." for name in missing]
