"""Eq. 2: mouth queries never see eye keys; or, beyond the paper, nothing that the mouth may read sees them either.

The paper multiplies the scores by the complement of the eye mask, which taken literally leaves exp(0) in the softmax's denominator;
its text says "selecting", so the keys are dropped by a boolean mask.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from inference.models.config import MASK_PATHS
from inference.models.shapes import ShapeError, Shapes, require_multiple

EYE_DILATION_TOKENS = 2  # the driven encoder's receptive field reaches 30 px beyond its own cell: just under two 16 px tokens


class RegionMask(NamedTuple):
    """Which keys some frames of a batch may see; the frames that are not named stay on the kernel without a mask.

    Attributes:
        rows: (R,) int64, frames that need the mask, as indices into clips × frames flattened; ascending.
        keep: (R, 1, queries, keys) bool, True where the query may see the key.
    """

    rows: torch.Tensor
    keep: torch.Tensor

    def to(self, device: torch.device | str) -> RegionMask:
        return RegionMask(self.rows.to(device, non_blocking=True), self.keep.to(device, non_blocking=True))

    def with_reference(self, num_frames: int, reference_present: torch.Tensor | None) -> RegionMask:
        """The mask over own and reference keys. The static portrait carries no driving signal, so all its keys stay visible;
        a clip without one has its own keys in their place (see `SpatialAttention`), to which its own mask applies.

        Args:
            num_frames: frames of each clip.
            reference_present: (B,) bool, or None where every clip has a reference.
        """
        reference = torch.ones_like(self.keep)
        if reference_present is not None:
            reference = self.keep | reference_present[self.rows // num_frames].reshape(-1, 1, 1, 1)
        return RegionMask(self.rows, torch.cat([self.keep, reference], dim=-1))


def region_tokens(region_px: torch.Tensor, px_per_token: int = 16) -> torch.Tensor:
    """A pixel mask (…, H, W) as a token mask (…, H/p, W/p): a token that the region touches belongs to it. Bool in, bool out."""
    if region_px.ndim < 2:
        raise ShapeError(f"region_px has shape {tuple(region_px.shape)}; it needs (…, H, W)")
    require_multiple("the height of region_px", region_px.shape[-2], px_per_token, "pixels a token")
    require_multiple("the width of region_px", region_px.shape[-1], px_per_token, "pixels a token")
    flat = region_px.reshape(-1, 1, *region_px.shape[-2:]).float()
    pooled = functional.max_pool2d(flat, px_per_token)
    return (pooled > 0).reshape(*region_px.shape[:-2], *pooled.shape[-2:])


def dilate(tokens: torch.Tensor, by: int) -> torch.Tensor:
    """Grows a token mask (…, h, w) by `by` tokens in all eight directions."""
    if by == 0:
        return tokens
    flat = tokens.reshape(-1, 1, *tokens.shape[-2:]).float()
    return (functional.max_pool2d(flat, 2 * by + 1, stride=1, padding=by) > 0).reshape(tokens.shape)


def eye_mouth_mask(
    eyes: torch.Tensor, mouth: torch.Tensor, eye_dilation: int = EYE_DILATION_TOKENS, paths: str = "one_hop"
) -> RegionMask | None:
    """The Eq. 2 mask of a batch, or None if no frame of it has both regions: then attention stays on its fast path.

    One hop is the paper's: a mouth query sees no eye key. But a cheek sees the eyes, and the mouth sees the cheek in the next block. With
    `paths="all"` eye keys are hidden from every query but the eyes' own, so that no chain of spatial attentions leads from the eyes to
    the mouth. Temporal modules mix the tokens of a 2 × 2 square and norm over the picture: there the second bars nothing.

    Give empty regions for clips whose driven image holds a mouth patch: Eq. 2 is for those that hold none. Build it where the batch is
    collated (on the CPU): the number of rows depends on the data.

    Args:
        eyes, mouth: (B, F, h, w) bool token masks, see `region_tokens`.
        eye_dilation: tokens by which the eye region grows, for what the driven encoder spills.
        paths: "one_hop" or "all".
    """
    if paths not in MASK_PATHS:
        raise ValueError(f"paths is {paths!r}; it must be one of {', '.join(MASK_PATHS)}")
    shapes = Shapes()
    shapes.check("eyes", eyes, "B", "F", "h", "w")
    shapes.check("mouth", mouth, "B", "F", "h", "w")
    if eyes.dtype != torch.bool or mouth.dtype != torch.bool:
        raise ShapeError(f"eyes is {eyes.dtype} and mouth is {mouth.dtype}; both need torch.bool")
    eye_keys = dilate(eyes, eye_dilation).flatten(0, 1).flatten(1)  # (B·F, N)
    mouth_queries = mouth.flatten(0, 1).flatten(1)  # (B·F, N)
    rows = torch.nonzero(eye_keys.any(1) & mouth_queries.any(1))[:, 0]
    if rows.numel() == 0:
        return None
    blind = mouth_queries[rows] if paths == "one_hop" else mouth_queries[rows] | ~eye_keys[rows]
    keep = ~(blind[:, :, None] & eye_keys[rows][:, None, :])
    if not keep.any(-1).all():
        raise ShapeError(
            f"the dilated eyes cover the whole grid of {eyes.shape[-2]} × {eyes.shape[-1]} tokens: nothing is left to the mouth"
        )
    return RegionMask(rows, keep[:, None])


def padded(mask: RegionMask | None, num_rows: int, buckets: int = 4) -> RegionMask | None:
    """The mask with frames that hide nothing added, up to the next of `buckets` even parts of a batch: what attention computes stays the
    same, and compiled blocks meet `buckets` numbers of rows instead of any.

    Args:
        num_rows: frames of the batch, clips × frames.
    """
    if mask is None:
        return None
    part = -(-num_rows // buckets)
    wanted = min(num_rows, -(-len(mask.rows) // part) * part)
    free = torch.ones(num_rows, dtype=torch.bool)
    free[mask.rows] = False
    added = torch.nonzero(free)[: wanted - len(mask.rows), 0]
    rows, order = torch.cat([mask.rows, added]).sort()
    return RegionMask(rows, torch.cat([mask.keep, mask.keep.new_ones(len(added), *mask.keep.shape[1:])])[order])
