"""One sample clip from its plan: voice, mouth, head, frames, file, and the truth of every frame.

The truth of the frames is a safetensors file beside the clip, T frames each, angles in degrees (those of `head.Pose`), lengths in px of
the clip: `yaw_deg, pitch_deg, roll_deg` (T,) of the head against the camera, `head_rotation_deg` (T,) the angle of that rotation;
`yaw_turn_deg, pitch_turn_deg, roll_turn_deg` (T,) against the portrait's own pose; `mouth_open` (T,) inner lip distance over the distance
of the eyes' outer corners; `blink` (T,) 0..1; `points_px` (T, 68, 2).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from curation.contracts import AUDIO_RATE_HZ
from curation.landmarks.pose import angles_deg, turn_deg
from curation.landmarks.sixty_eight import FLIP, from_mesh
from curation.samples import head
from curation.samples.encode import FPS, write_mp4
from curation.samples.face import Expression, Face
from curation.samples.motion import MotionTrack, motion_track
from curation.samples.mouth import MouthTrack, mouth_track
from curation.samples.phonemes import SENTENCES, Phone, speak
from curation.samples.plan import LOOKS, MIRRORED, ClipPlan, Look, Shot
from curation.samples.portrait import Portrait
from curation.samples.truth import SampleTruth
from curation.samples.voice import synthesise

_ROOM_NOISE = 20.0  # int16 steps, where a shifted sound leaves a gap


@dataclass(frozen=True)
class _Actor:
    """One face of a clip: what it says and how it moves, (T,) frames."""

    phones: list[Phone]
    mouth: MouthTrack
    motion: MotionTrack
    look: Look


def render_clip(
    plan: ClipPlan, portrait: Portrait, rest: np.ndarray, out_dir: Path, seed: int, stop: threading.Event | None = None
) -> SampleTruth:
    """Write `NAME.mp4` and, where a face is shown, `truth/NAME.safetensors` into `out_dir`.

    Args:
        rest: (3, 3) rotation of the head in the portrait.
        stop: when set by another thread, rendering ends at the next frame with `InterruptedError`.
    """
    n_frames = round(plan.duration_s * FPS)
    actors = _actors(plan, n_frames, seed)
    face = Face(portrait)
    audio = _sound(plan, actors[0], seed)
    write_mp4(out_dir / f"{plan.name}.mp4", _until(stop, _frames(plan, portrait, face, actors, n_frames)), audio)
    return _truth(plan, portrait, face, actors[0], rest, n_frames, out_dir)


def _until(stop: threading.Event | None, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    for frame in frames:
        if stop is not None and stop.is_set():
            raise InterruptedError("rendering was stopped")
        yield frame


def _actors(plan: ClipPlan, n_frames: int, seed: int) -> list[_Actor]:
    """The speaker, and a silent listener if the plan has a neighbour."""
    times = np.arange(n_frames) / FPS
    actors = []
    for number in range(2 if plan.neighbour else 1):
        rng = np.random.default_rng([seed, number, *plan.name.encode()])
        look = LOOKS[MIRRORED if number else plan.identity]
        said = [SENTENCES[i] for i in plan.sentences]
        speaker = plan.sound != "silence" or not number
        phones = (
            speak(said, duration_s=plan.duration_s, rng=rng, rate=look.rate)
            if speaker and not number
            else [Phone("_", 0.0, plan.duration_s)]
        )
        motion = motion_track(plan.shots[0].motion, phones, times, rng)
        actors.append(_Actor(phones, mouth_track(phones, times), motion, look))
    return actors


def _sound(plan: ClipPlan, speaker: _Actor, seed: int) -> np.ndarray | None:
    n = round(plan.duration_s * AUDIO_RATE_HZ)
    if plan.sound == "none":
        return None
    if plan.sound == "silence":
        return np.zeros(n, np.int16)
    look = speaker.look
    sound = synthesise(speaker.phones, pitch_hz=look.pitch_hz, formant_scale=look.formant_scale, seed=seed)[:n]
    late = -round(plan.offset_frames / FPS * AUDIO_RATE_HZ)
    rng = np.random.default_rng([seed, 7, *plan.name.encode()])
    gap = np.round(_ROOM_NOISE * rng.standard_normal(abs(late))).astype(np.int16)
    if late > 0:
        return np.concatenate([gap, sound])[:n]
    return np.concatenate([sound, gap])[-n:] if late < 0 else sound


def _expression(actor: _Actor, i: int) -> Expression:
    mouth, motion = actor.mouth, actor.motion
    values = (mouth.gap_px, mouth.width_px, mouth.rounding, mouth.press, mouth.tuck, mouth.jaw_px, motion.blink, motion.brow_px)
    return Expression(*(float(v[i]) for v in values))


def _pose(actor: _Actor, i: int) -> head.Pose:
    return head.Pose(float(actor.motion.yaw_deg[i]), float(actor.motion.pitch_deg[i]), float(actor.motion.roll_deg[i]))


def _view(plan: ClipPlan, actor: _Actor, i: int, n_frames: int, size_px: tuple[int, int]) -> tuple[Shot, Look, head.Camera]:
    """The shot, the look and the camera of a frame."""
    shot = plan.shots[min(i * len(plan.shots) // n_frames, len(plan.shots) - 1)]
    look = LOOKS[shot.look] if shot.look else actor.look
    sway = np.array([actor.motion.sway_x_px[i], actor.motion.sway_y_px[i]])
    centre = shot.centre_px + sway
    if shot.pan_to_px is not None:
        centre = centre + (np.array(shot.pan_to_px) - shot.centre_px) * (i / (n_frames - 1))
    return shot, look, head.Camera(shot.scale, (float(centre[0]), float(centre[1])), size_px, look.mirrored)


def _frames(plan: ClipPlan, portrait: Portrait, face: Face, actors: list[_Actor], n_frames: int) -> Iterator[np.ndarray]:
    width, height = plan.size_px
    size = (width // len(actors), height)
    for i in range(n_frames):
        pictures = []
        for actor in actors:
            shot, look, camera = _view(plan, actor, i, n_frames, size)
            layer = face.texture(_expression(actor, i)) if shot.show_head else None
            pictures.append(_graded(head.draw(portrait, layer, _pose(actor, i), camera), look))
        yield np.concatenate(pictures, axis=1) if len(pictures) > 1 else pictures[0]


def _graded(rgb: np.ndarray, look: Look) -> np.ndarray:
    if look.gain == (1.0, 1.0, 1.0):
        return rgb
    import cv2

    table = np.clip(np.arange(256)[:, None] * np.array(look.gain), 0, 255).round().astype(np.uint8)
    return cv2.LUT(rgb, np.ascontiguousarray(table[None]))


def _truth(plan: ClipPlan, portrait: Portrait, face: Face, actor: _Actor, rest: np.ndarray, n_frames: int, out_dir: Path) -> SampleTruth:
    truth = SampleTruth(
        file=f"{plan.name}.mp4",
        identity=plan.identity,
        fault=plan.fault,
        expected_reason=plan.reason,
        width_px=plan.size_px[0],
        height_px=plan.size_px[1],
        duration_ms=plan.duration_s * 1000,
        n_frames=n_frames,
        n_faces=sum(shot.show_head for shot in plan.shots[:1]) * (2 if plan.neighbour else 1),
        n_cuts=len(plan.shots) - 1,
        offset_frames=plan.offset_frames if plan.sound == "speech" else None,
        transcript="; ".join(SENTENCES[i] for i in plan.sentences) if plan.sound == "speech" else "",
    )
    if not plan.shots[0].show_head:
        return truth
    track = _frame_truth(plan, portrait, face, actor, rest, n_frames)
    frames_file = f"truth/{plan.name}.safetensors"
    from safetensors.numpy import save_file

    (out_dir / "truth").mkdir(exist_ok=True)
    save_file(track, str(out_dir / frames_file))
    box = track["points_px"].max(1) - track["points_px"].min(1)
    means: dict[str, Any] = {
        f"{name}_mean": round(float(np.abs(track[name]).mean()), 3)
        for name in track
        if name.endswith("_deg") and name != "head_rotation_deg"
    }
    return replace(
        truth,
        **means,
        head_rotation_deg=round(float(track["head_rotation_deg"].mean()), 3),
        face_width_px=round(float(np.median(box[:, 0])), 2),
        face_height_px=round(float(np.median(box[:, 1])), 2),
        frames_file=frames_file,
    )


def _frame_truth(plan: ClipPlan, portrait: Portrait, face: Face, actor: _Actor, rest: np.ndarray, n_frames: int) -> dict[str, np.ndarray]:
    still_points = from_mesh(portrait.mesh)
    eyes_px = float(np.linalg.norm(still_points[45, :2] - still_points[36, :2]))
    whole, turns, points_px = [], [], []
    size = (plan.size_px[0] // (2 if plan.neighbour else 1), plan.size_px[1])
    for i in range(n_frames):
        _, look, camera = _view(plan, actor, i, n_frames, size)
        pose = _pose(actor, i)
        flat = face.landmarks(_expression(actor, i), still_points[:, :2])
        solid = np.concatenate([flat, head.surface_depth(portrait, flat)[:, None]], axis=1)
        seen = head.project(solid, pose, camera)
        points_px.append(seen[FLIP] if look.mirrored else seen)
        whole.append(head.head_rotation(pose, rest, look.mirrored))
        turns.append(head.head_rotation(pose, np.eye(3), look.mirrored))
    track = {}
    for suffix, rotations in (("_deg", whole), ("_turn_deg", turns)):
        for axis, values in zip(("yaw", "pitch", "roll"), angles_deg(np.stack(rotations)).T, strict=True):
            track[f"{axis}{suffix}"] = values.astype(np.float32)
    track["head_rotation_deg"] = turn_deg(np.stack(whole)).astype(np.float32)
    track["mouth_open"] = (actor.mouth.gap_px / eyes_px).astype(np.float32)
    track["blink"] = actor.motion.blink.astype(np.float32)
    track["points_px"] = np.array(points_px, np.float32)
    return track
