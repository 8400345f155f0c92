"""Clothes: the hull that MakeHuman keeps for them, cut at a collar."""

from __future__ import annotations

import numpy as np

from curation.people.colour import to_linear
from curation.people.head import PARTS, load_head
from curation.people.person import Person, generator
from curation.people.raster import below_collar_at

_THICKNESS_DM = 0.045
_HIDDEN_DM = 0.3  # skin this far below the collar is never seen
_SHOULDER_DM = 0.78  # beyond it the hull lies close to the skin, which is left out from the edge on
_COLLARS = {  # height at the neck's axis, fall to the front, half width from which it rises
    "crew": (5.95, 0.42, 0.6),
    "v": (5.92, 0.45, 0.6),
    "scoop": (5.84, 0.7, 0.85),
    "high": (6.1, 0.2, 0.6),
}
_RISE = 1.3


def collar(person: Person) -> np.ndarray:
    """(6,) of `curation.people.raster.below_collar`: height, fall, half width, rise; depth and steepness of a V (depth 0: none)."""
    rng = generator(person.seed, "collar")
    height, fall, half_width = _COLLARS[person.clothes]
    depth, steep = (rng.uniform(0.35, 0.8), rng.uniform(1.3, 1.8)) if person.clothes == "v" else (0.0, 1.0)
    return np.array([height + rng.uniform(-0.04, 0.02), fall, half_width, _RISE, depth, steep])


def hidden_skin(person: Person) -> np.ndarray:
    """(F,) bool: triangles of the skin that the clothes always hide."""
    head = load_head()
    below = below_collar_at(head.positions_dm, collar(person))[head.triangles].min(axis=1)
    on_shoulder = np.abs(head.positions_dm[head.triangles][..., 0]).min(axis=1) > _SHOULDER_DM
    return (head.part == PARTS.index("skin")) & (below > np.where(on_shoulder, 0.03, _HIDDEN_DM))


def dress(person: Person, rest_dm: np.ndarray, normals: np.ndarray) -> None:
    """Lifts the clothes' vertices off the body, in place."""
    cloth = load_head().vertices_of("cloth")
    rest_dm[cloth] += _THICKNESS_DM * normals[cloth]


def cloth_parameters(person: Person) -> np.ndarray:
    """(9,) of `curation.people.shading.shade`: colours (2 x 3), stripes a dm, their slant, depth of the folds."""
    rng = generator(person.seed, "cloth")
    second = person.stripes_srgb or person.clothes_srgb
    stripes = float(rng.uniform(1.6, 5)) if person.stripes_srgb else 0.0
    slant = float(rng.choice([0.0, 0.0, 1.2]))
    return np.array([*to_linear(np.array(person.clothes_srgb)), *to_linear(np.array(second)), stripes, slant, rng.uniform(0.03, 0.08)])
