"""One clip: a person in a scene speaks; picture, sound and truth."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from curation.people.acting import pose_at, pose_tracks
from curation.people.camera import NO_FAULTS, Faults, draw_faults, through_camera
from curation.people.microphone import NO_SOUND_FAULTS, draw_sound_faults, through_microphone
from curation.people.motion import draw_motion
from curation.people.person import Person
from curation.people.rendered import Studio
from curation.people.scene import Scene
from curation.people.settings import FPS, PeopleSettings, Take
from curation.people.speech import Voice, draw_speech, draw_voice, sound_of
from curation.people.truth import PeopleTruth, measured, stacked, write_people_truth
from curation.samples.encode import write_mp4
from manifests.atomic import atomic_path


def voice_of(person: Person) -> Voice:
    """The voice of a person: the same in all their clips."""
    rng = np.random.default_rng([person.seed, 0xB0])
    return draw_voice(float(person.sex == "male"), (person.age_years - 18) / 62, rng)


def render_clip(take: Take, settings: PeopleSettings, video: Path, truth_file: Path, maker: str) -> PeopleTruth:
    """Render a clip into `video`, then its truth into `truth_file`; each appears whole or not at all.

    Args:
        maker: names code and data that the clip is made with; kept in the truth with the video's SHA-256.

    Raises:
        UserError: the files cannot be written.
    """
    person, scene = Person.from_seed(take.person_seed), Scene.from_seed(take.scene_seed)
    voice = voice_of(person)
    spoken = np.random.default_rng([take.person_seed, take.clip, 0x5A])
    phones = draw_speech(settings.n_frames / FPS, voice, spoken)
    motion = draw_motion(
        phones, settings.n_frames, FPS, seed=take.seed, person=take.person, clip=take.clip,
        lid_mouth_correlation=settings.lid_mouth_correlation,
    )  # fmt: skip
    pose = pose_tracks(motion)
    faults = draw_faults(take.seed, take.person, take.clip) if settings.camera_faults else NO_FAULTS
    sound_faults = draw_sound_faults(take.seed, take.person, take.clip) if settings.camera_faults else NO_SOUND_FAULTS
    sound = through_microphone(sound_of(phones, voice, take.scene_seed), sound_faults, take.scene_seed)
    studio = Studio(person, scene, settings.size_px)
    frames: list[dict[str, np.ndarray]] = []
    with atomic_path(video) as temporary:
        pictures = _pictures(studio, pose, faults, np.random.default_rng([take.person_seed, take.clip, 0x401]), frames)
        write_mp4(temporary, pictures, sound, crf=faults.crf)
    factors = {name: track.astype(np.float32) for name, track in motion.factors.items()}
    who: dict[str, Any] = {"person": person, "scene": scene, "voice": voice, "faults": faults}
    truth = PeopleTruth(factors, pose, **stacked(frames), **who, phones=tuple(phones), take=take)
    write_people_truth(truth_file, truth, {"maker": maker, "video_sha256": sha256(video)})
    return truth


def _pictures(
    studio: Studio, pose: dict[str, np.ndarray], faults: Faults, noise: np.random.Generator, frames: list[dict[str, np.ndarray]]
) -> Iterator[np.ndarray]:
    """The clip's pictures as the camera records them, one by one; what was measured of each is appended to `frames`."""
    middle = None
    for index in range(len(pose["yaw_deg"])):
        shot = studio.render(pose_at(pose, index))
        before, middle = middle, shot.points_px.mean(0)
        frames.append(measured(shot))
        yield through_camera(shot.rgb, faults, np.zeros(2) if before is None else middle - before, noise)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
