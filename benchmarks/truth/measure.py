"""Every figure of the instrument, clip by clip, kept as it is made: a killed run continues."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.anyone.footage import FirstSeconds
from benchmarks.kept import Kept, digest_of_weights
from benchmarks.people.recognition import Recogniser
from benchmarks.truth.conditions import CONDITIONS, GUIDANCES, SHIPPED, UNGUIDED
from benchmarks.truth.drivers import Someone, driver_of
from benchmarks.truth.factors import FactorReader, Seen
from benchmarks.truth.models import Cast, Copying, Packaged
from benchmarks.truth.response import Moments
from curation.contracts import ClipError
from curation.face_crop import warp
from inference.driving.reference import Reference
from manifests import UserError

AUDIO_SCALES = (0.0, 0.5, 1.0, 2.0)
MOTIONS = (0.0, 0.5, 1.0, 2.0)
PARTS = ("response", "controls", "amplitude")
CONTROLS = {"copying": ("both", Copying()), "leaking": ("eyes", Copying(lip_leak=1.0))}
"""Planted models by name, and the condition in which they answer."""
_IDENTITY_EVERY = 8  # frames


def response_name(condition: str, guidance: str, number: int) -> str:
    """Of a clip's figures; `guidance` of `GUIDANCES`."""
    return f"{condition}/g{guidance}/{number}"


def audio_name(scale: float, number: int) -> str:
    """At 1 it is the condition's own."""
    return response_name("sound", UNGUIDED, number) if scale == 1 else f"audio_scale/{scale:g}/{number}"


def motion_name(motion: float, number: int) -> str:
    """At 1 it is the condition's own."""
    return response_name("both", UNGUIDED, number) if motion == 1 else f"motion/{motion:g}/{number}"


class Measure:
    """Figures of one model.

    Args:
        cast: who is shown; each is driven by the next.
        network: of face recognition; None leaves identity out.
        conditions: of `CONDITIONS`; those that the model cannot be given are left out.
    """

    def __init__(self, model: Packaged, cast: Cast, kept: Kept, network: Path | None = None, conditions: Sequence[str] = tuple(CONDITIONS)):
        self.model, self.cast, self.people, self.kept = model, cast, cast.people, kept
        self.conditions = [name for name in conditions if self.model.hears or not CONDITIONS[name].heard]
        self._reader = FactorReader()
        self._recogniser = Recogniser(network) if network else None

    def run(self, parts: tuple[str, ...], guidances: Sequence[str] = tuple(GUIDANCES)) -> None:
        """In the order of what a killed run would miss most."""
        numbers = range(len(self.people))
        for someone in self.people:
            self._each(f"reader/{someone.number}", lambda someone=someone: self.reads(someone))
        for guidance in guidances:
            if "response" in parts:
                for number, name in product(numbers, self.conditions):
                    self._each(response_name(name, guidance, number), lambda n=name, g=guidance, k=number: self.answers(n, k, g))
            if "controls" in parts:
                for number, name in product(numbers, CONTROLS):
                    self._each(f"{name}/{number}", lambda n=name, k=number: self.copies(n, k))
        if "amplitude" in parts:
            for number in numbers:
                for motion in MOTIONS:
                    self._each(motion_name(motion, number), lambda m=motion, k=number: self.answers("both", k, motion=m))
                for scale in AUDIO_SCALES if self.model.hears else ():
                    self._each(audio_name(scale, number), lambda s=scale, k=number: self.answers("sound", k, audio_scale=s))

    def reads(self, someone: Someone) -> dict[str, Any]:
        """What landmarks read of a driver whose truth is known, cut to the size of the model's answers."""
        frames, about = self.model.own_crop(self.footage(someone))
        return self._figures(someone.signals, self._reader.read(frames, about))

    def answers(self, name: str, number: int, guidance: str = UNGUIDED, audio_scale: float = 1.0, motion: float = 1.0) -> dict[str, Any]:
        """What is read of the model's answer."""
        driver = self.people[driver_of(number, len(self.people))]
        frames, shown = self.model.answer(
            CONDITIONS[name], self.portrait(number), self.footage(driver), driver.act.sound,
            guided=guidance == SHIPPED, audio_scale=audio_scale, motion=motion,
        )  # fmt: skip
        count = min(len(frames), len(driver.signals))
        seen = self._reader.read(frames[:count], shown.crop_points_px)
        figures = self._figures(driver.signals[:count], seen)
        if self._recogniser:
            figures["identity"] = self._identity(frames, seen, shown, self.footage(driver))
        return figures

    def copies(self, name: str, number: int) -> dict[str, Any]:
        """What is read of a planted model's answer, cut as the portrait is."""
        condition, control = CONTROLS[name]
        driver, portrait = self.people[driver_of(number, len(self.people))], self.portrait(number)
        frames = control.frames(CONDITIONS[condition], self.people[number], driver)
        cut = np.stack([warp(frame, portrait.matrix, portrait.size_px) for frame in frames])
        return self._figures(driver.signals, self._reader.read(cut, portrait.crop_points_px))

    def footage(self, someone: Someone) -> FirstSeconds:
        """Of a person's act."""
        return self.cast.footage(someone)

    def portrait(self, number: int) -> Reference:
        """Of a person."""
        return self.cast.portrait(number, self.model.pipe.settings)

    def _figures(self, signals: np.ndarray, seen: Seen) -> dict[str, Any]:
        found = np.isfinite(seen.tracks).all(axis=1)
        moments = Moments.of(signals, seen.tracks)
        return {"found": float(found.mean()), "moments": None if moments is None else moments.to_tree()}

    def _identity(self, frames: np.ndarray, seen: Seen, shown: Reference, driver: FirstSeconds) -> float | None:
        """How far from the portrait's face towards the driver's the recognition network places the answer: 0 the portrait, 1 the driver."""
        assert self._recogniser is not None
        found = [k for k in range(0, len(frames), _IDENTITY_EVERY) if np.isfinite(seen.points_px[k]).all()]
        theirs = [k for k in range(0, driver.n_frames, _IDENTITY_EVERY) if np.isfinite(driver.points_px[k]).all()]
        if not found or not theirs:
            return None
        ours = np.mean([self._recogniser.embed(frames[k], seen.points_px[k]) for k in found], axis=0)
        start = self._recogniser.embed(shown.crop, shown.crop_points_px)
        end = np.mean([self._recogniser.embed(driver.rgb[k], driver.points_px[k]) for k in theirs], axis=0)
        return float((ours - start) @ (end - start) / ((end - start) @ (end - start)))

    def _each(self, name: str, make: Callable[[], Any]) -> None:
        try:
            new = name not in self.kept.values
            self.kept.get(name, make)
            if new:
                print(name, file=sys.stderr, flush=True)
        except (UserError, ClipError) as error:
            print(f"{name} left out: {error}", file=sys.stderr, flush=True)


def measure(
    model: str | None, out: Path, cast: Cast, seconds: float, *, parts: tuple[str, ...] = PARTS, preset: str = "fast",
    network: Path | None = None, device: str = "auto", guidances: Sequence[str] = tuple(GUIDANCES),
    conditions: Sequence[str] = tuple(CONDITIONS),
) -> Measure:  # fmt: skip
    """Measures a model; `out`/figures.json keeps the figures by name.

    Args:
        seconds: of the acts of `cast`.

    Raises:
        UserError: no model, or figures of other settings lie in `out`.
    """
    answering = Packaged(model, preset, device)
    record = answering.pipe.record
    about = {
        "model": Path(answering.name).name,
        "weights": digest_of_weights(Path(answering.name)),
        "stage": record.stage, "step": record.step, "trained_on": record.trained_on or "",
        "preset": preset, "seconds": seconds, "people": len(cast.people),
    }  # fmt: skip
    kept = Kept(out / "figures.json")
    kept.belong_to(about)
    done = Measure(answering, cast, kept, network, conditions)
    done.run(parts, guidances)
    return done
