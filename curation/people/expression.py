"""From the factors of a `Pose` to weights of ARKit's face units; blinks are the renderer's, for how far a lid goes depends on the eye."""

from __future__ import annotations

from curation.people.pose import Pose

_LOOK_FULL_DEG = 30.0  # the gaze at which the lids have followed as far as the units eyeLook… go

# What one factor moves, at weight 1. The jaw alone would hide the upper teeth behind the lip: lips part as it opens.
_UNITS = {
    "jaw_open": {"jawOpen": 0.72, "mouthUpperUp*": 1.1, "mouthLowerDown*": 0.45},
    "smile": {"mouthSmile*": 0.85, "mouthDimple*": 0.2, "cheekSquint*": 0.45},
    "pucker": {"mouthPucker": 0.95},
    "funnel": {"mouthFunnel": 0.9},
    "press": {"mouthPress*": 0.9},
    "stretch": {"mouthStretch*": 0.8},
    "roll_lips": {"mouthRollLower": 0.9, "mouthRollUpper": 0.5},
    "squint": {"eyeSquint*": 1.0, "cheekSquint*": 0.5},
    "brows_up": {"browInnerUp": 1.4, "browOuterUp*": 1.4},
    "brows_down": {"browDown*": 1.0},
}


def unit_weights(pose: Pose) -> dict[str, float]:
    """Weights of the face units by name."""
    weights: dict[str, float] = {}

    def add(name: str, weight: float) -> None:
        for side in ("Left", "Right") if name.endswith("*") else ("",):
            full = name.removesuffix("*") + side
            weights[full] = weights.get(full, 0.0) + weight

    for factor, units in _UNITS.items():
        for name, share in units.items():
            add(name, share * getattr(pose, factor))
    down, right = pose.gaze_pitch_deg / _LOOK_FULL_DEG, pose.gaze_yaw_deg / _LOOK_FULL_DEG
    add("eyeLookDown*" if down > 0 else "eyeLookUp*", abs(down))
    # The right of the picture is the person's left.
    add("eyeLookOutLeft" if right > 0 else "eyeLookInLeft", abs(right))
    add("eyeLookInRight" if right > 0 else "eyeLookOutRight", abs(right))
    return weights
