"""The driven image of every output frame: footage, warped by amplitude and retargeting in one resample, cut to its patches."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from curation.face_crop import HEAD_SCALE, clip_square, crop_matrix, transform_points, warp
from inference.driving.amplitude import Amplitude, compose, corrections, inverse
from inference.driving.contracts import Footage
from inference.driving.estimator import ESTIMATORS, MotionEstimate, estimate_motion
from inference.driving.patch_store import PatchStore
from inference.driving.reference import Reference
from inference.driving.regions import EYES, MOUTH, PATCH_RULES, REGION_CHOICES, RegionBoxes, greyed, patch_boxes
from inference.driving.retarget import RETARGETS, retarget_matrix
from manifests import UserError

MISSING = ("hold", "skip", "error")
SMALL_FACE_SHARE = 0.25  # of the picture's side: half of what a face has in the paper profile's crop
WARN_FILLED_SHARE = 0.05  # of the patches' pixels: less is a rim that nobody sees


@dataclass(frozen=True)
class DrivingOptions:
    """How a driver is used.

    Attributes:
        regions: which patches the model sees: eyes, mouth, both or none.
        amplitude: gains of the head's in-plane motion.
        retarget: where the driver's face lies, see `retarget_matrix`; `none` keeps it where it is in the driver's own crop.
        estimator: `similarity` or `affine`.
        missing: frames without a face: `hold` repeats the patches of the last frame that shows it (of the first one, at the beginning),
            `skip` gives the model a black driven image there, `error` refuses the driver.
        smooth_ms: standard deviation of the Gaussian over the landmarks from which motion is measured; used only where the amplitude is
            not 1, because there the jitter of the landmarks would shake the picture. Motion that is faster passes unscaled.
        crop_scale: side of the driver's own crop over its landmark box (retarget `none`, and pictures for people).
        patch_rule: how the patches are cut, `clip` or `frame` (`inference.driving.regions.clip_patches`): as the model was trained.
        grey: the patches lose their colour: for a model that was trained so. `open_driver` puts the model's own into these three.
        still_s: how long a single driving picture is shown, where no sound gives the length.
    """

    regions: str = "both"
    amplitude: Amplitude = field(default_factory=Amplitude)
    retarget: str = "face"
    estimator: str = "similarity"
    missing: str = "hold"
    smooth_ms: float = 25.0
    crop_scale: float = HEAD_SCALE
    patch_rule: str = "clip"
    grey: bool = False
    still_s: float = 1.0

    def __post_init__(self) -> None:
        for name, known in {
            "regions": REGION_CHOICES,
            "retarget": RETARGETS,
            "estimator": ESTIMATORS,
            "missing": MISSING,
            "patch_rule": PATCH_RULES,
        }.items():
            if getattr(self, name) not in known:
                raise UserError(f"driving {name} is {getattr(self, name)!r}; it must be one of {', '.join(known)}")
        if not 0 <= self.smooth_ms <= 1000:
            raise UserError(f"driving smooth_ms is {self.smooth_ms}; it must lie in 0..1000")
        if not 0.04 <= self.still_s <= 3600:  # from one frame at 25 a second to an hour
            raise UserError(f"still_s is {self.still_s}; it must lie in 0.04…3600")


@dataclass(frozen=True)
class DrivingReport:
    """What was done to a driver, for the result's report.

    Attributes:
        n_frames, fps: of the driver.
        n_missing: frames without a face; `missing` says what became of them.
        n_degenerate: frames with a face whose motion could not be measured; they use the last frame's that could.
        n_several: frames that show more than one face; the largest drives.
        filled_share: part of the patches' pixels that lie outside the driver's picture, and are black.
        notes: lines for the user.
    """

    n_frames: int
    fps: float
    missing: str
    n_missing: int
    n_degenerate: int
    n_several: int
    filled_share: float
    notes: tuple[str, ...]


class Driving:
    """The driven frames of one driver for one portrait, in constant memory at any length. A context manager.

    Args:
        footage: the driver (`open_footage`); one footage serves any number of `Driving`.
        reference: the portrait that is animated; it is cut anew, about everywhere that the driver takes its face. Without it the
            driver keeps its own place (retarget `none`).
        options: see `DrivingOptions`.
        size_px: S; without it the reference's.
        matrix: (2, 3) map from driver px to the model's picture that takes the place of retargeting (evaluation: the target's crop).

    Attributes:
        reference: the portrait in the crop that the patches belong to: the one to give the model.
        n_frames, fps, duration_s: of the driver, and so of the result; `fps` is an exact `Fraction`.
        audio: (N,) int16 mono at 16 kHz, or None.
        matrices: (F, 2, 3) float64, driver px to model px.
        points_px: (F, 68, 2) float64 landmarks on the model's picture; of a held frame those of the frame whose patches it repeats; NaN
            where a frame has no patches.
        boxes: rectangles of the patches, see `RegionBoxes`; a region that is not asked for is empty.
        face_boxes: the same of both regions, asked for or not (Eq. 2 needs to know where the mouth will be).
        seen: (F,) bool, the driver shows a face.
        report: `DrivingReport`.

    Raises:
        UserError: no face in the whole driver, or missing frames and `missing="error"`.
    """

    def __init__(
        self,
        footage: Footage,
        reference: Reference | None = None,
        options: DrivingOptions | None = None,
        size_px: int | None = None,
        matrix: np.ndarray | None = None,
    ):
        self.options = options or DrivingOptions()
        self.footage = footage
        self.size_px = size_px or (reference.size_px if reference else 512)
        self.n_frames, self.fps, self.audio = footage.n_frames, footage.fps, footage.audio
        points = np.asarray(footage.points_px, np.float64)
        self.seen = np.isfinite(points).all(axis=(1, 2))
        self._require_faces()
        shown = self._shown_frames()
        amplitude = self.options.amplitude
        smooth_frames = 0.0 if amplitude.keeps_all else self.options.smooth_ms / 1000 * float(self.fps)
        motion = _motion(footage, points, self.options.estimator, smooth_frames)
        self.own_matrix = crop_matrix(clip_square(points, self.options.crop_scale), self.size_px)
        corrected = corrections(motion.matrices, motion.pivot_px, amplitude)
        source = np.maximum(shown, 0)
        self.reference, canvas = reference, self.own_matrix if matrix is None else matrix
        if matrix is None and reference is not None and self.options.retarget != "none":
            self.reference, canvas = self._lay_over(reference, points, corrected, source[shown >= 0])
        warps = compose(canvas, corrected)
        self.matrices = warps[source]
        self.points_px = np.stack([transform_points(points[s], w) for s, w in zip(source, self.matrices, strict=True)])
        self.points_px[shown < 0] = np.nan
        self._shown = shown
        own_points = np.stack([transform_points(p, w) for p, w in zip(points, warps, strict=True)])  # of held frames too: not seen, NaN
        own = patch_boxes(own_points, self.size_px, self.options.patch_rule)
        shows = shown >= 0
        self.face_boxes = RegionBoxes(own.eyes[source] * shows[:, None, None], own.mouth[source] * shows[:, None])
        shown_regions = REGION_CHOICES[self.options.regions]
        eyes, mouth = self.face_boxes.eyes, self.face_boxes.mouth
        self.boxes = RegionBoxes(eyes if EYES in shown_regions else eyes * 0, mouth if MOUTH in shown_regions else mouth * 0)
        self.report = self._report(motion.n_degenerate)
        self._store: PatchStore | None = None
        self._decoding: Generator[np.ndarray, None, None] | None = None
        self._first_use = np.empty(0, np.int64)
        self._n_stored = 0

    def __enter__(self) -> Driving:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.n_frames

    @property
    def portrait(self) -> Reference:
        """`reference` of a driver that is laid over one.

        Raises:
            ValueError: it is laid over none.
        """
        if self.reference is None:
            raise ValueError("this driver is laid over no portrait")
        return self.reference

    @property
    def duration_s(self) -> Fraction:
        return self.n_frames / self.fps

    def driven_frames(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, 3, S, S) uint8 RGB, black outside the patches.

        Any order is possible. Frames that were not asked for before are decoded up to `stop`, and their patches kept in a temporary file;
        later calls read them from there.

        Raises:
            ValueError: frames that the driver does not have.
            UserError: the file became unreadable.
        """
        if not 0 <= start <= stop <= self.n_frames:
            raise ValueError(f"frames {start}..{stop} of a driver of {self.n_frames}")
        out = np.zeros((stop - start, self.size_px, self.size_px, 3), np.uint8)
        shown = self._shown[start:stop]
        if self.options.regions != "none" and stop > start and shown.max() >= 0:
            store = self._decode_until(int(shown.max()) + 1)
            for picture, source in zip(out, shown, strict=True):
                if source >= 0:
                    store.paste(source, picture)
        return np.ascontiguousarray((greyed(out) if self.options.grey else out).transpose(0, 3, 1, 2))

    def shown_frame(self, index: int) -> int | None:
        """The driver's frame whose patches are shown at frame `index`; None for none."""
        return int(self._shown[index]) if self._shown[index] >= 0 else None

    def driver_pictures(self) -> Iterator[np.ndarray]:
        """Every frame of the driver in order, (S, S, 3) uint8, in its own crop and with its own motion: what a person compares with."""
        for rgb in self.footage.frames():
            yield warp(rgb, self.own_matrix, self.size_px)

    def close(self) -> None:
        """Ends decoding and drops the kept patches."""
        if self._decoding is not None:
            self._decoding.close()
            self._decoding = None
        if self._store is not None:
            self._store.close()
            self._store = None
        self._n_stored = 0

    def _decode_until(self, stop: int) -> PatchStore:
        """Decodes the driver's frames before `stop` and keeps the patches of those that are shown: all of them are in the store then."""
        if self._store is None or self._decoding is None:
            in_use = self._shown >= 0
            self._first_use = np.full(self.n_frames, -1)  # of each of the driver's frames
            self._first_use[self._shown[in_use][::-1]] = np.flatnonzero(in_use)[::-1]
            rectangles = np.concatenate([self.boxes.of(EYES), self.boxes.of(MOUTH)], axis=1)[self._first_use]
            rectangles[self._first_use < 0] = 0
            self._store = PatchStore(rectangles)
            self._decoding = self.footage.frames()
        while self._n_stored < stop:
            rgb = next(self._decoding)
            frame = self._first_use[self._n_stored]
            if frame >= 0:
                self._store.write(self._n_stored, warp(rgb, self.matrices[frame], self.size_px))
            self._n_stored += 1
        return self._store

    def _require_faces(self) -> None:
        missing = np.flatnonzero(~self.seen)
        if len(missing) == self.n_frames:
            raise UserError(f"{self.footage.name}: no face found in the driver")
        if len(missing) and self.options.missing == "error":
            at_s = float(missing[0] / self.fps)
            raise UserError(
                f"{self.footage.name}: {len(missing)} of {self.n_frames} frames show no face, the first at {at_s:.2f} s; "
                "cut them off, or choose what to do with them: --missing hold or skip"
            )

    def _shown_frames(self) -> np.ndarray:
        """(F,) int64: the driver's frame whose patches are shown at each frame; -1 for none."""
        every = np.arange(self.n_frames)
        if self.options.missing == "skip":
            return np.where(self.seen, every, -1)
        held = np.maximum.accumulate(np.where(self.seen, every, -1))
        return np.where(held < 0, int(self.seen.argmax()), held)

    def _lay_over(self, reference: Reference, points: np.ndarray, corrected: np.ndarray, shown: np.ndarray) -> tuple[Reference, np.ndarray]:
        """The portrait cut about everywhere that its face will go, and the (2, 3) map of an uncorrected driver frame onto that crop."""
        over_portrait = retarget_matrix(points[int(self.seen.argmax())], reference.points_px, self.options.retarget)
        went = [transform_points(points[s], compose(over_portrait, corrected[s])) for s in shown]
        reference = reference.around(np.stack(went))
        return reference, compose(reference.matrix, over_portrait)

    def _report(self, n_degenerate: int) -> DrivingReport:
        name, n_missing = self.footage.name, int((~self.seen).sum())
        n_several = int((np.asarray(self.footage.n_faces) > 1).sum())
        filled = filled_share(self.boxes, self.matrices, self.footage.height_px, self.footage.width_px)
        notes = list(self.footage.notes)
        if n_missing:
            done = {"hold": "the last patches are held", "skip": "they have no driven image"}[self.options.missing]
            notes.append(f"{name}: {n_missing} of {self.n_frames} frames show no face; {done}")
        if n_degenerate:
            notes.append(f"{name}: the head's motion could not be measured on {n_degenerate} of {self.n_frames} frames; the last is used")
        if n_several:
            notes.append(f"{name}: {n_several} of {self.n_frames} frames show several faces; the largest drives")
        if filled > WARN_FILLED_SHARE:
            moves = self.options.amplitude != Amplitude.of(0.0)
            helps = "less amplitude (--motion) helps" if moves else "a driver with more room about its face helps"
            notes.append(f"{name}: {100 * filled:.0f} % of the patches lie outside the driver's picture and are black; {helps}")
        face_px = float("inf") if self.reference is None else float(np.ptp(self.reference.crop_points_px, axis=0).max())
        if face_px < SMALL_FACE_SHARE * self.size_px:
            notes.append(
                f"{name}: its head goes so far that the portrait's face becomes {face_px:.0f} of {self.size_px} px; --motion 0 keeps it "
                "large, or a driver cut to the face"
            )
        return DrivingReport(self.n_frames, float(self.fps), self.options.missing, n_missing, n_degenerate, n_several, filled, tuple(notes))


def filled_share(boxes: RegionBoxes, matrices: np.ndarray, height_px: int, width_px: int) -> float:
    """Part of the patches' pixels, over all frames, whose middle comes from outside a source picture of that size; 0 without patches."""
    total = outside = 0
    for matrix, rectangles in zip(inverse(matrices), np.concatenate([boxes.eyes, boxes.mouth[:, None]], axis=1), strict=True):
        for x0, y0, x1, y1 in rectangles:
            n = (x1 - x0) * (y1 - y0)
            total += n
            corners = transform_points(np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]), matrix)
            if n and ((corners < 0) | (corners > (width_px, height_px))).any():
                x, y = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
                places = transform_points(np.stack([x, y], axis=-1), matrix)
                outside += int(((places < 0) | (places > (width_px, height_px))).any(axis=-1).sum())
    return float(outside / total) if total else 0.0


def _motion(footage: Footage, points: np.ndarray, estimator: str, smooth_frames: float) -> MotionEstimate:
    try:
        return estimate_motion(points, estimator, smooth_frames)
    except ValueError as error:
        raise UserError(f"{footage.name}: {error}") from None
