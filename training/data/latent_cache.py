"""Latents, driving patches and sound windows of some frames of every clip, so that training neither decodes nor encodes.

One safetensors file a clip, `CACHE/ab/abcdef….safetensors`:

    frames              (N,) int32, frames of the clip, ascending
    latents.K           (N, C, h, w) float16, cut by the clip's square K
    regions.K           (N, 3, 4) int16: right eye, left eye, mouth
    chin.K              (N, 4) int16: the mouth down to the chin
    boxes.K             (N, 3, 4) int16: the patches of right eye, left eye and mouth, unmoved
    offsets.K           (3N + 1,) int64: where the pixels about each patch begin in `patches`
    patches.K[.V]       (pixels · 3,) uint8: of all frames what random moves of the patches can reach; .V of the clip's variant V
    pictures.K          (N, S, S, 3) uint8, and points.K (N, 68, 2) float32 landmarks on them; for models that are shown the reference moved
    audio               (N, T, Ca) float16 windows; not in files without sound
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from curation.contracts import ClipError
from inference.driving.moved_reference import moved_reference
from inference.driving.regions import RegionBoxes
from inference.models.components import InferenceConfig, build_audio_encoder, build_codec, find_weights
from manifests import UserError
from manifests.atomic import atomic_path, put
from training.data.clips import ClipTable, TrainingClip
from training.data.config import DataConfig
from training.data.frames import ClipFrames, FaceParts, VideoFrames
from training.data.patch_change import reach

if TYPE_CHECKING:
    from inference.models.codecs import LatentCodec

CACHE_FILE = "cache.json"
FORMAT = 2
_ENCODE_AT_ONCE = 16  # pictures a pass of the encoder: bounds its memory
_FILES_KEPT = 256  # memory maps of a worker, the least used one is closed first


def cache_settings(data: DataConfig, inference: InferenceConfig) -> dict[str, Any]:
    """What the content of a cache depends on, besides the clips and which frames were chosen."""
    codec = inference.codec.kind
    if codec == "vae":
        codec += ":" + _weights_digest(find_weights("vae", inference.codec.path))
    return {
        "format": FORMAT,
        "codec": codec,
        "audio": inference.audio.kind if inference.audio.kind == "logmel" else build_audio_encoder(inference).fingerprint,
        "size_px": inference.size_px,
        "fps": inference.fps,
        "crop_scale": inference.crop_scale,
        "crops_per_clip": data.crops_per_clip,
        "crop_jitter": data.crop_jitter if data.crops_per_clip > 1 else 0.0,
        "patch_rule": inference.patch_rule,
        "moved_reference": inference.model.copied_reference == "moved",
        "augment.box_shift": data.augment.box_shift,
        "augment.box_size": data.augment.box_size,
    }


def open_cache(folder: str | Path, settings: dict[str, Any], create: bool = False) -> Path:
    """The folder, once its settings agree with `settings`.

    Raises:
        UserError: no cache there (unless `create`), or one made with other settings.
    """
    folder = Path(folder)
    file = folder / CACHE_FILE
    if not file.is_file():
        if not create:
            raise UserError(f"no latent cache in {folder}; make it by `python -m training cache-latents`, with the same --config and --set")
        put(file, json.dumps(settings, indent=1).encode())
        return folder
    try:
        there = json.loads(file.read_text())
    except ValueError:
        raise UserError(f"{file} is damaged; remove {folder} and make the cache anew") from None
    wrong = [f"{name} {there.get(name)!r}, not {value!r}" for name, value in settings.items() if there.get(name) != value]
    if wrong:
        raise UserError(f"the latent cache in {folder} was made with {'; '.join(wrong)}: use another folder")
    return folder


def clip_file(folder: Path, clip_id: str) -> Path:
    return folder / clip_id[:2] / f"{clip_id}.safetensors"


def chosen_frames(usable: np.ndarray, cached_frames: int, num_frames: int, stride: int) -> np.ndarray:
    """(N,) int32: about `cached_frames` frames in runs that hold a sample of `num_frames` each, spread evenly over the clip; those of a
    shorter clip once. Empty if there is no such run."""
    span = (num_frames - 1) * stride + 1
    starts = np.flatnonzero([usable[s : s + span].all() for s in range(len(usable) - span + 1)])
    if not len(starts):
        return np.zeros(0, np.int32)
    n_runs = max(2, cached_frames // span)
    picked = starts[np.unique(np.round(np.linspace(0, len(starts) - 1, min(n_runs, len(starts)))).astype(int))]
    return np.unique(picked[:, None] + np.arange(span)).astype(np.int32)


class CacheWork:
    """Fills the cache; a `training.offline.clip_job.ClipWork`.

    Args:
        num_frames: of a sample of the stage that the cache is made for.
        with_audio: encode the sound as well (stages 2 and 3).
    """

    def __init__(
        self, folder: str, data: DataConfig, inference: InferenceConfig, table: ClipTable, num_frames: int, with_audio: bool, device: str
    ):
        self._folder, self._data, self._inference = Path(folder), data, inference
        self._num_frames, self._with_audio, self._device = num_frames, with_audio, device
        self._codec: LatentCodec = build_codec(inference, device)
        self._videos = VideoFrames(data, inference, table, device)

    def close(self) -> None:
        self._videos.close()

    def make(self, clip: TrainingClip) -> float:
        """Reads the chosen frames once a square, encodes, writes."""
        from safetensors.torch import save_file

        data = self._data
        usable = self._videos.usable(clip, 0)
        frames = chosen_frames(usable, data.cached_frames, self._num_frames, data.frame_stride)
        if not len(frames):
            raise ClipError("too_short", f"it has not {self._num_frames} frames in a row with a face")
        tensors: dict[str, torch.Tensor] = {"frames": torch.from_numpy(frames)}
        pieces = self._videos.cut_by_every_square(clip, frames.tolist())
        for crop, (pictures, parts, variants, points_px) in enumerate(pieces):
            if self._inference.model.copied_reference == "moved":
                tensors[f"pictures.{crop}"] = torch.from_numpy(pictures)
                tensors[f"points.{crop}"] = torch.from_numpy(points_px.astype(np.float32))
            tensors[f"latents.{crop}"] = self._encode(pictures)
            regions = np.concatenate([parts.regions.eyes, parts.regions.mouth[:, None]], axis=1)
            for name, rectangles in (("regions", regions), ("chin", parts.chin), ("boxes", parts.patches)):
                tensors[f"{name}.{crop}"] = torch.from_numpy(rectangles.astype(np.int16))
            rectangles = reach(parts.patches, data.augment, self._inference.size_px)
            offsets, pixels = _pack(pictures, rectangles)
            tensors[f"offsets.{crop}"], tensors[f"patches.{crop}"] = offsets, pixels
            for v, variant in enumerate(variants):
                tensors[f"patches.{crop}.{v}"] = _pack(variant, rectangles)[1]
        if self._with_audio:
            tensors["audio"] = torch.from_numpy(self._videos.audio(clip, frames.tolist()))
        target = clip_file(self._folder, clip.clip_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as temporary:
            save_file(tensors, temporary, metadata={"n_frames": str(len(usable))})
        return len(frames) * 1000 / self._inference.fps

    @torch.no_grad()
    def _encode(self, pictures: np.ndarray) -> torch.Tensor:
        """(N, S, S, 3) uint8 → (N, C, h, w) float16 on the CPU."""
        latents = []
        for start in range(0, len(pictures), _ENCODE_AT_ONCE):
            part = torch.from_numpy(pictures[start : start + _ENCODE_AT_ONCE]).to(self._device).movedim(-1, 1)
            latents.append(self._codec.encode(part.float() / 255).half().cpu())
        return torch.cat(latents).contiguous()


@dataclass(frozen=True)
class _CachedClip:
    """An open file of the cache.

    Attributes:
        file: safetensors' handle; the content stays mapped, not read.
        tensors: names of what it holds.
        usable: (T,) bool, frames of the clip that are cached.
        place: (T,) int64, where a cached frame stands in the file's tensors.
    """

    file: Any
    tensors: frozenset[str]
    usable: np.ndarray
    place: np.ndarray


class CachedFrames:
    """A `training.data.frames.FrameSource` over a cache. The files used last stay open; the source may be handed to worker processes by
    fork or by pickle.

    Raises:
        UserError: no cache there, or one made with other settings.
    """

    at_once = 1  # nothing to wait for

    def __init__(self, folder: str | Path, data: DataConfig, inference: InferenceConfig):
        self._folder = open_cache(folder, cache_settings(data, inference))
        self._augment = data.augment
        self._size_px = inference.size_px
        self._moves = inference.model.copied_reference == "moved"
        self._opened: OrderedDict[str, _CachedClip] = OrderedDict()

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_opened": OrderedDict()}

    def usable(self, clip: TrainingClip, crop: int) -> np.ndarray:
        """Frames that are cached; see `FrameSource`.

        Raises:
            ClipError: missing_file, unreadable.
        """
        return self._clip(clip).usable

    def frames(
        self, clip: TrainingClip, crop: int, reference: int, targets: Sequence[int], with_audio: bool, variant: int | None
    ) -> ClipFrames:
        """See `FrameSource`.

        Raises:
            ClipError: missing_file, unreadable; no_frames, where sound is wanted and not cached.
        """
        cached = self._clip(clip)
        if with_audio and "audio" not in cached.tensors:
            raise ClipError("no_frames", "its cache holds no sound: make the cache with --stage 2 or 3")
        patches = f"patches.{crop}" if variant is None else f"patches.{crop}.{variant}"
        if patches not in cached.tensors:
            raise ClipError("no_frames", "the variant came after its cache: make the cache anew")
        at, place = cached.place[list(targets)], int(cached.place[reference])
        first, end, rows = int(at[0]), int(at[-1]) + 1, at - at[0]
        file = cached.file
        latents = file.get_slice(f"latents.{crop}")
        regions, chin, boxes = (file.get_slice(f"{name}.{crop}")[first:end][rows].astype(np.int64) for name in ("regions", "chin", "boxes"))
        offsets = file.get_slice(f"offsets.{crop}")[3 * first : 3 * end + 1]
        pixels = file.get_slice(patches)[int(offsets[0]) : int(offsets[-1])]
        begins = (offsets[:-1] - offsets[0]).reshape(-1, 3)[rows]
        return ClipFrames(
            targets=latents[first:end][rows],
            reference=latents[place : place + 1][0],
            driving=_paste(pixels, reach(boxes, self._augment, self._size_px), begins, self._size_px),
            parts=FaceParts(RegionBoxes(regions[:, :2], regions[:, 2]), chin, boxes),
            audio=file.get_slice("audio")[first:end][rows] if with_audio else None,
            moved=self._moved(file, crop, place, slice(first, end), rows) if self._moves else None,
        )

    def _moved(self, file: Any, crop: int, reference: int, targets: slice, rows: np.ndarray) -> np.ndarray:
        pictures, points = file.get_slice(f"pictures.{crop}"), file.get_slice(f"points.{crop}")
        at = slice(reference, reference + 1)
        return moved_reference(pictures[at][0], points[at][0], points[targets][rows])

    def _clip(self, clip: TrainingClip) -> _CachedClip:
        """The clip's file, from those that are open or opened now."""
        found = self._opened.get(clip.clip_id)
        if found is None:
            found = self._opened[clip.clip_id] = _open_clip(clip_file(self._folder, clip.clip_id))
            if len(self._opened) > _FILES_KEPT:
                self._opened.popitem(last=False)
        else:
            self._opened.move_to_end(clip.clip_id)
        return found


def _open_clip(path: Path) -> _CachedClip:
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="np")
        frames = file.get_tensor("frames")
        usable = np.zeros(int(file.metadata()["n_frames"]), bool)
    except FileNotFoundError as error:
        raise ClipError("missing_file", f"{path} is not in the latent cache") from error
    except (SafetensorError, OSError) as error:
        raise ClipError("unreadable", f"{path} is damaged: {error}; remove it and run cache-latents again") from error
    usable[frames] = True
    usable.flags.writeable = False  # handed out again and again
    place = np.full(len(usable), -1)
    place[frames] = np.arange(len(frames))
    return _CachedClip(file, frozenset(file.keys()), usable, place)


def cached_clips(folder: str | Path) -> set[str]:
    """Ids of the clips that a cache holds."""
    return {file.stem for file in Path(folder).glob("??/*.safetensors")}


def _pack(pictures: np.ndarray, rectangles: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(3N + 1,) int64 offsets and the pixels of (N, 3, 4) rectangles one after the other."""
    parts = [picture[y0:y1, x0:x1].reshape(-1) for picture, boxes in zip(pictures, rectangles, strict=True) for x0, y0, x1, y1 in boxes]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return torch.from_numpy(offsets), torch.from_numpy(np.concatenate(parts))


def _paste(pixels: np.ndarray, rectangles: np.ndarray, begins: np.ndarray, size_px: int) -> np.ndarray:
    """(F, S, S, 3) uint8, black outside the rectangles."""
    pictures = np.zeros((len(rectangles), size_px, size_px, 3), np.uint8)
    for picture, boxes, starts in zip(pictures, rectangles, begins, strict=True):
        for (x0, y0, x1, y1), start in zip(boxes, starts, strict=True):
            n = (y1 - y0) * (x1 - x0) * 3
            picture[y0:y1, x0:x1] = pixels[start : start + n].reshape(y1 - y0, x1 - x0, 3)
    return pictures


def _weights_digest(folder: Path) -> str:
    """Names the weights in a folder of diffusers."""
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()
