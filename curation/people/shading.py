"""The light that reaches the camera from every sample: skin, eyes, teeth, cloth, hair, under three lamps and the light of the room.

All colours are linear. Skin: wrapped diffuse light, more in red than in blue (light that has passed through the skin), and two specular
lobes with Schlick's Fresnel term. Hair: Kajiya and Kay, "Rendering fur with three dimensional textures" (1989), two lobes shifted as Marschner
et al. (2003) found, over the diffuse light of the hair's volume.
"""

from __future__ import annotations

import math

from curation.people.compiled import inline, kernel
from curation.people.raster import below_collar

SKIN, MOUTH, EYE, TEETH, TONGUE, LASH, CLOTH, FRAME = range(8)
N_CHANNELS = 7  # of the skin's texture: albedo (3), specular strength, gradient of the height in the head's axes (3)


@inline()
def _bilinear(texture, u, v, channel):
    x = min(max(u, 0.0), texture.shape[1] - 1.001)
    y = min(max(v, 0.0), texture.shape[0] - 1.001)
    i, j = int(x), int(y)
    fx, fy = x - i, y - j
    upper = texture[j, i, channel] * (1 - fx) + texture[j, i + 1, channel] * fx
    lower = texture[j + 1, i, channel] * (1 - fx) + texture[j + 1, i + 1, channel] * fx
    return upper * (1 - fy) + lower * fy


@inline()
def _smooth(low, high, x):
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@kernel()
def _lit(depth, matrix, x, y, z, bias):
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
def _light(kind, albedo_r, albedo_g, albedo_b, specular, gloss, wrap, bleed, occlusion, px, py, pz, nx, ny, nz, vx, vy, vz, lamps, lamp_rgb, sky, ground, lit):
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
            lobe = (gloss + 2) / 8.0 * nh**gloss
            if kind == SKIN:
                lobe = 0.65 * lobe + 0.35 * (4 * gloss + 2) / 8.0 * nh ** (4 * gloss)
            s = specular * fresnel * lobe * nl * share * (0.5 + 0.5 * occlusion)
            sr += lamp_rgb[i, 0] * s
            sg += lamp_rgb[i, 1] * s
            sb += lamp_rgb[i, 2] * s
    rim = specular * 0.15 * (1 - facing) ** 5 * occlusion  # the room, mirrored at grazing angles
    return albedo_r * r + sr + sky[0] * rim, albedo_g * g + sg + sky[1] * rim, albedo_b * b + sb + sky[2] * rim


@kernel()
def _iris(x, y, z, iris):
    """(r, g, b) of the eyeball at a point of the unit ball that looks along +z; iris: colour (3), radius, radius of the pupil, phase."""
    radius, q = iris[3], math.sqrt(x * x + y * y)
    angle = math.atan2(y, x)
    if z <= 0 or q > radius * 1.1:
        vein = 0.03 * math.sin(angle * 9 + 3 * math.sin(angle * 5)) * min(1.0, q * 1.2)
        far = _smooth(0.5, 1.0, q)
        return 0.74 - 0.05 * far, 0.69 - 0.1 * far - vein, 0.66 - 0.1 * far - vein
    k = q / radius
    fibre = 0.8 + 0.22 * math.sin(angle * 23 + 4 * math.sin(angle * 7 + iris[5])) * k + 0.3 * (k - 0.5)
    ring = 1 - 0.75 * _smooth(0.72, 1.0, k)
    pupil = _smooth(iris[4], iris[4] + 0.09, k)
    r, g, b = iris[0] * fibre * ring * pupil, iris[1] * fibre * ring * pupil, iris[2] * fibre * ring * pupil
    white = _smooth(0.94, 1.1, k)
    return r + (0.74 - r) * white, g + (0.69 - g) * white, b + (0.66 - b) * white


@kernel()
def shade(
    seen, weights, nearness, triangles, part, uv, points, normal, attribute, base, texture, turned, camera,
    strand_points, starts, strand_rgb, strand_shine, strand_shade, centre, lamps, lamp_rgb, sky, ground, depth, to_lamp,
    iris, cloth, collar, frame_rgb, mouth_light, background, lens, exposure, picture,
):  # fmt: skip
    """Fills picture (H, W, 3) float32, linear 0..1, from buffers of (s H, s W) samples.

    Skin, cloth and the inside of the mouth are lit once a pixel for all its samples of one surface; edges, eyes and hair once a sample.

    Args:
        attribute: (V, 5): occlusion, the eyeball's own axes (3), light between the lids.
        base: (V, 3): position on the base mesh, for patterns. collar: (6,) of `raster.below_collar`.
        turned: (3, 3) how the head is turned; the texture's gradients are the unturned head's.
        strand_rgb: (S, 3) of each segment; strand_shine: (S,) strength of its highlights; strand_shade: (P,) light that reaches a point.
        centre: (3,) middle of the skull: the hair's volume is round about it.
        lamps: (3, 3) directions; the first throws the shadows in depth (n, n), by to_lamp (3, 4).
        iris: see `_iris`. cloth: colour (3), of the stripes (3), stripes a dm (0: none), their slant, fold. mouth_light: 0..1.
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
                        c0, c1, c2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                        p0, p1 = weights[j, i, 0], weights[j, i, 1]
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
                        lit = _lit(depth, to_lamp, px, py, pz, 0.05)
                        if m == SKIN:
                            tu = p0 * uv[t, 0, 0] + p1 * uv[t, 1, 0] + p2 * uv[t, 2, 0]
                            tv = p0 * uv[t, 0, 1] + p1 * uv[t, 1, 1] + p2 * uv[t, 2, 1]
                            ar, ag, ab = _bilinear(texture, tu, tv, 0), _bilinear(texture, tu, tv, 1), _bilinear(texture, tu, tv, 2)
                            specular, gloss, bleed = _bilinear(texture, tu, tv, 3), 14.0, 1.0
                            gx, gy, gz = _bilinear(texture, tu, tv, 4), _bilinear(texture, tu, tv, 5), _bilinear(texture, tu, tv, 6)
                            nx -= turned[0, 0] * gx + turned[0, 1] * gy + turned[0, 2] * gz
                            ny -= turned[1, 0] * gx + turned[1, 1] * gy + turned[1, 2] * gz
                            nz -= turned[2, 0] * gx + turned[2, 1] * gy + turned[2, 2] * gz
                        elif m == EYE:
                            ex = p0 * attribute[c0, 1] + p1 * attribute[c1, 1] + p2 * attribute[c2, 1]
                            ey = p0 * attribute[c0, 2] + p1 * attribute[c1, 2] + p2 * attribute[c2, 2]
                            ez = p0 * attribute[c0, 3] + p1 * attribute[c1, 3] + p2 * attribute[c2, 3]
                            ar, ag, ab = _iris(ex, ey, ez, iris)
                            shadow = p0 * attribute[c0, 4] + p1 * attribute[c1, 4] + p2 * attribute[c2, 4]
                            ao *= shadow
                            lit *= shadow
                            specular, gloss, bleed = 1.3, 190.0, 0.3
                        elif m == TEETH:
                            ar, ag, ab = 0.62, 0.56, 0.46
                            specular, gloss, bleed = 0.6, 40.0, 0.4
                            gap = abs(math.sin(math.pi * (p0 * base[c0, 0] + p1 * base[c1, 0] + p2 * base[c2, 0]) / 0.078))
                            k = (0.8 + 0.2 * min(1.0, gap * 3)) * mouth_light
                            ao *= k
                            lit *= k
                        elif m == MOUTH or m == TONGUE:
                            ar, ag, ab = (0.1, 0.025, 0.025) if m == MOUTH else (0.17, 0.055, 0.055)
                            specular, gloss, bleed = 0.5, 24.0, 0.5
                            ao *= mouth_light
                            lit *= mouth_light
                        elif m == FRAME:
                            ar, ag, ab = frame_rgb[0], frame_rgb[1], frame_rgb[2]
                            specular, gloss = 1.0, 50.0
                        else:
                            bx = p0 * base[c0, 0] + p1 * base[c1, 0] + p2 * base[c2, 0]
                            by = p0 * base[c0, 1] + p1 * base[c1, 1] + p2 * base[c2, 1]
                            bz = p0 * base[c0, 2] + p1 * base[c1, 2] + p2 * base[c2, 2]
                            edge = below_collar(bx, by, bz, collar)
                            stripe = 0.0
                            if cloth[6] > 0:
                                phase = (by + cloth[7] * bx) * cloth[6]
                                stripe = _smooth(-0.25, 0.25, math.sin(2 * math.pi * phase))
                            band = edge < 0.11
                            if band:
                                stripe = 0.0
                            ar = cloth[0] + (cloth[3] - cloth[0]) * stripe
                            ag = cloth[1] + (cloth[4] - cloth[1]) * stripe
                            ab = cloth[2] + (cloth[5] - cloth[2]) * stripe
                            shadow = 0.86 if band else 1.0
                            if edge < 0.13 and edge > 0.095:
                                shadow = 0.62  # the seam of the collar
                            fold = 1 + cloth[8] * math.sin(7 * bx + 3 * math.sin(2.1 * by + 1.7 * bx)) * _smooth(0.2, 1.2, edge)
                            ar, ag, ab = ar * shadow * fold, ag * shadow * fold, ab * shadow * fold
                            wrap = 0.12
                        inverse = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
                        nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
                        if m >= TEETH and nx * vx + ny * vy + nz * vz < 0:
                            nx, ny, nz = -nx, -ny, -nz
                        r, g, b = _light(
                            m, ar, ag, ab, specular, gloss, wrap, bleed, ao, px, py, pz, nx, ny, nz, vx, vy, vz,
                            lamps, lamp_rgb, sky, ground, lit,
                        )  # fmt: skip
                        last, last_near, lr, lg, lb = m, near, r, g, b
                else:
                    k = t - n_triangles
                    p = starts[k]
                    along, across = weights[j, i, 0], weights[j, i, 1]
                    px = strand_points[p, 0] + along * (strand_points[p + 1, 0] - strand_points[p, 0])
                    py = strand_points[p, 1] + along * (strand_points[p + 1, 1] - strand_points[p, 1])
                    pz = strand_points[p, 2] + along * (strand_points[p + 1, 2] - strand_points[p, 2])
                    tx = strand_points[p + 1, 0] - strand_points[p, 0]
                    ty = strand_points[p + 1, 1] - strand_points[p, 1]
                    tz = strand_points[p + 1, 2] - strand_points[p, 2]
                    inverse = 1.0 / math.sqrt(tx * tx + ty * ty + tz * tz + 1e-12)
                    tx, ty, tz = tx * inverse, ty * inverse, tz * inverse
                    vx, vy, vz = camera[0] - px, camera[1] - py, camera[2] - pz
                    inverse = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz)
                    vx, vy, vz = vx * inverse, vy * inverse, vz * inverse
                    nx, ny, nz = px - centre[0], py - centre[1], pz - centre[2]
                    inverse = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
                    nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
                    shadow = strand_shade[p] + along * (strand_shade[p + 1] - strand_shade[p])
                    lit = 0.25 + 0.75 * _lit(depth, to_lamp, px, py, pz, 0.12)
                    tv = tx * vx + ty * vy + tz * vz
                    sin_v = math.sqrt(max(1 - tv * tv, 0.0))
                    up = 0.5 + 0.5 * ny
                    dr = (sky[0] * up + ground[0] * (1 - up)) * shadow
                    dg = (sky[1] * up + ground[1] * (1 - up)) * shadow
                    db = (sky[2] * up + ground[2] * (1 - up)) * shadow
                    hr, hg, hb = 0.0, 0.0, 0.0
                    shine = strand_shine[k]
                    ar, ag, ab = strand_rgb[k, 0], strand_rgb[k, 1], strand_rgb[k, 2]
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
                        glint = shine * share * max(nl + 0.25, 0.0) * (1 - 0.5 * across * across)
                        dr += lamp_rgb[lamp, 0] * diffuse
                        dg += lamp_rgb[lamp, 1] * diffuse
                        db += lamp_rgb[lamp, 2] * diffuse
                        hr += lamp_rgb[lamp, 0] * glint * (0.05 * first + 0.9 * second * ar)
                        hg += lamp_rgb[lamp, 1] * glint * (0.05 * first + 0.9 * second * ag)
                        hb += lamp_rgb[lamp, 2] * glint * (0.05 * first + 0.9 * second * ab)
                    r, g, b = ar * dr + hr, ag * dg + hg, ab * db + hb
                glass = lens[j, i] if lens.shape[0] > 1 else 0.0
                if glass > 0:
                    r, g, b = r * (1 - 0.08 * glass) + 0.012 * sky[0], g * (1 - 0.07 * glass) + 0.012 * sky[1], b * (1 - 0.07 * glass) + 0.013 * sky[2]
                total_r += _shoulder(r * exposure)
                total_g += _shoulder(g * exposure)
                total_b += _shoulder(b * exposure)
            picture[y, x, 0] = total_r / (s * s)
            picture[y, x, 1] = total_g / (s * s)
            picture[y, x, 2] = total_b / (s * s)


@inline()
def _shoulder(x):
    """A camera's response, linear below and bent above: 1 stays just below 0.8, 4 reaches 1."""
    return min(x * (1 + 0.06 * x) / (1 + 0.31 * x), 1.0)


@kernel()
def encode(picture, out):
    """sRGB bytes (H, W, 3) uint8 of a linear picture."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            for c in range(3):
                value = max(picture[y, x, c], 0.0)
                value = 1.055 * value ** (1 / 2.4) - 0.055 if value > 0.0031308 else 12.92 * value
                out[y, x, c] = int(min(value, 1.0) * 255 + 0.5)
