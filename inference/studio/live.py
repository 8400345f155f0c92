"""A live animation carried out: source opened, model loaded, frames shown and written, how it goes said."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curation.live_line import LiveLine
from inference.driving.amplitude import Amplitude
from inference.driving.driving import DrivingOptions
from inference.driving.picture import is_file
from inference.live.animation import LiveAnimation, LiveSettings
from inference.live.feed import Feed, FileFeed, StreamFeed
from inference.live.output import Held
from inference.live.run import LiveReport, run_live
from inference.live.viewer import Viewer
from inference.output.video_writer import check_output, open_output
from inference.studio.loading import LoadOptions, load
from manifests import UserError
from manifests.atomic import refuse_source
from manifests.version import DISTRIBUTION, code_version

SOURCES = ("camera", "url", "file")


@dataclass(frozen=True)
class LiveRequest:
    """
    Attributes:
        reference: the portrait: a picture, or a video of which the first frame is taken.
        source: one of `SOURCES` and what it names.
        out: where it is written, or None.
        port: of the page that shows it, or None.
        seconds: when it ends; None with the source.
    """

    reference: str
    source: tuple[str, Any]
    out: str | None = None
    port: int | None = None
    seconds: float | None = None
    settings: LiveSettings = field(default_factory=LiveSettings)
    options: DrivingOptions = field(default_factory=DrivingOptions)

    def __post_init__(self) -> None:
        if self.out is not None:
            refuse_source(self.out, (self.reference, *(named for named in self.source[1:] if isinstance(named, str))))

    @classmethod
    def from_options(cls, reference: str, out: str | None, port: int | None, seconds: float | None, options: dict[str, Any]) -> LiveRequest:
        """From the command's options, in one flat level.

        Raises:
            UserError: none or several sources, a value out of range.
        """
        given = [(name, options[name]) for name in SOURCES if name in options]
        if len(given) != 1:
            raise UserError("what drives it? give one of --camera, --url and --file")
        gain = options["motion"]
        gains = {name: options.get(name, gain) for name in ("translation", "roll", "zoom")}
        settings = LiveSettings(**{name: options[name] for name in ("window", "context", "steps", "sampler", "seed")})
        driving = DrivingOptions(
            regions=options["regions"], retarget=options["retarget"], amplitude=Amplitude(**gains, scale_mode=options["scale_mode"])
        )
        return cls(reference, given[0], out, port, seconds, settings, driving)


def run_request(request: LiveRequest, options: LoadOptions, say: Callable[[str], None]) -> LiveReport:
    """Animates until the source, the time or the user's patience ends.

    Raises:
        UserError: one line.
    """
    if not is_file(request.reference):
        raise UserError(f"{request.reference}: the file is not there")
    if request.out is not None:
        check_output(Path(request.out))
    feed = open_feed(*request.source)
    animation = LiveAnimation(load(options, say), request.reference, request.settings, request.options)
    for note in animation.notes:
        say(f"note: {note}")
    line = LiveLine()
    with ExitStack() as stack:
        shows: list[Callable[[int, np.ndarray], None]] = []
        if request.port is not None:
            viewer = stack.enter_context(Viewer(request.port))
            say(f"{viewer.address}  (Ctrl-C ends it)")
            shows.append(lambda index, rgb: viewer.show(rgb))
        if request.out is not None:
            about = {"synthetic": True, "generator": f"{DISTRIBUTION} {code_version()}", "reference": Path(request.reference).name}
            shows.append(Held(stack.enter_context(open_output(request.out, feed.fps, 1, None, about))).show)

        def show(index: int, rgb: np.ndarray) -> None:
            for one in shows:
                one(index, rgb)

        report = run_live(animation, feed, show, seconds=request.seconds, on_report=lambda now: _tell(line, now))
        if not report.frames_out:
            raise UserError(f"{request.source[0]} {request.source[1]}: no face found in {report.frames_in} frames")
    line.close(report.line())
    return report


def open_feed(kind: str, what: Any) -> Feed:
    """The source that one of `SOURCES` names.

    Raises:
        UserError: it does not open.
    """
    if kind == "camera":
        return StreamFeed.camera(int(what))
    return FileFeed(str(what)) if kind == "file" else StreamFeed(str(what), str(what))


def _tell(line: LiveLine, report: LiveReport) -> None:
    if line.is_due:
        line.show(report.line())


WATCHED = 4  # sessions of the app whose live animations are kept; the one that was silent longest gives way


class LivePage:
    """A page's webcam: frame by frame in, frame by frame out, a window later."""

    def __init__(self, animation: LiveAnimation):
        self._animation = animation
        self._waiting: list[np.ndarray] = []
        self._made: list[np.ndarray] = []

    def push(self, rgb: np.ndarray) -> np.ndarray | None:
        """The portrait's next frame for (H, W, 3) uint8 of the camera; None before there is one."""
        self._waiting.append(rgb)
        new_frames = self._animation.settings.new_frames
        if len(self._waiting) >= new_frames:
            self._made = (self._made + self._animation.make(self._waiting[-new_frames:]))[-new_frames:]  # what nobody fetched is dropped
            self._waiting.clear()
        return self._made.pop(0) if self._made else None


class LivePages:
    """The live animation of every session of the app.

    Args:
        begin: makes one of a portrait's file.
    """

    def __init__(self, begin: Callable[[str], LiveAnimation]):
        self._begin, self._lock = begin, threading.Lock()
        self._pages: OrderedDict[tuple[str, str], LivePage] = OrderedDict()

    def push(self, session: str, portrait: str, rgb: np.ndarray) -> np.ndarray | None:
        """See `LivePage.push`; another portrait begins anew.

        Raises:
            UserError: the portrait cannot be used.
        """
        with self._lock:  # the model makes one window at a time
            key = (session, portrait)
            if key not in self._pages:
                for other in [other for other in self._pages if other[0] == session]:
                    del self._pages[other]
                self._pages[key] = LivePage(self._begin(portrait))
                while len(self._pages) > WATCHED:
                    self._pages.popitem(last=False)
            self._pages.move_to_end(key)
            return self._pages[key].push(rgb)
