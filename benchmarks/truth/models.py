"""Who answers: the packaged model, or the renderer itself, which copies what it is shown and leaks what is planted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from benchmarks.anyone.footage import FirstSeconds
from benchmarks.truth.conditions import Condition
from benchmarks.truth.drivers import EYE_FIELDS, HEAD_FIELDS, MOUTH_FIELDS, Someone, at_rest
from benchmarks.truth.factors import SIGNALS
from curation.contracts import Clip, Frame, MediaInfo
from curation.face_crop import clip_square, crop_matrix, transform_points, warp
from curation.landmarks import make_backend
from curation.people.settings import FPS
from inference.driving.amplitude import Amplitude
from inference.driving.driving import Driving, DrivingOptions
from inference.driving.reference import Reference, load_reference
from inference.models.components import InferenceConfig
from inference.studio.loading import LoadOptions, find_model, load
from inference.studio.presets import preset


@dataclass(frozen=True)
class Copying:
    """A planted model: the portrait's person, rendered with what the condition gives.

    Attributes:
        lip_leak: where the driver's mouth is not shown, its lids open the portrait's lips: by how much, in the lips' gap for the lids'.
    """

    lip_leak: float = 0.0

    def pose(self, condition: Condition, portrait: Someone, driver: Someone) -> dict[str, np.ndarray]:
        """Pose tracks of the answer."""
        act, signals = driver.act, condition.signals
        pose = at_rest(act.n_frames)
        if condition.heard:
            pose |= act.spoken
        for fields, signal in ((EYE_FIELDS, "eyes"), (MOUTH_FIELDS, "mouth"), (HEAD_FIELDS, "head")):
            if signal in signals:
                pose |= {name: act.pose[name] for name in fields}
        if self.lip_leak and "eyes" in signals and "mouth" not in signals:
            lids = driver.signals[:, SIGNALS.index("lids")]
            pose["jaw_open"] = portrait.jaw_for(self.lip_leak * (lids.max() - lids))
        return pose

    def truth(self, condition: Condition, portrait: Someone, driver: Someone) -> np.ndarray:
        """(T, 9): what the answer does, on the mesh."""
        return portrait.planted(self.pose(condition, portrait, driver))

    def frames(self, condition: Condition, portrait: Someone, driver: Someone) -> np.ndarray:
        """(T, H, W, 3) uint8."""
        return portrait.frames(self.pose(condition, portrait, driver))


class Cast:
    """Who is shown, as models are given them: found by landmarks, the truth is not looked at. Made once, for any number of models.

    Args:
        people: of `held_out`; each is driven by the next.
    """

    def __init__(self, people: list[Someone]):
        self.people = people
        self._backend = make_backend("facemesh")
        self._footage: dict[int, FirstSeconds] = {}
        self._portraits: dict[tuple[int, int, float], Reference] = {}

    def portrait(self, number: int, settings: InferenceConfig) -> Reference:
        """Of a person, cut to the face as a model's settings say."""
        key = (number, settings.size_px, settings.crop_scale)
        if key not in self._portraits:
            self._portraits[key] = load_reference(self.people[number].portrait, self._backend, settings.size_px, settings.crop_scale)
        return self._portraits[key]

    def footage(self, someone: Someone) -> FirstSeconds:
        """Of a person's act."""
        if someone.number not in self._footage:
            rgb = list(someone.performance)
            info = MediaInfo(rgb[0].shape[1], rgb[0].shape[0], float(FPS), len(rgb), 1000 * len(rgb) / FPS, "", False, None)
            tracker = self._backend.track(Clip("truth", someone.take.name, "", ""), info)
            for k, frame in enumerate(rgb):
                tracker.on_frame(Frame(k, 1000 * k / FPS, frame))
            faces = tracker.finish()
            self._footage[someone.number] = FirstSeconds(someone.take.name, Fraction(FPS), rgb, faces.points_px, faces.n_faces, None)
        return self._footage[someone.number]


class Packaged:
    """A trained pipeline.

    Args:
        model: its folder; None: the one that comes with the package, or what was trained here.
        preset: named sampling settings (`configs/inference/presets.yaml`).
    """

    def __init__(self, model: str | None, preset_name: str, device: str = "auto"):
        self.name = find_model(model)
        self.pipe = load(LoadOptions(model=model, device=device))
        self.pipe.set_progress_bar_config(disable=True)
        self.sampling = preset(preset_name).sampling

    @property
    def hears(self) -> bool:
        """The model has layers for sound."""
        return bool(self.pipe.transformer.sizes.with_audio)

    def own_crop(self, footage: FirstSeconds) -> tuple[np.ndarray, np.ndarray]:
        """A driver cut as the model sees people: (T, S, S, 3) uint8, and (68, 2) the points of its first frame there."""
        size = self.pipe.settings.size_px
        matrix = crop_matrix(clip_square(footage.points_px, self.pipe.settings.crop_scale), size)
        first = footage.points_px[np.isfinite(footage.points_px).all(axis=(1, 2))][0]
        return np.stack([warp(rgb, matrix, size) for rgb in footage.rgb]), transform_points(first, matrix)

    def answer(
        self,
        condition: Condition,
        portrait: Reference,
        footage: FirstSeconds,
        sound: np.ndarray,
        *,
        guided: bool = False,
        audio_scale: float = 1.0,
        motion: float = 1.0,
    ) -> tuple[np.ndarray, Reference]:
        """(T, S, S, 3) uint8, and the portrait as it was cut for them.

        Args:
            sound: (N,) float32 at 16 kHz; used where the condition is heard.
            guided: as the preset says and the model itself, or by 1 everywhere.
        """
        settings = self.pipe.settings
        driving = None
        if condition.regions != "none":
            options = DrivingOptions(
                regions=condition.regions, amplitude=Amplitude.of(motion), crop_scale=settings.crop_scale, patch_rule=settings.patch_rule,
                grey=settings.grey_driver,
            )  # fmt: skip
            driving = Driving(footage, portrait, options, settings.size_px)
        shown = portrait if driving is None or driving.reference is None else driving.reference
        sampling = replace(self.sampling, audio_scale=audio_scale)
        if not guided:
            sampling = replace(sampling, guidance_scale=1.0, audio_guidance_scale=1.0, mouth_guidance_scale=1.0)
        with self.pipe.prepare(shown, driving, sound if condition.heard else None, sampling, generator=0) as animation:
            frames = np.stack(list(animation.frames()))
        if driving is not None:
            driving.close()
        return frames, shown
