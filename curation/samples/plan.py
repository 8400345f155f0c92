"""Which sample clips there are, and what is planted in each."""

from __future__ import annotations

from dataclasses import dataclass, field

from curation.samples.motion import Motion

# One portrait has one face: another person is stood in for by the mirrored picture, another grade of colour and another voice.
# The names are chosen so that the 9:1 split by identity puts clean clips on both sides.
PLAIN, MIRRORED, WARM = "portrait", "mirrored", "warm"


@dataclass(frozen=True)
class Look:
    """How a stand-in for a person looks and sounds.

    Attributes:
        gain: factors on red, green and blue.
        pitch_hz, formant_scale, rate: the voice, see `voice.synthesise` and `phonemes.speak`.
    """

    mirrored: bool = False
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pitch_hz: float = 200.0
    formant_scale: float = 1.0
    rate: float = 1.0


LOOKS: dict[str, Look] = {
    PLAIN: Look(),
    MIRRORED: Look(mirrored=True, gain=(0.96, 1.0, 1.05), pitch_hz=172.0, formant_scale=0.95, rate=0.95),
    WARM: Look(gain=(1.06, 0.97, 0.86), pitch_hz=222.0, formant_scale=1.04, rate=1.06),
}


@dataclass(frozen=True)
class Shot:
    """One uninterrupted view: see `head.Camera`."""

    scale: float
    centre_px: tuple[float, float] = (222.0, 126.0)
    motion: Motion = field(default_factory=Motion)
    show_head: bool = True
    pan_to_px: tuple[float, float] | None = None
    look: str | None = None


@dataclass(frozen=True)
class ClipPlan:
    """One sample clip.

    Attributes:
        name: of the file, without its suffix.
        fault: what is planted; empty for a clean clip.
        reason: the reject reason of preset `embedded` that the fault must give; empty for a clean clip.
        sentences: numbers into `phonemes.SENTENCES`.
        shots: share the clip's time equally, with hard cuts between them.
        sound: speech | silence | none.
        offset_frames: how many frames the sound lies before the picture that it belongs to; positive = the sound is early.
        neighbour: a second face beside the first, listening.
    """

    name: str
    identity: str
    duration_s: float
    shots: tuple[Shot, ...]
    fault: str = ""
    reason: str = ""
    sentences: tuple[int, ...] = field(default=(0, 1, 2))
    size_px: tuple[int, int] = (512, 512)
    sound: str = "speech"
    offset_frames: int = 0
    neighbour: bool = False


_CALM = Motion(yaw_deg=3.0, wander_deg=2.5)
_AWAY = Motion(yaw_offset_deg=35.0, yaw_deg=2.0, pitch_offset_deg=1.0, wander_deg=1.0)
_NORMAL = Shot(2.2, motion=_CALM)

CLIPS: tuple[ClipPlan, ...] = (
    ClipPlan("clean_frontal", PLAIN, 8.0, (_NORMAL,), sentences=(0, 1, 2)),
    ClipPlan("clean_rolling", PLAIN, 7.0, (Shot(1.75, (222, 122), Motion(roll_deg=17.0)),), sentences=(4, 7, 8)),
    ClipPlan("clean_turning", WARM, 7.0, (Shot(2.1, motion=Motion(yaw_deg=21.0)),), sentences=(5, 9, 3)),
    ClipPlan("clean_nodding", MIRRORED, 7.0, (Shot(2.0, motion=Motion(pitch_deg=8.0, yaw_deg=7.0)),), sentences=(3, 6, 0)),
    ClipPlan("clean_close", MIRRORED, 7.0, (Shot(2.6, (222, 118), Motion(yaw_deg=6.0, roll_deg=5.0)),), sentences=(8, 5, 4)),
    ClipPlan(
        "clean_wide", WARM, 7.0, (Shot(1.5, (222, 158), Motion(yaw_deg=9.0, roll_deg=4.0)),), sentences=(7, 2, 9), size_px=(640, 480)
    ),
    ClipPlan(
        "face_too_small", PLAIN, 4.0, (Shot(0.62, (256, 256), _CALM),), "face_too_small", "face_too_small",
        sentences=(6,), size_px=(320, 320),
    ),
    ClipPlan("sound_late_7", PLAIN, 7.0, (_NORMAL,), "out_of_sync", "out_of_sync", sentences=(2, 6, 4), offset_frames=-7),
    ClipPlan("sound_early_5", MIRRORED, 7.0, (_NORMAL,), "out_of_sync", "out_of_sync", sentences=(9, 7, 5), offset_frames=5),
    ClipPlan("head_turned", PLAIN, 5.0, (Shot(2.1, motion=_AWAY),), "head_turned", "head_turned", sentences=(1, 8)),
    ClipPlan("no_audio", WARM, 4.0, (_NORMAL,), "no_audio", "no_audio", sentences=(4,), sound="none"),
    ClipPlan("silent_audio", WARM, 4.0, (_NORMAL,), "silent_audio", "no_speech", sentences=(8,), sound="silence"),
    ClipPlan(
        "two_faces", PLAIN, 5.0, (Shot(1.6, (222, 150), _CALM),), "two_faces", "several_faces",
        sentences=(0, 4), size_px=(768, 512), neighbour=True,
    ),
    ClipPlan(
        "hard_cut", PLAIN, 5.0, (_NORMAL, Shot(1.35, (205, 190), _CALM, look=MIRRORED)), "hard_cut", "hard_cut", sentences=(3, 5)
    ),
    ClipPlan(
        "no_face", PLAIN, 4.0, (Shot(2.5, (405, 110), show_head=False, pan_to_px=(300, 400)),), "no_face", "face_missing", sentences=(9,)
    ),
)  # fmt: skip
BROKEN: dict[str, str] = {"truncated": "truncated", "zero_bytes": "empty_file"}  # name of the file -> the error kind that it must give
