"""From what moves to what the face does: the factors of a motion as the poses of the renderer."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from curation.people.motion import Motion
from curation.people.pose import Pose

# The widest vowel; more is a shout. With it FaceMesh reads lips as far apart as on real speakers: of the eyes' distance 0.16 at the 95th
# percentile of a clip (median of 34 clips of people who speak); 0.6 gave 0.14.
_JAW_OF_OPENING = 0.7
# Of the face units at their extremes, which speech does not reach: with 0.8 and 0.7 lips are rounded so much that face networks take
# an open mouth for a closed one.
_PUCKER_OF_ROUNDING, _FUNNEL_OF_ROUNDING = 0.3, 0.1
_NEUTRAL_WIDTH_PX, _SPREAD_WIDTH_PX = 35.5, 39.5  # of the inner mouth, as in `samples.mouth`
POSE_FIELDS = tuple(field.name for field in fields(Pose))


def pose_tracks(motion: Motion) -> dict[str, np.ndarray]:
    """Every field of `Pose` over the clip, (T,) float32 each, so that what is stored is just what is rendered."""
    factors, mouth = motion.factors, motion.mouth
    opening = factors["mouth"]
    brows = factors["brows"]
    tracks = {
        "jaw_open": _JAW_OF_OPENING * opening,
        "smile": factors["smile"],
        "pucker": _PUCKER_OF_ROUNDING * mouth.rounding * (1 - 0.5 * opening),
        "funnel": _FUNNEL_OF_ROUNDING * mouth.rounding * np.clip(2 * opening, 0, 1),
        "press": 0.7 * mouth.press,
        "stretch": 0.5 * np.clip((mouth.width_px - _NEUTRAL_WIDTH_PX) / (_SPREAD_WIDTH_PX - _NEUTRAL_WIDTH_PX), 0, 1),
        "roll_lips": np.clip(0.8 * mouth.tuck + 0.25 * mouth.press, 0, 1),
        "blink_left": factors["blink"],
        "blink_right": factors["blink"],
        "squint": np.zeros(motion.n_frames),
        "brows_up": np.clip(brows, 0, 1),
        "brows_down": np.clip(-brows, 0, 1),
        **{name: factors[name] for name in POSE_FIELDS if name in factors},
    }
    return {name: np.asarray(tracks[name], np.float32) for name in POSE_FIELDS}


def pose_at(tracks: dict[str, np.ndarray], index: int) -> Pose:
    """The pose of one frame of `pose_tracks`."""
    return Pose(**{name: float(tracks[name][index]) for name in POSE_FIELDS})
