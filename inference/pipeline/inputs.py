"""What the pipeline makes of its settings for portraits and drivers, and what of a caller's inputs does not fit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from curation.contracts import LandmarkBackend
from inference.driving.contracts import Sound
from inference.driving.opening import ModelPicture
from inference.driving.regions import EYES, MOUTH
from inference.driving.sound import sound_notes
from inference.models.components import NOTHING, InferenceConfig, TrainingRecord, combination
from inference.sampling.guidance import Branch

NOTICED_S = 0.5  # sound and driver may differ by this before a person is told: encoders round either to its packets


def model_picture(settings: InferenceConfig, landmarks: Callable[[], LandmarkBackend], size_px: int | None = None) -> ModelPicture:
    """What a model of these settings sees; previews show it at another `size_px`."""
    return ModelPicture(
        size_px=size_px or settings.size_px,
        crop_scale=settings.crop_scale,
        patch_rule=settings.patch_rule,
        grey=settings.grey_driver,
        fps=Fraction(settings.fps).limit_denominator(1001),
        landmarks=landmarks,
        moves_reference=settings.model.copied_reference == "moved",
    )


def mismatches(
    compared: Sequence[Branch], record: TrainingRecord, shown: frozenset[str] | None, sound: Sound | None, duration_s: float
) -> list[str]:
    """What works but may surprise, a line each.

    Args:
        compared: what guidance compares the full branch with.
        record: of the model; one without `combinations` (an older trainer's) is asked for its dropout alone.
        shown: see `Sources.regions`.
    """
    found = list(sound_notes(sound))
    unknown = [name for name in _named(compared, shown, sound is not None) if not _was_drawn(record, name)]
    if unknown:
        found.append(f"this model was never trained on {' or '.join(unknown)}: guidance compares with what it does not know")
    if sound is not None and abs(sound.duration_s - duration_s) > NOTICED_S:
        found.append(
            f"the sound lasts {sound.duration_s:.2f} s and the driver {duration_s:.2f} s: "
            + ("what is beyond the driver is left out" if sound.duration_s > duration_s else "the rest is silent")
        )
    return found


def _named(compared: Sequence[Branch], shown: frozenset[str] | None, has_audio: bool) -> list[str]:
    """Names of the combinations that these branches are; those that depend on an unknown driver are left out."""
    names = []
    for branch in compared:
        if branch.driven and shown is None:
            continue
        eyes, mouth = (branch.driven and region in (shown or ()) for region in (EYES, MOUTH))
        names.append(combination(eyes=eyes, mouth=mouth, audio=branch.audio and has_audio, reference=branch.reference))
    return names


def _was_drawn(record: TrainingRecord, name: str) -> bool:
    if record.combinations:
        return record.combinations.get(name, 0.0) > 0
    return name != NOTHING or bool(record.dropout.get("all"))
