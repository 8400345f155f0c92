"""Drivers for the instrument: rendered people that face the camera and move in every factor independently, and a sound of other words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from benchmarks.truth.factors import FACTORS, planted
from curation.landmarks.sixty_eight import RIGID
from curation.people.acting import POSE_FIELDS, pose_at, pose_tracks
from curation.people.clip import voice_of
from curation.people.motion import SMOOTH, Motion, cosines, one_blink
from curation.people.person import Person
from curation.people.points import anchors, on_surface
from curation.people.rendered import Studio
from curation.people.scene import Scene
from curation.people.settings import FPS, Take
from curation.people.speech import draw_speech, sound_of
from curation.samples.mouth import MouthTrack, mouth_track
from manifests import UserError

SEED = 9  # of the set of people: none that anything was trained or benched on (0 is training's, 1 and 3 are benchmarks')
MOUTH_FIELDS = ("jaw_open", "pucker", "funnel", "press", "stretch", "roll_lips")
EYE_FIELDS = ("blink_left", "blink_right", "brows_up", "brows_down", "gaze_yaw_deg", "gaze_pitch_deg")
HEAD_FIELDS = ("roll_deg", "shift_x", "shift_y", "distance")
# Within what people do in training (`motion.SMOOTH`), at the wide end of it. The slow ones first: they have least room in their band.
_MOVES = {  # centre, amplitude, band
    "roll_deg": (0.0, 8.0, 1.5), "shift_x": (0.0, 0.03, 1.5), "shift_y": (0.0, 0.022, 1.5), "distance": (1.0, 0.06, 1.5),
    "gaze_yaw_deg": (0.0, 13.0, 3.0), "gaze_pitch_deg": (0.0, 8.0, 3.0), "brows": (0.1, 0.65, 3.0),
}  # fmt: skip
_SMILE = 0.12
_DRAWS = 16  # of words and blinks, of which those are taken that correlate least
_LEAD_S, _OPEN_PX = 0.01, 11.5  # as in `curation.people.motion`
SHORTEST_S = 1.5  # below it ten signals cannot be told apart


@dataclass(frozen=True)
class Act:
    """What a driver does over T frames at 25 a second.

    Attributes:
        pose: by field of `Pose`, (T,).
        spoken: of the sound's speaker, the fields of the mouth.
        sound: (N,) float32 at 16 kHz.
    """

    pose: dict[str, np.ndarray]
    spoken: dict[str, np.ndarray]
    sound: np.ndarray

    @property
    def n_frames(self) -> int:
        return len(self.pose["yaw_deg"])


def draw_act(take: Take, seconds: float) -> Act:
    """The act of a person: mouth, lids, sound and the smooth factors hardly correlate in the clip."""
    n = round(seconds * FPS)
    person = Person.from_seed(take.person_seed)
    voice = voice_of(person)
    rng = np.random.default_rng([take.person_seed, take.clip, 0x72])
    times_s = np.arange(n) / FPS + _LEAD_S
    speeches = [draw_speech(n / FPS, voice, rng) for _ in range(_DRAWS)]
    mouths = [mouth_track(phones, times_s) for phones in speeches]
    gaps = np.stack([mouth.gap_px for mouth in mouths])
    apart = np.abs(np.corrcoef(gaps)) + np.eye(_DRAWS)
    own, other = (int(k) for k in np.unravel_index(apart.argmin(), apart.shape))
    openings = [gaps[own], gaps[other]]
    blinks = [_blinking(times_s, rng) for _ in range(_DRAWS)]
    lids = min(blinks, key=lambda blink: float(np.abs(np.corrcoef([blink, *openings])[0, 1:]).max()))
    tracks = _smooth([*openings, lids], n, rng)
    pose = _pose(mouths[own], lids, tracks, n)
    spoken = {name: _pose(mouths[other], lids, tracks, n)[name] for name in MOUTH_FIELDS}
    return Act(pose, spoken, sound_of(speeches[other], voice, take.scene_seed).astype(np.float32) / 32768)


def _pose(mouth: MouthTrack, blink: np.ndarray, tracks: dict[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    still = {name: np.zeros(n) for name in SMOOTH}
    factors = {**still, **tracks, "mouth": np.clip(mouth.gap_px / _OPEN_PX, 0, 1), "blink": blink, "smile": np.full(n, _SMILE)}
    return {name: track.astype(float) for name, track in pose_tracks(Motion(factors, mouth)).items()}


def _blinking(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T,) 0..1: blinks as in training, closer together, so that short clips hold several."""
    closed, at = np.zeros(len(times_s)), float(rng.uniform(0.1, 0.5))
    while at < times_s[-1]:
        closed = np.maximum(closed, float(rng.uniform(0.5, 1.0)) * one_blink(times_s - at))
        at += float(rng.uniform(0.4, 1.1))
    return closed


def _smooth(before: list[np.ndarray], n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Band-limited random tracks, uncorrelated with one another and with `before`, as far as a short clip's band has room."""
    tracks: dict[str, np.ndarray] = {}
    for name, (centre, amplitude, band_hz) in _MOVES.items():
        others = [*before, *tracks.values()]
        count = min(n - 1, max(int(2 * band_hz * n / FPS), len(others) + 2))
        basis = cosines(n, count)
        hz = np.arange(1, count + 1) * FPS / (2 * n)
        draw = rng.standard_normal(count) / (1 + (2 * hz / band_hz) ** 2)
        fixed = np.linalg.qr(np.stack([basis.T @ (track - track.mean()) for track in others], axis=1))[0]
        track = basis @ (draw - fixed @ (fixed.T @ draw))
        tracks[name] = centre + amplitude * track / np.abs(track).max()
    return tracks


@dataclass
class Someone:
    """A person of the set in their scene; what is made is made once.

    Attributes:
        number: of the person in the set.
        seconds: of the act.
        size_px: side of the rendered picture.
        seed: of the set.
    """

    number: int
    seconds: float
    size_px: int = 256
    seed: int = SEED

    @property
    def take(self) -> Take:
        return Take(self.seed, self.number, 0)

    @property
    def person(self) -> Person:
        return Person.from_seed(self.take.person_seed)

    @cached_property
    def studio(self) -> Studio:
        return Studio(self.person, Scene.from_seed(self.take.scene_seed), self.size_px)

    @cached_property
    def act(self) -> Act:
        """The act, its head moved so that the face's middle goes where the tracks of the shift say: a roll alone would carry it along."""
        act = draw_act(self.take, self.seconds)
        still = act.pose | {name: np.zeros(act.n_frames) for name in ("shift_x", "shift_y")}
        carried = self.points_px(still)[:, RIGID].mean(1) / self.size_px
        carried -= carried.mean(0)
        return replace(act, pose=act.pose | {f"shift_{axis}": act.pose[f"shift_{axis}"] - carried[:, k] for k, axis in enumerate("xy")})

    @cached_property
    def portrait(self) -> np.ndarray:
        """(H, W, 3) uint8: at rest, eyes open, lips closed, facing the camera."""
        return self.frames(at_rest(1))[0]

    def frames(self, pose: dict[str, np.ndarray]) -> np.ndarray:
        """(T, H, W, 3) uint8 of any poses."""
        return np.stack([self.studio.render(pose_at(pose, k)).rgb for k in range(len(pose["yaw_deg"]))])

    def points_px(self, pose: dict[str, np.ndarray]) -> np.ndarray:
        """(T, 68, 2) on the mesh; a hundredth of the time of `frames`."""
        vertices, weights = anchors()
        return np.stack([on_surface(self.studio.vertices_px(pose_at(pose, k)), vertices, weights) for k in range(len(pose["yaw_deg"]))])

    def planted(self, pose: dict[str, np.ndarray]) -> np.ndarray:
        """(T, 9): `FACTORS` of any poses."""
        return planted(self.points_px(pose), np.column_stack([pose["gaze_yaw_deg"], pose["gaze_pitch_deg"]]))

    def jaw_for(self, gaps: np.ndarray) -> np.ndarray:
        """(T,) how far the jaw is open where the lips, otherwise at rest, are (T,) eye distances further apart than at rest."""
        jaw = np.linspace(0, 1, 21)
        lips = self.planted(at_rest(len(jaw)) | {"jaw_open": jaw})[:, FACTORS.index("lips")]
        return np.interp(gaps, np.maximum.accumulate(lips - lips[0]), jaw)

    @cached_property
    def signals(self) -> np.ndarray:
        """(T, 10): `SIGNALS` as planted; the sound as what this person's lips would do if they spoke it."""
        speaking = self.planted(at_rest(self.act.n_frames) | self.act.spoken)
        return np.column_stack([self.planted(self.act.pose), speaking[:, 0]])

    @cached_property
    def performance(self) -> np.ndarray:
        """(T, H, W, 3) uint8 of the act."""
        return self.frames(self.act.pose)


def at_rest(n_frames: int) -> dict[str, np.ndarray]:
    """The pose of a portrait, (T,) by field."""
    return {name: np.zeros(n_frames) for name in POSE_FIELDS} | {"smile": np.full(n_frames, _SMILE), "distance": np.ones(n_frames)}


def driver_of(number: int, count: int) -> int:
    """Who drives a person's portrait, of `count` people: the next."""
    return (number + 1) % count


def held_out(count: int, seconds: float, size_px: int = 256, seed: int = SEED) -> list[Someone]:
    """The first people of the set.

    Args:
        seed: another set's people: those that a model was trained on, in acts that it was not.

    Raises:
        UserError: too few people or seconds.
    """
    if count < 2:
        raise UserError("--people: at least 2; each is driven by the next")
    if seconds < SHORTEST_S:
        raise UserError(f"--seconds: at least {SHORTEST_S:g}; in less ten signals cannot be told apart")
    return [Someone(number, seconds, size_px, seed) for number in range(count)]
