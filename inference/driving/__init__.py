"""The driver of an animation: footage, a picture or a stored motion becomes warped eye and mouth patches. Its names load on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.driving.amplitude import Amplitude
    from inference.driving.contracts import DrivenFrames, Footage
    from inference.driving.driving import Driving, DrivingOptions, DrivingReport
    from inference.driving.opening import ModelPicture, open_driver, open_footage
    from inference.driving.reference import Reference, load_reference
    from inference.driving.regions import RegionBoxes, cut_patches, region_boxes, region_pixels
    from inference.driving.template import save_template

_HOMES = {
    "Amplitude": "amplitude",
    "DrivenFrames": "contracts",
    "Driving": "driving",
    "DrivingOptions": "driving",
    "DrivingReport": "driving",
    "Footage": "contracts",
    "ModelPicture": "opening",
    "Reference": "reference",
    "RegionBoxes": "regions",
    "cut_patches": "regions",
    "load_reference": "reference",
    "open_driver": "opening",
    "open_footage": "opening",
    "region_boxes": "regions",
    "region_pixels": "regions",
    "save_template": "template",
}

__all__ = [
    "Amplitude",
    "DrivenFrames",
    "Driving",
    "DrivingOptions",
    "DrivingReport",
    "Footage",
    "ModelPicture",
    "Reference",
    "RegionBoxes",
    "cut_patches",
    "load_reference",
    "open_driver",
    "open_footage",
    "region_boxes",
    "region_pixels",
    "save_template",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"inference.driving.{_HOMES[name]}"), name)
