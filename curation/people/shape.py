"""The shape of a person at rest: MakeHuman's macros and local targets, mixed."""

from __future__ import annotations

import functools

import numpy as np

from curation.people import lips
from curation.people.head import Head, load_head
from curation.people.person import Person, generator

DEVIATION = 0.25  # of a local target's weight between people; a third makes caricatures
_LIMIT = 0.6
_YOUNG_YEARS, _OLD_YEARS = 25.0, 92.0  # what the macros "young" and "old" show
_ANCESTRIES = ("african", "asian", "caucasian")
_OPPOSITES = {"incr": "decr", "up": "down", "in": "out", "forward": "backward", "concave": "convex", "compress": "uncompress"}
_GENTLE = {  # strong targets: their share of the deviation
    "neck/": 0.5, "lip-ext": 0.4, "nostril": 0.6, "nose-hump": 0.6, "nose-curve": 0.6, "nose-point-up": 0.6, "nose-base": 0.5,
    "septum": 0.5,
    "mouth-trans": 0.6, "mouth-up": 0.5, "mouth-angles": 0.5, "laugh-lines": 0.6, "eye-trans": 0.6, "eye-push": 0.5, "eye-scale": 0.7,
    "eyefold": 0.8, "corner": 0.6, "epicanthus": 0.5, "eye-height": 0.7, "eye-bag": 0.5, "chin-prognathism": 0.5, "chin-jaw-drop": 0.6,
    "chin-height": 0.7, "head-scale": 0.6, "eyebrows": 0.7, "ear-wing": 0.7, "forehead": 0.7,
}  # fmt: skip
# What people have that the base mesh has not: a flatter, wider head and a deeper nose. With it a turn of the head moves nose and eyes
# against the outline as much as in photographs: the face mesh read yaw 1.11 times as large without.
_USUAL = {"head/head-scale-depth": -0.9, "head/head-scale-horiz": 0.3, "nose/nose-scale-depth": 0.1}
_OUTLINES = ("diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular")
_TONGUE_BY_DM = np.array([0.0, -0.06, -0.12])  # at rest it would fill the opening of the mouth
# Where the edges of the front teeth lie against the line where the lips touch: upwards and forwards. MakeHuman's lie so high that parted
# lips show lower teeth alone.
_UPPER_TEETH_DM, _LOWER_TEETH_DM = (-0.03, -0.06), (-0.045, -0.1)
_UPPER_TEETH_HEIGHT, _LOWER_TEETH_HEIGHT = 0.75, 0.5  # of MakeHuman's, whose roots would come through a narrow chin
_UNLIKE_SIDES = 0.03  # deviation between the two sides of a face


def rest_positions_dm(person: Person) -> np.ndarray:
    """(V, 3) float64: the person's vertices at rest, eyes open, lips closed."""
    head = load_head()
    positions = head.positions_dm.copy()
    for name, weight in [*_macros(person), *_local(person, head)]:
        if weight and name in head.targets:
            target = head.targets[name]
            positions[target.vertices] += weight * target.by_dm
    positions[head.vertices_of("tongue")] += _TONGUE_BY_DM
    lips.close(positions)
    _set_teeth(positions)
    # Tall people keep their eyes where the base mesh has them: hair, clothes and cameras are placed from there.
    both = np.concatenate(head.eyes)
    return positions + head.positions_dm[both].mean(axis=0) - positions[both].mean(axis=0)


def _set_teeth(positions: np.ndarray) -> None:
    """Puts both rows of teeth behind the person's lips: the targets that shape lips leave them where they are."""
    head = load_head()
    teeth = head.vertices_of("teeth")
    lower = np.isin(teeth, head.targets["unit/jawOpen"].vertices)
    rows = (
        (teeth[~lower], _UPPER_TEETH_DM, _UPPER_TEETH_HEIGHT, np.argmin),
        (teeth[lower], _LOWER_TEETH_DM, _LOWER_TEETH_HEIGHT, np.argmax),
    )
    for row, (up_dm, forward_dm), height, edge in rows:
        base = head.positions_dm[row]
        front = row[(np.abs(base[:, 0]) < 0.02) & (base[:, 2] > 1.42)]
        at = front[edge(head.positions_dm[front, 1])]
        up, forward = positions[head.lip_line].mean(axis=0)[1:] + np.array([up_dm, forward_dm]) - positions[at, 1:]
        # The molars stay where the cheeks are.
        share = np.clip((base[:, 2] - 1.1) / 0.3, 0, 1)
        positions[row, 1] = positions[at, 1] + height * (positions[row, 1] - positions[at, 1]) + up
        positions[row, 2] += share * forward


def _macros(person: Person) -> list[tuple[str, float]]:
    rng = generator(person.seed, "macros")
    manly = float(np.clip(rng.normal(0.92, 0.06), 0.75, 1))
    male = manly if person.sex == "male" else 1 - manly
    old = float(np.clip((person.age_years - _YOUNG_YEARS) / (_OLD_YEARS - _YOUNG_YEARS), 0, 1))
    return [
        pair
        for sex, sex_share in (("female", 1 - male), ("male", male))
        for age, age_share in (("young", 1 - old), ("old", old))
        for pair in _macros_of(person, sex, age, sex_share * age_share)
    ]


def _macros_of(person: Person, sex: str, age: str, share: float) -> list[tuple[str, float]]:
    weights = [(f"macro/{name}-{sex}-{age}", share * part) for name, part in zip(_ANCESTRIES, person.ancestry, strict=True)]
    for muscle, muscle_share in _three(person.muscle):
        for weight, weight_share in _three(person.weight):
            weights.append((f"macro/universal-{sex}-{age}-{muscle}muscle-{weight}weight", share * muscle_share * weight_share))
    return weights


def _three(value: float) -> list[tuple[str, float]]:
    return [("min", max(0.0, 1 - 2 * value)), ("average", 1 - abs(2 * value - 1)), ("max", max(0.0, 2 * value - 1))]


@functools.cache
def local_pairs() -> dict[str, tuple[str, str]]:
    """The local targets that come in two directions: name without the direction → the two targets; of paired organs, the left one's."""
    targets = load_head().targets
    pairs = {}
    for name in sorted(targets):
        stem, _, direction = name.rpartition("-")
        opposite = f"{stem}-{_OPPOSITES.get(direction)}"
        if opposite in targets and "/r-" not in name and not name.startswith("unit/"):
            pairs[stem] = (name, opposite)
    return pairs


def _local(person: Person, head: Head) -> list[tuple[str, float]]:
    rng = generator(person.seed, "shape")
    weights = []
    for stem, (plus, minus) in local_pairs().items():
        gentle = min((share for word, share in _GENTLE.items() if word in stem), default=1.0)
        value = float(np.clip(rng.normal(0, DEVIATION), -_LIMIT, _LIMIT)) * gentle + _USUAL.get(stem, 0.0)
        weights.append((plus if value > 0 else minus, abs(value)))
        if "/l-" in stem:
            other = value + float(rng.normal(0, _UNLIKE_SIDES))
            weights.append(((plus if other > 0 else minus).replace("/l-", "/r-"), abs(other)))
    weights.append((f"head/head-{rng.choice(_OUTLINES)}", float(rng.uniform(0, 0.5))))
    friendly = float(rng.uniform(0, 0.22))  # a mouth at rest, which the macros draw a little sullen
    weights += [(f"unit/mouthSmile{side}", friendly) for side in ("Left", "Right")]
    for name in sorted(name for name in head.targets if name.startswith("asym/")):
        weights.append((name, float(rng.uniform(0, 0.2)) if rng.random() < 0.2 else 0.0))
    return weights
