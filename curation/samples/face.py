"""The portrait's face with another expression: mouth, jaw, brows and lids moved in the plane of the picture, the inside of the mouth drawn.

Two thin-plate warps, one that follows the upper lip and one that follows the lower, meet along the line between the lips; where the lips
part, teeth (from the photograph), tongue and the dark of the mouth are drawn. Lengths in portrait pixels, from pixel edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.samples.portrait import HEAD_BOX, TEXTURE_SCALE, Portrait, fill_polygon
from curation.samples.splines import ThinPlate

PATCH = (172, 70, 282, 202)  # x0, y0, x1, y1 of all that an expression moves
_GRID_STEP_PX = 3  # the warp is smooth: it is computed on every third pixel

# Inner and outer edge of the lips as photographed (a smile that shows the teeth), left to right.
_INNER_UPPER = np.array([
    [203.6, 140.6], [208, 141.8], [212, 142.1], [216, 142.8], [220, 143.3], [224, 143.5], [228, 143.5], [232, 143.2], [236, 142.4],
    [240, 141.5], [245, 141.4],
])  # fmt: skip
_INNER_LOWER = np.array([
    [203.6, 140.6], [206, 144.0], [209, 146.3], [212, 148.1], [216, 149.6], [220, 150.1], [224, 150.3], [228, 150.1], [232, 149.2],
    [236, 146.9], [240, 144.2], [245, 141.4],
])  # fmt: skip
_OUTER_UPPER = np.array([
    [202.2, 139.9], [207, 139.3], [213, 138.7], [219, 138.1], [223, 138.6], [227, 138.2], [233, 138.7], [239, 139.7], [246.6, 141.0],
])  # fmt: skip
_OUTER_LOWER = np.array([
    [202.2, 139.9], [206, 146.0], [210, 150.3], [215, 153.7], [219, 155.0], [224, 155.5], [229, 155.0], [234, 152.4], [239, 148.4],
    [246.6, 141.0],
])  # fmt: skip
_TEETH = np.array([
    [206.3, 141.0], [208, 145.0], [211, 147.4], [215, 148.9], [219, 149.7], [226, 149.7], [231, 149.0], [234.5, 147.2], [237.5, 145.6],
    [239.5, 143.6], [240, 141.0], [222, 140.0],
])  # fmt: skip
_SEAM_UP, _SEAM_DOWN = np.array([0.0, 0.12]), np.array([0.0, 0.22])  # closed lips show a line of shadow
_MOUTH_CENTRE_X = 223.9  # portrait px
_U = np.linspace(-1, 1, 13)  # position along the lips, corner to corner

# (upper lid's margin, lower lid's margin), outer edge of the picture first.
_LIDS = (
    (
        np.array([[191.5, 101.2], [195, 99.4], [199, 98.5], [203, 98.4], [207, 99.2], [211, 101.9], [213.5, 103.6]]),
        np.array([[191.5, 101.4], [196, 103.9], [200, 104.8], [204, 105.0], [208, 104.8], [212, 104.0], [213.5, 103.7]]),
    ),
    (
        np.array([[236, 104.3], [239, 102.8], [243, 101.3], [247, 100.7], [251, 101.1], [254.5, 102.8], [257.5, 104.0]]),
        np.array([[236, 104.5], [239, 105.9], [242, 106.5], [245, 106.8], [249, 106.9], [253, 106.1], [257.5, 104.2]]),
    ),
)
_LASHES_PX, _LID_PX = 2.0, 6.5  # above the upper lid's margin: where the lashes begin, and the skin that a blink stretches

# Mesh vertices that go down with the jaw, and what share of its way.
_JAW = {
    152: 1.0, 148: 0.98, 377: 0.98, 176: 0.92, 400: 0.92, 149: 0.8, 378: 0.8, 150: 0.6, 379: 0.6, 136: 0.4, 365: 0.4, 172: 0.22, 397: 0.22,
    175: 1.0, 199: 1.0,
}  # fmt: skip
# Mesh vertices that an expression leaves where they are: nose, eyes, forehead, cheeks, the jaw's ends.
_STILL = (
    2, 98, 327, 129, 358, 4, 6, 168, 33, 133, 145, 159, 362, 263, 374, 386, 10, 67, 297, 117, 346, 123, 352, 50, 280, 147, 376, 58, 288,
    132, 361,
)  # fmt: skip
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)  # mesh vertices that go with the brows
_STILL_NECK = np.array([[200, 193], [224, 195], [246, 192], [188, 182], [253, 178]], float)
_LOWER_LANDMARKS = frozenset([*range(3, 14), *range(55, 60), 65, 66, 67])  # of the 68: jaw, lower lip; they follow the lower warp


@dataclass(frozen=True)
class Expression:
    """One frame's face. Lengths in portrait pixels; see `mouth.MouthTrack` for the mouth's.

    Attributes:
        blink: 0 open .. 1 closed.
        brow_px: how far the brows are raised.
    """

    gap_px: float
    width_px: float
    rounding: float
    press: float
    tuck: float
    jaw_px: float
    blink: float = 0.0
    brow_px: float = 0.0


@dataclass(frozen=True)
class _Lips:
    """Four edges of the lips, (13, 2) each, at the positions _U."""

    inner_upper: np.ndarray
    inner_lower: np.ndarray
    outer_upper: np.ndarray
    outer_lower: np.ndarray


class Face:
    """Draws expressions of one portrait."""

    def __init__(self, portrait: Portrait):
        self._portrait = portrait
        mesh = portrait.mesh[:, :2]
        still = np.concatenate([mesh[list(_STILL)], _STILL_NECK])
        self._still = still
        self._jaw = mesh[[*_JAW]]
        self._jaw_share = np.array([*_JAW.values()])[:, None]
        self._brows = mesh[list(_BROWS)]
        self._photographed = _Lips(*(_along(edge) for edge in (_INNER_UPPER, _INNER_LOWER, _OUTER_UPPER, _OUTER_LOWER)))
        x0, y0, x1, y1 = PATCH
        gx, gy = np.arange(x0, x1 + 2 * _GRID_STEP_PX, _GRID_STEP_PX), np.arange(y0, y1 + 2 * _GRID_STEP_PX, _GRID_STEP_PX)
        self._grid_shape = (len(gy), len(gx))
        self._grid = np.stack(np.meshgrid(gx, gy), axis=-1).reshape(-1, 2).astype(np.float32)
        self._x = ((np.arange((x1 - x0) * TEXTURE_SCALE) + 0.5) / TEXTURE_SCALE + x0).astype(np.float32)
        self._y = ((np.arange((y1 - y0) * TEXTURE_SCALE) + 0.5) / TEXTURE_SCALE + y0).astype(np.float32)
        self._teeth = _soft(fill_polygon((_TEETH - [x0, y0]) * TEXTURE_SCALE, (len(self._y), len(self._x))))

    def texture(self, expression: Expression) -> np.ndarray:
        """(786, 624, 4) uint8: the head layer of the portrait with this expression."""
        import cv2

        lips = _lips(expression)
        fields = [self._to_texture(_displacement(warp, self._grid)) for warp in self._warps(expression, lips)]
        seam_x, seam_y = (lips.inner_upper + lips.inner_lower)[:, 0] / 2, (lips.inner_upper + lips.inner_lower)[:, 1] / 2
        outside = np.maximum(0, np.maximum(seam_x[0] - self._x, self._x - seam_x[-1]))
        steepness = (0.5 / (0.2 + 6.0 * np.clip(outside / 8.0, 0, 1))).astype(np.float32)
        seam = np.interp(self._x, seam_x, seam_y).astype(np.float32)
        lower = np.clip((self._y[:, None] - seam) * steepness + np.float32(0.5), 0, 1)[..., None]
        displacement = fields[0] + (fields[1] - fields[0]) * lower
        source_x, source_y = self._x + displacement[..., 0], self._y[:, None] + displacement[..., 1]
        if expression.blink > 0.01:
            source_y = _blinked(source_x, source_y, expression.blink)
        map_x, map_y = _texture_index(source_x, HEAD_BOX[0]), _texture_index(source_y, HEAD_BOX[1])
        head = self._portrait.head
        patch = cv2.remap(head, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        self._draw_inside(patch, expression, lips)
        out = head.copy()
        x0, y0 = (PATCH[0] - HEAD_BOX[0]) * TEXTURE_SCALE, (PATCH[1] - HEAD_BOX[1]) * TEXTURE_SCALE
        out[y0 : y0 + patch.shape[0], x0 : x0 + patch.shape[1]] = patch
        return out

    def landmarks(self, expression: Expression, points: np.ndarray) -> np.ndarray:
        """Where the 68 points (68, 2) of the portrait lie in the picture that `texture` draws, in portrait pixels."""
        points = np.asarray(points, float).copy()
        for lids, upper in zip(_LIDS, ((37, 38), (43, 44)), strict=True):
            for i in upper:
                height = np.interp(points[i, 0], *lids[1].T) - np.interp(points[i, 0], *lids[0].T)
                points[i, 1] += expression.blink * height
        lips = _lips(expression)
        follows_lower = np.array([i in _LOWER_LANDMARKS for i in range(len(points))])[:, None]
        of_upper, of_lower = self._warps(expression, lips)
        moved = points.copy()
        for _ in range(8):  # the warps lead from the new picture back to the portrait: invert them by iteration
            moved = points - np.where(follows_lower, _displacement(of_lower, moved), _displacement(of_upper, moved))
        return moved

    def _warps(self, expression: Expression, lips: _Lips) -> tuple[ThinPlate, ThinPlate]:
        """The warps from the new picture back to the portrait: as the upper lip has it, and as the lower."""
        jaw = self._jaw + self._jaw_share * [0.0, expression.jaw_px]
        brows = self._brows - [0.0, expression.brow_px]
        old = self._photographed
        common_new = np.concatenate([self._still, jaw, brows, lips.inner_upper[[0, -1]]])
        common_old = np.concatenate([self._still, self._jaw, self._brows, old.inner_upper[[0, -1]]])
        warps = []
        for inner_new, outer_new, inner_old, outer_old in (
            (lips.inner_upper, lips.outer_upper, old.inner_upper, old.outer_upper),
            (lips.inner_lower, lips.outer_lower, old.inner_lower, old.outer_lower),
        ):
            new = np.concatenate([common_new, inner_new[1:-1], outer_new])
            past = np.concatenate([common_old, inner_old[1:-1], outer_old])
            warps.append(ThinPlate(new, past - new, smoothing=0.5))
        return warps[0], warps[1]

    def _to_texture(self, field: np.ndarray) -> np.ndarray:
        """(H, W, 2) float32 over the patch from values on the coarse grid."""
        import cv2

        coarse = field.reshape(*self._grid_shape, 2).astype(np.float32)
        at_x, at_y = (self._x - PATCH[0]) / _GRID_STEP_PX, (self._y - PATCH[1]) / _GRID_STEP_PX
        map_x, map_y = np.meshgrid(at_x, at_y)
        return cv2.remap(coarse, map_x, map_y, cv2.INTER_LINEAR)

    def _draw_inside(self, patch: np.ndarray, expression: Expression, lips: _Lips) -> None:
        """Teeth, tongue and shadow between the lips, drawn into the patch."""
        import cv2

        opening = np.concatenate([lips.inner_upper - _SEAM_UP, lips.inner_lower[::-1] + _SEAM_DOWN])
        x0, y0 = np.floor(opening.min(0)).astype(int) - 2
        x1, y1 = np.ceil(opening.max(0)).astype(int) + 2
        rows = slice((y0 - PATCH[1]) * TEXTURE_SCALE, (y1 - PATCH[1]) * TEXTURE_SCALE)
        columns = slice((x0 - PATCH[0]) * TEXTURE_SCALE, (x1 - PATCH[0]) * TEXTURE_SCALE)
        ys, xs = self._y[rows][:, None], self._x[columns]
        mask = fill_polygon((opening - [x0, y0]) * TEXTURE_SCALE, (len(ys), len(xs)))
        mask = cv2.GaussianBlur(mask, (0, 0), 0.7)[..., None]
        top, bottom = np.interp(xs, *lips.inner_upper.T), np.interp(xs, *lips.inner_lower.T)
        u = (xs - _MOUTH_CENTRE_X) / (expression.width_px / 2)
        depth = (ys - top) / np.maximum(bottom - top, 0.5)
        parted = np.clip(expression.gap_px / 1.6, 0, 1)
        shut, open_ = np.array([146.0, 80.0, 74.0], np.float32), np.array([46.0, 17.0, 17.0], np.float32)
        inside = (shut + (open_ - shut) * parted) * (1 - 0.35 * np.clip(depth, 0, 1))[..., None]
        tongue = np.clip((depth - 0.62) / 0.3, 0, 1) * np.clip((expression.gap_px - 4.0) / 4.0, 0, 1) * np.exp(-((u / 0.55) ** 4))
        inside = inside + tongue[..., None] * (np.array([150.0, 74.0, 72.0], np.float32) - inside) * 0.8
        teeth, cover = self._teeth_behind(rows, columns)
        cover = cover * parted
        inside = inside + cover[..., None] * (teeth * (1 - 0.5 * expression.rounding) - inside)
        shadow = np.clip(0.72 + 0.16 * (ys - top), 0, 1) * (1 - 0.55 * np.clip(np.abs(u), 0, 1) ** 3)
        inside = inside * shadow[..., None].astype(np.float32)
        target = patch[rows, columns, :3]
        patch[rows, columns, :3] = np.clip(target + (inside - target) * mask, 0, 255).astype(np.uint8)

    def _teeth_behind(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """The photographed upper teeth, a little higher than the smile shows them: colours (H, W, 3) and coverage (H, W)."""
        lift = TEXTURE_SCALE  # one portrait pixel
        shifted = slice(rows.start + lift, rows.stop + lift)
        x0, y0 = (PATCH[0] - HEAD_BOX[0]) * TEXTURE_SCALE, (PATCH[1] - HEAD_BOX[1]) * TEXTURE_SCALE
        colours = self._portrait.head[y0 + shifted.start : y0 + shifted.stop, x0 + columns.start : x0 + columns.stop, :3]
        return colours * np.array([0.94, 0.9, 0.83], np.float32), self._teeth[shifted, columns]


def _along(edge: np.ndarray) -> np.ndarray:
    """(13, 2): a traced edge at equal steps of x from end to end."""
    x = (edge[0, 0] + edge[-1, 0]) / 2 + _U * (edge[-1, 0] - edge[0, 0]) / 2
    return np.stack([x, np.interp(x, edge[:, 0], edge[:, 1])], axis=1)


def _lips(e: Expression) -> _Lips:
    """The lips' edges of an expression."""
    tilt = 0.05 * _U * e.width_px / 2  # the head's own roll in the portrait
    x = _MOUTH_CENTRE_X + _U * e.width_px / 2
    upper_y = 145.3 - 0.12 * e.gap_px + 0.4 * e.press - 0.5 * e.rounding
    lower_y = upper_y + e.gap_px
    corner_y = 144.1 + 0.36 * e.gap_px + 0.3 * e.press + 0.5 * e.rounding - 0.05 * (e.width_px - 35.0)
    profile = (1 - np.abs(_U) ** 2.3) ** (1 - 0.3 * e.rounding)
    inner_upper = corner_y + (upper_y - corner_y) * profile + tilt
    inner_lower = np.maximum(corner_y + (lower_y - corner_y) * profile + tilt, inner_upper)
    full = (1 - np.abs(_U) ** 2.2) ** 0.75
    bow = 1 - 0.16 * np.exp(-((_U / 0.16) ** 2))
    upper_thick = (4.5 + 1.0 * e.rounding) * (1 - 0.42 * e.press) * (1 - 0.015 * e.gap_px) * full * bow + 0.5
    lower_thick = (6.0 + 0.8 * e.rounding) * (1 - 0.34 * e.press) * (1 - 0.35 * e.tuck) * (1 - 0.01 * e.gap_px) * full + 0.5
    wide = _MOUTH_CENTRE_X + _U * (e.width_px / 2 + 1.4)
    return _Lips(
        np.stack([x, inner_upper], 1),
        np.stack([x, inner_lower], 1),
        np.stack([wide, inner_upper - upper_thick], 1),
        np.stack([wide, inner_lower + lower_thick], 1),
    )


def _displacement(warp: ThinPlate, points: np.ndarray) -> np.ndarray:
    """(N, 2) from (N, 2) points of the new picture back to the portrait; nothing outside the patch."""
    return warp.evaluate(points) * _fade(points)[:, None].astype(points.dtype)


def _fade(points: np.ndarray) -> np.ndarray:
    """(N,) 1 inside the patch, falling to 0 over its outermost pixels, so that the patch has no visible edge."""
    x0, y0, x1, y1 = PATCH
    inset = np.minimum(np.minimum(points[:, 0] - x0, x1 - points[:, 0]), np.minimum(points[:, 1] - y0, y1 - points[:, 1]))
    x = np.clip(inset / 9.0, 0, 1)
    return x * x * (3 - 2 * x)


def _blinked(source_x: np.ndarray, source_y: np.ndarray, blink: float) -> np.ndarray:
    """Where the portrait shows what a closing lid puts at (source_x, source_y): skin above the lashes stretches, the lashes come along."""
    out = source_y.copy()
    for upper, lower in _LIDS:
        margin = np.interp(source_x, *upper.T).astype(np.float32)
        way = blink * np.maximum(np.interp(source_x, *lower.T) - margin, 0).astype(np.float32)
        way = np.where((source_x > upper[0, 0]) & (source_x < upper[-1, 0]), way, 0)
        top = margin - _LID_PX
        lashes = margin - _LASHES_PX
        skin = (source_y > top) & (source_y < lashes + way)
        stretched = top + (source_y - top) * (lashes - top) / (lashes + way - top)
        out = np.where(skin & (way > 0), stretched, out)
        edge = (source_y >= lashes + way) & (source_y < margin + way)
        out = np.where(edge & (way > 0), source_y - way, out)
    return out


def _soft(mask: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(mask, (0, 0), 1.5)


def _texture_index(portrait_px: np.ndarray, origin: int) -> np.ndarray:
    """Pixel index in the head texture, as cv2.remap counts (from pixel centres)."""
    return ((portrait_px - origin) * TEXTURE_SCALE - 0.5).astype(np.float32)
