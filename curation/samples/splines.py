"""Thin-plate splines: the smoothest surface through values at scattered points of the plane (Duchon 1977; Bookstein, IEEE PAMI 1989)."""

from __future__ import annotations

import numpy as np


class ThinPlate:
    """A thin-plate spline.

    Args:
        nodes: (N, 2) distinct positions.
        values: (N, C) wanted there.
        smoothing: 0 interpolates; larger values let the surface miss the values, in units of the kernel; one, or (N,) one a node.
    """

    def __init__(self, nodes: np.ndarray, values: np.ndarray, smoothing: float | np.ndarray = 0.0):
        self._nodes = np.asarray(nodes, float)
        n = len(self._nodes)
        system = np.zeros((n + 3, n + 3))
        system[:n, :n] = _kernel(self._nodes, self._nodes) + smoothing * np.eye(n)
        system[:n, n:] = _affine(self._nodes)
        system[n:, :n] = system[:n, n:].T
        self._weights = np.linalg.solve(system, np.concatenate([values, np.zeros((3, values.shape[1]))]))

    def evaluate(self, points: np.ndarray) -> np.ndarray:
        """(P, C): the surface at (P, 2) points, in the points' precision."""
        nodes, weights = self._nodes.astype(points.dtype), self._weights.astype(points.dtype)
        return _kernel(points, nodes) @ weights[:-3] + _affine(points) @ weights[-3:]


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(A, B): r^2 log r^2."""
    squared = (a[:, None, 0] - b[None, :, 0]) ** 2 + (a[:, None, 1] - b[None, :, 1]) ** 2
    return squared * np.log(squared + squared.dtype.type(1e-12))


def _affine(points: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((len(points), 1), points.dtype), points], axis=1)
