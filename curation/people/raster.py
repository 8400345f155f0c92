"""Which surface is seen at every sample of a picture: a z-buffer for triangles and for strands of hair.

A vertex on the screen is (x, y, nearness): samples to the right and down, the centre of the upper left sample at (0, 0), and 1/depth, which
is linear on the screen (depth > 0 before the camera). For parallel light the third number is the distance towards the light.
"""

from __future__ import annotations

import math

import numpy as np

from curation.people.compiled import inline, kernel

NOTHING = -1
NO_COLLAR = np.zeros(6)


@inline()
def below_collar(x: float, y: float, z: float, collar: np.ndarray) -> float:
    """How far a place on the base mesh lies below the edge of the clothes, dm; negative above it.

    The edge is a plane that falls to the front and rises where the shoulders begin, with a V cut into its front (`clothes.collar`).
    """
    height, fall, half_width, rise, depth, steep = collar[0], collar[1], collar[2], collar[3], collar[4], collar[5]
    side = abs(x)
    below = (height + fall * (0.1 - z) + rise * max(side - half_width, 0.0) - y) / math.sqrt(1 + fall * fall)
    if depth > 0 and z > 0.1:
        below = min(below, (height - 0.7 * fall - depth + steep * side - y) / math.sqrt(1 + steep * steep))
    return below


@kernel()
def below_collar_at(positions: np.ndarray, collar: np.ndarray) -> np.ndarray:
    """(P,) `below_collar` of positions (P, 3)."""
    out = np.empty(positions.shape[0])
    for i in range(positions.shape[0]):
        out[i] = below_collar(positions[i, 0], positions[i, 1], positions[i, 2], collar)
    return out


@kernel()
def draw_triangles(
    screen: np.ndarray,
    triangles: np.ndarray,
    drawn: np.ndarray,
    two_sided: np.ndarray,
    cut: np.ndarray,
    base: np.ndarray,
    collar: np.ndarray,
    nearness: np.ndarray,
    seen: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Draws into nearness (H, W) float32, seen (H, W) int32 and weights (H, W, 2) float32.

    Args:
        screen: (V, 3) float64.
        triangles: (F, 3) int32; those with drawn (F,) bool; from behind too where two_sided (F,) bool.
        cut: (F,) bool: triangles of clothes, cut away above their collar: base (V, 3) float64 places on the base mesh, collar (6,).

    At a sample whose triangle is nearest, seen holds its number and weights the perspective-correct barycentric weights of its first two
    corners.
    """
    height, width = nearness.shape
    for t in range(triangles.shape[0]):
        if not drawn[t]:
            continue
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, w0 = screen[a, 0], screen[a, 1], screen[a, 2]
        x1, y1, w1 = screen[b, 0], screen[b, 1], screen[b, 2]
        x2, y2, w2 = screen[c, 0], screen[c, 1], screen[c, 2]
        if w0 <= 0 or w1 <= 0 or w2 <= 0:
            continue
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9 or (area > 0 and not two_sided[t]):
            continue
        top, bottom = max(math.ceil(min(y0, y1, y2)), 0), min(math.floor(max(y0, y1, y2)), height - 1)
        left, right = max(math.ceil(min(x0, x1, x2)), 0), min(math.floor(max(x0, x1, x2)), width - 1)
        inverse = 1.0 / area
        b_dx, b_dy = (y2 - y0) * inverse, -(x2 - x0) * inverse
        c_dx, c_dy = -(y1 - y0) * inverse, (x1 - x0) * inverse
        a_dx = -b_dx - c_dx
        for y in range(top, bottom + 1):
            # Each weight is linear along the row: what is inside lies between the zeros of the three.
            b_row = (y - y0) * b_dy - x0 * b_dx
            c_row = (y - y0) * c_dy - x0 * c_dx
            a_row = 1.0 - b_row - c_row
            low, high = float(left), float(right)
            for step, row in ((a_dx, a_row), (b_dx, b_row), (c_dx, c_row)):
                if step > 1e-12:
                    low = max(low, -row / step)
                elif step < -1e-12:
                    high = min(high, -row / step)
                elif row < 0:
                    high = -1.0
            for x in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1):
                wb = b_row + x * b_dx
                wc = c_row + x * c_dx
                wa = 1.0 - wb - wc
                near = wa * w0 + wb * w1 + wc * w2
                if near <= nearness[y, x]:
                    continue
                pa, pb = wa * w0 / near, wb * w1 / near
                if cut[t]:
                    pc = 1.0 - pa - pb
                    bx = pa * base[a, 0] + pb * base[b, 0] + pc * base[c, 0]
                    by = pa * base[a, 1] + pb * base[b, 1] + pc * base[c, 1]
                    bz = pa * base[a, 2] + pb * base[b, 2] + pc * base[c, 2]
                    if below_collar(bx, by, bz, collar) < 0:
                        continue
                nearness[y, x] = near
                seen[y, x] = t
                weights[y, x, 0] = pa
                weights[y, x, 1] = pb


@kernel()
def draw_strands(
    screen: np.ndarray,
    starts: np.ndarray,
    radius: np.ndarray,
    drawn: np.ndarray,
    scale: float,
    first: int,
    nearness: np.ndarray,
    seen: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Draws segments of strands over what `draw_triangles` drew; segment s is seen as first + s.

    Args:
        screen: (P, 3) float64 points of all strands, one after the other.
        starts: (S,) int32, the point a segment starts at; it ends at the next.
        radius: (P,) float32 dm. drawn: (S,) bool.
        scale: samples a dm at nearness 1.

    weights holds how far along the segment (0..1) and across it (-1..1) a sample lies. No strand is thinner than a sample.
    """
    height, width = nearness.shape
    for s in range(starts.shape[0]):
        if not drawn[s]:
            continue
        a = starts[s]
        x0, y0, w0 = screen[a, 0], screen[a, 1], screen[a, 2]
        x1, y1, w1 = screen[a + 1, 0], screen[a + 1, 1], screen[a + 1, 2]
        if w0 <= 0 or w1 <= 0:
            continue
        dx, dy = x1 - x0, y1 - y0
        steep = abs(dy) > abs(dx)
        if steep:
            x0, y0, x1, y1, dx, dy = y0, x0, y1, x1, dy, dx
        across_limit, along_limit = (width, height) if steep else (height, width)
        slope = dy / dx if abs(dx) > 1e-9 else 0.0
        spread = math.sqrt(1.0 + slope * slope)
        low, high = min(x0, x1), max(x0, x1)
        begin, end = math.floor(low + 0.5), math.floor(high + 0.5)
        begin, end = max(begin, 0), min(end, along_limit - 1)
        for x in range(begin, end + 1):
            t = (x - x0) / dx if abs(dx) > 1e-9 else 0.5
            t = min(max(t, 0.0), 1.0)
            near = w0 + t * (w1 - w0)
            half = (radius[a] + t * (radius[a + 1] - radius[a])) * scale * near * spread
            middle = y0 + t * dy
            if half < 0.5:
                lowest = math.floor(middle + 0.5)
                highest = lowest
                half = 0.5
            else:
                lowest, highest = math.ceil(middle - half), math.floor(middle + half)
            for y in range(max(lowest, 0), min(highest, across_limit - 1) + 1):
                row, column = (x, y) if steep else (y, x)
                if near <= nearness[row, column]:
                    continue
                nearness[row, column] = near
                seen[row, column] = first + s
                weights[row, column, 0] = t
                weights[row, column, 1] = (y - middle) / half


@kernel()
def draw_depth(screen: np.ndarray, triangles: np.ndarray, drawn: np.ndarray, depth: np.ndarray) -> None:
    """The nearest of the triangles drawn, from both sides, into depth (H, W) float32: larger is nearer. Parallel projection."""
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        if not drawn[t]:
            continue
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1, x2, y2 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        inverse = 1.0 / area
        top, bottom = max(math.ceil(min(y0, y1, y2)), 0), min(math.floor(max(y0, y1, y2)), height - 1)
        left, right = max(math.ceil(min(x0, x1, x2)), 0), min(math.floor(max(x0, x1, x2)), width - 1)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                wb = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) * inverse
                wc = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) * inverse
                if wb < 0 or wc < 0 or wb + wc > 1:
                    continue
                near = (1.0 - wb - wc) * screen[a, 2] + wb * screen[b, 2] + wc * screen[c, 2]
                if near > depth[y, x]:
                    depth[y, x] = near


def empty_buffers(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """nearness, seen and weights of a picture in which nothing is drawn yet."""
    return np.zeros((height, width), np.float32), np.full((height, width), NOTHING, np.int32), np.zeros((height, width, 2), np.float32)


@kernel()
def all_of(seen: np.ndarray, chosen: np.ndarray, out: np.ndarray) -> None:
    """out (H, W) bool: pixels all of whose samples of seen (s H, s W) show one of the chosen (F,) triangles."""
    s = seen.shape[0] // out.shape[0]
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            whole = True
            for sub in range(s * s):
                t = seen[y * s + sub // s, x * s + sub % s]
                whole = whole and 0 <= t < len(chosen) and chosen[t]
            out[y, x] = whole
