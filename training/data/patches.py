"""The random changes of the driving patches, batched, on whatever device the batch is.

Each patch's content changes within its own rectangle, or the whole picture is scaled and the rectangles with it: outside them it stays
black, and no pixel of one patch reaches another, so what a sample's modality hides stays hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from inference.models.shapes import Shapes
from training.data.batch import AugmentParameters, TrainingBatch

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def augment_driven(batch: TrainingBatch, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The driven frames that the model gets: (B, F, 3, S, S) in 0…1."""
    return change_patches(batch.driven_frames, batch.driven_boxes, batch.augmentation, dtype, batch.shrinks)


def change_patches(
    frames: torch.Tensor,
    boxes: torch.Tensor,
    parameters: AugmentParameters,
    dtype: torch.dtype = torch.float32,
    shrinks: tuple[int, ...] | None = None,
) -> torch.Tensor:
    """Applies `parameters` to the patches.

    Args:
        frames: (B, F, 3, H, W) uint8, black outside the patches.
        boxes: (B, F, P, 4) int64 half-open rectangles x0, y0, x1, y1 in `frames`; empty ones are no patch.
        parameters: one change a sample.
        shrinks: `parameters.shrink` as numbers; None asks the device.

    Returns:
        (B, F, 3, H, W) in 0…1. Samples whose parameters are the identity come back as they were, to the last bit.
    """
    shapes = Shapes()
    shapes.check("frames", frames, "B", "F", 3, "H", "W")
    shapes.check("boxes", boxes, "B", "F", "P", 4)
    shapes.check("scale", parameters.scale, "B", 2)
    pictures = frames.float() / 255
    shown = scaled_boxes(boxes, parameters.scale, parameters.whole, *frames.shape[-2:])
    inside = _inside(shown, *frames.shape[-2:])  # (B, F, P, H, W)
    covered = inside.any(2, keepdim=True)  # (B, F, 1, H, W)
    changed = _scaled(pictures, boxes, inside, parameters.scale, parameters.whole)
    changed = _shrunk(changed, inside, tuple(parameters.shrink.tolist()) if shrinks is None else shrinks)
    changed = _coloured(changed, covered, parameters)
    moved = (
        (parameters.scale != 1).any(1)
        | (parameters.shrink != 1)
        | (parameters.gain != 1)
        | (parameters.contrast != 1)
        | (parameters.saturation != 1)
        | (parameters.hue != 0)
    )
    return torch.where(_per_sample(moved, pictures), changed * covered, pictures).to(dtype)


def _per_sample(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _inside(boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(B, F, P, H, W) bool."""
    x0, y0, x1, y1 = boxes[..., None].unbind(-2)  # (B, F, P, 1) each
    columns, rows = torch.arange(width, device=boxes.device), torch.arange(height, device=boxes.device)
    in_columns, in_rows = (columns >= x0) & (columns < x1), (rows >= y0) & (rows < y1)
    return in_rows[..., :, None] & in_columns[..., None, :]


def scaled_boxes(boxes: torch.Tensor, scale: torch.Tensor, whole: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(B, F, P, 4) int64: the rectangles that show something after the change: those of `whole` samples are scaled about the picture's
    middle, to whole pixels outward and within it."""
    # `full` fills on the device; a tensor from a list would be copied there and waited for.
    sides = [torch.full((1,), side, device=boxes.device) for side in (width, height, width, height)]
    middle, factor = torch.cat(sides) / 2, scale.repeat(1, 2)[:, None, None]
    grown = middle + (boxes - middle) * factor
    outward = torch.cat([grown[..., :2].floor(), grown[..., 2:].ceil()], dim=-1).clamp(min=0)
    outward = torch.minimum(outward, 2 * middle).to(boxes.dtype)
    filled = (boxes[..., 2:] > boxes[..., :2]).all(-1, keepdim=True)
    return torch.where(whole.reshape(-1, 1, 1, 1) & filled, outward, boxes)


def _scaled(pictures: torch.Tensor, boxes: torch.Tensor, inside: torch.Tensor, scale: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Every patch's content resized about its middle, or that of the picture, bilinear; what grows is cut at the rectangle, around what
    shrinks is black."""
    height, width = pictures.shape[-2:]
    columns = torch.arange(width, device=boxes.device) + 0.5
    rows = torch.arange(height, device=boxes.device) + 0.5
    result = torch.zeros_like(pictures)
    for patch in range(boxes.shape[2]):
        x0, y0, x1, y1 = boxes[:, :, patch, :, None].float().unbind(-2)  # (B, F, 1) each
        middle_x = torch.where(whole[:, None, None], width / 2, (x0 + x1) / 2)
        middle_y = torch.where(whole[:, None, None], height / 2, (y0 + y1) / 2)
        from_x = middle_x + (columns - middle_x) / scale[:, None, :1]  # (B, F, W)
        from_y = middle_y + (rows - middle_y) / scale[:, None, 1:]  # (B, F, H)
        within = ((from_x >= x0) & (from_x < x1))[..., None, :] & ((from_y >= y0) & (from_y < y1))[..., None]  # (B, F, H, W)
        # Half a pixel within the rectangle at least, so that bilinear weights never take from its outside.
        from_x = torch.minimum(torch.maximum(from_x, x0 + 0.5), x1 - 0.5) * 2 / width - 1
        from_y = torch.minimum(torch.maximum(from_y, y0 + 0.5), y1 - 0.5) * 2 / height - 1
        grid = torch.stack(torch.broadcast_tensors(from_x[..., None, :], from_y[..., None]), dim=-1)  # (B, F, H, W, 2)
        sampled = functional.grid_sample(pictures.flatten(0, 1), grid.flatten(0, 1), align_corners=False, padding_mode="border")
        shown = (within & inside[:, :, patch])[:, :, None]
        result = torch.where(shown, sampled.unflatten(0, pictures.shape[:2]), result)
    return result


def _shrunk(pictures: torch.Tensor, inside: torch.Tensor, shrinks: Sequence[int]) -> torch.Tensor:
    """The patches at a resolution divided by each sample's `shrinks`, enlarged again bilinearly. Means count a patch's own pixels alone."""
    result = list(pictures)
    for factor in sorted(set(shrinks) - {1}):
        rows = [row for row, shrink in enumerate(shrinks) if shrink == factor]
        some, masks = (torch.stack([tensor[row] for row in rows]) for tensor in (pictures, inside))  # an index tensor would be copied over
        coarse = torch.zeros_like(some)
        for patch in range(inside.shape[2]):
            mask = masks[:, :, patch, None].to(some)  # (b, F, 1, H, W)
            stacked = torch.cat([some * mask, mask], dim=2).flatten(0, 1)
            small = functional.avg_pool2d(stacked, factor, ceil_mode=True, count_include_pad=False)
            small_colour = small[:, :3] / small[:, 3:].clamp(min=1e-6)
            blended = functional.interpolate(
                torch.cat([small_colour * (small[:, 3:] > 0), (small[:, 3:] > 0).to(small)], dim=1),
                scale_factor=factor,
                mode="bilinear",
            )[..., : some.shape[-2], : some.shape[-1]]
            enlarged = (blended[:, :3] / blended[:, 3:].clamp(min=1e-6)).unflatten(0, some.shape[:2])
            coarse = torch.where(mask.bool(), enlarged, coarse)
        for row, picture in zip(rows, coarse, strict=True):
            result[row] = picture
    return torch.stack(result)


def _coloured(pictures: torch.Tensor, covered: torch.Tensor, parameters: AugmentParameters) -> torch.Tensor:
    """Hue, saturation, contrast about the mean of the patches' luma over all frames, brightness; clamped to 0…1."""
    mixing = _hue_matrix(parameters.hue.to(pictures))  # (B, 3, 3)
    turned = torch.einsum("bij,bfjhw->bfihw", mixing, pictures)
    red, green, blue = turned.split(1, dim=2)  # (B, F, 1, H, W) each
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    saturated = luma + (turned - luma) * _per_sample(parameters.saturation.to(pictures), pictures)
    count = covered.sum(dim=(1, 2, 3, 4)).clamp(min=1)
    mean = (luma * covered).sum(dim=(1, 2, 3, 4)) / count
    contrasted = _per_sample(mean, pictures) + (saturated - _per_sample(mean, pictures)) * _per_sample(
        parameters.contrast.to(pictures), pictures
    )
    return (contrasted * _per_sample(parameters.gain.to(pictures), pictures)).clamp(0, 1)


def _hue_matrix(turns: torch.Tensor) -> torch.Tensor:
    """(B, 3, 3): rotates RGB about the grey axis by an angle in turns."""
    cos, sin = torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)
    along = (1 - cos) / 3
    across = sin / math.sqrt(3)
    a, b, c = cos + along, along - across, along + across
    return torch.stack([a, b, c, c, a, b, b, c, a], dim=-1).unflatten(-1, (3, 3))
