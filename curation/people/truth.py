"""The truth of a rendered clip, frame by frame, in a safetensors file beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.people.acting import POSE_FIELDS
from curation.people.camera import Faults
from curation.people.motion import FACTORS
from curation.people.person import Person
from curation.people.rendered import Rendered
from curation.people.scene import Scene
from curation.people.settings import FPS, Take
from curation.people.speech import Voice
from curation.samples.phonemes import Phone
from manifests import UserError
from manifests.atomic import atomic_path

_MEASURED = ("points_px", "visible", "lip_gap_px", "lid_gap_px", "eye_distance_px", "skin_srgb", "skin_ita_deg", "face_light")


@dataclass(frozen=True)
class PeopleTruth:
    """What is planted in a clip of T frames, and what was measured on the mesh as it was rendered (before the camera's faults).

    Attributes:
        factors: by name of `motion.FACTORS`, (T,) float32: what moves independently.
        pose: by field of `Pose`, (T,) float32: what the renderer was given; `shift_x`, `shift_y` in parts of the picture's side.
        points_px: (T, 68, 2) float32, `visible`: (T, 68) bool; as in `rendered.Rendered`, so are the following.
        lip_gap_px: (T,), lid_gap_px: (T, 2) of the left and the right eye, eye_distance_px: (T,).
        skin_srgb: (T, 3) 0..255, skin_ita_deg: (T,), face_light: (T,); NaN where no skin is seen.
        person, scene, voice, faults: who, where, how they sound, and what the camera does.
        phones: what is spoken; sound and picture both follow it.
        take: number of person and clip; `identity` of the person.
        fps: frames a second; frame i lies at i / fps.
    """

    factors: dict[str, np.ndarray]
    pose: dict[str, np.ndarray]
    points_px: np.ndarray
    visible: np.ndarray
    lip_gap_px: np.ndarray
    lid_gap_px: np.ndarray
    eye_distance_px: np.ndarray
    skin_srgb: np.ndarray
    skin_ita_deg: np.ndarray
    face_light: np.ndarray
    person: Person
    scene: Scene
    voice: Voice
    faults: Faults
    phones: tuple[Phone, ...]
    take: Take
    fps: float = FPS

    @property
    def n_frames(self) -> int:
        return len(self.points_px)

    @property
    def identity(self) -> str:
        return self.take.identity


def measured(shot: Rendered) -> dict[str, np.ndarray]:
    """What a frame's rendering says besides its picture."""
    return {name: np.asarray(getattr(shot, name)) for name in _MEASURED}


def stacked(frames: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """`measured` of the frames of a clip: (T, ...) float32, `visible` bool."""
    whole = {name: np.stack([frame[name] for frame in frames]) for name in _MEASURED}
    return {name: value if value.dtype == bool else value.astype(np.float32) for name, value in whole.items()}


def write_people_truth(path: Path, truth: PeopleTruth, made: dict[str, str]) -> None:
    """Write a truth file, whole or not at all.

    Args:
        made: what the clip was made with, by name; `made_with` reads it back.
    """
    from safetensors.numpy import save

    tensors = {f"factor/{name}": np.asarray(truth.factors[name], np.float32) for name in FACTORS}
    tensors |= {f"pose/{name}": np.asarray(truth.pose[name], np.float32) for name in POSE_FIELDS}
    tensors |= {name: getattr(truth, name) for name in _MEASURED}
    facts: dict[str, Any] = {name: asdict(getattr(truth, name)) for name in ("person", "scene", "voice", "faults", "take")}
    facts["phones"] = [asdict(phone) for phone in truth.phones]
    # One entry of metadata: the library writes several in an order that differs from run to run.
    metadata = {"people": json.dumps({**facts, "fps": truth.fps, "identity": truth.identity, "made": made})}
    data = save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def read_people_truth(path: str | Path) -> PeopleTruth:
    """The truth of a clip from its file (`OUT/truth/NAME.safetensors`).

    Raises:
        UserError: the file is missing or none of this version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors, facts = load_file(path), _facts(path)
        return PeopleTruth(
            factors={name: tensors[f"factor/{name}"] for name in FACTORS},
            pose={name: tensors[f"pose/{name}"] for name in POSE_FIELDS},
            **{name: tensors[name] for name in _MEASURED},
            person=Person(**_tuples(facts["person"])),
            scene=Scene(**_tuples(facts["scene"])),
            voice=Voice(**facts["voice"]),
            faults=Faults(**_tuples(facts["faults"])),
            phones=tuple(Phone(**phone) for phone in facts["phones"]),
            take=Take(**facts["take"]),
            fps=facts["fps"],
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no truth file of this version: {error}") from error


def made_with(path: Path) -> dict[str, str]:
    """What `write_people_truth` was told; empty if the file is missing or broken."""
    from safetensors import SafetensorError

    try:
        return _facts(path)["made"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return {}


def _facts(path: str | Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return json.loads((file.metadata() or {})["people"])


def _tuples(tree: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples that the frozen classes hold."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in tree.items()}
