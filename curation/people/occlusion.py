"""How much of the surroundings' light reaches each vertex of a head at rest."""

from __future__ import annotations

import numpy as np

from curation.people.compiled import kernel
from curation.people.head import PARTS, load_head
from curation.people.raster import draw_depth

_DIRECTIONS, _MAP_PX, _REACH_DM = 48, 160, 5.2
_FLOOR, _GAIN = 0.12, 0.98
_BIAS_DM = 0.05
_MIDDLE_FROM_EYES_DM = np.array([0.0, -0.4, -0.6])


def directions(count: int) -> np.ndarray:
    """(count, 3) unit vectors spread evenly over the sphere (a Fibonacci lattice), none from far below."""
    i = np.arange(count) + 0.5
    y = 1 - 1.55 * i / count
    angle = np.pi * (1 + 5**0.5) * i
    flat = np.sqrt(1 - y * y)
    return np.stack([flat * np.cos(angle), y, flat * np.sin(angle)], axis=1)


def frame_towards(direction: np.ndarray) -> np.ndarray:
    """(3, 3) rows: two axes across a direction and the direction itself."""
    up = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    x = np.cross(up, direction)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(direction, x), direction])


def occlusion(positions_dm: np.ndarray, normals: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """(V,) 0..1, of a head whose triangles `hidden` (F,) bool are not there. The inside of the mouth: `mouth.py`."""
    head = load_head()
    solid = ~hidden & ~np.isin(head.part, [PARTS.index("lash"), PARTS.index("cloth")])
    middle = positions_dm[head.vertices_of("eye")].mean(axis=0) + _MIDDLE_FROM_EYES_DM
    scale = _MAP_PX / _REACH_DM
    received, total = np.zeros(len(positions_dm)), np.zeros(len(positions_dm))
    depth = np.empty((_MAP_PX, _MAP_PX), np.float32)
    for direction in directions(_DIRECTIONS):
        screen = (positions_dm - middle) @ frame_towards(direction).T * [scale, scale, 1] + [_MAP_PX / 2, _MAP_PX / 2, 0]
        depth[:] = -1e9
        draw_depth(screen, head.triangles, solid, depth)
        _gather(screen, depth, normals @ direction, received, total)
    share = np.clip(_FLOOR + _GAIN * received / np.maximum(total, 1e-6), 0, 1)
    share[head.vertices_of("eye")] = 0.9
    cloth = head.vertices_of("cloth")
    share[cloth] = np.clip(share[cloth], 0.5, 1)
    return share


@kernel()
def _gather(screen: np.ndarray, depth: np.ndarray, facing: np.ndarray, received: np.ndarray, total: np.ndarray) -> None:
    size = depth.shape[0]
    for i in range(screen.shape[0]):
        if facing[i] <= 0:
            continue
        x, y = int(screen[i, 0] + 0.5), int(screen[i, 1] + 0.5)
        seen = 9.0
        if 1 <= x < size - 1 and 1 <= y < size - 1:
            seen = 0.0
            for b in range(-1, 2):
                for a in range(-1, 2):
                    if depth[y + b, x + a] < screen[i, 2] + _BIAS_DM:
                        seen += 1.0
        received[i] += facing[i] * seen / 9.0
        total[i] += facing[i]
