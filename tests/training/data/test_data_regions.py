"""Patches, token masks and loss masks of samples beside a rasteriser that looks at every pixel; what each modality may show."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.driving.regions import EYES, MOUTH, RegionBoxes, chin_boxes, clip_patches, region_boxes, region_pixels
from inference.models.masks import region_tokens
from tests.training.data_material import data_config, embedded, face_points
from training.data.clips import ClipTable, TrainingClip
from training.data.dataset import TrainingDataset, cells_touched
from training.data.frames import ClipFrames, FaceParts
from training.data.loader import collate
from training.data.modality import MIXED, ModalityConfig
from training.data.patch_change import AugmentConfig
from training.data.patches import augment_driven

SIZE_PX = 128


class SyntheticFrames:
    """Clips without files: frame k of clip n is one of 300 faces of their own place, size and tilt; `paint(boxes)` gives its picture."""

    def __init__(self, paint, size_px):
        self._paint, self._size_px = paint, size_px
        rng = np.random.default_rng(0)
        upright = face_points((0, 0), size_px)
        middles = size_px * rng.uniform(0.3, 0.7, (300, 2))
        turned = [tilted(upright * rng.uniform(0.25, 0.6), rng.uniform(-60, 60)) for _ in middles]
        points = np.stack(turned) + middles[:, None]
        self._regions, self._patches = region_boxes(points, size_px), clip_patches(points, "frame")
        self._chin = chin_boxes(points, self._regions, size_px)

    def usable(self, clip, crop):
        return np.ones(40, bool)

    def parts(self, clip, targets):
        rows = [(int(clip.clip_id) * 40 + k) % len(self._chin) for k in targets]
        regions = RegionBoxes(self._regions.eyes[rows], self._regions.mouth[rows])
        return FaceParts(regions, self._chin[rows], self._patches[rows])

    def frames(self, clip, crop, reference, targets, with_audio, variant):
        self.last = self.parts(clip, targets)
        pictures = self._paint(self.last.regions)
        audio = np.zeros((len(targets), 20, 80), np.float16) if with_audio else None
        return ClipFrames(pictures, np.zeros((self._size_px, self._size_px, 3), np.uint8), pictures, self.last, audio)


def tilted(points: np.ndarray, degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    return points @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])


def dataset(paint, stage: int, size_px: int = SIZE_PX, augment: bool = True, **settings) -> TrainingDataset:
    table = ClipTable(tuple(TrainingClip(str(n), str(n), "", 0, None) for n in range(7)), landmarks=None)
    inference = replace(embedded(), size_px=size_px)
    return TrainingDataset(data_config(Path("unused"), **settings), inference, table, SyntheticFrames(paint, size_px), 0, stage, augment)


def brute_force(rectangles: np.ndarray, cell_px: int, n_cells: int) -> np.ndarray:
    """(n_cells, n_cells) bool by visiting every pixel of the rectangles."""
    touched = np.zeros((n_cells, n_cells), bool)
    for x0, y0, x1, y1 in rectangles:
        for y in range(y0, y1):
            for x in range(x0, x1):
                touched[y // cell_px, x // cell_px] = True
    return touched


faces = st.builds(
    lambda x, y, width, degrees: (tilted(face_points((0, 0), width), degrees) + np.array([x, y]))[None],
    st.floats(-40, 168),
    st.floats(-40, 168),
    st.floats(4, 240),
    st.floats(-180, 180),
)


@given(faces, st.sampled_from([8, 16]), st.sampled_from([EYES, MOUTH]))
@settings(max_examples=60, deadline=None)
def test_token_masks_agree_with_a_rasteriser(points, cell_px, region) -> None:
    boxes = region_boxes(points, SIZE_PX)
    n = SIZE_PX // cell_px
    found = cells_touched(boxes.of(region), cell_px, n, n)
    assert np.array_equal(found[0], brute_force(boxes.of(region)[0], cell_px, n))
    pixels = torch.from_numpy(region_pixels(boxes, region, SIZE_PX, SIZE_PX))
    assert np.array_equal(found, region_tokens(pixels, cell_px).numpy())


def test_patches_tokens_and_loss_masks_of_samples() -> None:
    """Every sample of stage 1 beside a rasteriser: pictures are white, so what is shown is where the driven frame is white."""
    samples = dataset(lambda boxes: np.full((len(boxes), SIZE_PX, SIZE_PX, 3), 255, np.uint8), stage=1, augment=False)
    kinds = set()
    for index in range(40):
        sample, parts = samples[index], samples._source.last
        eyes, mouth, chin, c = parts.regions.eyes[0], parts.regions.mouth, parts.chin, sample.conditions
        shown = (brute_force(eyes, 1, SIZE_PX) & c.eyes) | (brute_force(mouth, 1, SIZE_PX) & c.mouth)
        assert np.array_equal(sample.driven[0, ..., 0] > 0, shown)
        assert np.array_equal(sample.eye_tokens[0], brute_force(eyes, 16, 8))
        assert np.array_equal(sample.mouth_tokens[0], brute_force(mouth, 16, 8))
        assert np.array_equal(sample.eye_keys, sample.eye_tokens)
        assert np.array_equal(sample.mouth_queries[0], brute_force(chin, 16, 8))
        assert np.array_equal(sample.loss_keep[0], ~(brute_force(chin, 8, 16) & c.mask_loss))
        kinds.add((c.eyes, c.mouth))
    assert kinds >= {(True, False), (False, True), (True, True)}


@pytest.mark.parametrize("whole_frame", [False, True])
def test_eq_2_hides_the_eyes_wherever_the_driver_shows_them(whole_frame) -> None:
    """Patches moved, resized and, with the whole picture, scaled: every token with a pixel of a driven eye is a hidden key."""
    augment = AugmentConfig(share=1.0, whole_frame=whole_frame, shrinks=(1,))
    samples = dataset(lambda boxes: np.full((len(boxes), SIZE_PX, SIZE_PX, 3), 255, np.uint8), stage=1, augment=True)
    samples._data = replace(samples._data, augment=augment)
    batch = collate([samples[index] for index in range(60)])
    keys = torch.from_numpy(np.stack([samples[index].eye_keys for index in range(60)]))
    seen = region_tokens(augment_driven(batch).amax(2) > 0)  # (B, F, ht, wt)
    eyes_alone = batch.shows_eyes & ~batch.shows_mouth
    assert eyes_alone.sum() > 10
    assert not (seen & ~keys)[eyes_alone].any()
    assert (keys & ~batch.eye_tokens)[eyes_alone].any()  # the patches did move


def test_a_mixed_sample_never_shows_a_pixel_of_the_mouth() -> None:
    """10,000 samples of pictures that are black but for the mouth: whatever is not black has shown it, wherever patches were moved to."""

    def mouth_alone(boxes):
        return np.repeat(region_pixels(boxes, MOUTH, 32, 32)[..., None], 3, axis=-1).astype(np.uint8) * 255

    samples = dataset(mouth_alone, stage=2, size_px=32, modality=ModalityConfig(masked_stages=()))
    n_mixed = n_seen = 0
    for start in range(0, 10_000, 200):
        batch = collate([samples[index] for index in range(start, start + 200)])
        hidden = ~batch.shows_mouth
        assert not batch.driven_frames[hidden].any()
        assert not augment_driven(batch)[hidden].any()
        mixed = batch.modality == MIXED
        assert not batch.shows_mouth[mixed].any()
        n_mixed += int(mixed.sum())
        n_seen += int(batch.driven_frames[batch.shows_mouth].flatten(1).any(1).sum())
    assert n_mixed > 6500
    assert n_seen > 300  # the scan would have found them


def test_eq_2_is_for_masked_samples_alone() -> None:
    samples = dataset(lambda boxes: np.zeros((len(boxes), SIZE_PX, SIZE_PX, 3), np.uint8), stage=1)
    batch = collate([samples[index] for index in range(60)])
    masked = ~batch.loss_keep.flatten(1).all(1)
    queries = torch.from_numpy(np.stack([samples[index].mouth_queries for index in range(60)]))
    needs = batch.shows_eyes & ~batch.shows_mouth & queries.flatten(1).any(1)
    assert torch.equal(masked, needs & ~batch.conditions_dropped)
    mask = batch.region_mask
    hiding = mask.rows[~mask.keep.flatten(1).all(1)]  # the others fill a bucket (`masks.padded`) and hide nothing
    assert set(hiding.tolist()) <= set(torch.nonzero(needs)[:, 0].tolist())
    assert len(hiding) > 5
