"""What the app does, without its page: previews and animations from files and settings, landmarks sought once a file."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.contracts import LandmarkBackend
from inference.driving.contracts import Footage
from inference.driving.driving import Driving
from inference.driving.footage import VideoFootage
from inference.driving.opening import ModelPicture, open_driver, open_footage
from inference.driving.reference import Reference
from inference.pipeline.inputs import model_picture
from inference.studio.jobs import Job
from inference.studio.preview import preview
from inference.studio.request import Request
from manifests import UserError

if TYPE_CHECKING:
    from inference.live.animation import LiveAnimation
    from inference.models.components import InferenceConfig
    from inference.pipeline import MegActorSigmaPipeline
    from inference.pipeline.animation import Progress, Report
    from inference.studio.loading import LoadOptions

PREVIEW_PX = 256  # side of each of a preview's four pictures: enough to judge a crop by, and quick to send
KEPT = 4  # drivers and portraits whose landmarks are remembered
_LOOK_S = 0.05  # how often a job that waits for another's driver looks whether it is still wanted


@dataclass(frozen=True)
class Shown:
    """A preview: (S, 4 S, 3) uint8 portrait, driver, warped driver and patches; the driver's length; lines for the user."""

    picture: np.ndarray
    n_frames: int
    fps: float
    notes: tuple[str, ...]


class Studio:
    """What the app can do; previews take turns, and so do animations.

    Args:
        options: which model, and where it runs; it is loaded when first needed.
        say: takes lines for the terminal.
    """

    def __init__(self, options: LoadOptions, say: Callable[[str], None] = lambda line: None):
        self._options, self._say = options, say
        self._lock = threading.Lock()
        self._footage: OrderedDict[tuple, Footage] = OrderedDict()
        self._portraits: OrderedDict[tuple, Reference] = OrderedDict()
        self._frame: tuple[tuple, np.ndarray] | None = None

    @cached_property
    def settings(self) -> InferenceConfig:
        """Of the model that will animate: a preview shows its crop."""
        from inference.studio.loading import settings_of

        return settings_of(self._options)

    @cached_property
    def model_line(self) -> str:
        """What is loaded and what it was trained on."""
        from inference.studio.loading import line_of

        return line_of(self._options)

    @property
    def hears(self) -> bool:
        """The model has layers for sound."""
        return self.settings.model.with_audio

    @cached_property
    def backend(self) -> LandmarkBackend:
        from curation.landmarks import make_backend

        return make_backend(self.settings.landmarks)

    @cached_property
    def picture(self) -> ModelPicture:
        return model_picture(self.settings, lambda: self.backend, PREVIEW_PX)

    @cached_property
    def pipe(self) -> MegActorSigmaPipeline:
        from inference.studio.loading import load

        return load(self._options, self._say)

    def preview(self, request: Request, frame: int, progress: Callable[[int, int], None] | None = None) -> Shown:
        """The patches of one frame of the driver as the request's settings make them, in the model's crop. Its weights are not needed.

        Raises:
            UserError: portrait, driver or model cannot be used, or a setting is out of range.
        """
        driver = request.driving
        if not driver:
            raise UserError("no driver: sound alone moves the portrait")
        with self._lock:
            portrait = _remembered(self._portraits, request.reference, lambda: self.picture.open_portrait(request.reference))
            footage = _remembered(self._footage, driver, lambda: open_footage(driver, self.backend, progress=progress))
            with open_driver(portrait, footage, request.options, self.picture) as driving:
                index = min(frame, driving.n_frames - 1)
                pictures = preview(driving, index, self._pixels(driver, driving, index))
        return Shown(pictures.sheet(), footage.n_frames, float(footage.fps), (*portrait.notes, *driving.report.notes))

    def generate(self, request: Request, on_progress: Callable[[Progress], None], job: Job | None = None) -> Report:
        """Writes the request's output.

        Args:
            job: asked all along, also while the driver is read, whether it is still wanted.

        Raises:
            StoppedError: it is not.
            UserError: one line; nothing is left of the output.
        """
        from inference.studio.animate import animate

        job = job or Job()

        def watched(progress: Progress) -> None:
            job.check()
            on_progress(progress)

        job.check()
        footage = self._read(request.driving, job) if request.driving else None
        return animate(self.pipe, request, self._say, watched, footage)

    def live(self, portrait: str) -> LiveAnimation:
        """An animation of that portrait by frames that are still to come.

        Raises:
            UserError: the portrait or the model cannot be used.
        """
        from inference.live.animation import LiveAnimation

        return LiveAnimation(self.pipe, portrait)

    def _read(self, driver: str, job: Job) -> VideoFootage | None:
        """A driving video with its landmarks, which a preview may have sought; None for what is quickly read."""
        with self._turn(job):
            footage = _remembered(
                self._footage, driver, lambda: open_footage(driver, self.backend, progress=lambda done, expected: job.check())
            )
        return footage if isinstance(footage, VideoFootage) else None

    @contextmanager
    def _turn(self, job: Job) -> Iterator[None]:
        while not self._lock.acquire(timeout=_LOOK_S):
            job.check()
        try:
            yield
        finally:
            self._lock.release()

    def _pixels(self, path: str, driving: Driving, index: int) -> np.ndarray:
        """The driver's frame for a preview; the last one is remembered, because sliders ask for the same again and again."""
        shown = driving.shown_frame(index)
        source = index if shown is None else shown
        key = (*_identity(path), source)
        if self._frame is None or self._frame[0] != key:
            self._frame = (key, driving.footage.frame(source))
        return self._frame[1]


def _identity(path: str) -> tuple:
    try:
        state = Path(path).stat()
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read: {error.strerror}") from None
    return (path, state.st_size, state.st_mtime_ns)


def _remembered(kept: OrderedDict[tuple, Any], path: str, make: Callable[[], Any]) -> Any:
    key = _identity(path)
    if key not in kept:
        kept[key] = make()
        while len(kept) > KEPT:
            _, oldest = kept.popitem(last=False)
            if hasattr(oldest, "close"):
                oldest.close()
    kept.move_to_end(key)
    return kept[key]
