"""One animation under way: what it is made from, how far it is, and its frames as they finish."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from inference.driving.contracts import DrivenFrames, Sound
from inference.driving.opening import Sources
from inference.models.audio_rows import audio_windows
from inference.pipeline.offload import OffloadedCodec
from inference.sampling.denoise import ClipConditions, Denoiser, FramesOf, pad_frames
from inference.sampling.settings import SamplingSettings
from inference.sampling.windows import padded_length
from manifests.errors import UserError

if TYPE_CHECKING:
    from inference.models.audio_encoders import AudioEncoder
    from inference.models.codecs import LatentCodec

DECODE_AT_MOST = 32  # frames; each is decoded to float32, 3 MB of it at 512 px


@dataclass
class Report:
    """What an animation was made from and how; plain values, for people and for the file's metadata.

    Attributes:
        mode: V, A or A+V.
        settings: as carried out; `sampler` and `dtype` are what they came to.
        seconds, seconds_per_frame: of sampling and decoding, filled in when the last frame is out.
        evaluations: windows shown to the model, guidance branches not counted.
    """

    mode: str
    num_frames: int
    fps: str
    duration_s: float
    seed: int
    settings: SamplingSettings
    sampler: str
    dtype: str
    model: dict[str, Any]
    evaluations: int
    driving: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: float | None = None
    seconds_per_frame: float | None = None

    def to_tree(self) -> dict[str, Any]:
        """Plain values, as JSON can hold them; how many windows share a model call changes nothing of the result and is left out."""
        tree = asdict(self)
        settings = tree["settings"] | {"sampler": tree.pop("sampler"), "dtype": tree.pop("dtype")}
        del settings["window_batch"]
        return tree | {"settings": settings}


@dataclass
class Progress:
    """`done` of `total` window evaluations after `elapsed_s`; `seconds_per_frame` and `left_s` are measured from the second call on."""

    done: int
    total: int
    frames_out: int
    elapsed_s: float
    seconds_per_frame: float | None
    left_s: float | None


class Animation:
    """Made by `MegActorSigmaPipeline.prepare`. `frames()` may be run once. A context manager that closes what `prepare` opened.

    Attributes:
        sources: portrait and driver.
        num_frames, fps: of the result.
        sound: what is to be heard with it, or None.
        report: see `Report`.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        codec: LatentCodec,
        clip: ClipConditions,
        sources: Sources,
        num_frames: int,
        fps: Fraction,
        sound: Sound | None,
        report: Report,
        on_progress: Callable[[Progress], None] | None = None,
    ):
        self.sources, self.num_frames, self.fps, self.sound, self.report = sources, num_frames, fps, sound, report
        self._denoiser, self._codec, self._clip, self._on_progress = denoiser, codec, clip, on_progress
        self._done, self._frames_out, self._started = 0, 0, 0.0
        self._first_done: tuple[int, float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drops the driver's patches if `prepare` opened the driver."""
        self.sources.close()

    @property
    def duration_s(self) -> float:
        return float(self.num_frames / self.fps)

    def latents(self) -> Generator[torch.Tensor, None, None]:
        """(n, C, h, w) float32 pieces, in order, without the frames that padded a short clip."""
        self._started = time.perf_counter()
        for _, first, latents in self._denoiser.run([self._clip], self._evaluated):
            require_numbers(latents, first)
            if first < self.num_frames:
                yield latents[: self.num_frames - first]

    def frames(self) -> Generator[np.ndarray, None, None]:
        """(S, S, 3) uint8 RGB, one a frame, as they finish. The first comes after about (steps × stride) frames' work."""
        at_once = self._codec.decode_at_once if isinstance(self._codec, OffloadedCodec) else 1
        for latents in _gathered(self.latents(), at_once):
            for piece in latents.split(DECODE_AT_MOST):
                for rgb in to_uint8(self._codec.decode(piece), self._frames_out):
                    self._frames_out += 1
                    yield rgb
        self.report.seconds = round(time.perf_counter() - self._started, 3)
        self.report.seconds_per_frame = round(self.report.seconds / self.num_frames, 5)

    def _evaluated(self, count: int) -> None:
        self._done += count
        now = time.perf_counter()
        per_evaluation = left = None
        if self._first_done is None:
            self._first_done = (self._done, now)  # the first call warms up: it counts for nothing
        elif self._done > self._first_done[0]:
            per_evaluation = (now - self._first_done[1]) / (self._done - self._first_done[0])
            left = per_evaluation * (self.report.evaluations - self._done)
        if self._on_progress is not None:
            per_frame = None if per_evaluation is None else per_evaluation * self.report.evaluations / self.num_frames
            self._on_progress(Progress(self._done, self.report.evaluations, self._frames_out, now - self._started, per_frame, left))


class FrameStream(Iterator[np.ndarray]):
    """An animation's frames, (S, S, 3) uint8. Its end, an error and `close` let go of the driver's decoder and file; a context manager."""

    def __init__(self, animation: Animation):
        self._animation, self._frames = animation, animation.frames()

    def __next__(self) -> np.ndarray:
        try:
            return next(self._frames)
        except BaseException:  # the end is one as well
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._frames.close()
        self._animation.close()


def _gathered(pieces: Iterator[torch.Tensor], at_least: int) -> Iterator[torch.Tensor]:
    """The same frames in pieces of at least so many, but for the last."""
    kept: list[torch.Tensor] = []
    for piece in pieces:
        kept.append(piece)
        if sum(len(part) for part in kept) >= at_least:
            yield torch.cat(kept)
            kept.clear()
    if kept:
        yield torch.cat(kept)


def require_numbers(values: torch.Tensor, first_frame: int, what: str = "the model") -> None:
    """Raises UserError for (n, …) values of frames from `first_frame` on that are not finite: they would become black pictures."""
    if not bool(torch.isfinite(values).all()):
        bad = first_frame + int((~torch.isfinite(values).flatten(1).all(1)).nonzero()[0])
        raise UserError(
            f"frame {bad}: {what} gives numbers that are none (NaN or infinite): its weights are damaged, or too large for this "
            "precision (try --dtype float32)"
        )


def to_uint8(images: torch.Tensor, first_frame: int = 0) -> np.ndarray:
    """(n, 3, H, W) in about 0…1 -> (n, H, W, 3) uint8. Raises UserError for a frame that is not finite."""
    require_numbers(images, first_frame, "the latent codec")
    return (images.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def to_unit(frames: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 -> float32 in 0…1; floating point as it is."""
    frames = torch.as_tensor(frames)
    return frames if frames.is_floating_point() else frames.float() / 255


def clip_conditions(
    reference_latents: torch.Tensor,
    driving: DrivenFrames | None,
    waveform: np.ndarray | None,
    audio_encoder: Callable[[], AudioEncoder],
    num_frames: int,
    fps: Fraction,
    window_size: int,
    seed: int,
    moved: FramesOf | None = None,
    mouth: FramesOf | None = None,
) -> ClipConditions:
    """What the sampler asks for, window by window: driven frames as they are decoded, sound on the clip's own clock."""
    frames_of = sound_of = None
    if driving is not None:
        frames_of = pad_frames(lambda first, end: to_unit(driving.driven_frames(first, end)), num_frames)
    if waveform is not None:
        states = audio_encoder().encode(torch.from_numpy(waveform))
        sound_of = pad_frames(lambda first, end: audio_windows(states, fps, end - first, first), num_frames)
    return ClipConditions(padded_length(num_frames, window_size), reference_latents, frames_of, sound_of, seed, moved, mouth)
