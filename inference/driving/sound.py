"""Sound on the clock of the frames: what the model hears (16 kHz mono) and what people hear (the file's own rate and channels)."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from curation.contracts import AUDIO_RATE_HZ
from curation.media.errors import DecodeError
from curation.media.heard import MonoResampler, pick_audio
from curation.media.limits import MediaLimits
from curation.media.opening import open_container, open_descriptor
from inference.driving.contracts import DrivenFrames, Sound
from manifests import UserError

MAX_JITTER_S = 0.010  # a time stamp that departs further from the count of samples is a hole or an edit; less is rounding
MAX_BAD_SHARE = 0.1  # of packets: a few lost ones are heard as clicks, more are another sound
MISSING_S = 0.5  # of sound that a file says it has and has not, from which on it was cut off
LOUDEST = 4.0  # largest sample that mixing channels explains, where 1 is full scale
SILENT = 1e-4  # largest sample of a sound that nobody hears (-80 dB)

SoundSource = str | Path | np.ndarray | Sound


def open_sound(source: SoundSource) -> Sound:
    """A sound or video file, (n,) floating point at 16 kHz, or a `Sound` as it is.

    Time 0 is the first frame of a file with video, the first sample of one without.

    Raises:
        UserError: no such file, no sound in it, damaged; one line that begins with the path.
    """
    if isinstance(source, str | Path):
        return FileSound(source)
    if isinstance(source, Sound):
        return source
    return ArraySound(source)


def driver_sound(driving: DrivenFrames | None) -> Sound | None:
    """A driver's own sound track, at the file's quality where there is a file."""
    from inference.driving.footage import VideoFootage

    if driving is None or driving.audio is None:
        return None
    footage = getattr(driving, "footage", None)
    if isinstance(footage, VideoFootage):
        return FileSound(footage.name)
    return ArraySound(np.asarray(driving.audio, np.float32) / 32768)


class ArraySound:
    """(n,) samples at 16 kHz, mono, in −1…1."""

    rate_hz, channels = AUDIO_RATE_HZ, 1

    def __init__(self, samples: Any):
        samples = np.asarray(samples)
        if samples.ndim != 1 or samples.size == 0 or samples.dtype.kind != "f":
            raise UserError(f"audio has shape {samples.shape} and is {samples.dtype}; it needs a path or (n,) floating point at 16 kHz")
        self._samples = np.ascontiguousarray(samples, np.float32)
        if not np.isfinite(self._samples).all():
            raise UserError("audio has samples that are no numbers")
        self.duration_s = len(samples) / AUDIO_RATE_HZ

    def waveform(self, duration_s: float | None = None) -> np.ndarray:
        return _fitted(self._samples, duration_s)

    def blocks(self, rate_hz: int, channels: int, duration_s: float) -> Generator[np.ndarray, None, None]:
        import av

        def resampled() -> Iterator[np.ndarray]:
            resampler = _Resampler(rate_hz, channels)
            for first in range(0, len(self._samples), AUDIO_RATE_HZ):
                frame = av.AudioFrame.from_ndarray(self._samples[None, first : first + AUDIO_RATE_HZ], format="fltp", layout="mono")
                frame.sample_rate = AUDIO_RATE_HZ
                yield from resampler.resample(frame)
            yield from resampler.resample(None)

        yield from _cut(resampled(), round(duration_s * rate_hz))


class FileSound:
    """A file's sound track, the one that players choose (`curation.media.heard`). The whole track is decoded once on opening, so a damaged
    file shows before any work is done; 16 kHz mono of it stays in memory, 64 kB a second.

    Attributes:
        notes: lines for the user: the file holds less than it says, or its samples leave their range, and are cut to it.

    Raises:
        UserError: no sound, damaged, samples that are no numbers; one line that begins with the path.
    """

    def __init__(self, path: str | Path):
        self.path = str(path)
        self._limits = MediaLimits()
        self.rate_hz, self.channels = 0, 0  # known from the first frame on
        self._declared_s, self._heard_s = 0.0, 0.0
        self._end_s = math.inf  # after time 0, where the header says that the sound ends
        blocks = list(self._placed(AUDIO_RATE_HZ, 1))
        waveform = np.concatenate(blocks, axis=1)[0] if blocks else np.zeros(0, np.float32)
        waveform = waveform[: self._count(AUDIO_RATE_HZ, math.inf)]
        self.duration_s = len(waveform) / AUDIO_RATE_HZ
        if not self.duration_s:
            raise UserError(f"{self.path}: its sound track is empty")
        loudest = float(np.abs(waveform).max())
        if not math.isfinite(loudest):
            raise UserError(f"{self.path}: its sound has samples that are no numbers; write it anew, within -1…1")
        self._waveform = np.clip(waveform, -1.0, 1.0)  # as files of integers hold it, and as curation reads it
        missing = self._declared_s - self._heard_s
        cut_off = f"{self.path}: holds {self._heard_s:.2f} s of sound and says {self._declared_s:.2f} s: it was cut off"
        too_loud = f"{self.path}: its samples reach {loudest:.3g}, full scale is 1: what is above is cut; divide them and write it anew"
        self.notes: tuple[str, ...] = (cut_off,) if missing > max(MISSING_S, 0.02 * self._declared_s) else ()
        self.notes += (too_loud,) if loudest > LOUDEST else ()

    def waveform(self, duration_s: float | None = None) -> np.ndarray:
        return _fitted(self._waveform, duration_s)

    def blocks(self, rate_hz: int, channels: int, duration_s: float) -> Generator[np.ndarray, None, None]:
        yield from _cut(self._placed(rate_hz, channels), self._count(rate_hz, duration_s))

    def _count(self, rate_hz: int, duration_s: float) -> int | None:
        """Samples of so many seconds, of no more than the file has; None for all that come."""
        shorter_s = min(duration_s, self._end_s)
        return None if shorter_s == math.inf else max(0, round(shorter_s * rate_hz))

    @cached_property
    def is_silent(self) -> bool:
        return float(np.abs(self._waveform).max(initial=0.0)) < SILENT

    def _placed(self, rate_hz: int, channels: int) -> Iterator[np.ndarray]:
        """(channels, n) blocks from time 0 on, holes filled with silence, what lies before time 0 left out; at the end perhaps a little
        more than the header says."""
        emitted = 0
        resampler, position, expected_s = None, 0, 0.0
        for frame, time_s in self._frames():
            if resampler is None or abs(time_s - expected_s) > MAX_JITTER_S:
                if resampler is not None:
                    for samples in resampler.resample(None):
                        block, emitted, position = _at(samples, position, emitted)
                        yield block
                resampler, position, expected_s = _Resampler(rate_hz, channels), round(time_s * rate_hz), time_s
            expected_s += frame.samples / frame.sample_rate
            frame.pts = None
            for samples in resampler.resample(frame):
                block, emitted, position = _at(samples, position, emitted)
                yield block
        if resampler is not None:
            for samples in resampler.resample(None):
                block, emitted, position = _at(samples, position, emitted)
                yield block

    def _frames(self) -> Iterator[tuple[Any, float]]:
        """Decoded frames with their time after the first video frame, or after the first sound in a file without video."""
        with self._opened() as container:
            origin_s = _first_picture_s(container)
        with self._opened() as container:  # anew: seeking back may pass over sound that begins before the picture
            yield from self._decoded(container, origin_s)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            descriptor = open_descriptor(self.path)
            try:
                with open_container(descriptor, self._limits.max_frame_px) as container:
                    yield container
            finally:
                os.close(descriptor)
        except DecodeError as error:
            raise UserError(f"{self.path}: {error}") from None

    def _decoded(self, container: Any, origin_s: float | None) -> Iterator[tuple[Any, float]]:
        import av

        if not container.streams.audio:
            raise UserError(f"{self.path}: it has no sound")
        stream = pick_audio(container)
        if stream is None:
            raise UserError(f"{self.path}: its sound cannot be decoded")
        self.rate_hz = self.rate_hz or stream.codec_context.sample_rate
        self.channels = self.channels or min(2, stream.codec_context.layout.nb_channels)
        end_s = _declared_end_s(container, stream)
        packets, bad, heard_s, next_s, spent_s = 0, 0, 0.0, None, 0.0
        demuxed = container.demux(stream)
        while True:
            began = time.thread_time()
            packet = next(demuxed, None)
            if packet is None:
                break
            packets += 1
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                bad += 1
                continue
            finally:
                spent_s += time.thread_time() - began  # neither the caller's own time between two blocks nor other programs' counts
            for frame in frames:
                time_s = frame.time if frame.time is not None else next_s or 0.0
                origin_s = time_s if origin_s is None else origin_s
                self._end_s = math.inf if end_s is None else end_s - origin_s
                next_s = time_s + frame.samples / frame.sample_rate
                heard_s += frame.samples / frame.sample_rate
                if end_s is None or time_s < end_s:
                    yield frame, time_s - origin_s
            if spent_s > self._limits.deadline_base_s + self._limits.deadline_per_media_s * heard_s:
                raise UserError(f"{self.path}: decoding its sound takes too long; convert it first (ffmpeg -i IN OUT.wav)")
        declared = float(stream.duration * stream.time_base) if stream.duration else 0.0
        with Path(self.path).open("rb") as file:
            promised = _riff_duration_s(file.read(12), stream)
        self._declared_s, self._heard_s = max(declared, promised), heard_s
        if bad > MAX_BAD_SHARE * packets:
            raise UserError(f"{self.path}: its sound track is damaged: {bad} of {packets} packets cannot be decoded")


def _riff_duration_s(head: bytes, stream: Any) -> float:
    """What a WAV file's first 12 bytes promise; 0 for other files. FFmpeg corrects it to what is there."""
    bytes_a_second = (stream.codec_context.bit_rate or 0) / 8
    if head[:4] != b"RIFF" or head[8:] != b"WAVE" or not bytes_a_second:
        return 0.0
    promised = int.from_bytes(head[4:8], "little")
    return 0.0 if promised in (0, 0xFFFFFFFF) else promised / bytes_a_second  # what streaming writers put there


def sound_notes(sound: Sound | None) -> tuple[str, ...]:
    """Lines for the user about a sound: cut off, or silent."""
    if not isinstance(sound, FileSound):
        return ()
    return (*sound.notes, f"{sound.path}: it is silent for the model") if sound.is_silent else sound.notes


def _declared_end_s(container: Any, stream: Any) -> float | None:
    """Where an MP4's sound ends: encoders fill the last packet, and the header says how much of it counts."""
    if "mp4" not in container.format.name or not stream.duration:
        return None
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base)


def _first_picture_s(container: Any) -> float | None:
    """Time of the first video frame; None in a file without video (the cover picture of a sound file is none)."""
    import av

    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        return None
    try:
        for frame in container.decode(streams[0]):
            return frame.time
    except av.error.FFmpegError:
        pass
    return None


class _Resampler:
    """Decoded frames to (channels, n) float32 blocks at one rate; None ends the sound. One channel is mixed as curation mixes it."""

    def __init__(self, rate_hz: int, channels: int):
        from av.audio.resampler import AudioResampler

        self._mono = MonoResampler(rate_hz, np.float32) if channels == 1 else None
        self._stereo = AudioResampler(format="fltp", layout="stereo", rate=rate_hz) if channels != 1 else None

    def resample(self, frame: Any | None) -> Iterator[np.ndarray]:
        if self._mono is not None:
            samples = self._mono.resample(frame)[None]
            if samples.size:
                yield samples
        elif self._stereo is not None:
            for resampled in self._stereo.resample(frame):
                if resampled is not None and resampled.samples:
                    yield resampled.to_ndarray()


def _at(samples: np.ndarray, position: int, emitted: int) -> tuple[np.ndarray, int, int]:
    """The block that brings the output from `emitted` to the end of `samples`, which begin at `position`; and the two counts after it."""
    end = position + samples.shape[1]
    if position > emitted:
        samples = np.pad(samples, ((0, 0), (position - emitted, 0)))
    else:
        samples = samples[:, min(emitted - position, samples.shape[1]) :]
    return samples, max(emitted, end), end


def _cut(blocks: Iterator[np.ndarray], left: int | None) -> Iterator[np.ndarray]:
    if left is None:
        yield from blocks
        return
    for block in blocks:
        block = block[:, :left]
        left -= block.shape[1]
        if block.shape[1]:
            yield block
        if not left:
            return


def _fitted(samples: np.ndarray, duration_s: float | None) -> np.ndarray:
    if duration_s is None:
        return samples
    wanted = max(1, round(duration_s * AUDIO_RATE_HZ))
    return samples[:wanted] if len(samples) >= wanted else np.pad(samples, (0, wanted - len(samples)))
