"""Where live frames come from: a camera, a stream, or a file that is fed at its own rate. All give (H, W, 3) uint8 RGB as time goes on."""

from __future__ import annotations

import platform
import time
from collections.abc import Generator
from fractions import Fraction
from typing import Protocol

import numpy as np

from curation.contracts import Clip, ClipError
from curation.media import MediaReader
from curation.media.timing import exact_rate
from inference.driving.contracts import MAX_FPS
from manifests import UserError

_CAMERA = {"Linux": ("v4l2", "/dev/video{}"), "Darwin": ("avfoundation", "{}"), "Windows": ("dshow", "video={}")}
PATIENCE_S = 10.0  # a camera or a stream that gives nothing for so long is gone
CAMERA_HZ = Fraction(30)


class Feed(Protocol):
    """Attributes:
    fps: frames a second; of a camera and a stream what it says of itself.
    """

    @property
    def fps(self) -> Fraction: ...

    def frames(self) -> Generator[np.ndarray, None, None]:
        """Frames as they come; each waits until its time."""
        ...


class FileFeed:
    """A video file that plays: frame i comes i / fps after the first, whether or not anyone was ready for it.

    Raises:
        UserError: it cannot be read.
    """

    def __init__(self, path: str):
        self._path = path
        try:
            with MediaReader() as reader:
                self.fps = min(exact_rate(reader.probe(path).fps), Fraction(MAX_FPS))
        except ClipError as error:
            raise UserError(f"{path}: {error.message}") from None

    def frames(self) -> Generator[np.ndarray, None, None]:
        clip = Clip("live", self._path, "", self._path)
        try:
            with MediaReader() as reader, reader.read(clip, sample_hz=float(self.fps), audio=False) as stream:
                began = None
                for index, frame in enumerate(stream.frames()):
                    began = time.monotonic() if began is None else began
                    time.sleep(max(0.0, began + float(index / self.fps) - time.monotonic()))
                    yield frame.rgb
        except ClipError as error:
            raise UserError(f"{self._path}: {error.message}") from None


class StreamFeed:
    """A camera by its number, or what an address gives (rtsp, http, udp, ...), read by PyAV in this process.

    Raises:
        UserError: it does not open.
    """

    def __init__(self, name: str, source: str, source_format: str | None = None):
        import av

        self._name = name
        try:
            self._container = av.open(source, format=source_format, timeout=PATIENCE_S)
            self._stream = self._container.streams.video[0]
        except IndexError:
            raise UserError(f"{name}: gives no pictures") from None
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise UserError(f"{name}: cannot be opened: {getattr(error, 'strerror', None) or error}") from None
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = min(Fraction(rate), Fraction(MAX_FPS)) if rate else CAMERA_HZ

    @classmethod
    def camera(cls, number: int) -> StreamFeed:
        """The camera of that number."""
        if platform.system() not in _CAMERA:
            raise UserError(f"cameras of {platform.system()} are not known; give --url")
        source_format, source = _CAMERA[platform.system()]
        return cls(f"camera {number}", source.format(number), source_format)

    def frames(self) -> Generator[np.ndarray, None, None]:
        import av

        try:
            for frame in self._container.decode(self._stream):
                yield frame.to_ndarray(format="rgb24")
        except av.error.FFmpegError as error:
            raise UserError(f"{self._name}: ended: {error.strerror or error}") from None
        finally:
            self._container.close()
