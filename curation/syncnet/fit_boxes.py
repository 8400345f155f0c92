"""`python -m curation fit-sync-boxes`: pairs of landmarks and detected boxes from videos, the map fitted to them, and how far it is off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from curation.contracts import ClipError
from curation.syncnet.box_map import BoxMap, fit_map
from curation.syncnet.crop import centre_and_half
from curation.syncnet.tracks import overlap
from manifests.errors import UserError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".m4v"})
_SAME_FACE_IOU = 0.3  # of a detector's box and the landmarks' box; the two are cut differently, so no more is asked
_FOLDS = 5


def video_files(paths: Sequence[str]) -> list[Path]:
    """The files named, and those below the folders named, in a stable order."""
    found: list[Path] = []
    for path in map(Path, paths):
        found += sorted(f for f in path.rglob("*") if f.suffix.lower() in VIDEO_SUFFIXES) if path.is_dir() else [path]
    return found


class Detector(Protocol):
    """Finds boxes on a picture; `name` goes into the map's facts."""

    name: str

    def __call__(self, rgb: np.ndarray) -> np.ndarray: ...


class S3FDBoxes:
    """The published detector, at the published scale; the weights come from the models store."""

    name = "s3fd"

    def __init__(self, models_dir: str | None = None, device: str = "cpu"):
        from curation.syncnet.s3fd import S3FD, FaceDetector
        from curation.syncnet.weights import load_weights, require_device
        from curation.weights import Store

        require_device(device)
        self._detector = FaceDetector(load_weights(S3FD(), Store.standard(models_dir).find("s3fd")), device)

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        height, width = rgb.shape[:2]
        return self._detector.detect([self._detector.prepare(rgb)], (width, height))[0][:, :4]


class YuNetBoxes:
    """A stand-in trained on WIDER FACE as S3FD was: OpenCV's YuNet, on pictures of at most 640 px a side."""

    name = "yunet"

    def __init__(self, weights: str):
        import cv2

        if not Path(weights).is_file():
            raise UserError(f"no file {weights}: give --weights the face_detection_yunet ONNX file of OpenCV's model zoo")
        self._net = cv2.FaceDetectorYN.create(weights, "", (320, 320), 0.8, 0.3, 100)

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        import cv2

        scale = min(1.0, 640 / max(rgb.shape[:2]))
        small = cv2.resize(rgb, (0, 0), fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
        self._net.setInputSize((small.shape[1], small.shape[0]))
        faces = self._net.detect(np.ascontiguousarray(small[:, :, ::-1]))[1]
        if faces is None:
            return np.zeros((0, 4))
        boxes = faces[:, :4].astype(np.float64) / scale
        boxes[:, 2:] += boxes[:, :2]
        return boxes


def fit_from_videos(
    files: Sequence[Path], detector: Detector, every_s: float = 1.0, say: Callable[[str], None] = lambda line: None
) -> BoxMap:
    """Fit the map on the largest face of a picture every `every_s` seconds; errors are measured on videos left out.

    Raises:
        UserError: too few videos show a face that both see.
    """
    pairs = [_pairs(file, detector, every_s, say) for file in files]
    found = [(points, boxes) for points, boxes in pairs if len(points)]
    if len(found) < 2 * _FOLDS:
        raise UserError(f"only {len(found)} of {len(files)} videos show a face that both see; at least {2 * _FOLDS} are needed")
    errors = [e for fold in range(_FOLDS) for e in _held_out(found, fold)]
    points, boxes = (np.concatenate(part) for part in zip(*found, strict=True))
    facts = {"detector": detector.name, "videos": len(found), "frames": len(points), "folds": _FOLDS, "held_out": summary(np.array(errors))}
    return fit_map(points, boxes, facts)


def crop_differences(ours_px: np.ndarray, theirs_px: np.ndarray) -> np.ndarray:
    """(N, 4) of two boxes a face: shift of the crop's centre in x and y and change of its size, in parts of the half side; and the IoU."""
    ours, theirs = centre_and_half(ours_px), centre_and_half(theirs_px)
    shift = (ours[:, :2] - theirs[:, :2]) / theirs[:, 2:]
    size = ours[:, 2] / theirs[:, 2] - 1
    iou = [overlap(a, b) for a, b in zip(ours_px, theirs_px, strict=True)]
    return np.column_stack([shift, size, iou])


def summary(differences: np.ndarray) -> dict[str, Any]:
    """Of (N, 4) `crop_differences`: medians and 95th percentiles of the absolute values, and of the IoU median and 5th percentile."""
    absolute = np.abs(differences[:, :3])
    facts: dict[str, Any] = {}
    for label, values in (("median", np.median(absolute, axis=0)), ("p95", np.percentile(absolute, 95, axis=0))):
        facts |= {f"{name}_{label}": round(float(v), 4) for name, v in zip(("shift_x", "shift_y", "size"), values, strict=True)}
    iou = differences[:, 3]
    return facts | {"iou_median": round(float(np.median(iou)), 4), "iou_p5": round(float(np.percentile(iou, 5)), 4)}


def _held_out(found: list[tuple[np.ndarray, np.ndarray]], fold: int) -> Iterator[np.ndarray]:
    """`crop_differences` on every fifth video, of a map fitted on the others."""
    kept = [pair for i, pair in enumerate(found) if i % _FOLDS != fold]
    fitted = fit_map(np.concatenate([points for points, _ in kept]), np.concatenate([boxes for _, boxes in kept]))
    for points, boxes in found[fold::_FOLDS]:
        yield from crop_differences(fitted(points), boxes)


def _pairs(file: Path, detector: Detector, every_s: float, say: Callable[[str], None]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 68, 2) landmarks and (n, 4) boxes of the largest face of one video."""
    from curation.contracts import Clip
    from curation.landmarks.facemesh import FaceMesh
    from curation.media import MediaReader

    mesh, points, boxes = FaceMesh(), [], []
    try:
        with (
            MediaReader() as reader,
            reader.read(Clip("fit", file.name, file.name, str(file)), sample_hz=1 / every_s, audio=False) as stream,
        ):
            for frame in stream.frames():
                faces = mesh.detect_image(np.array(frame.rgb))
                if not faces:
                    continue
                candidates = detector(frame.rgb)
                overlaps = [overlap(faces[0].box_px.astype(np.float64), box) for box in candidates]
                if overlaps and max(overlaps) > _SAME_FACE_IOU:
                    points.append(faces[0].points_px)
                    boxes.append(candidates[int(np.argmax(overlaps))])
    except ClipError as error:
        say(f"{file}: {error.message}")
    say(f"{file.name}: {len(points)} faces")
    return np.array(points).reshape(-1, 68, 2), np.array(boxes).reshape(-1, 4)
