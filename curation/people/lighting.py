"""A scene's lamps as the renderer takes them, and the background."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curation.people.colour import to_linear
from curation.people.person import generator
from curation.people.scene import Scene
from manifests import UserError

_COLOUR_OF_WARMTH = np.array([0.26, 0.0, -0.34])  # change of a white lamp's r, g, b at warmth 1


@dataclass(frozen=True)
class Lighting:
    """Linear, three lamps: directions (3, 3) from the face, colours (3, 3); light from above and from below (3,) each."""

    directions: np.ndarray
    rgb: np.ndarray
    sky: np.ndarray
    ground: np.ndarray


def lighting(scene: Scene) -> Lighting:
    """The main lamp, one opposite that fills its shadows, one behind; the room's light."""
    rng = generator(scene.seed, "lighting")
    side = -1.0 if scene.key_azimuth_deg > 0 else 1.0
    places = [
        (scene.key_azimuth_deg, scene.key_elevation_deg),
        (side * rng.uniform(25, 75), rng.uniform(0, 15)),
        (rng.choice([-1.0, 1.0]) * rng.uniform(115, 150), rng.uniform(15, 45)),
    ]
    warm, cool = 1 + scene.warmth * _COLOUR_OF_WARMTH, 1 - 0.35 * scene.warmth * _COLOUR_OF_WARMTH
    room = scene.ambient * (1 + 0.4 * scene.warmth * _COLOUR_OF_WARMTH)
    return Lighting(
        directions=np.array([_direction(azimuth, elevation) for azimuth, elevation in places]),
        rgb=np.stack([scene.key * warm, scene.fill * cool, scene.rim * np.ones(3)]),
        sky=room,
        ground=room * np.array([0.62, 0.54, 0.48]),
    )


def _direction(azimuth_deg: float, elevation_deg: float) -> list[float]:
    azimuth, elevation = np.radians([azimuth_deg, elevation_deg])
    return [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]


def background(scene: Scene, size_px: int) -> np.ndarray:
    """(size, size, 3) float32 linear, out of focus."""
    rng = generator(scene.seed, "background")
    picture = _noise(rng) if scene.background == "noise" else _photograph(scene.background, rng)
    light = scene.ambient * 1.1 + 0.35 * scene.key
    return cv2.resize(
        (picture * light).astype(np.float32), (size_px, size_px), interpolation=cv2.INTER_AREA if size_px < 256 else cv2.INTER_LINEAR
    )


def _noise(rng: np.random.Generator) -> np.ndarray:
    """A wall with soft shapes in front: two colours, mixed by smooth noise, some upright edges, a fall of light from one side."""
    hue, spread = rng.uniform(0, 180), rng.uniform(-25, 25)
    hsv = np.array(
        [[[hue, rng.uniform(8, 80), rng.uniform(60, 225)], [(hue + spread) % 180, rng.uniform(8, 95), rng.uniform(35, 215)]]], np.uint8
    )
    first, second = to_linear(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0])
    small = cv2.GaussianBlur(rng.standard_normal((64, 64)).astype(np.float32), (0, 0), float(rng.uniform(4, 13)))
    soft = cv2.resize(small / small.std(), (256, 256), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:  # a door, a shelf, a window frame: out of focus
        for _ in range(int(rng.integers(1, 4))):
            left, width = rng.uniform(0, 256), rng.uniform(15, 90)
            soft += rng.uniform(-2.5, 2.5) * ((np.arange(256) > left) & (np.arange(256) < left + width))[None]
    soft = cv2.GaussianBlur(soft.astype(np.float32), (0, 0), float(rng.uniform(2, 7)))
    share = 1 / (1 + np.exp(-soft * rng.uniform(0.4, 1.4)))[..., None]
    fall = (
        1
        + rng.uniform(-0.35, 0.35) * np.linspace(-1, 1, 256)[None, :, None]
        + rng.uniform(0, 0.25) * np.linspace(1, -1, 256)[:, None, None]
    )
    return (first + (second - first) * share) * fall


def _photograph(name: str, rng: np.random.Generator) -> np.ndarray:
    found = importlib.util.find_spec("skimage")
    folder = Path(found.submodule_search_locations[0], "data") if found and found.submodule_search_locations else Path()
    path = next((folder / f"{name}{ending}" for ending in (".png", ".jpg") if (folder / f"{name}{ending}").is_file()), None)
    if path is None:
        raise UserError(f"the background {name} needs scikit-image: run `make setup` (or pip install 'megactor-sigma-open[samples]')")
    read = cv2.imread(str(path))
    if read is None:
        raise UserError(f"{path} is no picture: install scikit-image anew")
    picture = cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
    height, width = picture.shape[:2]
    side = int(min(height, width) * rng.uniform(0.6, 1.0))
    y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    linear = to_linear(cv2.resize(picture[y : y + side, x : x + side], (256, 256), interpolation=cv2.INTER_AREA)).astype(np.float32)
    tint = rng.uniform(0.75, 1.15, 3) if name in ("brick", "gravel", "grass") else np.ones(3)
    blurred = cv2.GaussianBlur(linear, (0, 0), float(rng.uniform(3, 9)))
    return (blurred[:, ::-1] if rng.random() < 0.5 else blurred) * tint
