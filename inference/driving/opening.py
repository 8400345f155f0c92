"""Portrait and driver in any of their forms, read and laid over each other: what animation, preview and app all begin with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL.Image import Image

from curation.contracts import LandmarkBackend
from inference.driving.amplitude import Amplitude
from inference.driving.contracts import DrivenFrames, Footage
from inference.driving.driving import Driving, DrivingOptions
from inference.driving.footage import PicturesFootage, StillFootage, VideoFootage
from inference.driving.moved_reference import moved_reference
from inference.driving.picture import is_animated, is_file, is_folder, is_named_picture, is_picture, to_rgb
from inference.driving.reference import Reference, find_face, load_reference
from inference.driving.regions import REGION_CHOICES, chin_boxes, region_boxes
from inference.driving.template import TEMPLATE_SUFFIX, TemplateFootage
from manifests import UserError

Portrait = str | Path | Image | np.ndarray | Reference

Driver = str | Path | Footage | DrivenFrames

OPENED = VideoFootage | StillFootage | PicturesFootage | TemplateFootage

ROUNDING = 0.05  # of a frame: headers give the length of a sound in milliseconds


@dataclass(frozen=True)
class ModelPicture:
    """The pictures that a model was trained on, and who finds the faces in them.

    Attributes:
        size_px: S, side of the picture.
        crop_scale: side of a crop over the longer side of the landmark box.
        patch_rule, grey: how the driver's patches are cut, and whether they lose their colour (`DrivingOptions`).
        fps: frames a second, for drivers that have no rate of their own: a single picture, sound alone.
        landmarks: gives the backend that finds faces; called only where one is to be found, because it loads networks.
        moves_reference: the model is shown the portrait moved to each frame's head.
    """

    size_px: int
    crop_scale: float
    patch_rule: str
    grey: bool
    fps: Fraction
    landmarks: Callable[[], LandmarkBackend]
    moves_reference: bool = False

    def open_portrait(self, portrait: Portrait) -> Reference:
        """The portrait's face, cut out as the model sees it.

        Raises:
            UserError: no picture, no face in it, a `Reference` of another size; one line.
        """
        if isinstance(portrait, Reference):
            if portrait.size_px != self.size_px:
                raise UserError(f"the portrait was cut to {portrait.size_px} px; this model makes {self.size_px} px")
            return portrait
        if isinstance(portrait, Image):
            portrait = to_rgb(portrait)
        return load_reference(portrait, self.landmarks(), self.size_px, self.crop_scale)


@dataclass(frozen=True)
class Sources:
    """What an animation is made from.

    Attributes:
        image: (S, S, 3) uint8, what the model sees of the portrait.
        portrait: where it lies in the whole picture; None for an array of the model's own size.
        driving: None is sound alone.
        opened: the driver, if it was read here: the one to close.
        face_px: (68, 2) landmarks on `image`; None where they are not known.
    """

    image: np.ndarray
    portrait: Reference | None
    driving: DrivenFrames | None
    opened: Driving | None = None
    face_px: np.ndarray | None = None

    @property
    def moves(self) -> bool:
        """The driver says where the head lies on each frame, and the portrait's face is known."""
        shown = isinstance(self.driving, Driving) and self.driving.options.regions != "none"
        return shown and self.face_px is not None

    def moved_frames(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, S, S, 3) uint8: `image` moved to where the driver's head lies (`moved_reference`).

        Raises:
            ValueError: not where `moves` is False.
        """
        if not isinstance(self.driving, Driving) or self.face_px is None:
            raise ValueError("nobody says where the head lies")
        return moved_reference(self.image, self.face_px, self.driving.points_px[start:stop])

    @property
    def shows_mouth(self) -> bool:
        """It is known where the mouth lies on each frame."""
        return isinstance(self.driving, Driving) or (self.driving is None and self.face_px is not None)

    def mouth_boxes(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, 4) int64, mouth and chin (`regions.chin_boxes`) of the driver's face on each frame; of the portrait's, where sound
        alone drives.

        Raises:
            ValueError: not where `shows_mouth` is False.
        """
        size = self.image.shape[0]
        if isinstance(self.driving, Driving):
            points = self.driving.points_px[start:stop]
        elif self.driving is None and self.face_px is not None:
            points = np.broadcast_to(self.face_px, (stop - start, *self.face_px.shape))
        else:
            raise ValueError("nobody says where the mouth lies")
        return chin_boxes(points, region_boxes(points, size), size)

    @property
    def regions(self) -> frozenset[str] | None:
        """What the driven frames show; None where a driver of the caller's own does not say."""
        if self.driving is None:
            return frozenset()
        return REGION_CHOICES[self.driving.options.regions] if isinstance(self.driving, Driving) else None

    def close(self) -> None:
        if self.opened is not None:
            self.opened.close()


def open_sources(
    portrait: Portrait, driver: Driver | None, options: DrivingOptions, picture: ModelPicture, sound_s: float | None
) -> Sources:
    """Portrait and driver in any of their forms.

    Args:
        portrait: path, PIL image, (H, W, 3) uint8 array or `Reference`; an array of the model's own size is taken as it is.
        driver: path of a video, picture or motion template, footage that is open already, a prepared driver, or None.
        options: of a driver that is still to be read.
        sound_s: length of the sound, which a single driving picture is shown for.

    Raises:
        UserError: a portrait of another size; a prepared driver of another portrait, or with an amplitude.
        UserError: what `open_driver` raises.
    """
    size = picture.size_px
    is_cut = isinstance(portrait, np.ndarray) and portrait.shape == (size, size, 3) and portrait.dtype == np.uint8
    if isinstance(driver, str | Path | OPENED):
        opened = open_driver(None if is_cut else portrait, driver, options, picture, sound_s=sound_s)
        if opened.reference is None:
            return Sources(np.asarray(portrait), None, opened, opened, _face_of(portrait, picture))
        return Sources(opened.reference.crop, opened.reference, opened, opened, opened.reference.crop_points_px)
    if driver is not None and not isinstance(driver, DrivenFrames):
        raise UserError(f"driving is of {type(driver).__name__}: it needs a path or a prepared driver (inference.driving.Driving)")
    if driver is not None and options.amplitude != Amplitude():
        raise UserError("motion belongs to a driver that is still to be read; this one is prepared: give it its amplitude there")
    if is_cut:
        return Sources(np.asarray(portrait), None, driver, None, None if driver is None else _face_of(portrait, picture))
    reference = picture.open_portrait(portrait)
    if not isinstance(driver, Driving) or driver.reference is None:
        return Sources(reference.crop, reference, driver, face_px=reference.crop_points_px)
    if not np.array_equal(driver.reference.rgb, reference.rgb):
        raise UserError("this driver is prepared for another portrait: prepare one with this portrait, or give the portrait it has")
    return Sources(driver.reference.crop, driver.reference, driver, face_px=driver.reference.crop_points_px)


def _face_of(image: Portrait, picture: ModelPicture) -> np.ndarray | None:
    """(68, 2) landmarks on a picture of the model's size, where the model wants to know them."""
    return find_face(np.asarray(image), picture.landmarks())[0] if picture.moves_reference else None


def open_driver(
    portrait: Portrait | None,
    driver: str | Path | Footage,
    options: DrivingOptions,
    picture: ModelPicture,
    *,
    sound_s: float | None = None,
) -> Driving:
    """The driver's patches, laid over the portrait's face.

    Args:
        portrait: a file (of a video the first frame), picture or `Reference`; None lays the driver over none, in its own place.
        driver: a video, picture or motion template, or footage that is open already.
        options: how the driver is used; `crop_scale`, `patch_rule` and `grey` are the picture's.
        sound_s: a single picture is shown for as long; None shows it for `options.still_s`.

    Raises:
        UserError: one of the two cannot be read or shows no face; one line.
    """
    reference = None if portrait is None else picture.open_portrait(portrait)
    if isinstance(driver, str | Path):
        n_frames = frames_of(options.still_s if sound_s is None else sound_s, picture.fps)
        driver = open_footage(driver, picture.landmarks(), still_frames=n_frames, still_fps=picture.fps)
    options = replace(options, crop_scale=picture.crop_scale, patch_rule=picture.patch_rule, grey=picture.grey)
    return Driving(driver, reference, options, picture.size_px)


def open_footage(
    path: str | Path,
    backend: LandmarkBackend,
    still_frames: int = 25,
    still_fps: Fraction = Fraction(25),
    progress: Callable[[int, int], None] | None = None,
) -> Footage:
    """A video, a picture, pictures that follow each other (animated, or a folder of them) or a motion template, told apart by their content
    (a template by `.safetensors`).

    Args:
        path: the file.
        backend: finds the landmarks; not used for a template, which has its own.
        still_frames, still_fps: how long a single picture is shown; the rate is also that of a folder of pictures.
        progress: called with (frames done, frames expected) while landmarks are sought.

    Raises:
        UserError: the file cannot be used; one line that begins with its path.
    """
    if Path(path).suffix == TEMPLATE_SUFFIX:
        return TemplateFootage(path)
    if is_folder(path) or is_animated(path):
        return PicturesFootage(path, backend, still_fps)
    if is_picture(path) or (is_file(path) and is_named_picture(path)):  # a damaged one is said to be one
        return StillFootage(path, backend, still_frames, still_fps)
    return VideoFootage(path, backend, progress)


def frames_of(duration_s: float, fps: Fraction) -> int:
    """As many frames as the sound needs to be heard to its end."""
    return max(1, math.ceil(duration_s * fps - ROUNDING))
