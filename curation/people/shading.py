"""The light that reaches the camera through every pixel of a picture."""

from __future__ import annotations

import math

import numpy as np

from curation.people.compiled import inline, kernel
from curation.people.head import EYE, FRAME, MOUTH, SKIN, TEETH, TONGUE
from curation.people.materials import bilinear, hair_light, iris_rgb, lamp_share, smooth, surface_light
from curation.people.raster import below_collar


@kernel()
def _cloth_rgb(x: float, y: float, z: float, cloth: np.ndarray, collar: np.ndarray) -> tuple[float, float, float]:
    """(r, g, b) of the clothes at a place on the base mesh: stripes, the collar's band and its seam, folds."""
    edge = below_collar(x, y, z, collar)
    stripe = 0.0
    if cloth[6] > 0:
        phase = (y + cloth[7] * x) * cloth[6]
        stripe = smooth(-0.25, 0.25, math.sin(2 * math.pi * phase))
    band = edge < 0.11
    if band:
        stripe = 0.0
    r = cloth[0] + (cloth[3] - cloth[0]) * stripe
    g = cloth[1] + (cloth[4] - cloth[1]) * stripe
    b = cloth[2] + (cloth[5] - cloth[2]) * stripe
    shadow = 0.86 if band else 1.0
    if edge < 0.13 and edge > 0.095:
        shadow = 0.62  # the seam of the collar
    fold = 1 + cloth[8] * math.sin(7 * x + 3 * math.sin(2.1 * y + 1.7 * x)) * smooth(0.2, 1.2, edge)
    return r * shadow * fold, g * shadow * fold, b * shadow * fold


@kernel()
def _mesh_light(
    t: int, m: int, weight_a: float, weight_b: float, points: np.ndarray, normal: np.ndarray, triangles: np.ndarray, uv: np.ndarray,
    attribute: np.ndarray, base: np.ndarray, texture: np.ndarray, turned: np.ndarray, camera: np.ndarray, lamps: np.ndarray,
    lamp_rgb: np.ndarray, sky: np.ndarray, ground: np.ndarray, depth: np.ndarray, to_lamp: np.ndarray, iris: np.ndarray, cloth: np.ndarray,
    collar: np.ndarray, frame_rgb: np.ndarray,
) -> tuple[float, float, float]:  # fmt: skip
    """(r, g, b) of a place of triangle t, of part m, given by the weights of its first two corners; see `shade`."""
    c0, c1, c2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    p0, p1 = weight_a, weight_b
    p2 = 1.0 - p0 - p1
    px = p0 * points[c0, 0] + p1 * points[c1, 0] + p2 * points[c2, 0]
    py = p0 * points[c0, 1] + p1 * points[c1, 1] + p2 * points[c2, 1]
    pz = p0 * points[c0, 2] + p1 * points[c1, 2] + p2 * points[c2, 2]
    nx = p0 * normal[c0, 0] + p1 * normal[c1, 0] + p2 * normal[c2, 0]
    ny = p0 * normal[c0, 1] + p1 * normal[c1, 1] + p2 * normal[c2, 1]
    nz = p0 * normal[c0, 2] + p1 * normal[c1, 2] + p2 * normal[c2, 2]
    ao = p0 * attribute[c0, 0] + p1 * attribute[c1, 0] + p2 * attribute[c2, 0]
    vx, vy, vz = camera[0] - px, camera[1] - py, camera[2] - pz
    inverse = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * inverse, vy * inverse, vz * inverse
    specular, gloss, wrap, bleed = 0.0, 20.0, 0.0, 0.0
    lit = lamp_share(depth, to_lamp, px, py, pz, 0.05)
    if m == SKIN:
        tu = p0 * uv[t, 0, 0] + p1 * uv[t, 1, 0] + p2 * uv[t, 2, 0]
        tv = p0 * uv[t, 0, 1] + p1 * uv[t, 1, 1] + p2 * uv[t, 2, 1]
        ar, ag, ab = bilinear(texture, tu, tv, 0), bilinear(texture, tu, tv, 1), bilinear(texture, tu, tv, 2)
        specular, gloss, bleed = bilinear(texture, tu, tv, 3), 14.0, 1.0
        gx, gy, gz = bilinear(texture, tu, tv, 4), bilinear(texture, tu, tv, 5), bilinear(texture, tu, tv, 6)
        nx -= turned[0, 0] * gx + turned[0, 1] * gy + turned[0, 2] * gz
        ny -= turned[1, 0] * gx + turned[1, 1] * gy + turned[1, 2] * gz
        nz -= turned[2, 0] * gx + turned[2, 1] * gy + turned[2, 2] * gz
    elif m == EYE:
        ex = p0 * attribute[c0, 1] + p1 * attribute[c1, 1] + p2 * attribute[c2, 1]
        ey = p0 * attribute[c0, 2] + p1 * attribute[c1, 2] + p2 * attribute[c2, 2]
        ez = p0 * attribute[c0, 3] + p1 * attribute[c1, 3] + p2 * attribute[c2, 3]
        ar, ag, ab = iris_rgb(ex, ey, ez, iris)
        shadow = p0 * attribute[c0, 4] + p1 * attribute[c1, 4] + p2 * attribute[c2, 4]
        ao *= shadow
        lit *= shadow
        specular, gloss, bleed = 1.3, 190.0, 0.3
    elif m == TEETH:
        ar, ag, ab = 0.62, 0.56, 0.46
        specular, gloss, bleed = 0.6, 40.0, 0.4
        gap = abs(math.sin(math.pi * (p0 * base[c0, 0] + p1 * base[c1, 0] + p2 * base[c2, 0]) / 0.078))
        k = 0.8 + 0.2 * min(1.0, gap * 3)
        ar, ag, ab = ar * k, ag * k, ab * k
        lit *= ao
    elif m in (MOUTH, TONGUE):
        ar, ag, ab = (0.1, 0.025, 0.025) if m == MOUTH else (0.17, 0.055, 0.055)
        specular, gloss, bleed = 0.5, 24.0, 0.5
        lit *= ao
    elif m == FRAME:
        ar, ag, ab = frame_rgb[0], frame_rgb[1], frame_rgb[2]
        specular, gloss = 1.0, 50.0
    else:
        ar, ag, ab = _cloth_rgb(
            p0 * base[c0, 0] + p1 * base[c1, 0] + p2 * base[c2, 0],
            p0 * base[c0, 1] + p1 * base[c1, 1] + p2 * base[c2, 1],
            p0 * base[c0, 2] + p1 * base[c1, 2] + p2 * base[c2, 2],
            cloth,
            collar,
        )
        wrap = 0.12
    inverse = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
    if m >= TEETH and nx * vx + ny * vy + nz * vz < 0:
        nx, ny, nz = -nx, -ny, -nz
    return surface_light(
        m, ar, ag, ab, specular, gloss, wrap, bleed, ao, px, py, pz, nx, ny, nz, vx, vy, vz,
        lamps, lamp_rgb, sky, ground, lit,
    )  # fmt: skip


@kernel()
def shade(
    seen: np.ndarray,
    weights: np.ndarray,
    nearness: np.ndarray,
    triangles: np.ndarray,
    part: np.ndarray,
    uv: np.ndarray,
    points: np.ndarray,
    normal: np.ndarray,
    attribute: np.ndarray,
    base: np.ndarray,
    texture: np.ndarray,
    turned: np.ndarray,
    camera: np.ndarray,
    strand_points: np.ndarray,
    starts: np.ndarray,
    strand_rgb: np.ndarray,
    strand_shine: np.ndarray,
    strand_shade: np.ndarray,
    centre: np.ndarray,
    lamps: np.ndarray,
    lamp_rgb: np.ndarray,
    sky: np.ndarray,
    ground: np.ndarray,
    depth: np.ndarray,
    to_lamp: np.ndarray,
    iris: np.ndarray,
    cloth: np.ndarray,
    collar: np.ndarray,
    frame_rgb: np.ndarray,
    background: np.ndarray,
    lens: np.ndarray,
    exposure: float,
    picture: np.ndarray,
) -> None:
    """Fills picture (H, W, 3) float32, linear 0..1, from buffers of (s H, s W) samples.

    Skin, cloth and the inside of the mouth are lit once a pixel for all its samples of one surface; edges, eyes and hair once a sample.

    Args:
        attribute: (V, 5): occlusion, the eyeball's own axes (3), light between the lids.
        base: (V, 3): position on the base mesh, for patterns. collar: (6,) of `raster.below_collar`.
        turned: (3, 3) how the head is turned; the texture's gradients are the unturned head's.
        strand_rgb: (S, 3) of each segment; strand_shine: (S,) strength of its highlights; strand_shade: (P,) light that reaches a point.
        centre: (3,) middle of the skull: the hair's volume is round about it.
        lamps: (3, 3) directions; the first throws the shadows in depth (n, n), by to_lamp (3, 4).
        iris: see `_iris`. cloth: colour (3), of the stripes (3), stripes a dm (0: none), their slant, fold.
        lens: (s H, s W) float32 0..1, how much of the glasses' lens lies over a sample.
    """
    height, width = picture.shape[0], picture.shape[1]
    s = seen.shape[0] // height
    n_triangles = triangles.shape[0]
    for y in range(height):
        for x in range(width):
            total_r, total_g, total_b = 0.0, 0.0, 0.0
            last, last_near, lr, lg, lb = -1, 0.0, 0.0, 0.0, 0.0
            for sub in range(s * s):
                j, i = y * s + sub // s, x * s + sub % s
                t = seen[j, i]
                if t < 0:
                    r, g, b = background[y, x, 0], background[y, x, 1], background[y, x, 2]
                elif t < n_triangles:
                    m = part[t]
                    near = nearness[j, i]
                    if m == last and m != EYE and abs(near - last_near) < 0.004 * near:
                        r, g, b = lr, lg, lb
                    else:
                        r, g, b = _mesh_light(
                            t, m, weights[j, i, 0], weights[j, i, 1], points, normal, triangles, uv, attribute, base, texture, turned,
                            camera, lamps, lamp_rgb, sky, ground, depth, to_lamp, iris, cloth, collar, frame_rgb,
                        )  # fmt: skip
                        last, last_near, lr, lg, lb = m, near, r, g, b
                else:
                    r, g, b = hair_light(
                        t - n_triangles, weights[j, i, 0], weights[j, i, 1], strand_points, starts, strand_rgb, strand_shine, strand_shade,
                        centre, camera, lamps, lamp_rgb, sky, ground, depth, to_lamp,
                    )  # fmt: skip
                glass = lens[j, i] if lens.shape[0] > 1 else 0.0
                if glass > 0:
                    r, g, b = (
                        r * (1 - 0.08 * glass) + 0.012 * sky[0],
                        g * (1 - 0.07 * glass) + 0.012 * sky[1],
                        b * (1 - 0.07 * glass) + 0.013 * sky[2],
                    )
                total_r += _shoulder(r * exposure)
                total_g += _shoulder(g * exposure)
                total_b += _shoulder(b * exposure)
            picture[y, x, 0] = total_r / (s * s)
            picture[y, x, 1] = total_g / (s * s)
            picture[y, x, 2] = total_b / (s * s)


@inline()
def _shoulder(x: float) -> float:
    """A camera's response, linear below and bent above: 1 stays just below 0.8, 4 reaches 1."""
    return min(x * (1 + 0.06 * x) / (1 + 0.31 * x), 1.0)


def _byte_floors() -> np.ndarray:
    """(256,) float64: the least linear value that becomes each sRGB byte."""
    value = (np.arange(256) - 0.5) / 255
    linear = np.where(value > 12.92 * 0.0031308, ((np.maximum(value, 0) + 0.055) / 1.055) ** 2.4, value / 12.92)
    linear[0] = 0.0
    return linear


_FLOORS = _byte_floors()
_STEPS = 4096  # of the table of first guesses: at most a few bytes share a step
_GUESSES = (np.searchsorted(_FLOORS, np.arange(_STEPS) / _STEPS, side="right") - 1).astype(np.int64)


@kernel()
def encode(picture: np.ndarray, out: np.ndarray) -> None:
    """sRGB bytes (H, W, 3) uint8 of a linear picture. By table: a power a pixel took longer than all shadows together."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            for c in range(3):
                value = min(max(float(picture[y, x, c]), 0.0), 1.0)
                byte = _GUESSES[min(int(value * _STEPS), _STEPS - 1)]
                while byte < 255 and value >= _FLOORS[byte + 1]:
                    byte += 1
                out[y, x, c] = byte
