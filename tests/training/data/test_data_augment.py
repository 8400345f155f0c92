"""The random changes of the driving patches, beside torchvision, OpenCV and closed forms."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as reference

from training.data.batch import AugmentParameters
from training.data.draws import draws
from training.data.patch_change import AugmentConfig, PatchChange, draw_change, moved, reach
from training.data.patches import change_patches, scaled_boxes

BOXES = torch.tensor([[8, 10, 26, 24], [34, 10, 56, 24], [18, 40, 46, 58]])  # right eye, left eye, mouth
S = 64


def patches(batch: int = 2, frames: int = 2, seed: int = 0):
    """Random pictures, black outside the patches; (B, F, 3, S, S) uint8 and (B, F, 3, 4)."""
    boxes = BOXES.expand(batch, frames, 3, 4).clone()
    pixels = torch.randint(1, 256, (batch, frames, 3, S, S), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return pixels * inside(boxes)[:, :, None].any(3).to(torch.uint8), boxes


def inside(boxes):
    mask = torch.zeros(*boxes.shape[:3], S, S, dtype=torch.bool)
    for index in np.ndindex(*boxes.shape[:3]):
        x0, y0, x1, y1 = boxes[index].tolist()
        mask[index][y0:y1, x0:x1] = True
    return mask


def parameters(batch: int = 2, **changes):
    base = AugmentParameters.identity(batch)
    return base._replace(
        **{name: torch.as_tensor(value, dtype=getattr(base, name).dtype).expand_as(getattr(base, name)) for name, value in changes.items()}
    )


def content(change: PatchChange) -> dict:
    return {name: value for name, value in change._asdict().items() if name in AugmentParameters._fields}


changes = st.builds(
    PatchChange,
    scale=st.tuples(st.floats(0.6, 1.5), st.floats(0.6, 1.5)),
    shrink=st.sampled_from([1, 2, 3, 4]),
    gain=st.floats(0.5, 1.5),
    contrast=st.floats(0.5, 1.5),
    saturation=st.floats(0, 1.5),
    hue=st.floats(-0.5, 0.5),
    whole=st.just(False),
    shift=st.just(()),
    growth=st.just(()),
)


@given(changes)
@settings(max_examples=40, deadline=None)
def test_black_stays_black_and_patches_keep_to_themselves(change) -> None:
    frames, boxes = patches(1, 1)
    mask = inside(boxes)
    given_ = parameters(1, **content(change))
    changed = change_patches(frames, boxes, given_)
    assert changed.shape == frames.shape
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    assert not changed[(~mask.any(2))[:, :, None].expand_as(changed)].any()
    for patch in range(3):  # a patch that is black stays black whatever its neighbours hold (contrast about a mean would lift it)
        alone = frames * ~mask[:, :, patch, None]
        part = change_patches(alone, boxes, given_._replace(contrast=torch.ones(1)))
        assert not part[mask[:, :, patch, None].expand_as(part)].any()


def test_the_identity_changes_no_bit() -> None:
    frames, boxes = patches()
    assert torch.equal(change_patches(frames, boxes, parameters()), frames.float() / 255)
    mixed = parameters(gain=torch.tensor([1.0, 0.5]))
    assert torch.equal(change_patches(frames, boxes, mixed)[0], frames[0].float() / 255)
    assert not torch.equal(change_patches(frames, boxes, mixed)[1], frames[1].float() / 255)


def test_no_patch_gives_black() -> None:
    changed = change_patches(
        torch.zeros(1, 1, 3, S, S, dtype=torch.uint8),
        torch.zeros(1, 1, 3, 4, dtype=torch.int64),
        parameters(1, gain=1.5, contrast=0.5, shrink=2, scale=1.2),
    )
    assert not changed.any()
    assert torch.isfinite(changed).all()


def test_colours_agree_with_torchvision() -> None:
    frames, boxes = patches(1, 1)
    mask = inside(boxes).any(2)[:, :, None]
    plain = frames.float() / 255
    grey = change_patches(frames, boxes, parameters(1, saturation=0.0))
    assert torch.allclose(grey, reference.rgb_to_grayscale(plain, 3), atol=2e-3)
    assert torch.allclose(change_patches(frames, boxes, parameters(1, saturation=1.3)), reference.adjust_saturation(plain, 1.3), atol=2e-3)
    assert torch.allclose(change_patches(frames, boxes, parameters(1, gain=0.7)), reference.adjust_brightness(plain, 0.7), atol=1e-6)
    x0, y0, x1, y1 = BOXES[2].tolist()
    one = torch.zeros_like(boxes)
    one[..., 2, :] = BOXES[2]
    only = frames * inside(one).any(2)[:, :, None]
    changed = change_patches(only, one, parameters(1, contrast=0.6))
    assert torch.allclose(changed[..., y0:y1, x0:x1], reference.adjust_contrast(plain[..., y0:y1, x0:x1], 0.6), atol=5e-3)
    turned = change_patches(frames, boxes, parameters(1, hue=1 / 3))  # a third of a turn moves every channel on by one
    assert torch.allclose(turned, plain[:, :, [2, 0, 1]], atol=1e-5)
    assert (mask * turned).sum() > 0


def test_size_and_aspect_agree_with_opencv() -> None:
    frames, boxes = patches(1, 1)
    smooth = torch.from_numpy(cv2.GaussianBlur(frames[0, 0].movedim(0, -1).numpy(), (0, 0), 2)).movedim(-1, 0)[None, None]
    smooth = smooth * inside(boxes).any(2)[:, :, None]
    scale_x, scale_y = 1.3, 1.1
    changed = change_patches(smooth, boxes, parameters(1, scale=torch.tensor([[scale_x, scale_y]])))
    for x0, y0, x1, y1 in BOXES.tolist():
        middle_x, middle_y = (x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5  # of pixel centres
        matrix = np.float64([[scale_x, 0, middle_x * (1 - scale_x)], [0, scale_y, middle_y * (1 - scale_y)]])
        whole = cv2.warpAffine(smooth[0, 0].movedim(0, -1).numpy().astype(np.float32) / 255, matrix, (S, S), flags=cv2.INTER_LINEAR)
        assert np.abs(changed[0, 0, :, y0:y1, x0:x1].movedim(0, -1).numpy() - whole[y0:y1, x0:x1]).max() < 0.02


def test_what_shrinks_leaves_black_around_it() -> None:
    frames, boxes = patches(1, 1)
    changed = change_patches(frames, boxes, parameters(1, scale=0.5))
    for x0, y0, x1, y1 in BOXES.tolist():
        part = changed[0, 0, :, y0:y1, x0:x1]
        shown = (part > 0).any(0)
        assert shown.sum().item() == pytest.approx(shown.numel() / 4, rel=0.15)
        assert not shown[0].any()
        assert not shown[:, 0].any()


@pytest.mark.parametrize("factor", [2, 4])
def test_resolution_means_blocks(factor) -> None:
    """Even patches stay even up to their edges; what is finer than the factor goes."""
    _, boxes = patches(1, 1)
    mask = inside(boxes).any(2)[:, :, None]
    even = (torch.tensor([200, 100, 50], dtype=torch.uint8)[:, None, None] * mask).to(torch.uint8)
    assert torch.allclose(change_patches(even, boxes, parameters(1, shrink=factor)), even.float() / 255, atol=1e-5)
    stripes = ((torch.arange(S) % 2) * 200).to(torch.uint8).expand(1, 1, 3, S, S) * mask
    changed = change_patches(stripes, boxes, parameters(1, shrink=factor))
    assert torch.allclose(changed[mask.expand_as(changed)], torch.tensor(100 / 255), atol=1e-5)


def test_frames_of_a_sample_change_alike() -> None:
    frames, boxes = patches(2, 1)
    frames, boxes = frames.repeat(1, 3, 1, 1, 1), boxes.repeat(1, 3, 1, 1)
    changed = change_patches(frames, boxes, parameters(scale=1.1, shrink=2, hue=0.1, contrast=1.2))
    assert torch.equal(changed[:, 0], changed[:, 2])


def test_draws_stay_within_their_ranges() -> None:
    config = AugmentConfig()
    found = [draw_change(config, draws(0, 1, index, "augmentation")) for index in range(20_000)]
    changed = [c for c in found if c.gain != 1]
    assert len(changed) / len(found) == pytest.approx(config.share, abs=0.01)
    assert np.mean([c.saturation == 0 for c in found]) == pytest.approx(config.grey_share, abs=0.01)
    assert all(draw_change(AugmentConfig(grey_share=1.0, share=0.0), draws(0, 1, i, "a")).saturation == 0 for i in range(20))
    for values, low, high in (([c.shift for c in found], -0.08, 0.08), ([c.growth for c in found], 0.85, 1.15)):
        assert np.min(values, axis=0) == pytest.approx(np.full((3, 2), low), abs=0.005)
        assert np.max(values, axis=0) == pytest.approx(np.full((3, 2), high), abs=0.005)
    scales = np.array([c.scale for c in changed])
    aspects, sizes = scales[:, 0] / scales[:, 1], np.sqrt(scales.prod(1))
    for values, span in ((sizes, 0.2), (aspects, 0.2), ([c.gain for c in changed], 0.25), ([c.contrast for c in changed], 0.25)):
        assert np.min(values) == pytest.approx(1 - span, abs=0.01)
        assert np.max(values) == pytest.approx(1 + span, abs=0.01)
    assert {c.shrink for c in changed} == {1, 2, 4}
    assert [np.mean([c.shrink == n for c in changed]) for n in (1, 2, 4)] == pytest.approx([0.5, 0.25, 0.25], abs=0.015)
    with pytest.raises(ValueError, match="shrinks"):
        replace(config, shrinks=(0,))
    with pytest.raises(ValueError, match="hue"):
        replace(config, hue=0.7)


def test_the_whole_frame_scales_about_its_middle_as_opencv_does() -> None:
    """Patches move and grow with their content; what was black stays black."""
    frames, boxes = patches(1, 1)
    smooth = torch.from_numpy(cv2.GaussianBlur(frames[0, 0].movedim(0, -1).numpy(), (0, 0), 2)).movedim(-1, 0)[None, None]
    smooth = smooth * inside(boxes).any(2)[:, :, None]
    scale = torch.tensor([[1.2, 0.85]])
    changed = change_patches(smooth, boxes, parameters(1, scale=scale, whole=True))
    middle = S / 2 - 0.5
    matrix = np.float64([[1.2, 0, middle * (1 - 1.2)], [0, 0.85, middle * (1 - 0.85)]])
    whole = cv2.warpAffine(smooth[0, 0].movedim(0, -1).numpy().astype(np.float32) / 255, matrix, (S, S), flags=cv2.INTER_LINEAR)
    off = np.abs(changed[0, 0].movedim(0, -1).numpy() - whole)
    edge = cv2.dilate((cv2.Canny((whole.max(-1) > 0).astype(np.uint8) * 255, 50, 150) > 0).astype(np.uint8), np.ones((3, 3))) > 0
    assert off[~edge].max() < 0.02  # at a patch's edge the last half pixel is the patch's own here, half black there
    shown = inside(scaled_boxes(boxes, scale, torch.tensor([True]), S, S)).any(2)[:, :, None]
    assert not (changed * ~shown).any()
    assert changed[0, 0].amax(0)[~shown[0, 0, 0]].sum() == 0


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.2), st.floats(0, 0.4))
@settings(max_examples=60, deadline=None)
def test_moved_patches_keep_one_size_and_stay_within_reach(seed, box_shift, box_size) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(-20, S, (5, 3, 2))
    boxes = np.concatenate([first, first + rng.integers(1, 60, (1, 3, 2))], axis=-1)
    config = AugmentConfig(box_shift=box_shift, box_size=box_size)
    change = draw_change(config, rng)
    there = moved(boxes, change)
    sides = there[..., 2:] - there[..., :2]
    assert (sides == sides[0]).all()
    assert (sides > 0).all()
    within = np.clip(there, 0, S)
    bound = reach(boxes, config, S)
    visible = (within[..., 2:] > within[..., :2]).all(-1)
    assert (within[visible][:, :2] >= bound[visible][:, :2]).all()
    assert (within[visible][:, 2:] <= bound[visible][:, 2:]).all()
    assert not moved(np.zeros((1, 3, 4), np.int64), change).any()
    assert np.array_equal(moved(boxes, PatchChange()), boxes)
