"""The driver of an animation: footage, a picture or a stored motion becomes warped eye and mouth patches. Its names load on first use."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.driving.regions import RegionBoxes, cut_patches, region_boxes, region_pixels

_HOMES = {
    "RegionBoxes": "inference.driving.regions",
    "cut_patches": "inference.driving.regions",
    "region_boxes": "inference.driving.regions",
    "region_pixels": "inference.driving.regions",
}

__all__ = ["RegionBoxes", "cut_patches", "region_boxes", "region_pixels"]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
