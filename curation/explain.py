"""`explain`: scores one committed clip again and shows everything that was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import manifests
from curation.config import CurationConfig
from curation.contracts import Clip, Frame
from curation.job.clip_scorer import ClipScorer
from curation.job.run import make_source
from curation.media import MediaReader
from curation.scorers.head_pose import HeadPose
from curation.scorers.lipsync import LipSync
from manifests import configuration
from manifests.errors import UserError
from manifests.tables import records, to_frame, to_table
from manifests.version import code_version

N_PICTURED = 4  # frames: as many as the picture has panels


def explain_clip(out_dir: Path, name: str, saved_run: dict[str, Any], picture: Path | None = None) -> tuple[str, Path | None]:
    """Score the clip called `name` (clip_id, a unique part of it, or a source_key) of the run in `out_dir` again.

    Returns:
        the text to print, and the picture's file (None where nothing could be decoded).
    """
    df = manifests.load(out_dir)
    before = _find(df, name)
    config = configuration.build(CurationConfig, saved_run["config"])
    clip = _clip(before, saved_run, config)
    with ClipScorer(config, code_version()) as scorer:
        scored = scorer.score(clip)
        evidence = scorer.last_evidence
    row = records(manifests.apply(to_frame(to_table([scored.row], scorer.columns)), preset=config.preset, warn=False))[0]
    text = _text(row, before, config.preset)
    if scored.faces is None or evidence is None:
        return text, None
    from curation.report.picture import explain_picture, save_png

    frames = _some_frames(clip, config)
    index = [round(frame.time_ms * config.sample_hz / 1000) for frame in frames]
    points_px = np.asarray(scored.faces.points_px)[index]
    angles_deg = HeadPose().angles_deg(points_px, np.asarray(scored.faces.confidence)[index])
    image = explain_picture(
        [(frame.time_ms, frame.rgb) for frame in frames],
        list(points_px),
        list(angles_deg),
        LipSync().sync_curve(evidence),
        row,
    )
    file = picture or out_dir / "explain" / f"{clip.clip_id}.png"
    save_png(file, image)
    return text, file


def _find(df: pd.DataFrame, name: str) -> dict[str, Any]:
    found = df[df["source_key"] == name]
    if len(found) != 1:
        found = df[df["clip_id"].str.startswith(name)]
    if len(found) != 1:
        some = ", ".join(df["clip_id"].head(3))
        raise UserError(f"{len(found)} clips are called {name!r}; give a clip_id of the manifest, for example {some}")
    return records(found)[0]


def _clip(row: dict[str, Any], saved_run: dict[str, Any], config: CurationConfig) -> Clip:
    """The clip as its source names it now: with its present path and the face box that the index gives."""
    source = make_source(saved_run["source"], saved_run["root"], config)
    for clip in source.clips():
        if clip.clip_id == row["clip_id"]:
            return clip
    raise UserError(f"the source no longer names clip {row['clip_id']} ({row['source_key']!r})")


def _some_frames(clip: Clip, config: CurationConfig) -> list[Frame]:
    """A few frames spread over the clip, copied; the clip is decoded once more for them."""
    with MediaReader() as reader, reader.read(clip, sample_hz=config.sample_hz, audio=False) as stream:
        kept = [Frame(frame.index, frame.time_ms, frame.rgb.copy()) for frame in stream.frames() if frame.index % 5 == 0]
    return [kept[i] for i in np.unique(np.linspace(0, len(kept) - 1, N_PICTURED + 2)[1:-1].round().astype(int))]


def _text(row: dict[str, Any], before: dict[str, Any], preset: str) -> str:
    """Every column with its unit; a value that differs from the committed one says so."""
    lines = []
    units = manifests.describe().set_index("name")["unit"].to_dict()
    timings = ("decode_ms", "landmarks_ms", "sync_ms", "attempts", "code_version", "file_stamp")
    for name, value in row.items():
        note = "" if name in timings or _same(value, before.get(name)) else f"   (the manifest says {_shown(before.get(name))})"
        lines.append(f"{name:22} {_shown(value)} {units.get(name, '')}{note}".rstrip())
    reasons = list(row["reject_reasons"])
    verdict = "accepted" if row["accepted"] else f"rejected: {', '.join(reasons)}"
    return "\n".join([*lines, "", f"preset {preset}: {verdict}"])


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(map(str, value)) or "-"
    if value is None or pd.isna(value):
        return "-"
    return f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)


def _same(a: Any, b: Any) -> bool:
    return _shown(a) == _shown(b)
