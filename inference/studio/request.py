"""What a person asks for: one animation's sources and settings, the same for the command line, a batch's line and the app."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from inference.driving.driving import DrivingOptions
from inference.sampling.settings import MAX_SEED, SamplingSettings
from inference.studio.presets import preset
from manifests import configuration
from manifests.atomic import refuse_source
from manifests.errors import UserError, did_you_mean

PRESET = "balanced"
STILL_S = 4.0  # how long a single driving picture is shown where no sound gives the length and nobody says otherwise
_GAINS = ("translation", "roll", "zoom")
_OF_DRIVING = ("regions", "retarget", "missing", "still_s")
_OF_AMPLITUDE = ("motion", *_GAINS, "scale_mode")
_OF_SAMPLING = tuple(knob.name for knob in fields(SamplingSettings))
_INNER = re.compile(r"^(Request|sampling|options(\.amplitude)?)(: |\.)")  # the nesting that a person who writes flat keys knows nothing of


@dataclass(frozen=True)
class Request:
    """
    Attributes:
        reference: the portrait: a picture, or a video of which the first frame is taken.
        out: .mp4, .gif, or a name without suffix for a folder of PNGs.
        driving: a video, a picture or a motion template; None drives by sound alone.
        audio: a sound or video file; None drives by the picture alone, and keeps the driver's own sound.
        seed: of the noise.
        preset: of configs/inference/presets.yaml, which `sampling` began as; for messages and for the file's provenance.
        sampling: how the frames are sampled.
        options: how the driver is used.
        side_by_side: portrait, driver and result beside each other.
        paste_back: put the animated face back into the whole portrait.
        save_template: also keep the driver's motion in this .safetensors file, to drive by it again.
    """

    reference: str
    out: str
    driving: str | None = None
    audio: str | None = None
    seed: int = 0
    preset: str = PRESET
    sampling: SamplingSettings = field(default_factory=lambda: preset(PRESET).sampling)
    options: DrivingOptions = field(default_factory=lambda: DrivingOptions(still_s=STILL_S))
    side_by_side: bool = False
    paste_back: bool = False
    save_template: str | None = None

    def __post_init__(self) -> None:
        if not self.reference or not self.out:
            raise UserError("reference and out may not be empty")
        if not self.driving and not self.audio:
            raise UserError("nothing drives the portrait: give a driving video, image or template, or audio, or both")
        if not 0 <= self.seed <= MAX_SEED:
            raise UserError(f"seed is {self.seed}; it must lie in 0…2^63 − 1")
        for output in (self.out, self.save_template):
            if output is not None:
                refuse_source(output, (self.reference, self.driving, self.audio))
        if self.side_by_side and self.paste_back:
            raise UserError("side_by_side shows the crop, paste_back the whole portrait: choose one")

        if self.save_template is not None:
            if not self.driving:
                raise UserError("save_template keeps a driver's motion: give driving")
            if not self.save_template.endswith(".safetensors"):
                raise UserError(f"save_template is {self.save_template!r}; its name must end in .safetensors")

    @classmethod
    def from_tree(cls, tree: Any) -> Request:
        """From one flat level of plain values, as the command line and a batch's lines have them: the fields above but for `sampling` and
        `options`, whose own stand beside them, and

            motion: amplitude of the driver's in-plane head motion (Eq. 4); `translation`, `roll` and `zoom` override its parts.
            scale_mode: what `zoom` means: geometric or keep (as the paper prints it).

        What is left out or None is the preset's, or the default.

        Raises:
            UserError: an unknown key (the nearest is suggested), a wrong type, a value out of range; one line.
        """
        if not isinstance(tree, Mapping):
            raise UserError(f"a request needs a mapping of keys, not {tree!r}")
        for name in ("reference", "out"):
            if name not in tree:
                raise UserError(f"{name} is missing")
        own = tuple(f.name for f in fields(cls) if f.name not in ("sampling", "options"))
        known = (*own, *_OF_SAMPLING, *_OF_DRIVING, *_OF_AMPLITUDE)
        for key in tree:
            if key not in known:
                raise UserError(f"unknown configuration key {key!r}{did_you_mean(str(key), known)}")
        given = {key: value for key, value in tree.items() if value is not None}
        amplitude = dict.fromkeys(_GAINS, given.get("motion", 1.0)) | _of(given, (*_GAINS, "scale_mode"))
        begun = preset(given.get("preset", PRESET)).sampling.to_tree()
        nested = {
            **_of(given, own),
            "sampling": begun | _of(given, _OF_SAMPLING),
            "options": {"still_s": STILL_S, **_of(given, _OF_DRIVING), "amplitude": amplitude},
        }
        try:
            return configuration.build(cls, nested)
        except UserError as error:
            raise UserError(_INNER.sub("", str(error))) from None


def _of(given: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}
