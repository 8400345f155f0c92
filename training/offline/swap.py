"""Face swap by an ONNX network with the interface of InsightFace's inswapper.

The swapper takes the target's face, aligned to 128 px, and an identity of 512 numbers, and gives the face back with that identity. The
identity is ArcFace's embedding of the source face times a matrix that the swapper's file carries as its last initialiser.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curation import face_crop
from curation.landmarks.arcface import ARCFACE_PX, alignment
from curation.onnx_session import open_session
from manifests.errors import UserError

SWAPPER, EMBEDDER = "inswapper", "arcface"  # in configs/models.yaml
_FEATHER = 0.12  # of the aligned face's side, over which the swapped face fades into the picture


class OnnxSwapper:
    """Both networks in onnxruntime.

    Args:
        swapper, embedder: verified .onnx files.
        provider: cpu or cuda; both networks run there.

    Raises:
        UserError: a package is missing, the provider does not run, or a file is no network of that interface.
    """

    def __init__(self, swapper: Path, embedder: Path, provider: str = "cpu"):
        otherwise = "or use --device cpu"
        self._swapper, self._embedder = (open_session(file, provider, otherwise) for file in (swapper, embedder))
        shapes = {len(i.shape): i for i in self._swapper.get_inputs()}
        if set(shapes) != {2, 4} or shapes[4].shape[2] != shapes[4].shape[3] or not isinstance(shapes[4].shape[2], int):
            found = {i.name: i.shape for i in self._swapper.get_inputs()}
            raise UserError(f"{swapper} is no swapper: it takes {found}, not a face (1, 3, S, S) and an identity (1, n)")
        self._face, self._identity = shapes[4].name, shapes[2].name
        self._size_px = shapes[4].shape[2]
        self._to_identity = _last_initialiser(swapper)

    def identity(self, rgb: np.ndarray, points_px: np.ndarray) -> np.ndarray:
        """(1, n) float32 identity of a face.

        Args:
            rgb: (H, W, 3) uint8.
            points_px: (68, 2).
        """
        aligned = face_crop.warp(rgb, alignment(points_px, ARCFACE_PX), ARCFACE_PX)
        blob = (aligned.astype(np.float32).transpose(2, 0, 1)[None] - 127.5) / 127.5
        embedding = self._embedder.run(None, {self._embedder.get_inputs()[0].name: blob})[0].reshape(1, -1)
        embedding = embedding / max(np.linalg.norm(embedding), 1e-6)
        identity = embedding @ self._to_identity
        return (identity / max(np.linalg.norm(identity), 1e-6)).astype(np.float32)

    def swap(self, rgb: np.ndarray, points_px: np.ndarray, identity: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8: the picture with the face of another identity."""
        matrix = alignment(points_px, self._size_px)
        face = face_crop.warp(rgb, matrix, self._size_px).astype(np.float32).transpose(2, 0, 1)[None] / 255
        swapped = self._swapper.run(None, {self._face: face, self._identity: identity})[0][0]
        return paste(rgb, np.clip(np.round(swapped.transpose(1, 2, 0) * 255), 0, 255).astype(np.uint8), matrix)


def paste(rgb: np.ndarray, face: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The aligned (s, s, 3) `face` back in the picture that `matrix` took it from, its edges feathered."""
    import cv2

    size_px = face.shape[0]
    height, width = rgb.shape[:2]
    ramp = np.clip((np.minimum(np.arange(size_px), np.arange(size_px)[::-1]) + 0.5) / (_FEATHER * size_px), 0, 1)
    weight = np.minimum.outer(ramp, ramp).astype(np.float32)
    # warpAffine with WARP_INVERSE_MAP reads the face at matrix · pixel; both count from pixel centres.
    counted = np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2].sum(axis=1) / 2 - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    placed = cv2.warpAffine(face.astype(np.float32), counted, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(weight, counted, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT)[..., None]
    return np.clip(np.round(rgb * (1 - mask) + placed * mask), 0, 255).astype(np.uint8)


def _last_initialiser(file: Path) -> np.ndarray:
    """(m, n) float32: the matrix from embeddings to identities."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise UserError("face swap needs the package onnx, which reads a matrix from the swapper's file: pip install onnx") from None
    matrix = numpy_helper.to_array(onnx.load(str(file)).graph.initializer[-1])
    if matrix.ndim != 2:
        raise UserError(f"{file} is no swapper: its last initialiser has shape {matrix.shape}, not a matrix of identities")
    return matrix.astype(np.float32)
