"""What a person does on one frame: the planted factors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pose:
    """The factors of a frame, each independent of the others; the default is a person at rest, eyes open, lips closed, facing the camera.

    Shape factors are weights, 0 at rest and 1 at their strongest (blinks: 1 is shut). Left and right are the person's own. Angles have the
    signs of `curation.landmarks.pose`: yaw > 0 turns the face towards the right of the picture, pitch > 0 lowers it, roll > 0 tilts it
    clockwise as seen in the picture.

    Attributes:
        jaw_open: the jaw lowered with the lips parted, so that teeth are seen (speech stays below about 0.6; 1 is a shout).
        smile: corners of the mouth drawn up, both sides.
        pucker: lips narrowed and pushed forward (u, w).
        funnel: lips rounded and open (o, sh).
        press: lips pressed against each other (p, b, m).
        stretch: corners drawn apart (i, e).
        roll_lips: lips rolled in over the teeth, the lower more than the upper (f, v; the end of p, b, m).
        blink_left, blink_right: lids, 1 shut.
        squint: lower lids raised, cheeks tightened.
        brows_up, brows_down: both brows raised; drawn down and together.
        gaze_yaw_deg, gaze_pitch_deg: eyes against the head: > 0 to the right of the picture; > 0 down. Sensible within 25 and 15 degrees.
        yaw_deg, pitch_deg, roll_deg: the head against the camera. Sensible within 45, 25 and 30 degrees.
        shift_x, shift_y: how far the whole person moves in the picture, as a share of its side; > 0 right; > 0 down.
        distance: how far the camera stands, times the scene's own distance (1.1: further away, so smaller).
    """

    jaw_open: float = 0.0
    smile: float = 0.0
    pucker: float = 0.0
    funnel: float = 0.0
    press: float = 0.0
    stretch: float = 0.0
    roll_lips: float = 0.0
    blink_left: float = 0.0
    blink_right: float = 0.0
    squint: float = 0.0
    brows_up: float = 0.0
    brows_down: float = 0.0
    gaze_yaw_deg: float = 0.0
    gaze_pitch_deg: float = 0.0
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    distance: float = 1.0
