"""How surfaces answer light: skin, eyes, teeth, cloth, hair, under three lamps and the light of the room.

All colours are linear. Skin: wrapped diffuse light, more in red than in blue (light that has passed through the skin), and two specular
lobes with Schlick's Fresnel term. Hair: Kajiya and Kay, "Rendering fur with three dimensional textures" (1989), two lobes
shifted as Marschner et al. (2003) found, over the diffuse light of the hair's volume.
"""

from __future__ import annotations

import math

import numpy as np

from curation.people.compiled import inline, kernel
from curation.people.head import SKIN

N_CHANNELS = 7  # of the skin's texture: albedo (3), specular strength, gradient of the height in the head's axes (3)


@inline()
def bilinear(texture: np.ndarray, u: float, v: float, channel: int) -> float:
    x = min(max(u, 0.0), texture.shape[1] - 1.001)
    y = min(max(v, 0.0), texture.shape[0] - 1.001)
    i, j = int(x), int(y)
    fx, fy = x - i, y - j
    upper = texture[j, i, channel] * (1 - fx) + texture[j, i + 1, channel] * fx
    lower = texture[j + 1, i, channel] * (1 - fx) + texture[j + 1, i + 1, channel] * fx
    return upper * (1 - fy) + lower * fy


@inline()
def smooth(low: float, high: float, x: float) -> float:
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@kernel()
def lamp_share(depth: np.ndarray, matrix: np.ndarray, x: float, y: float, z: float, bias: float) -> float:
    """Share of the main lamp that reaches a point: a 4 x 4 neighbourhood of the depth map, weighted so that it changes smoothly."""
    u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3] - 0.5
    v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3] - 0.5
    near = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3] + bias
    i, j = math.floor(u), math.floor(v)
    if i < 1 or j < 1 or i > depth.shape[1] - 4 or j > depth.shape[0] - 4:
        return 1.0
    fx, fy = u - i, v - j
    total = 0.0
    for row in range(4):
        wy = 1 - fy if row == 0 else (fy if row == 3 else 1.0)
        for column in range(4):
            wx = 1 - fx if column == 0 else (fx if column == 3 else 1.0)
            gap = depth[j - 1 + row, i - 1 + column] - near
            if gap < 0.06:
                total += wx * wy * (1.0 - max(gap, 0.0) / 0.06)
    return total / 9.0


@kernel()
def surface_light(
    kind: int,
    albedo_r: float,
    albedo_g: float,
    albedo_b: float,
    specular: float,
    gloss: float,
    wrap: float,
    bleed: float,
    occlusion: float,
    px: float,
    py: float,
    pz: float,
    nx: float,
    ny: float,
    nz: float,
    vx: float,
    vy: float,
    vz: float,
    lamps: np.ndarray,
    lamp_rgb: np.ndarray,
    sky: np.ndarray,
    ground: np.ndarray,
    lit: float,
) -> tuple[float, float, float]:
    """(r, g, b) of a surface of normal n seen from direction v."""
    up = 0.5 + 0.5 * ny
    r = (sky[0] * up + ground[0] * (1 - up)) * occlusion
    g = (sky[1] * up + ground[1] * (1 - up)) * occlusion
    b = (sky[2] * up + ground[2] * (1 - up)) * occlusion
    if bleed > 0:  # light between folds of skin has been in the skin
        k = (1 - occlusion) * bleed
        r, g, b = r * (1 + 0.45 * k), g * (1 - 0.08 * k), b * (1 - 0.14 * k)
    sr, sg, sb = 0.0, 0.0, 0.0
    facing = max(nx * vx + ny * vy + nz * vz, 0.0)
    for i in range(lamps.shape[0]):
        lx, ly, lz = lamps[i, 0], lamps[i, 1], lamps[i, 2]
        nl = nx * lx + ny * ly + nz * lz
        share = lit if i == 0 else 0.35 + 0.65 * occlusion
        if bleed > 0:
            wr, wg, wb = 0.32 * bleed, 0.14 * bleed, 0.09 * bleed
            soft = share + (1 - share) * 0.12 * bleed * (1 if i == 0 else 0)
            r += lamp_rgb[i, 0] * max((nl + wr) / (1 + wr), 0.0) * soft
            g += lamp_rgb[i, 1] * max((nl + wg) / (1 + wg), 0.0) * share
            b += lamp_rgb[i, 2] * max((nl + wb) / (1 + wb), 0.0) * share
        else:
            d = max((nl + wrap) / (1 + wrap), 0.0) * share
            r += lamp_rgb[i, 0] * d
            g += lamp_rgb[i, 1] * d
            b += lamp_rgb[i, 2] * d
        if specular > 0 and nl > 0:
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            inverse = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz)
            nh = max((nx * hx + ny * hy + nz * hz) * inverse, 0.0)
            vh = max((vx * hx + vy * hy + vz * hz) * inverse, 0.0)
            fresnel = 0.04 + 0.96 * (1 - vh) ** 5
            power = nh**gloss
            lobe = (gloss + 2) / 8.0 * power
            if kind == SKIN:
                lobe = 0.65 * lobe + 0.35 * (4 * gloss + 2) / 8.0 * power**4
            s = specular * fresnel * lobe * nl * share * (0.5 + 0.5 * occlusion)
            sr += lamp_rgb[i, 0] * s
            sg += lamp_rgb[i, 1] * s
            sb += lamp_rgb[i, 2] * s
    rim = specular * 0.15 * (1 - facing) ** 5 * occlusion  # the room, mirrored at grazing angles
    return albedo_r * r + sr + sky[0] * rim, albedo_g * g + sg + sky[1] * rim, albedo_b * b + sb + sky[2] * rim


@kernel()
def iris_rgb(x: float, y: float, z: float, iris: np.ndarray) -> tuple[float, float, float]:
    """(r, g, b) of the eyeball at a point of the unit ball that looks along +z; iris: colour (3), radius, radius of the pupil, phase."""
    radius, q = iris[3], math.sqrt(x * x + y * y)
    angle = math.atan2(y, x)
    if z <= 0 or q > radius * 1.1:
        vein = 0.03 * math.sin(angle * 9 + 3 * math.sin(angle * 5)) * min(1.0, q * 1.2)
        far = smooth(0.5, 1.0, q)
        return 0.74 - 0.05 * far, 0.69 - 0.1 * far - vein, 0.66 - 0.1 * far - vein
    k = q / radius
    fibre = 0.8 + 0.22 * math.sin(angle * 23 + 4 * math.sin(angle * 7 + iris[5])) * k + 0.3 * (k - 0.5)
    ring = 1 - 0.75 * smooth(0.72, 1.0, k)
    pupil = smooth(iris[4], iris[4] + 0.09, k)
    r, g, b = iris[0] * fibre * ring * pupil, iris[1] * fibre * ring * pupil, iris[2] * fibre * ring * pupil
    white = smooth(0.94, 1.1, k)
    return r + (0.74 - r) * white, g + (0.69 - g) * white, b + (0.66 - b) * white


@kernel()
def hair_light(
    segment: int,
    along: float,
    across: float,
    points: np.ndarray,
    starts: np.ndarray,
    rgb: np.ndarray,
    shine: np.ndarray,
    shade: np.ndarray,
    centre: np.ndarray,
    camera: np.ndarray,
    lamps: np.ndarray,
    lamp_rgb: np.ndarray,
    sky: np.ndarray,
    ground: np.ndarray,
    depth: np.ndarray,
    to_lamp: np.ndarray,
) -> tuple[float, float, float]:
    """(r, g, b) of a place of a strand's segment: how far along it (0..1) and across it (-1..1)."""
    p = starts[segment]
    tx, ty, tz = points[p + 1, 0] - points[p, 0], points[p + 1, 1] - points[p, 1], points[p + 1, 2] - points[p, 2]
    px, py, pz = points[p, 0] + along * tx, points[p, 1] + along * ty, points[p, 2] + along * tz
    inverse = 1.0 / math.sqrt(tx * tx + ty * ty + tz * tz + 1e-12)
    tx, ty, tz = tx * inverse, ty * inverse, tz * inverse
    vx, vy, vz = camera[0] - px, camera[1] - py, camera[2] - pz
    inverse = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * inverse, vy * inverse, vz * inverse
    # The hair's volume answers diffuse light as a ball about the skull's middle would.
    nx, ny, nz = px - centre[0], py - centre[1], pz - centre[2]
    inverse = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
    shadow = shade[p] + along * (shade[p + 1] - shade[p])
    lit = 0.25 + 0.75 * lamp_share(depth, to_lamp, px, py, pz, 0.12)
    tv = tx * vx + ty * vy + tz * vz
    sin_v = math.sqrt(max(1 - tv * tv, 0.0))
    up = 0.5 + 0.5 * ny
    r, g, b = rgb[segment, 0], rgb[segment, 1], rgb[segment, 2]
    total_r = r * (sky[0] * up + ground[0] * (1 - up)) * shadow
    total_g = g * (sky[1] * up + ground[1] * (1 - up)) * shadow
    total_b = b * (sky[2] * up + ground[2] * (1 - up)) * shadow
    for lamp in range(lamps.shape[0]):
        lx, ly, lz = lamps[lamp, 0], lamps[lamp, 1], lamps[lamp, 2]
        tl = tx * lx + ty * ly + tz * lz
        sin_l = math.sqrt(max(1 - tl * tl, 0.0))
        nl = nx * lx + ny * ly + nz * lz
        share = shadow * (lit if lamp == 0 else 1.0)
        diffuse = (0.35 * sin_l + 0.65) * max((nl + 0.3) / 1.3, 0.0) * share
        # Both lobes lie off the mirror direction: the scales of a hair are tilted.
        first = max(sin_l * sin_v - (tl + 0.12) * tv, 0.0) ** 60
        second = max(sin_l * sin_v - (tl - 0.18) * tv, 0.0) ** 16
        glint = shine[segment] * share * max(nl + 0.25, 0.0) * (1 - 0.5 * across * across)
        total_r += lamp_rgb[lamp, 0] * (r * (diffuse + 0.9 * glint * second) + 0.05 * glint * first)
        total_g += lamp_rgb[lamp, 1] * (g * (diffuse + 0.9 * glint * second) + 0.05 * glint * first)
        total_b += lamp_rgb[lamp, 2] * (b * (diffuse + 0.9 * glint * second) + 0.05 * glint * first)
    return total_r, total_g, total_b
