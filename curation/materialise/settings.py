"""What decides how a materialised clip looks and sounds."""

from __future__ import annotations

from dataclasses import dataclass, field

from curation.face_crop import HEAD_SCALE
from curation.media.limits import MediaLimits
from manifests.errors import did_you_mean

FPS = 25
CROPS = ("fixed", "smoothed")
AUDIO_CODECS = ("aac", "flac")
X264_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


@dataclass(frozen=True)
class MaterialiseSettings:
    """Settings of a run; all but `media` and `decode_attempts` change the clips.

    Attributes:
        size_px: side of the square picture; even.
        crop: `fixed`, one square a clip, or `smoothed`, a square that follows the head.
        scale: side of the square over the longer side of the landmark box (`curation.face_crop`).
        within_picture: move the square, and make it smaller if it must be, so that it does not reach beyond the picture.
        repair_offset: shift the sound by the measured audio-video offset, so that it becomes 0.
        max_repair_frames: offsets that are larger (25 Hz frames) are left alone: so far from zero the measurement is rarely right.
        audio_codec: `aac`, or `flac`, which loses nothing and has no encoder delay.
        crf: quality of x264, lower is better; 17 is hard to tell from the original.
        x264_preset: speed of the encoder.
        key_every_frames: distance of key frames; a reader of single frames decodes half of it on average.
        decode_attempts: how often a clip is tried whose decoder hung or died.
        media: bounds of the decoder.
    """

    size_px: int = 512
    crop: str = "fixed"
    scale: float = HEAD_SCALE
    within_picture: bool = False
    repair_offset: bool = False
    max_repair_frames: int = 6
    audio_codec: str = "aac"
    crf: int = 17
    x264_preset: str = "veryfast"
    key_every_frames: int = 25
    decode_attempts: int = 2
    media: MediaLimits = field(default_factory=MediaLimits)

    def __post_init__(self) -> None:
        for name, known in (("crop", CROPS), ("audio_codec", AUDIO_CODECS), ("x264_preset", X264_PRESETS)):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name} is {value!r}{did_you_mean(value, known)}")
        if self.size_px % 2 or not 32 <= self.size_px <= 4096:
            raise ValueError(f"size_px is {self.size_px}; it must be even and in 32..4096")
        if not 0.5 <= self.scale <= 10:
            raise ValueError(f"scale is {self.scale}; it must lie in 0.5..10")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf is {self.crf}; it must lie in 0..51")
        if self.max_repair_frames < 0 or self.key_every_frames < 1 or self.decode_attempts < 1:
            raise ValueError("max_repair_frames needs 0 or more, key_every_frames and decode_attempts 1 or more")
