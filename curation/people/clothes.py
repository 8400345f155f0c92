"""Clothes: the hull that MakeHuman keeps for them, cut at a collar."""

from __future__ import annotations

import numpy as np

from curation.people.colour import to_linear
from curation.people.head import PARTS, load_head
from curation.people.person import Person, generator

_THICKNESS_DM = 0.045
_HIDDEN_DM = 0.3  # skin this far below the collar is never seen
_COLLARS = {"crew": (5.93, 0.42), "v": (5.9, 0.45), "scoop": (5.83, 0.72), "high": (6.1, 0.2)}  # height at the neck's axis, fall to the front


def below_collar_dm(person: Person, positions_dm: np.ndarray) -> np.ndarray:
    """(P,) how far positions (P, 3) of the base mesh lie below the edge of the collar; negative above it."""
    rng = generator(person.seed, "collar")
    x, y, z = positions_dm.T
    height, fall = _COLLARS[person.clothes]
    height += rng.uniform(-0.04, 0.02)
    below = (height + fall * (0.1 - z) - y) / np.hypot(1, fall)
    if person.clothes == "v":
        depth, steep = rng.uniform(0.35, 0.8), rng.uniform(1.3, 1.8)
        point = height - fall * 0.7 - depth
        below = np.where(z > 0.1, np.minimum(below, (point + steep * np.abs(x) - y) / np.hypot(1, steep)), below)
    return below


def hidden_skin(person: Person) -> np.ndarray:
    """(F,) bool: triangles of the skin that the clothes always hide."""
    head = load_head()
    below = below_collar_dm(person, head.positions_dm)[head.triangles].min(axis=1)
    return (head.part == PARTS.index("skin")) & (below > _HIDDEN_DM)


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
