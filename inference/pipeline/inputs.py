"""What a caller of the pipeline may give, opened: a portrait and a driver in any of their forms, and what does not fit together."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from curation.contracts import LandmarkBackend
from inference.driving.amplitude import Amplitude
from inference.driving.contracts import Driving, Sound
from inference.driving.driving import Driving as Patches
from inference.driving.driving import DrivingOptions
from inference.driving.footage import open_footage
from inference.driving.reference import Reference, load_reference
from inference.driving.regions import EYES, MOUTH, REGION_CHOICES
from inference.models.components import NOTHING, InferenceConfig, TrainingRecord, combination
from inference.sampling.guidance import Guidance
from manifests.errors import UserError

FaceFinder = Callable[[], LandmarkBackend]  # called only where a face is to be found


def open_portrait(reference: Any, settings: InferenceConfig, finder: FaceFinder) -> tuple[np.ndarray, Reference | None]:
    """(S, S, 3) uint8, and where the face lies in it; an array of the model's own size is taken as it is.

    Args:
        reference: path, PIL image, (H, W, 3) uint8 array or `Reference`.

    Raises:
        UserError: a `Reference` of another size.
        UserError: no picture, no face in it.
    """
    size = settings.size_px
    if isinstance(reference, np.ndarray) and reference.shape == (size, size, 3) and reference.dtype == np.uint8:
        return reference, None
    if not isinstance(reference, Reference):
        reference = np.asarray(reference.convert("RGB")) if hasattr(reference, "convert") else reference
        reference = load_reference(reference, finder(), size, settings.crop_scale)
    if reference.size_px != size:
        raise UserError(f"the portrait was cut to {reference.size_px} px; this model makes {size} px")
    return reference.crop, reference


def cut_for(driving: Driving | None, portrait: Reference | None, image: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8: the portrait in the crop that the driver's patches were laid over; `image` where the driver was laid over none.

    Raises:
        UserError: the driver was laid over another portrait.
    """
    if portrait is None or not isinstance(driving, Patches) or driving.reference is None:
        return image
    if not np.array_equal(driving.reference.rgb, portrait.rgb):
        raise UserError("this driver is prepared for another portrait: prepare one with this portrait, or give the portrait it has")
    return driving.reference.crop


def open_driver(
    driving: Any, motion: Any, portrait: Reference | None, settings: InferenceConfig, still_fps: Fraction, finder: FaceFinder
) -> Driving | None:
    """A `Driving` from a path, or as it was given.

    Args:
        driving: path of a video, picture or motion template, a `Driving`, or None.
        motion: Eq. 4's amplitude, a number or an `Amplitude`.
        portrait: whose face the driver's is laid over; None lays it over none.

    Raises:
        UserError: a prepared driver with an amplitude.
        UserError: what `open_footage` raises.
    """
    if driving is None:
        return None
    if isinstance(driving, Driving):
        if motion != 1.0:
            raise UserError("motion belongs to a driver that is still to be read; this one is prepared: give it its amplitude there")
        return driving
    amplitude = motion if isinstance(motion, Amplitude) else Amplitude.of(float(motion))
    options = DrivingOptions(
        amplitude=amplitude,
        retarget="face" if portrait else "none",
        crop_scale=settings.crop_scale,
        patch_rule=settings.patch_rule,
        grey=settings.grey_driver,
    )
    return Patches(open_footage(driving, finder(), still_fps=still_fps), portrait, options, settings.size_px)


def shown_regions(driving: Driving | None) -> frozenset[str] | None:
    """What the driven frames show; None where a driver of the caller's own does not say."""
    if driving is None:
        return frozenset()
    return REGION_CHOICES[driving.options.regions] if isinstance(driving, Patches) else None


def mismatches(
    guidance: Guidance, record: TrainingRecord, shown: frozenset[str] | None, sound: Sound | None, duration_s: float
) -> list[str]:
    """What works but may surprise, a line each.

    Args:
        record: of the model; one without `combinations` (an older trainer's) is asked for its dropout alone.
        shown: see `shown_regions`.
    """
    found = []
    unknown = [name for name in _compared_with(guidance, shown, sound is not None) if not _was_drawn(record, name)]
    if unknown:
        found.append(f"this model was never trained on {' or '.join(unknown)}: guidance compares with what it does not know")
    if sound is not None and abs(sound.duration_s - duration_s) > 0.5:
        found.append(
            f"the sound lasts {sound.duration_s:.2f} s and the driver {duration_s:.2f} s: "
            + ("what is beyond the driver is left out" if sound.duration_s > duration_s else "the rest is silent")
        )
    return found


def _compared_with(guidance: Guidance, shown: frozenset[str] | None, has_audio: bool) -> list[str]:
    """Names of the combinations that guidance shows the model besides the full one; those that depend on an unknown driver are left out."""
    names = []
    for branch in guidance.compared(has_audio):
        if branch.driven and shown is None:
            continue
        eyes, mouth = (branch.driven and region in shown for region in (EYES, MOUTH))
        names.append(combination(eyes=eyes, mouth=mouth, audio=branch.audio and has_audio, reference=branch.reference))
    return names


def _was_drawn(record: TrainingRecord, name: str) -> bool:
    if record.combinations:
        return record.combinations.get(name, 0.0) > 0
    return name != NOTHING or bool(record.dropout.get("all"))
