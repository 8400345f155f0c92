"""Where S3FD would put its box, told from the 68 landmarks: what the `fast` crop mode uses in place of the detector.

S3FD was trained on WIDER FACE, whose boxes reach from the forehead to the chin, while the landmarks begin at the brows. The four edges are
a linear function of how the points lie within their own box, fitted to pairs of landmarks and detected boxes; it moves, scales and mirrors
with the face.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from curation.landmarks.sixty_eight import LIPS, eye_centres
from manifests.errors import UserError

SHIPPED_MAP = Path(__file__).parent / "box_map.json"
_FORMAT = "sync-box-map-1"
_NOSE_TIP = 30
N_FEATURES = 8
_MIRRORED = np.array([1, 1, -1, 1, -1, 1, -1, 1.0])  # sign of each feature in the mirror
_TRIMMED = 0.05  # share of the worst pairs that the fit leaves out


@dataclass(frozen=True)
class BoxMap:
    """A fitted map.

    Attributes:
        coefficients: (4, 8) left, top, right, bottom edge from the features; edges relative to the landmark box's centre, in parts of the
            square root of its area.
        facts: with what, on what and how well it was fitted.
    """

    coefficients: np.ndarray
    facts: dict = field(default_factory=dict)

    def __call__(self, points_px: np.ndarray) -> np.ndarray:
        """(..., 68, 2) landmarks to (..., 4) boxes x0, y0, x1, y1, float64."""
        centre, size, features = _features(points_px)
        edges = features @ self.coefficients.T
        return np.concatenate([centre, centre], axis=-1) + edges * size[..., None]

    def save(self, path: Path) -> None:
        from manifests.atomic import atomic_path

        tree = {"format": _FORMAT, **self.facts, "coefficients": np.round(self.coefficients, 6).tolist()}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")


@lru_cache(maxsize=4)
def load_map(path: str | Path = SHIPPED_MAP) -> BoxMap:
    """A map that `python -m curation fit-sync-boxes` wrote; by default the one that ships.

    Raises:
        UserError: the file is missing or no such map.
    """
    try:
        tree = json.loads(Path(path).read_text(encoding="utf-8"))
        coefficients = np.array(tree.pop("coefficients"), np.float64)
        if tree.pop("format") != _FORMAT or coefficients.shape != (4, N_FEATURES) or not np.isfinite(coefficients).all():
            raise ValueError("another format")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no map from landmarks to boxes ({error}); `python -m curation fit-sync-boxes` writes one") from None
    return BoxMap(coefficients, tree)


def fit_map(points_px: np.ndarray, boxes_px: np.ndarray, facts: dict | None = None) -> BoxMap:
    """Least squares over pairs and their mirror images, without the worst twentieth.

    Args:
        points_px: (N, 68, 2) landmarks.
        boxes_px: (N, 4) boxes of the same faces.
    """
    centre, size, features = _features(points_px)
    edges = (boxes_px - np.concatenate([centre, centre], axis=-1)) / size[:, None]  # (N, 4)
    features = np.concatenate([features, features * _MIRRORED])
    edges = np.concatenate([edges, edges[:, [2, 1, 0, 3]] * [-1, 1, -1, 1]])
    used = np.ones(len(features), bool)
    for _ in range(3):
        solution = np.linalg.lstsq(features[used], edges[used], rcond=None)[0]
        error = np.abs(features @ solution - edges).max(axis=1)
        used = error <= np.quantile(error, 1 - _TRIMMED)
    return BoxMap(solution.T, facts or {})


def _features(points_px: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (..., 2) and size (...) of the landmark box, and (..., 8): one, the box's width, and within the box the places of the eyes'
    middle, the tip of the nose and the middle of the lips."""
    points = np.asarray(points_px, np.float64)
    low, high = points.min(axis=-2), points.max(axis=-2)
    centre, sides = (low + high) / 2, np.maximum(high - low, 1e-6)
    size = np.sqrt(np.prod(sides, axis=-1))
    marks = (sum(eye_centres(points)) / 2, points[..., _NOSE_TIP, :], points[..., LIPS, :].mean(axis=-2))
    places = [(mark - centre) / size[..., None] for mark in marks]
    return centre, size, np.concatenate([np.ones_like(size)[..., None], (sides[..., :1] / size[..., None]), *places], axis=-1)
