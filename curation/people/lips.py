"""Lips meet along their whole line. MakeHuman's targets and face units move the two edges apart or through each other where they should
touch: at the sides of rolled or pressed lips dark holes were left, which face networks read as an open mouth while the middle was shut."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from curation.people.head import load_head

# MakeHuman's vertices of the edges where the lips touch, from the middle to the person's left corner.
UPPER_EDGE = (474, 7229, 7228, 7227, 7226, 11964, 7225, 7179, 7178, 7190)
LOWER_EDGE = (493, 7242, 7236, 7231, 7251, 7252)
_CORNER_DM = 0.234  # from the middle, on the base mesh
_REACH_DM = 0.13  # how far into the lip a move of its edge is felt


@dataclass(frozen=True)
class _Lip:
    """An edge as vertices (E,) from the person's right to their left, and the vertices (K,) that follow it: sideways places (K,) on the
    base mesh, and shares (K,) of the edge's move."""

    edge: np.ndarray
    vertices: np.ndarray
    x_dm: np.ndarray
    share: np.ndarray

    def height_dm(self, positions: np.ndarray, x_dm: np.ndarray) -> np.ndarray:
        """How high the edge runs at places (K,) given by their x on the base mesh."""
        return np.interp(x_dm, load_head().positions_dm[self.edge, 0], positions[self.edge, 1])


@functools.cache
def _lips() -> tuple[_Lip, _Lip]:
    """The upper and the lower lip."""
    head = load_head()
    place = {int(number): vertex for vertex, number in enumerate(head.number)}
    base = head.positions_dm
    lowered = np.zeros(len(base))
    jaw = head.targets["unit/jawOpen"]
    lowered[jaw.vertices] = jaw.by_dm[:, 1]
    skin = head.vertices_of("skin", "mouth")
    # Half-way between the lips' own lowering by the jaw, which shrinks towards the corners.
    is_lower = lowered[skin] < -0.17 + 0.2 * np.abs(base[skin, 0])
    lips = []
    for numbers, mine in ((UPPER_EDGE, ~is_lower), (LOWER_EDGE, is_lower)):
        half = np.array([place[number] for number in numbers])
        edge = np.concatenate([head.mirror[half[:0:-1]], half])
        vertices = skin[mine]
        x = base[vertices, 0]
        along = np.stack([np.interp(x, base[edge, 0], base[edge, axis]) for axis in (1, 2)], axis=1)
        away = np.hypot(np.linalg.norm(base[vertices, 1:] - along, axis=1), np.maximum(np.abs(x) - _CORNER_DM, 0))
        share = np.clip(1 - away / _REACH_DM, 0, 1) ** 2 * (3 - 2 * np.clip(1 - away / _REACH_DM, 0, 1))
        near = share > 0
        lips.append(_Lip(edge, vertices[near], x[near], share[near]))
    return lips[0], lips[1]


def middle_gap_dm(positions: np.ndarray) -> float:
    """How far the lips stand apart in the middle, upwards, of a head (V, 3) that is not turned; below 0 where they overlap."""
    upper, lower = load_head().lip_line
    return float(positions[upper, 1] - positions[lower, 1])


def close(positions: np.ndarray) -> None:
    """Moves the lips of a face at rest (V, 3) so that they touch along their whole line."""
    _part(positions, 0.0)


def meet(positions: np.ndarray) -> None:
    """Moves the lips of a posed face (V, 3) that is not turned: nowhere further apart than in the middle, and not through each other."""
    _part(positions, max(middle_gap_dm(positions), 0.0))


def _part(positions: np.ndarray, widest_dm: float) -> None:
    upper, lower = _lips()
    moves = []
    for lip, way in ((upper, -0.5), (lower, 0.5)):
        gap = upper.height_dm(positions, lip.x_dm) - lower.height_dm(positions, lip.x_dm)
        wanted = np.clip(gap, 0, widest_dm)
        moves.append((lip.vertices, way * (gap - wanted) * lip.share))
    for vertices, by_dm in moves:
        positions[vertices, 1] += by_dm
