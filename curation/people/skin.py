"""The skin's texture: tone, blood, pigment, lips, shaved and covered parts, pores and lines, as functions of the place on the base mesh."""

from __future__ import annotations

import itertools
import math

import numpy as np

from curation.people.atlas import Atlas
from curation.people.colour import to_linear
from curation.people.compiled import kernel
from curation.people.head import load_head
from curation.people.materials import N_CHANNELS
from curation.people.noise import value_and_gradient
from curation.people.person import Person, generator

# Albedo (sRGB) of the ten steps of the Monk scale: of their lightness as far as a white-lit albedo has room for it, of skin's own hue.
_TONES_SRGB = np.array(
    [
        (240, 212, 194), (234, 200, 178), (228, 188, 161), (216, 172, 141), (198, 152, 117),
        (168, 121, 87), (136, 94, 68), (105, 71, 52), (77, 52, 41), (54, 38, 32),
    ],
    float,
)  # fmt: skip
_FREQUENCIES = (0.55, 0.17, 0.035)  # dm, size of the skin's mottling


def tone_srgb(person: Person) -> np.ndarray:
    """(3,) sRGB of the skin's albedo, with the person's own tint."""
    rng = generator(person.seed, "tint")
    level = np.array([np.interp(person.skin_tone, np.arange(1, 11), channel) for channel in _TONES_SRGB.T])
    return np.clip(level + rng.normal(0, 2, 3) + rng.normal(0, 2.5) * np.array([0.4, 0, -1]), 8, 250)


def paint(person: Person, layout: Atlas, scalp_dm: np.ndarray, beard: np.ndarray) -> np.ndarray:
    """(H, W, 7) float32 texture (`materials.N_CHANNELS`).

    Args:
        scalp_dm, beard: (V,) of `curation.people.regions`.
    """
    head = load_head()
    rng = generator(person.seed, "skin")
    tone = to_linear(tone_srgb(person))
    at = layout.of_vertices(np.column_stack([head.positions_dm, head.lips, head.eyelids, scalp_dm, beard]))
    hair = to_linear(np.array(person.hair_srgb))
    out = np.empty((len(at), N_CHANNELS), np.float32)
    _paint(at, tone, _spots(person, rng), _creases(person, rng), _mixes(person, rng, tone), hair, int(rng.integers(1 << 30)), out)
    texture = np.zeros((layout.shape[0] * layout.shape[1], N_CHANNELS), np.float32)
    texture[layout.texel] = out
    return texture.reshape(*layout.shape, N_CHANNELS)


def _mixes(person: Person, rng: np.random.Generator, tone: np.ndarray) -> np.ndarray:
    """What `_paint` mixes: lips (3), their share, shadow on the lids, scalp's share, beard's share, freckles, mottling, gloss, pores."""
    dark = (person.skin_tone - 1) / 9
    natural = tone * np.array([0.79 + 0.02 * dark, 0.47 + 0.1 * dark, 0.5 + 0.12 * dark])
    stick = {"none": 0.0, "light": rng.uniform(0.25, 0.45), "strong": rng.uniform(0.55, 0.8)}[person.lips]
    paint = to_linear(np.array([rng.uniform(140, 180), rng.uniform(44, 84), rng.uniform(58, 92)]))
    lips = natural + (paint * (1 - 0.5 * dark) - natural) * stick
    lids = rng.uniform(0.12, 0.4) if person.lips != "none" else rng.uniform(0, 0.12)
    stubble = {"none": 0.0, "shadow": rng.uniform(0.16, 0.3), "stubble": 0.42, "moustache": 0.5, "goatee": 0.5, "full": 0.5}[person.beard]
    young = np.clip((45 - person.age_years) / 20, 0, 1)
    freckles = (
        rng.uniform(0.5, 1.0)
        * (rng.random() < 0.2 + 0.3 * (person.hair_srgb[0] > person.hair_srgb[2] * 2.4))
        * (1 - dark) ** 2
        * (0.3 + 0.7 * young)
    )
    spots = np.clip((person.age_years - 45) / 35, 0, 1) * rng.uniform(0.1, 0.4)
    scalp = 0.0 if person.hair_style == "bald" else 0.9
    share = rng.uniform(0.78, 0.95)
    return np.array([*lips, share, lids, scalp, stubble, freckles, spots, rng.uniform(0.7, 1.25), rng.uniform(0.7, 1.2)])


def _spots(person: Person, rng: np.random.Generator) -> np.ndarray:
    """(K, 9) places where the skin takes up more light: centre, size (dm), optical density in r, g, b."""
    head = load_head()
    dark = (person.skin_tone - 1) / 9
    blood = np.array([0.02, 0.2, 0.17]) * rng.uniform(0.5, 1.3) * (1 - 0.55 * dark)
    melanin = np.array([0.12, 0.2, 0.24])
    rows = []

    def spot(x: float, y: float, z: float, size: tuple[float, float, float], density: np.ndarray) -> None:
        for side in (1, -1) if x else (1,):
            rows.append([side * x, y, z, *size, *density])

    spot(0.42, 6.93, 1.25, (0.2, 0.19, 0.3), 0.8 * blood)  # cheeks
    spot(0.0, 6.98, 1.72, (0.14, 0.13, 0.2), 0.9 * blood)  # tip of the nose
    spot(0.14, 6.9, 1.5, (0.07, 0.07, 0.1), 0.7 * blood)
    spot(0.0, 6.3, 1.45, (0.16, 0.12, 0.2), 0.45 * blood)  # chin
    spot(0.78, 7.05, 0.4, (0.14, 0.3, 0.3), 0.9 * blood)  # ears
    spot(0.095, 6.864, 1.572, (0.03, 0.02, 0.035), np.array([1.2, 1.7, 1.8]))  # nostrils
    eye_x, eye_y, eye_z = head.eye_centres_dm[0]
    tired = rng.uniform(0.25, 0.8) * (1 + 0.3 * np.clip((person.age_years - 40) / 40, 0, 1))
    spot(eye_x - 0.02, eye_y - 0.13, eye_z + 0.12, (0.16, 0.06, 0.2), tired * melanin)
    spot(eye_x - 0.15, eye_y - 0.02, eye_z + 0.14, (0.06, 0.09, 0.15), 0.8 * tired * melanin)
    spot(eye_x, eye_y + 0.1, eye_z + 0.15, (0.16, 0.05, 0.2), 0.5 * tired * melanin)
    spot(0.0, 7.7, 1.35, (0.6, 0.3, 0.5), rng.uniform(-0.3, 0.6) * melanin * 0.3)  # forehead
    face = head.positions_dm[(head.positions_dm[:, 2] > 0.7) & (head.positions_dm[:, 1] > 6.1) & (head.lips < 0.1) & (head.eyelids < 0.1)]
    for _ in range(int(rng.integers(0, 5))):
        size = rng.uniform(0.012, 0.022)
        rows.append([*face[rng.integers(len(face))], size, size, size, *(rng.uniform(1.2, 2.6) * np.array([0.35, 0.5, 0.6]))])
    return np.array(rows)


def _creases(person: Person, rng: np.random.Generator) -> np.ndarray:
    """(K, 8) lines in the skin: both ends on the base mesh, width (dm), depth."""
    old = np.clip((person.age_years - 28) / 45, 0, 1)
    rows: list[list[float]] = []

    def line(points: list[tuple[float, float, float]], width: float, depth: float) -> None:
        for side in (1, -1):
            for a, b in itertools.pairwise(points):
                rows.append([side * a[0], a[1], a[2], side * b[0], b[1], b[2], width, depth])

    line(
        [(0.2, 6.93, 1.5), (0.29, 6.8, 1.44), (0.35, 6.68, 1.36), (0.37, 6.6, 1.3)], 0.022, 0.2 + rng.uniform(0.5, 1.2) * old
    )  # nose to mouth
    eye_x, eye_y = load_head().eye_centres_dm[0, :2]
    line(
        [(eye_x - 0.16, eye_y - 0.1, 1.42), (eye_x - 0.05, eye_y - 0.17, 1.42), (eye_x + 0.1, eye_y - 0.17, 1.34)],
        0.018,
        0.12 + 0.6 * old * rng.random(),
    )
    if old > 0.25:
        for i in range(int(rng.integers(2, 5))):
            y = 7.68 + 0.085 * i + rng.normal(0, 0.012)
            reach = rng.uniform(0.25, 0.5)
            points = [(0.0, y, 1.5), (0.5 * reach, y + rng.normal(0, 0.012), 1.47), (reach, y - 0.02 + rng.normal(0, 0.015), 1.33)]
            line(points, 0.012, rng.uniform(0.3, 0.9) * old)
        for i in range(3):
            a = -0.4 + 0.4 * i + rng.normal(0, 0.08)
            start = (eye_x + 0.2, eye_y - 0.02 + 0.05 * (i - 1), 1.17)
            line([start, (start[0] + 0.1 * math.cos(a), start[1] + 0.1 * math.sin(a), 1.02)], 0.009, rng.uniform(0.4, 0.9) * old)
        line([(0.05, 7.36, 1.5), (0.055, 7.47, 1.52)], 0.012, 0.7 * old * rng.random())
    return np.array(rows)


@kernel()
def _paint(
    at: np.ndarray, tone: np.ndarray, spots: np.ndarray, creases: np.ndarray, mix: np.ndarray, hair: np.ndarray, seed: int, out: np.ndarray
) -> None:
    """at: (N, 7) position, lips, eyelids, scalp, beard; out: (N, 7)."""
    freckles, aged, gloss, pores = mix[7], mix[8], mix[9], mix[10]
    for n in range(at.shape[0]):
        x, y, z = float(at[n, 0]), float(at[n, 1]), float(at[n, 2])
        large = value_and_gradient(x / 0.55, y / 0.55, z / 0.55, seed)[0]
        middle = value_and_gradient(x / 0.15, y / 0.15, z / 0.15, seed + 1)[0]
        small, gx, gy, gz = value_and_gradient(x / 0.03, y / 0.03, z / 0.03, seed + 2)
        fine, hx, hy, hz = value_and_gradient(x / 0.013, y / 0.013, z / 0.013, seed + 3)
        density_r, density_g, density_b = 0.03 * large, 0.045 * large + 0.045 * middle, 0.04 * large + 0.03 * middle
        density_r += 0.012 * small
        density_g += 0.02 * small
        density_b += 0.02 * small
        for k in range(spots.shape[0]):
            dx, dy, dz = (x - spots[k, 0]) / spots[k, 3], (y - spots[k, 1]) / spots[k, 4], (z - spots[k, 2]) / spots[k, 5]
            q = dx * dx + dy * dy + dz * dz
            if q < 12:
                g = math.exp(-0.5 * q) * (1 + 0.3 * middle)
                density_r += spots[k, 6] * g
                density_g += spots[k, 7] * g
                density_b += spots[k, 8] * g
        if freckles > 0:
            speck = max(value_and_gradient(x / 0.028, y / 0.028, z / 0.028, seed + 4)[0] - 0.38, 0.0) * 2.2
            where = math.exp(-0.5 * (((y - 7.0) / 0.3) ** 2 + (x / 0.75) ** 2)) + 0.2
            speck *= freckles * where * (0.5 + 0.5 * max(large + 0.4, 0.0)) if z > 0.4 else 0.0
            density_r += 0.28 * speck
            density_g += 0.5 * speck
            density_b += 0.6 * speck
        if aged > 0:
            speck = max(value_and_gradient(x / 0.085, y / 0.05, z / 0.05, seed + 5)[0] - 0.52, 0.0) * aged
            density_r += 0.25 * speck
            density_g += 0.5 * speck
            density_b += 0.6 * speck
        slope = 0.02 * pores
        px, py, pz = slope * (gx + 0.7 * hx), slope * (gy + 0.7 * hy), slope * (gz + 0.7 * hz)
        for k in range(creases.shape[0]):
            ax, ay, az = creases[k, 0], creases[k, 1], creases[k, 2]
            bx, by, bz = creases[k, 3] - ax, creases[k, 4] - ay, creases[k, 5] - az
            width = creases[k, 6]
            if abs(y - ay - 0.5 * by) > abs(0.5 * by) + 4 * width or abs(x - ax - 0.5 * bx) > abs(0.5 * bx) + 4 * width:
                continue
            # Seen from the front: the ends' depth is a guess, the skin's own decides.
            length = bx * bx + by * by
            t = min(max(((x - ax) * bx + (y - ay) * by) / length, 0.0), 1.0)
            dx, dy = x - ax - t * bx, y - ay - t * by
            if z < az + t * bz - 0.35:
                continue
            q = (dx * dx + dy * dy) / (width * width)
            if q < 12:
                g = math.exp(-0.5 * q) * creases[k, 7]
                px += 0.32 * g * dx / width
                py += 0.32 * g * dy / width
                density_r += 0.1 * g
                density_g += 0.16 * g
                density_b += 0.17 * g
        r, g, b = tone[0] * math.exp(-density_r), tone[1] * math.exp(-density_g), tone[2] * math.exp(-density_b)
        specular = gloss * (0.75 + 0.5 * math.exp(-0.5 * (x / 0.3) ** 2) * (z > 0.8)) * (1 + 0.2 * small)
        lid = at[n, 4] * mix[4]
        r, g, b = r * (1 - 0.45 * lid), g * (1 - 0.6 * lid), b * (1 - 0.5 * lid)
        lips = min(max((at[n, 3] - 0.25) / 0.5, 0.0), 1.0)
        lips = lips * lips * (3 - 2 * lips)
        if lips > 0:
            streak = value_and_gradient(x / 0.014, y / 0.09, z / 0.05, seed + 6)
            share = lips * mix[3]
            shade = 1 + 0.09 * streak[0]
            r, g, b = r + (mix[0] * shade - r) * share, g + (mix[1] * shade - g) * share, b + (mix[2] * shade - b) * share
            px += 0.012 * lips * streak[1]
            specular += lips * (1.3 - specular) * 0.6
        beard = at[n, 6] * mix[6]
        if beard > 0:
            beard *= 0.8 + 0.35 * small + 0.2 * fine
            r, g, b = (
                r + (hair[0] * 0.9 + 0.02 * tone[0] - r) * beard,
                g + (hair[1] * 0.9 + 0.02 * tone[1] - g) * beard,
                b + (hair[2] + 0.03 * tone[2] - b) * beard,
            )
        scalp = at[n, 5] + 0.03 * small + 0.02 * middle
        scalp = min(max((scalp + 0.01) / 0.14, 0.0), 1.0) * mix[5]
        if scalp > 0:
            r, g, b = r + (hair[0] * 0.55 - r) * scalp, g + (hair[1] * 0.55 - g) * scalp, b + (hair[2] * 0.55 - b) * scalp
            specular *= 1 - 0.9 * scalp
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = r, g, b, specular
        out[n, 4], out[n, 5], out[n, 6] = px, py, pz
