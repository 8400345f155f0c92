"""What a person asks for: one animation's sources and settings, the same for the command line, a batch's line and the app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.studio.presets import Preset, preset
from manifests import configuration
from manifests.errors import UserError

if TYPE_CHECKING:
    from inference.driving.amplitude import Amplitude
    from inference.driving.driving import DrivingOptions

SAMPLING = (
    "num_inference_steps",
    "guidance_scale",
    "audio_guidance_scale",
    "guidance_interval",
    "window_overlap",
    "window_shift",
    "step_cache",
)


@dataclass(frozen=True)
class Request:
    """
    Attributes:
        reference: the portrait: a picture, or a video of which the first frame is taken.
        out: .mp4, .gif, or a name without suffix for a folder of PNGs.
        driving: a video, a picture or a motion template; None drives by sound alone.
        audio: a sound or video file; None drives by the picture alone, and keeps the driver's own sound.
        seed: of the noise.
        preset: of configs/inference/presets.yaml; the settings below it override its own where they are not None.
        audio_scale: amplitude of what sound does to the face (Eq. 3).
        motion: amplitude of the driver's in-plane head motion (Eq. 4); `translation`, `roll` and `zoom` override its parts.
        scale_mode: what `zoom` means: geometric or keep (as the paper prints it).
        regions: which patches of the driver are shown: eyes, mouth, both or none.
        retarget: how the driver's face is laid over the portrait's: face, box or none.
        missing: driver's frames without a face: hold, skip or error.
        still_s: how long a single driving picture is shown, where no sound gives the length.
        side_by_side: portrait, driver and result beside each other.
        paste_back: put the animated face back into the whole portrait.
        save_template: also keep the driver's motion in this .safetensors file, to drive by it again.
    """

    reference: str
    out: str
    driving: str | None = None
    audio: str | None = None
    seed: int = 0
    preset: str = "balanced"
    audio_scale: float = 1.0
    motion: float = 1.0
    translation: float | None = None
    roll: float | None = None
    zoom: float | None = None
    scale_mode: str = "geometric"
    regions: str = "both"
    retarget: str = "face"
    missing: str = "hold"
    still_s: float = 4.0
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    audio_guidance_scale: float | None = None
    guidance_interval: tuple[float, float] | None = None
    window_overlap: int | None = None
    window_shift: int | None = None
    step_cache: float | None = None
    window_batch: int = 1
    sampler: str | None = None
    side_by_side: bool = False
    paste_back: bool = False
    save_template: str | None = None

    def __post_init__(self) -> None:
        if not self.reference or not self.out:
            raise UserError("reference and out may not be empty")
        if not self.driving and not self.audio:
            raise UserError("nothing drives the portrait: give a driving video, image or template, or audio, or both")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; it must be 0 or more")
        if not 0.04 <= self.still_s <= 3600:
            raise UserError(f"still_s is {self.still_s}; it must lie in 0.04…3600")
        if self.side_by_side and self.paste_back:
            raise UserError("side_by_side shows the crop, paste_back the whole portrait: choose one")

        if self.save_template is not None:
            if not self.driving:
                raise UserError("save_template keeps a driver's motion: give driving")
            if not self.save_template.endswith(".safetensors"):
                raise UserError(f"save_template is {self.save_template!r}; its name must end in .safetensors")

    @classmethod
    def from_tree(cls, tree: Any) -> Request:
        """From plain values; an unknown or wrong key is a `UserError` that suggests the nearest."""
        missing = [name for name in ("reference", "out") if isinstance(tree, dict) and name not in tree]
        if missing:
            raise UserError(f"{missing[0]} is missing")
        try:
            return configuration.build(cls, tree)
        except UserError as error:
            raise UserError(str(error).removeprefix(f"{cls.__name__}: ")) from None

    @property
    def chosen(self) -> Preset:
        return preset(self.preset)

    @property
    def sampler_name(self) -> str:
        return self.sampler or self.chosen.sampler

    def sampling(self) -> dict[str, Any]:
        """Keyword arguments of the pipeline: the preset's, overridden."""
        own = {name: getattr(self, name) for name in SAMPLING if getattr(self, name) is not None}
        return {
            **self.chosen.arguments(),
            **own,
            "window_batch": self.window_batch,
            "audio_scale": self.audio_scale,
            "generator": self.seed,
        }

    def driving_options(self, crop_scale: float) -> DrivingOptions:
        """How the driver is used by a model whose crops are of this scale (`InferenceConfig.crop_scale`)."""
        from inference.driving.driving import DrivingOptions

        return DrivingOptions(self.regions, self.amplitude(), self.retarget, missing=self.missing, crop_scale=crop_scale)

    def amplitude(self) -> Amplitude:
        from inference.driving.amplitude import Amplitude

        parts = {name: self.motion if getattr(self, name) is None else getattr(self, name) for name in ("translation", "roll", "zoom")}
        return Amplitude(**parts, scale_mode=self.scale_mode)
