"""What will be cut out of portrait and driver, before anything is generated."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.face_crop import warp
from inference.driving.driving import Driving
from inference.driving.opening import open_driver
from inference.driving.reference import Reference
from inference.driving.regions import RegionBoxes, cut_patches, region_boxes
from inference.pipeline.inputs import model_picture
from inference.studio.loading import LoadOptions, settings_of
from inference.studio.request import Request
from manifests import UserError
from manifests.atomic import atomic_path, check_place

_EYES_RGB, _MOUTH_RGB, _CROP_RGB = (255, 190, 0), (0, 200, 255), (0, 220, 90)


@dataclass(frozen=True)
class Preview:
    """(S, S, 3) uint8 pictures of one frame.

    Attributes:
        reference: the portrait's crop, with the rectangles that its own patches would have.
        driver: the driver in its own crop, unchanged.
        warped: after amplitude and retargeting, with the patches' outlines.
        patches: what the model sees.
    """

    reference: np.ndarray
    driver: np.ndarray
    warped: np.ndarray
    patches: np.ndarray

    def sheet(self) -> np.ndarray:
        """(S, 4 S, 3) uint8, beside each other."""
        return np.concatenate([self.reference, self.driver, self.warped, self.patches], axis=1)


def preview(driving: Driving, index: int, rgb: np.ndarray | None = None) -> Preview:
    """The pictures of frame `index`.

    Args:
        driving: laid over a portrait.
        rgb: the driver's frame if it is at hand; else it is decoded.

    Raises:
        UserError: the driver has no such frame.
    """
    if not 0 <= index < driving.n_frames:
        raise UserError(f"frame {index} of a driver of {driving.n_frames}")
    size = driving.size_px
    shown = driving.shown_frame(index)
    if rgb is None:
        rgb = driving.footage.frame(index if shown is None else shown)
    warped = np.zeros((size, size, 3), np.uint8) if shown is None else warp(rgb, driving.matrices[index], size)
    boxes = RegionBoxes(driving.boxes.eyes[index : index + 1], driving.boxes.mouth[index : index + 1])
    return Preview(
        reference=outlined(driving.portrait.crop, region_boxes(driving.portrait.crop_points_px[None], size)),
        driver=warp(rgb, driving.own_matrix, size),
        warped=outlined(warped, boxes),
        patches=cut_patches(warped[None], boxes, {"eyes", "mouth"}, driving.options.grey)[0],
    )


def outlined(rgb: np.ndarray, boxes: RegionBoxes) -> np.ndarray:
    """A copy of (S, S, 3) uint8 with the first frame's rectangles drawn around what they hold: eyes yellow, mouth blue."""
    import cv2

    picture = np.ascontiguousarray(rgb).copy()
    width = max(1, len(rgb) // 256)
    for rectangles, colour in ((boxes.eyes[0], _EYES_RGB), (boxes.mouth[:1], _MOUTH_RGB)):
        for x0, y0, x1, y1 in rectangles.tolist():
            if x1 > x0:
                cv2.rectangle(picture, (x0 - width, y0 - width), (x1 + width - 1, y1 + width - 1), colour, width)
    return picture


def crop_overlay(reference: Reference) -> np.ndarray:
    """(H, W, 3) uint8: the whole portrait with the square that the model sees."""
    import cv2

    picture = reference.rgb.copy()
    x, y, side = reference.square
    low, high = np.round([x - side / 2, y - side / 2]).astype(int), np.round([x + side / 2, y + side / 2]).astype(int)
    cv2.rectangle(picture, low.tolist(), high.tolist(), _CROP_RGB, max(2, max(picture.shape) // 300))
    return picture


def write_preview(driving: Driving, path: str | Path, n_frames: int = 4) -> None:
    """A PNG with a row (portrait, driver, warped driver, patches) for each of `n_frames` frames spread over the driver.

    Raises:
        UserError: the file cannot be written.
    """
    from PIL import Image

    chosen = np.unique(np.linspace(0, driving.n_frames - 1, max(1, n_frames)).round().astype(int))
    rows = np.concatenate([preview(driving, int(index)).sheet() for index in chosen])
    with atomic_path(path) as temporary:
        Image.fromarray(rows).save(temporary, "PNG")


def preview_file(
    reference: str, driving: str, out: str | Path, n_frames: int, size_px: int, model: str | None = None, **settings: Any
) -> tuple[str, ...]:
    """`write_preview` from file names; returns lines for the user.

    Args:
        model: whose crop is shown (`inference.studio.loading.LoadOptions`).
        settings: motion, translation, roll, zoom, scale_mode, regions, retarget, missing, as `inference.studio.request.Request` has them.

    Raises:
        UserError: one line.
    """
    from curation.landmarks import make_backend

    request = Request.from_tree({"reference": reference, "out": str(out), "driving": driving, **settings})
    check_place(out)
    config = settings_of(LoadOptions(model))
    picture = model_picture(config, lambda: make_backend(config.landmarks), size_px)
    with open_driver(request.reference, driving, request.options, picture) as driver, closing(driver.footage):
        write_preview(driver, out, n_frames)
        return (*driver.portrait.notes, *driver.report.notes)
