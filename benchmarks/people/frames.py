"""What curation measured of every frame beside what was planted in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import manifests
from curation.contracts import Clip
from curation.landmarks import pose
from curation.landmarks.lids import LidNetwork
from curation.landmarks.sixty_eight import interocular
from curation.media import MediaReader
from curation.people.truth import PeopleTruth, read_people_truth
from inference.evaluation.metrics.face import mouth_opening
from manifests import LandmarkIndex

_UPPER_LIP, _LOWER_LIP = 62, 66


def truth_of(people: Path, source_key: str) -> PeopleTruth:
    """The truth of a manifest's clip."""
    return read_people_truth(people / "truth" / f"{Path(source_key).stem}.safetensors")


def frame_table(people: Path, run: Path) -> pd.DataFrame:
    """A row a frame of every scored clip: who, what was planted, `found`, and what curation read of it (NaN where no face)."""
    rows = manifests.load(run)
    landmarks, lids, tables = LandmarkIndex(run), LidNetwork(), []
    with MediaReader() as reader:
        for row in rows[rows.status == "scored"].sort_values("source_key").itertuples():
            truth = truth_of(people, row.source_key)
            clip = Clip(row.source, row.source_key, row.identity, row.video_path)
            with reader.read(clip, audio=False) as stream:
                pictures = [frame.rgb.copy() for frame in stream.frames()]
            table = _frames(truth, landmarks.load(row.clip_id).points_px, pictures, lids)
            tables.append(table.assign(identity=row.identity, clip_id=row.clip_id))
    return pd.concat(tables, ignore_index=True)


def _frames(truth: PeopleTruth, points_px: np.ndarray, pictures: list[np.ndarray], lids: LidNetwork) -> pd.DataFrame:
    n = min(len(points_px), truth.n_frames, len(pictures))
    seen, planted = points_px[:n].astype(float), truth.points_px[:n].astype(float)
    away = np.linalg.norm(seen - planted, axis=-1) / truth.eye_distance_px[:n, None]
    visible = truth.visible[:n]
    angles = pose.angles_deg(pose.head_rotations(seen)[0])
    eyes = interocular(seen)
    person = truth.person
    return pd.DataFrame(
        {
            "frame": np.arange(n),
            "sex": person.sex,
            "age_years": person.age_years,
            "skin_tone": person.skin_tone,
            "hair_style": person.hair_style,
            "glasses": person.glasses,
            "beard": person.beard,
            "yaw_deg": truth.pose["yaw_deg"][:n],
            "pitch_deg": truth.pose["pitch_deg"][:n],
            "roll_deg": truth.pose["roll_deg"][:n],
            "yaw_abs_deg": np.abs(truth.pose["yaw_deg"][:n]),
            "eye_distance_px": truth.eye_distance_px[:n],
            "face_light": truth.face_light[:n],
            "skin_ita_deg": truth.skin_ita_deg[:n],
            "lip_gap": truth.lip_gap_px[:n] / truth.eye_distance_px[:n],
            "mouth_opening": mouth_opening(planted),
            "lid_gap": truth.lid_gap_px[:n].mean(axis=1) / truth.eye_distance_px[:n],
            "found": np.isfinite(seen).all(axis=(1, 2)),
            "error": np.where(visible.any(axis=1), np.nanmean(np.where(visible, away, np.nan), axis=1), np.nan),
            "yaw_read_deg": angles[:, 0],
            "pitch_read_deg": angles[:, 1],
            "roll_read_deg": angles[:, 2],
            "lip_gap_read": np.linalg.norm(seen[:, _LOWER_LIP] - seen[:, _UPPER_LIP], axis=-1) / eyes,
            "mouth_opening_read": mouth_opening(seen),
            "lid_gap_read": lids.openings(pictures[:n], seen),
        }
    )


def _correlation(rows: pd.DataFrame, planted: str, read: str) -> float:
    both = rows[[planted, read]].dropna()
    return float(both[planted].corr(both[read])) if len(both) > 2 and both[planted].std() > 1e-6 else float("nan")


def _at_equal_pose(rows: pd.DataFrame, planted: str, read: str) -> float:
    """Partial correlation given the head's pose: what face networks read of lips and lids changes with pitch and yaw too."""
    both = rows[[planted, read, "yaw_deg", "pitch_deg"]].dropna()
    if len(both) < 20:
        return float("nan")
    yaw, pitch = (both[name] / 10 for name in ("yaw_deg", "pitch_deg"))
    pose_terms = np.stack([np.ones(len(both)), yaw, pitch, yaw**2, pitch**2, yaw * pitch], axis=1)
    left = both[[planted, read]].to_numpy(float)
    left = left - pose_terms @ np.linalg.lstsq(pose_terms, left, rcond=None)[0]
    return float(np.corrcoef(left.T)[0, 1]) if (left.std(axis=0) > 1e-6).all() else float("nan")


def _slope(rows: pd.DataFrame) -> float:
    both = rows[["yaw_deg", "yaw_read_deg"]].dropna()
    return float(np.polyfit(both["yaw_deg"], both["yaw_read_deg"], 1)[0]) if len(both) > 2 else float("nan")


def _angle_error(rows: pd.DataFrame, name: str) -> float:
    return float((rows[f"{name}_read_deg"] - rows[f"{name}_deg"]).abs().median())


def _pitch_error(rows: pd.DataFrame) -> float:
    """The generic face looks up or down a little against everyone's own: that constant is the person's, the rest is error."""
    off = rows["pitch_read_deg"] - rows["pitch_deg"]
    return float((off - off.median()).abs().median())


MEASURES = {
    "detected": lambda rows: float(rows["found"].mean()),
    "landmark error": lambda rows: float(rows["error"].median()),
    "yaw error, deg": lambda rows: _angle_error(rows, "yaw"),
    "pitch error, deg": _pitch_error,
    "roll error, deg": lambda rows: _angle_error(rows, "roll"),
}
WHOLE_CLIP_MEASURES = {
    "lip gap r": lambda rows: _correlation(rows, "lip_gap", "lip_gap_read"),
    "mouth opening r": lambda rows: _correlation(rows, "mouth_opening", "mouth_opening_read"),
    "lid gap r": lambda rows: _correlation(rows, "lid_gap", "lid_gap_read"),
    "lip gap r at equal pose": lambda rows: _at_equal_pose(rows, "lip_gap", "lip_gap_read"),
    "lid gap r at equal pose": lambda rows: _at_equal_pose(rows, "lid_gap", "lid_gap_read"),
    "yaw r": lambda rows: _correlation(rows, "yaw_deg", "yaw_read_deg"),
    "yaw slope": _slope,
}
