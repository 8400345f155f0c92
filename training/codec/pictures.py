"""What the decoder learns from: faces of a manifest as the model sees them, photographs of a free licence, and noise."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from curation.contracts import ClipError
from inference.models.components import InferenceConfig
from manifests.errors import NoLandmarksError, UserError
from training.data.clips import load_clips
from training.data.config import DataConfig
from training.data.draws import draws
from training.data.frames import VideoFrames

# Of scikit-image's wheel, public domain or CC0 by its data/README.txt; what is licensed otherwise is left out.
PHOTOGRAPHS = ("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "rocket.jpg")
SHARES = {"faces": 0.65, "photographs": 0.25, "noise": 0.1}
FLIPS, GAIN = 0.5, 0.25  # share of pictures that are mirrored; brightness and colour change by up to so much


def load_faces(manifest: str, inference: InferenceConfig, frames_per_clip: int, say: Callable[[str], None]) -> np.ndarray:
    """(N, S, S, 3) uint8: frames of the clips that training may use, spread over each, cut as the model sees them.

    Raises:
        UserError: no manifest, no clip that can be read.
    """
    data = DataConfig()
    table = load_clips(manifest, data.where, data.split, inference.fps, needs_audio=False)
    source = VideoFrames(data, inference, table)
    found: list[np.ndarray] = []
    try:
        for clip in table.clips:
            try:
                seen = np.flatnonzero(source.usable(clip, 0))
                chosen = np.unique(seen[np.linspace(0, len(seen) - 1, frames_per_clip).round().astype(int)]) if len(seen) else seen
                found += [cut.pictures for cut in source.cut_by_every_square(clip, chosen.tolist())] if len(chosen) else []
            except (ClipError, NoLandmarksError) as error:
                say(f"passed over {clip.clip_id}: {error}")
    finally:
        source.close()
    if not found:
        raise UserError(f"{manifest}: no clip of it can be read")
    return np.concatenate(found)


def load_photographs() -> list[np.ndarray]:
    """(H, W, 3) uint8 each.

    Raises:
        UserError: scikit-image's pictures are not there.
    """
    found = importlib.util.find_spec("skimage")
    folder = Path(found.submodule_search_locations[0], "data") if found and found.submodule_search_locations else Path()
    pictures = [cv2.imread(str(folder / name), cv2.IMREAD_COLOR) for name in PHOTOGRAPHS if (folder / name).is_file()]
    if len(pictures) < len(PHOTOGRAPHS) or any(picture is None for picture in pictures):
        raise UserError("the decoder's photographs are scikit-image's: pip install 'megactor-sigma-open[samples]'")
    return [cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture in pictures if picture is not None]


def batches(faces: np.ndarray, photographs: list[np.ndarray], batch_size: int, seed: int, first_step: int) -> Iterator[np.ndarray]:
    """Endless (B, S, S, 3) float32 pictures in 0…1, step by step; each is a function of (seed, step, place in the batch)."""
    size, step = faces.shape[1], first_step
    while True:
        yield np.stack([_picture(faces, photographs, size, draws(seed, 1, step * batch_size + k, "codec")) for k in range(batch_size)])
        step += 1


def _picture(faces: np.ndarray, photographs: list[np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
    kind = rng.choice(list(SHARES), p=list(SHARES.values()))
    if kind == "faces":
        picture = faces[rng.integers(len(faces))]
    elif kind == "photographs":
        photograph = photographs[rng.integers(len(photographs))]
        side = int(min(size * rng.uniform(1, 3), *photograph.shape[:2]))
        y, x = (int(rng.integers(0, length - side + 1)) for length in photograph.shape[:2])
        picture = cv2.resize(photograph[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA)
    else:
        coarse = rng.normal(size=(int(rng.integers(3, size // 2)),) * 2 + (3,)).astype(np.float32)
        smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        picture = np.clip(127 + rng.uniform(10, 60) * smooth, 0, 255)
    changed = picture.astype(np.float32) / 255 * (1 + GAIN * rng.uniform(-1, 1) + 0.3 * GAIN * rng.uniform(-1, 1, 3).astype(np.float32))
    if rng.random() < FLIPS:
        changed = changed[:, ::-1]
    return np.clip(changed, 0, 1)
