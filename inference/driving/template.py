"""Motion templates: what of a driver moves a portrait, in one safetensors file. Nothing in it is executed when it is read.

points_px     (F, 68, 2) float32 landmarks, NaN where the face is not seen
n_faces       (F,) int16
boxes_px      (F, 3, 4) int32 right eye, left eye, mouth: half-open rectangles, larger than the patches by ROOM, so that amplitude and
              retargeting can still be chosen
packed        (N,) uint8, the rectangles' pixels as JPEG or PNG files, one after the other
offsets       (3 F + 1,) int64 where each begins in `packed`; equal neighbours where a rectangle is empty
audio         (M,) int16 mono at 16 kHz; optional
metadata      format, fps ("30000/1001"), width_px, height_px
"""

from __future__ import annotations

import io
import re
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path

import numpy as np

from curation.contracts import AUDIO_RATE_HZ
from curation.landmarks.sixty_eight import N_POINTS, interocular
from inference.driving.contracts import MAX_FPS, Footage
from inference.driving.picture import MAX_PIXELS
from inference.driving.regions import patch_boxes, region_boxes
from manifests import UserError
from manifests.atomic import atomic_path
from manifests.leftovers import sweep

TEMPLATE_SUFFIX = ".safetensors"
FORMAT = "megactor-sigma motion template 1"
ROOM = 0.35  # of the distance between the eye centres, on all sides
_JPEG_QUALITY = 95
_MAX_FRAMES = 1_000_000


def save_template(footage: Footage, path: str | Path, lossless: bool = False, with_audio: bool = True) -> None:
    """Writes a driver's patches, landmarks and sound.

    Args:
        footage: the driver; it is decoded once.
        lossless: PNG instead of JPEG: about ten times as large, and the patches are the video's to the last bit.
        with_audio: keep the sound.

    Raises:
        UserError: no face in the footage, or the file cannot be written.
    """
    from safetensors.numpy import save_file

    if not np.isfinite(footage.points_px).all(axis=(1, 2)).any():
        raise UserError(f"{footage.name}: no face found; a template would be empty")
    boxes = _roomy_boxes(footage)
    parts: list[bytes] = []
    lengths: list[int] = []
    for rectangles, rgb in zip(boxes, footage.frames(), strict=True):
        for x0, y0, x1, y1 in rectangles:
            parts.append(_encoded(rgb[y0:y1, x0:x1], lossless) if x1 > x0 else b"")
            lengths.append(len(parts[-1]))
    tensors: dict[str, np.ndarray] = {
        "points_px": np.ascontiguousarray(footage.points_px, np.float32),
        "n_faces": np.asarray(footage.n_faces, np.int16),
        "boxes_px": boxes.astype(np.int32),
        "packed": np.frombuffer(b"".join(parts), np.uint8),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    }
    if with_audio and footage.audio is not None:
        tensors["audio"] = np.asarray(footage.audio, np.int16)
    metadata = {"format": FORMAT, "fps": str(footage.fps), "width_px": str(footage.width_px), "height_px": str(footage.height_px)}
    sweep(Path(path).absolute().parent)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)


class TemplateFootage:
    """A motion template as a `Footage`: its frames are black outside the stored rectangles.

    Raises:
        UserError: not there, or not a whole template of this format.
    """

    def __init__(self, path: str | Path):
        from safetensors import SafetensorError, safe_open

        self.name = str(path)
        self.notes: tuple[str, ...] = ()
        if not Path(path).is_file():
            raise UserError(f"{path}: the file is not there")
        try:
            self._file = safe_open(str(path), framework="numpy")
            metadata = self._file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(f"{path}: not a motion template of this version (`python -m inference template` writes one)")
            self.fps = _rate(metadata["fps"])
            self.width_px, self.height_px = (_whole(metadata[name]) for name in ("width_px", "height_px"))
            self.points_px = self._file.get_tensor("points_px")
            self.n_faces = self._file.get_tensor("n_faces")
            self._boxes = self._file.get_tensor("boxes_px")
            self._offsets = self._file.get_tensor("offsets")
            self._packed = self._file.get_slice("packed")
            self.audio = self._file.get_tensor("audio") if "audio" in self._file.keys() else None  # noqa: SIM118  not a mapping
        except (SafetensorError, OSError, KeyError, ValueError, ZeroDivisionError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path}: the motion template is damaged: {' '.join(str(error).split())}") from None
        self.n_frames = len(self.points_px) if self.points_px.ndim else 0
        for problem, found in self._problems().items():
            if found:
                raise UserError(f"{path}: the motion template is damaged: {problem}")

    def _problems(self) -> dict[str, bool]:
        n, boxes, offsets = self.n_frames, self._boxes, self._offsets
        shapes = (
            self.points_px.shape == (n, N_POINTS, 2)
            and self.n_faces.shape == (n,)
            and boxes.shape == (n, 3, 4)
            and boxes.dtype == np.int32
            and self.n_faces.dtype == np.int16
            and offsets.shape == (3 * n + 1,)
            and len(self._packed.get_shape()) == 1
            and self._packed.get_dtype() == "U8"
            and offsets.dtype == np.int64
            and self.points_px.dtype == np.float32
            and (self.audio is None or (self.audio.ndim == 1 and self.audio.dtype == np.int16))
        )
        if not shapes:
            return {"tensors of wrong shapes or types": True}
        limits = np.array([self.width_px, self.height_px, self.width_px, self.height_px])
        return {
            "no frames, or too many": not 1 <= n <= _MAX_FRAMES,
            "a frame rate out of range": not 1 <= self.fps <= MAX_FPS,
            "frames of an impossible size": not (self.width_px > 0 and self.height_px > 0 and self.width_px * self.height_px <= MAX_PIXELS),
            "rectangles outside the frames": not ((boxes >= 0) & (boxes <= limits)).all() or (boxes[..., 2:] < boxes[..., :2]).any(),
            "pixels are missing": bool(
                offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != self._packed.get_shape()[0]
            ),
            "landmarks out of range": bool((np.abs(np.nan_to_num(self.points_px)) > 1e6).any()),
            "sound of another length": self._sound_is_off_by_s() > 1.0,
        }  # fmt: skip

    def _sound_is_off_by_s(self) -> float:
        if self.audio is None or not self.fps:
            return 0.0
        return abs(len(self.audio) / AUDIO_RATE_HZ - self.n_frames / float(self.fps))

    def frames(self) -> Generator[np.ndarray, None, None]:
        for index in range(self.n_frames):
            yield self.frame(index)

    def frame(self, index: int) -> np.ndarray:
        rgb = np.zeros((self.height_px, self.width_px, 3), np.uint8)
        for part, (x0, y0, x1, y1) in enumerate(self._boxes[index]):
            begin, end = self._offsets[3 * index + part : 3 * index + part + 2]
            if end > begin:
                rgb[y0:y1, x0:x1] = self._decoded(self._packed[int(begin) : int(end)].tobytes(), (int(x1 - x0), int(y1 - y0)))
        return rgb

    def close(self) -> None:
        pass

    def _decoded(self, data: bytes, size: tuple[int, int]) -> np.ndarray:
        from PIL import Image

        try:
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                if image.size != size:  # known from the header, before anything is unpacked
                    raise UserError(f"{self.name}: the motion template is damaged: a patch of {image.size} px instead of {size}")
                return np.asarray(image.convert("RGB"))
        except UserError:
            raise
        except Exception as error:  # Pillow's readers raise nearly anything on damaged files
            raise UserError(f"{self.name}: the motion template is damaged: {' '.join(str(error).split())}") from None


def _rate(text: str) -> Fraction:
    """A short whole number or ratio: `Fraction` itself would spend hours on the digits of "1e-999999999"."""
    if not re.fullmatch(r"[0-9]{1,9}(/[0-9]{1,9})?", text):
        raise ValueError(f"a frame rate of {text[:30]!r}")
    return Fraction(text)


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"a size of {text[:30]!r}")
    return int(text)


def _roomy_boxes(footage: Footage) -> np.ndarray:
    """(F, 3, 4) int64: the patches with ROOM about them, within the frame; all zero where there is no face."""
    points = np.asarray(footage.points_px, np.float64)
    size = (footage.height_px, footage.width_px)
    by_rule = [np.concatenate([b.eyes, b.mouth[:, None]], axis=1) for b in (region_boxes(points, size), patch_boxes(points, size))]
    tight = np.concatenate([np.minimum(*by_rule)[..., :2], np.maximum(*by_rule)[..., 2:]], axis=-1)  # whichever the model asks for
    room = np.nan_to_num(ROOM * interocular(points))[:, None, None] * np.array([-1, -1, 1, 1])
    limits = np.array([footage.width_px, footage.height_px] * 2)
    grown = np.clip(np.round(tight + room), 0, limits).astype(np.int64)
    return np.where((tight[..., 2:] > tight[..., :2]).all(axis=-1, keepdims=True), grown, 0)


def _encoded(rgb: np.ndarray, lossless: bool) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(rgb))
    if lossless:
        image.save(out, "PNG", compress_level=4)
    else:
        image.save(out, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return out.getvalue()
