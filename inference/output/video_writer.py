"""Frames and sound into a file as they come: H.264 and AAC in an MP4 that plays anywhere and starts before it is whole, a GIF, or PNGs.

Every output exists whole or not at all: it is written under a temporary name and renamed when the last frame is in.
"""

from __future__ import annotations

import json
import math
import shutil
import wave
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from inference.driving.contracts import Sound
from manifests import UserError
from manifests.atomic import atomic_path, check_place
from manifests.leftovers import sweep, temporary_name
from manifests.version import DISTRIBUTION, code_version

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
AAC_RATE_HZ = 48_000  # for sound of any other rate
AAC_BITS_A_CHANNEL = 96_000
_LEAST_TICKS_HZ = 48_000
CRF = "17"
SMPTE170M, LIMITED_RANGE = 6, 1  # what swscale's conversion from RGB is, said in the file so that players need not guess
GIF_MOST_FPS = 50
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov")


class FrameWriter(Protocol):
    def write(self, rgb: np.ndarray) -> None:
        """The next frame, (H, W, 3) uint8; all of one size."""
        ...


@contextmanager
def open_output(
    path: str | Path, fps: Fraction, num_frames: int, sound: Sound | None = None, metadata: dict[str, Any] | None = None
) -> Iterator[FrameWriter]:
    """A writer for what the path's suffix names: .mp4, .m4v, .mov; .gif; no suffix: a folder of PNGs, with sound.wav.

    Args:
        fps: exact.
        num_frames: how many will come; the sound is cut to their length.
        sound: None for a silent file.
        metadata: plain values, kept as JSON in the file's comment (PNG: provenance.json).

    Raises:
        UserError: an unknown suffix, a folder that holds other things, no room; the half-written output is removed.
    """
    import av

    path = Path(path)
    check_output(path)
    sweep(path.absolute().parent)
    duration_s = float(num_frames / fps)
    suffix = path.suffix.lower()
    with ExitStack() as stack:
        writer: Mp4Writer | GifWriter | PngWriter
        if not suffix:
            writer = PngWriter(path, fps, duration_s, sound, metadata)
        elif suffix == ".gif":
            writer = GifWriter(stack.enter_context(atomic_path(path)), fps, metadata)
        else:
            writer = Mp4Writer(stack.enter_context(atomic_path(path)), fps, duration_s, sound, metadata)
        try:
            yield writer
            writer.close()
        except (av.error.FFmpegError, OSError) as error:
            raise UserError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error
        finally:
            writer.abandon()


def check_output(path: Path) -> None:
    """Whether `open_output` would take the path; to be called before hours of work."""
    suffix = path.suffix.lower()
    if str(path) == "-":
        raise UserError("-: nothing is written to standard output; name a file")
    if suffix not in (*VIDEO_SUFFIXES, ".gif", ""):
        raise UserError(f"{path}: unknown kind of output {suffix!r}; use .mp4, .gif, or a name without suffix for a folder of PNGs")
    if path.name.lower() in (*VIDEO_SUFFIXES, ".gif"):
        raise UserError(f"{path}: a suffix without a name")
    check_place(path)
    if suffix and path.is_dir():
        raise UserError(f"{path}: is a directory")
    if suffix and path.exists() and not path.is_file():
        raise UserError(f"{path}: is a pipe or a device, which would be replaced; name a file")
    if not suffix and path.is_symlink() and not path.exists():
        raise UserError(f"{path}: is a link to nothing; choose an empty or new folder")
    if not suffix and path.exists() and not (path.is_dir() and (not any(path.iterdir()) or (path / PngWriter.PROVENANCE).is_file())):
        raise UserError(f"{path}: exists and is no folder of frames; choose an empty or new one")


class Mp4Writer:
    """H.264 yuv420p and AAC, index in front. Sound is encoded in step with the frames, so neither waits in memory for the other."""

    def __init__(self, path: Path, fps: Fraction, duration_s: float, sound: Sound | None, metadata: dict[str, Any] | None):
        import av

        self._fps, self._count = Fraction(fps), 0
        # Edit lists count in the movie's clock; its default of 1 ms would cut the last frame of a 29.97 video short.
        ticks_hz = self._fps.numerator * -(-_LEAST_TICKS_HZ // self._fps.numerator)
        options = {"movflags": "+faststart", "movie_timescale": str(ticks_hz)}
        self._container = av.open(str(path), "w", format="mp4", options=options)
        self._container.metadata["title"] = "synthetic: made by MegActor-Sigma, open"
        self._container.metadata["comment"] = json.dumps(metadata or {}, sort_keys=True)
        self._video = self._container.add_stream("libx264", rate=self._fps)
        self._video.pix_fmt = "yuv420p"
        self._video.options = {"preset": "medium", "crf": CRF}
        self._track = None if sound is None else _AacTrack(self._container, sound, duration_s)

    def write(self, rgb: np.ndarray) -> None:
        import av

        rgb = _even(rgb)
        if self._count == 0:
            context = self._video.codec_context
            self._video.height, self._video.width = rgb.shape[:2]
            context.colorspace = context.color_primaries = context.color_trc = SMPTE170M
            context.color_range = LIMITED_RANGE
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = self._count, 1 / self._fps
        self._container.mux(self._video.encode(frame))
        self._count += 1
        if self._track is not None:
            self._track.encode_until(float(self._count / self._fps))

    def close(self) -> None:
        if not self._count:
            raise OSError("not one frame came")
        self._container.mux(self._video.encode())
        if self._track is not None:
            self._track.finish()
        self._container.close()

    def abandon(self) -> None:
        if self._track is not None:
            self._track.close()
        with suppress(Exception):  # closing half a file may fail; it is thrown away. A whole one is closed already
            self._container.close()


class _AacTrack:
    def __init__(self, container: OutputContainer, sound: Sound, duration_s: float):
        self._container = container
        self._rate_hz = sound.rate_hz if sound.rate_hz in AAC_RATES_HZ else AAC_RATE_HZ
        channels = min(2, sound.channels)
        self._layout = "mono" if channels == 1 else "stereo"
        self._stream = container.add_stream("aac", rate=self._rate_hz, layout=self._layout)
        self._stream.bit_rate = AAC_BITS_A_CHANNEL * channels
        self._blocks = sound.blocks(self._rate_hz, channels, duration_s)
        self._samples = 0

    def encode_until(self, time_s: float) -> None:
        while self._samples < time_s * self._rate_hz:
            block = next(self._blocks, None)
            if block is None:
                return
            self._encode(block)

    def finish(self) -> None:
        self.encode_until(float("inf"))
        self._container.mux(self._stream.encode())

    def close(self) -> None:
        """Lets go of the sound's file."""
        self._blocks.close()

    def _encode(self, block: np.ndarray) -> None:
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block, np.float32), format="fltp", layout=self._layout)
        frame.sample_rate = self._rate_hz
        frame.pts, frame.time_base = self._samples, Fraction(1, self._rate_hz)
        self._samples += block.shape[1]
        self._container.mux(self._stream.encode(frame))


class GifWriter:
    """A GIF with 256 colours a frame; without sound, and its clock ticks 100 times a second. Of faster footage it has GIF_MOST_FPS frames a
    second, spread evenly: browsers show a delay below 20 ms as 100 ms."""

    def __init__(self, path: Path, fps: Fraction, metadata: dict[str, Any] | None):
        import av

        self._fps, self._count = Fraction(fps), 0
        self._stream: VideoStream | None = None
        self._container = av.open(str(path), "w", format="gif", options={"loop": "0"})
        self._container.metadata["comment"] = json.dumps(metadata or {}, sort_keys=True)

    def write(self, rgb: np.ndarray) -> None:
        import av
        from PIL import Image

        index, self._count = self._count, self._count + 1
        if self._fps > GIF_MOST_FPS:
            shown = math.floor(index * GIF_MOST_FPS / self._fps)
            if index and shown == math.floor((index - 1) * GIF_MOST_FPS / self._fps):
                return  # two frames within one of the GIF's
            index = shown
        if self._stream is None:
            self._stream = stream = self._container.add_stream("gif", rate=min(self._fps, Fraction(GIF_MOST_FPS)))
            stream.height, stream.width = rgb.shape[:2]
            stream.pix_fmt = "pal8"
        picture = Image.fromarray(rgb).quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
        colours = np.asarray(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette = np.zeros((256, 4), np.uint8)
        palette[:, 0], palette[: len(colours), 1:] = 255, colours  # alpha, red, green, blue
        indexed: Any = (np.asarray(picture), palette)  # PyAV takes the pair, its types do not say so
        frame = av.VideoFrame.from_ndarray(indexed, format="pal8")
        frame.pts, frame.time_base = index, 1 / min(self._fps, Fraction(GIF_MOST_FPS))
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        if self._stream is None:
            raise OSError("not one frame came")
        self._container.mux(self._stream.encode())
        self._container.close()

    def abandon(self) -> None:
        self._container.close()


class PngWriter:
    """000000.png, 000001.png, …, sound.wav and provenance.json in a folder that appears when it is whole."""

    PROVENANCE = "provenance.json"

    def __init__(self, path: Path, fps: Fraction, duration_s: float, sound: Sound | None, metadata: dict[str, Any] | None):
        self._path, self._count = path.absolute(), 0
        self._work = self._path.with_name(temporary_name(path.name))
        self._work.mkdir()
        self._folder = self._work / "new"
        self._folder.mkdir()
        self._sound, self._duration_s = sound, duration_s
        document = {"fps": str(fps), **(metadata or {})}
        (self._folder / self.PROVENANCE).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def write(self, rgb: np.ndarray) -> None:
        from PIL import Image

        Image.fromarray(rgb).save(self._folder / f"{self._count:06d}.png", compress_level=3)
        self._count += 1

    def close(self) -> None:
        if not self._count:
            raise OSError("not one frame came")
        if self._sound is not None:
            _write_wav(self._folder / "sound.wav", self._sound, self._duration_s)
        if self._path.exists():
            self._path.rename(self._work / "old")
        self._folder.rename(self._path)

    def abandon(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)


def _write_wav(path: Path, sound: Sound, duration_s: float) -> None:
    channels = min(2, sound.channels)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(sound.rate_hz)
        for block in sound.blocks(sound.rate_hz, channels, duration_s):
            file.writeframes((np.clip(block, -1, 1) * 32767).round().astype("<i2").T.tobytes())


def _even(rgb: np.ndarray) -> np.ndarray:
    """yuv420p needs even sides: an odd one repeats its last row or column."""
    odd_rows, odd_columns = rgb.shape[0] % 2, rgb.shape[1] % 2
    return np.pad(rgb, ((0, odd_rows), (0, odd_columns), (0, 0)), mode="edge") if odd_rows or odd_columns else rgb


def provenance(sources: Mapping[str, str | None], preset: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into the file as metadata: that it is synthetic, and what it was made with.

    Args:
        sources: paths by role; of each the name is kept, not where it lies.
        report: of the animation, as plain values.
    """
    names = {role: Path(path).name for role, path in sources.items() if path}
    kept = {name: report[name] for name in ("mode", "seed", "settings", "model")}
    return {"synthetic": True, "generator": f"{DISTRIBUTION} {code_version()}", **names, "preset": preset, **kept}


def read_provenance(path: str | Path) -> dict[str, Any]:
    """What `open_output` was given as metadata, from a video or a folder of frames."""
    import av

    path = Path(path)
    if path.is_dir():
        return json.loads((path / PngWriter.PROVENANCE).read_text(encoding="utf-8"))
    with av.open(str(path)) as container:
        return json.loads(container.metadata.get("comment", "{}"))
