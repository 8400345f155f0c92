"""What changes the faces of a clip's driving pictures: swapped by a network, painted by diffusion, or rendered anew."""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np

from curation.contracts import ClipError
from training.data.clips import TrainingClip
from training.data.draws import draws
from training.offline.rerender import Understudy, truth_of
from training.offline.stylise import SdxlStylist, StyliseConfig
from training.offline.swap import EMBEDDER, SWAPPER, OnnxSwapper


class Faces(Protocol):
    """Who else is in the manifest."""

    def face_of(self, clip: TrainingClip) -> tuple[np.ndarray, np.ndarray]:
        """A picture (S, S, 3) of a clip, and its points (68, 2)."""
        ...

    def other_identity(self, clip: TrainingClip, attempt: int) -> TrainingClip:
        """A training clip of somebody else, drawn by the clip's id."""
        ...


class FaceChanger(Protocol):
    """Changes the frames of one clip after the other."""

    def begin(self, clip: TrainingClip) -> None:
        """A new clip starts."""
        ...

    def change(self, pictures: np.ndarray, points_px: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """(F, S, S, 3) uint8 and (F, 68, 2), NaN where no face is seen, to pictures of the same shape; `frames` (F,) are the clip's."""
        ...


class _SwapWith:
    """Swaps in the face of somebody else in the manifest."""

    def __init__(self, faces: Faces, device: str):
        from curation.weights.store import Store

        store = Store.standard()
        self._swapper = OnnxSwapper(store.find(SWAPPER), store.find(EMBEDDER), device)
        self._faces = faces
        self._identity: np.ndarray | None = None

    def begin(self, clip: TrainingClip) -> None:
        problem = ClipError("no_frames", "it has no other clip")
        for attempt in range(5):  # the other clip may be broken; its fault is not this clip's
            try:
                self._identity = self._swapper.identity(*self._faces.face_of(self._faces.other_identity(clip, attempt)))
                return
            except ClipError as error:
                problem = error
        raise ClipError(problem.kind, f"five clips to take a face from were broken, the last one: {problem.message}")

    def change(self, pictures: np.ndarray, points_px: np.ndarray, frames: np.ndarray) -> np.ndarray:
        seen = np.isfinite(points_px).all(axis=(1, 2))
        if self._identity is None:
            raise ValueError("`begin` chooses the face first")
        swapped = [self._swapper.swap(p, q, self._identity) if s else p for p, q, s in zip(pictures, points_px, seen, strict=True)]
        return np.stack(swapped)


class _Paint:
    """Paints a clip's frames after a prompt drawn by its id."""

    def __init__(self, config: StyliseConfig, seed: int, device: str):
        self._config, self._draw, self._stylist = config, seed, SdxlStylist(config, device)
        self._prompt, self._seed = "", 0

    def begin(self, clip: TrainingClip) -> None:
        self._seed = int.from_bytes(hashlib.blake2b(clip.clip_id.encode(), digest_size=6).digest(), "big")
        rng = draws(self._draw, 0, self._seed, "stylise")
        self._prompt = self._config.prompts[int(rng.integers(len(self._config.prompts)))]

    def change(self, pictures: np.ndarray, points_px: np.ndarray, frames: np.ndarray) -> np.ndarray:
        return self._stylist.stylise(pictures, self._prompt, self._seed)


class _RenderAnew:
    """Renders a planted clip as somebody else of the manifest."""

    def __init__(self, faces: Faces, size_px: int):
        self._faces, self._size_px = faces, size_px
        self._understudy: Understudy | None = None

    def begin(self, clip: TrainingClip) -> None:
        somebody = truth_of(self._faces.other_identity(clip, 0)).person
        self._understudy = Understudy(clip, somebody, self._size_px)

    def change(self, pictures: np.ndarray, points_px: np.ndarray, frames: np.ndarray) -> np.ndarray:
        if self._understudy is None:
            raise ValueError("`begin` chooses the person first")
        return self._understudy.render(frames, points_px)


def make_changer(kind: str, faces: Faces, size_px: int, seed: int, stylise: StyliseConfig, device: str) -> FaceChanger:
    """
    Args:
        kind: of `training.data.clips.VARIANT_KINDS`.
        size_px: side of the pictures that it will be given.
        seed: of the draws of prompts.
        device: cpu or cuda.

    Raises:
        UserError: weights are missing.
    """
    if kind == "swap":
        return _SwapWith(faces, device)
    return _Paint(stylise, seed, device) if kind == "stylise" else _RenderAnew(faces, size_px)
