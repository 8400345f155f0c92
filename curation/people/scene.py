"""Where a person is rendered: the lights, the background and the camera, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.people.person import generator

PHOTOGRAPHS = ("brick", "coffee", "grass", "gravel", "rocket")  # of scikit-image's, those in the public domain that show no face


@dataclass(frozen=True)
class Scene:
    """Attributes:
    seed: what the background's details are drawn from.
    key_azimuth_deg: where the main light stands; > 0 at the right of the picture; 0 behind the camera, 90 beside the person.
    key_elevation_deg: how high it stands.
    key, fill, rim, ambient: strengths of the main light, of the one opposite, of the one behind, and of the room (1: a white card facing
        the light alone is exposed as white).
    warmth: colour of the main light, -1 (blue daylight, some 8000 K) to 1 (lamp light, some 3200 K).
    background: noise | the name of one of scikit-image's free photographs.
    distance_m: from the camera to the face, 0.6 to 1.2.
    face_share: the height of the face, brows to chin, as a share of the picture's side.
    """

    seed: int
    key_azimuth_deg: float
    key_elevation_deg: float
    key: float
    fill: float
    rim: float
    ambient: float
    warmth: float
    background: str
    distance_m: float
    face_share: float

    @classmethod
    def from_seed(cls, seed: int) -> Scene:
        """The scene of a seed (0 or above)."""
        rng = generator(seed, "scene")
        return cls(
            seed=seed,
            key_azimuth_deg=round(float(rng.uniform(-62, 62)), 1),
            key_elevation_deg=round(float(rng.uniform(12, 50)), 1),
            key=round(float(rng.uniform(0.55, 0.95)), 3),
            fill=round(float(rng.uniform(0.08, 0.3)), 3),
            rim=round(float(rng.uniform(0.0, 0.45)), 3),
            ambient=round(float(rng.uniform(0.28, 0.5)), 3),
            warmth=round(float(np.clip(rng.normal(0.1, 0.35), -1, 1)), 3),
            background="noise" if rng.random() < 0.65 else str(rng.choice(PHOTOGRAPHS)),
            distance_m=round(float(rng.uniform(0.6, 1.2)), 3),
            face_share=round(float(rng.uniform(0.4, 0.5)), 3),
        )
