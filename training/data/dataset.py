"""One training sample as a function of (seed, stage, global sample index)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from curation.contracts import ClipError
from inference.driving.regions import EYES, MOUTH, cut_patches, placed
from inference.models.components import InferenceConfig
from inference.models.config import PX_PER_CELL
from inference.models.masks import EYE_DILATION_TOKENS, dilate
from inference.models.schedule import SCHEDULE
from manifests.errors import NoLandmarksError
from training.data.batch import Skip
from training.data.clips import ClipOrder, ClipTable, TrainingClip, choose_frames
from training.data.config import DataConfig
from training.data.draws import draws, sample_noise
from training.data.frames import ClipFrames, FrameSource
from training.data.modality import Conditions, draw_conditions
from training.data.patch_change import PatchChange, draw_change, moved
from training.data.patches import scaled_boxes
from training.data.recolour import SAME, Recolour, draw_recolour


@dataclass(frozen=True)
class Sample:
    """One sample; see `training.data.batch.TrainingBatch` for shapes, without the batch dimension and with pictures as (..., S, S, 3).

    Attributes:
        eye_keys, mouth_queries: (F, ht, wt) bool, for Eq. 2: where the driven eyes or the target's are, and the target's mouth down to the
            chin.
    """

    sample_index: int
    clip_id: str
    skips: tuple[Skip, ...]
    conditions: Conditions
    targets: np.ndarray
    reference: np.ndarray
    driven: np.ndarray
    driven_boxes: np.ndarray
    eye_tokens: np.ndarray
    mouth_tokens: np.ndarray
    eye_keys: np.ndarray
    mouth_queries: np.ndarray
    loss_keep: np.ndarray
    audio: np.ndarray | None
    moved: np.ndarray | None
    change: PatchChange
    recolour: Recolour
    timestep: int
    noise: torch.Tensor


@dataclass(frozen=True)
class NoSample:
    """A sample that no clip could serve, and why not."""

    sample_index: int
    skips: tuple[Skip, ...]


class TrainingDataset(Dataset):
    """Maps a global sample index to its `Sample`; nothing else has an influence, neither earlier samples nor the process.

    A clip that fails is passed over: the sample keeps its index, modality, timestep and noise, and takes another clip.

    Args:
        source: where pictures and sound come from.
        augment: False leaves driving patches and colours as they are (validation).

    Attributes:
        mask_paths: of Eq. 2, for the batches of its samples.
    """

    def __init__(
        self,
        data: DataConfig,
        inference: InferenceConfig,
        table: ClipTable,
        source: FrameSource,
        seed: int,
        stage: int,
        augment: bool = True,
    ):
        self._data, self._inference, self._table, self._source = data, inference, table, source
        self._seed, self._stage, self._augment = seed, stage, augment
        self.mask_paths = data.modality.mask_paths
        self._order = ClipOrder(len(table), seed, stage)
        self._num_frames = data.frames_of_stage(stage)

    def __getitem__(self, sample_index: int) -> Sample | NoSample:
        conditions = draw_conditions(self._data.modality, self._seed, self._stage, sample_index)
        skips: list[Skip] = []
        for attempt in range(self._data.max_skips):
            clip = self._table.clips[self._order.clip_of(sample_index, attempt)]
            try:
                frames = self._frames(clip, sample_index, attempt)
                return self._assemble(clip, frames, conditions, sample_index, tuple(skips))
            except ClipError as error:
                skips.append(Skip(sample_index, clip.clip_id, error.kind, error.message))
            except NoLandmarksError as error:
                skips.append(Skip(sample_index, clip.clip_id, "no_landmarks", str(error)))
        return NoSample(sample_index, tuple(skips))

    def __getitems__(self, sample_indices: list[int]) -> list[Sample | NoSample]:
        """As many at a time as the source gains from."""
        if self._source.at_once == 1:
            return [self[index] for index in sample_indices]
        with ThreadPoolExecutor(self._source.at_once) as pool:
            return list(pool.map(self.__getitem__, sample_indices))

    def _frames(self, clip: TrainingClip, sample_index: int, attempt: int) -> ClipFrames:
        """Draws which frames, and reads them."""
        data = self._data
        rng = draws(self._seed, self._stage, sample_index, "frames", attempt)
        crop = int(rng.integers(data.crops_per_clip))
        use_variant, which = rng.random(2)
        chosen = choose_frames(self._source.usable(clip, crop), self._num_frames, data.frame_stride, data.min_gap_frames, rng)
        if chosen is None:
            wanted = "a frame" if self._num_frames == 1 else f"{self._num_frames} frames in a row"
            raise ClipError("too_short", f"it has not {wanted} with a face and a reference {data.min_gap_frames} frames away")
        variant = int(which * len(clip.variants)) if clip.variants and use_variant < data.variant_share else None
        if variant is not None and not clip.variant_has(variant, chosen[1]):
            variant = None
        return self._source.frames(clip, crop, chosen[0], chosen[1], self._stage > 1, variant)

    def _assemble(
        self, clip: TrainingClip, frames: ClipFrames, conditions: Conditions, sample_index: int, skips: tuple[Skip, ...]
    ) -> Sample:
        inference, seed, stage = self._inference, self._seed, self._stage
        height, width = inference.latent_grid
        change = draw_change(self._data.augment, draws(seed, stage, sample_index, "augmentation")) if self._augment else PatchChange()
        recolour = draw_recolour(self._data.recolour, draws(seed, stage, sample_index, "recolour")) if self._augment else SAME
        regions, chin = frames.parts.regions, frames.parts.chin[:, None]
        patches = placed(moved(frames.parts.patches, change), regions, inference.size_px)
        shown = {name for name, shows in ((EYES, conditions.eyes), (MOUTH, conditions.mouth)) if shows}
        driven_boxes = np.concatenate([patches.eyes * conditions.eyes, patches.mouth[:, None] * conditions.mouth], axis=1)
        keep = np.ones((self._num_frames, height, width), bool)
        if conditions.mask_loss:
            keep = ~cells_touched(chin, PX_PER_CELL, height, width)
        px_per_token = PX_PER_CELL * inference.model.patch_size
        grid = inference.size_px // px_per_token
        eye_tokens = cells_touched(regions.eyes, px_per_token, grid, grid)
        eye_keys = eye_tokens | cells_touched(_after(patches.eyes, change, inference.size_px), px_per_token, grid, grid)
        if conditions.mask_attention and dilate(torch.from_numpy(eye_keys), EYE_DILATION_TOKENS).flatten(1).all(1).any():
            raise ClipError("too_close", "the eyes fill the crop: Eq. 2 would leave the mouth nothing to look at")
        noise_shape = (self._num_frames, inference.model.latent_channels, height, width)
        return Sample(
            sample_index=sample_index,
            clip_id=clip.clip_id,
            skips=skips,
            conditions=conditions,
            targets=frames.targets,
            reference=frames.reference,
            driven=cut_patches(frames.driving, patches, shown, inference.grey_driver),
            driven_boxes=driven_boxes,
            eye_tokens=eye_tokens,
            mouth_tokens=cells_touched(regions.mouth[:, None], px_per_token, grid, grid),
            eye_keys=eye_keys,
            mouth_queries=cells_touched(chin, px_per_token, grid, grid),
            loss_keep=keep,
            audio=frames.audio,
            moved=frames.moved,
            change=change,
            recolour=recolour,
            timestep=draw_timestep(self._data.timestep_shift, draws(seed, stage, sample_index, "timestep")),
            noise=sample_noise(seed, stage, sample_index, noise_shape),
        )


def draw_timestep(shift: float, rng: np.random.Generator) -> int:
    """0…999, see `DataConfig.timestep_shift`."""
    if shift == 1:
        return int(rng.integers(SCHEDULE.num_steps))
    u = rng.random()
    return int(SCHEDULE.num_steps * shift * u / (1 + (shift - 1) * u))


def cells_touched(rectangles: np.ndarray, cell_px: int, height: int, width: int) -> np.ndarray:
    """(F, height, width) bool: cells of `cell_px` pixels that (F, n, 4) rectangles touch.

    Equals `inference.models.masks.region_tokens` of their pixels; computed from the rectangles, because 16 frames hold many pixels.
    """
    touched = np.zeros((len(rectangles), height, width), bool)
    for cells, boxes in zip(touched, rectangles.tolist(), strict=True):
        for x0, y0, x1, y1 in boxes:
            cells[y0 // cell_px : -(-y1 // cell_px), x0 // cell_px : -(-x1 // cell_px)] = True
    return touched


def _after(boxes: np.ndarray, change: PatchChange, size_px: int) -> np.ndarray:
    """(F, n, 4) rectangles where the device will show them."""
    scale, whole = torch.tensor([change.scale], dtype=torch.float32), torch.tensor([change.whole])
    return scaled_boxes(torch.from_numpy(boxes)[None], scale, whole, size_px, size_px)[0].numpy()
