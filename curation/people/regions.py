"""Where on the base mesh hair grows: the scalp above a hairline, the beard, the brows. Functions of the vertices' positions there."""

from __future__ import annotations

import numpy as np

from curation.people.head import load_head
from curation.people.person import Person, generator

SKULL_CENTRE_DM = np.array([0.0, 7.75, 0.3])
_AXIS_Z_DM = 0.35  # of the vertical axis that angles around the head are taken about


def angle_around(positions_dm: np.ndarray) -> np.ndarray:
    """(..., ) radians: 0 in front, ±pi at the back, of base-mesh positions (..., 3)."""
    return np.arctan2(positions_dm[..., 0], positions_dm[..., 2] - _AXIS_Z_DM)


def _step(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def scalp_dm(person: Person) -> np.ndarray:
    """(V,) how far a vertex lies inside the hairline; negative outside, -1 on the ears."""
    head = load_head()
    rng = generator(person.seed, "hairline")
    male = person.sex == "male"
    age = np.clip((person.age_years - 25) / 45, 0, 1)
    front = rng.uniform(7.86, 7.97) + (rng.uniform(0.0, 0.05) + 0.1 * age * rng.random()) * male
    recess = rng.uniform(0, 0.12) + 0.22 * age * rng.random() * male
    peak = rng.uniform(-0.02, 0.05)
    burns = rng.uniform(0, 0.28) * male
    angles = [0, 0.3, 0.55, 0.75, 0.95, 1.12, 1.3, 1.5, 1.75, 2.2, 3.2]
    heights = [
        front - peak, front + 0.3 * recess, front + recess, front - 0.12 + 0.7 * recess, 7.66, 7.36,
        7.02 - burns, 7.0, 6.84, 6.58, 6.42,
    ]  # fmt: skip
    if person.hair_style in ("crop", "short", "afro", "curly"):  # shaved at the nape
        heights[-4:] = [7.06, 6.98, 6.84, 6.72]
    if person.hair_style == "bald":
        angles, heights = [0, 0.9, 1.2, 1.6, 2.2, 3.2], [9.0, 9.0, 7.6, 7.2, 6.95, 6.85]
    inside = head.positions_dm[:, 1] - np.interp(np.abs(angle_around(head.positions_dm)), angles, heights)
    if person.hair_style == "bald":  # a wreath
        inside = np.minimum(inside, 0.6 * (7.85 - head.positions_dm[:, 1]))
    return np.where((head.ears > 0.35) | (head.positions_dm[:, 1] < 6.2), -1.0, inside)


def beard_share(person: Person) -> np.ndarray:
    """(V,) 0..1 how densely the beard grows at a vertex, in the cut of the person's style; 0 without one."""
    head = load_head()
    if person.beard == "none":
        return np.zeros(len(head.positions_dm))
    x, y, z = head.positions_dm.T
    rng = generator(person.seed, "beard line")
    side = np.abs(x)
    cheek = 6.56 + rng.uniform(-0.04, 0.05) + 0.62 * np.clip(side - 0.3, 0, 1)
    whole = _step(0.06, -0.06, y - cheek) * _step(6.1, 6.22, y + 0.25 * (z > 1.0)) * _step(0.05, 0.3, z)
    moustache = np.exp(-0.5 * ((side / 0.23) ** 4 + ((y - (6.735 - 0.25 * np.clip(side - 0.1, 0, 1))) / 0.052) ** 2)) * (z > 1.2)
    chin = _step(0.26, 0.17, side) * _step(6.56, 6.5, y) * (z > 0.9)
    ring = np.exp(-0.5 * (((side - 0.3) / 0.055) ** 2)) * _step(6.42, 6.5, y) * _step(6.74, 6.66, y) * (z > 1.0)
    share = {
        "shadow": np.maximum(whole, moustache),
        "stubble": np.maximum(whole, moustache),
        "full": np.maximum.reduce([whole, moustache, ring]),
        "moustache": moustache,
        "goatee": np.maximum.reduce([moustache, chin, ring]),
    }[person.beard]
    # Clear of the lips: hair over them would hide the mouth's opening, and short hair beside them hides their edge from face networks. In a
    # full beard such a bare band would look like a lip itself.
    clear_dm, whole_dm = (0.004, 0.02) if person.beard == "full" else (0.02, 0.07)
    lips_dm = np.linalg.norm(head.positions_dm[:, None] - head.positions_dm[head.lips > 0.3], axis=2).min(axis=1)
    return np.clip(share, 0, 1) * _step(clear_dm, whole_dm, lips_dm) * (head.ears < 0.2)
