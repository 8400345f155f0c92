"""Who is rendered: the traits of a person, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifests import UserError

YOUNGEST, OLDEST = 18.0, 80.0  # years
SEXES = ("female", "male")
BEARDS = ("none", "shadow", "stubble", "moustache", "goatee", "full")
GLASSES = ("none", "round", "square", "half")
COLLARS = ("crew", "v", "scoop", "high")
LIPS = ("none", "light", "strong")
HAIR_STYLES = ("bald", "crop", "short", "swept", "curly", "afro", "bob", "long", "tied")

# Means over the three ancestries of the shape data, on the Monk scale, and how far people lie from them.
_TONE_OF_ANCESTRY, _TONE_SPREAD = np.array([8.0, 4.0, 2.6]), 1.0
_HAIR_SRGB = {
    "black": (26, 22, 21),
    "dark brown": (45, 31, 24),
    "brown": (78, 53, 36),
    "light brown": (116, 84, 55),
    "blond": (176, 140, 92),
    "red": (128, 64, 32),
    "grey": (122, 119, 116),
    "white": (196, 193, 188),
}
_EYE_SRGB = {
    "dark brown": (52, 31, 20),
    "brown": (84, 52, 29),
    "hazel": (108, 84, 46),
    "green": (92, 104, 72),
    "blue": (92, 120, 146),
    "grey": (112, 124, 132),
}
_CLOTH_SRGB = (
    (38, 42, 52), (58, 66, 84), (96, 100, 108), (176, 178, 180), (224, 222, 216), (120, 44, 46), (150, 92, 58), (180, 148, 92),
    (70, 92, 74), (46, 92, 98), (66, 106, 150), (120, 150, 182), (98, 74, 116), (170, 118, 132), (204, 182, 160), (28, 28, 30),
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """The traits of one person. `from_seed` draws them; `dataclasses.replace` changes one and leaves everything else as it is, down to the
    freckles: the same person with another skin tone, age or pair of glasses.

    Attributes:
        seed: what the details are drawn from that no trait names (the shape of the nose, the course of every hair).
        sex: female | male.
        age_years: 18 to 80.
        ancestry: shares of (african, asian, caucasian) of the shape data's macros, sum 1.
        skin_tone: position on the Monk scale, 1.0 (lightest) to 10.0 (darkest), in between by interpolation.
        weight, muscle: 0..1.
        hair_style: one of `HAIR_STYLES`. hair_srgb: 0..255.
        eye_srgb: of the iris, 0..255.
        beard: one of `BEARDS`.
        glasses: one of `GLASSES`.
        clothes: the cut of the collar, one of `COLLARS`.
        clothes_srgb, stripes_srgb: 0..255; the second is None for plain cloth.
        lips: the lipstick, one of `LIPS`.
    """

    seed: int
    sex: str
    age_years: float
    ancestry: tuple[float, float, float]
    skin_tone: float
    weight: float
    muscle: float
    hair_style: str
    hair_srgb: tuple[int, int, int]
    eye_srgb: tuple[int, int, int]
    beard: str
    glasses: str
    clothes: str
    clothes_srgb: tuple[int, int, int]
    stripes_srgb: tuple[int, int, int] | None
    lips: str

    @classmethod
    def from_seed(cls, seed: int) -> Person:
        """The person of a seed (0 or above): the same traits on every machine."""
        rng = generator(seed, "person")
        male = bool(rng.random() < 0.5)
        age = float(rng.choice([rng.uniform(18, 35), rng.uniform(35, 55), rng.uniform(55, OLDEST)], p=[0.45, 0.33, 0.22]))
        ancestry = rng.dirichlet([0.35] * 3)
        tone = float(np.clip(ancestry @ _TONE_OF_ANCESTRY + rng.normal(0, _TONE_SPREAD), 1, 10))
        stripes = _pick(rng, _CLOTH_SRGB) if rng.random() < 0.22 else None
        return cls(
            seed=seed,
            sex=SEXES[male],
            age_years=round(age, 1),
            ancestry=tuple(np.round(ancestry, 3).tolist()),
            skin_tone=round(tone, 2),
            weight=round(float(np.clip(rng.normal(0.5, 0.18), 0.05, 0.95)), 3),
            muscle=round(float(rng.uniform(0.3, 0.8)), 3),
            hair_style=_hair_style(rng, male, age, ancestry[0]),
            hair_srgb=_hair_srgb(rng, age, tone, ancestry),
            eye_srgb=_eye_srgb(rng, tone, ancestry),
            beard=str(rng.choice(BEARDS, p=[0.36, 0.2, 0.16, 0.06, 0.08, 0.14])) if male else "none",
            glasses=str(rng.choice(GLASSES, p=[0.74, 0.1, 0.1, 0.06])),
            clothes=str(rng.choice(COLLARS, p=[0.45, 0.25, 0.15, 0.15])),
            clothes_srgb=_pick(rng, _CLOTH_SRGB),
            stripes_srgb=stripes,
            lips="none" if male else str(rng.choice(LIPS, p=[0.5, 0.32, 0.18])),
        )


def generator(seed: int, stage: str) -> np.random.Generator:
    """The random draws of one stage of one person or scene.

    Raises:
        UserError: a seed below 0.
    """
    if seed < 0:
        raise UserError(f"the seed of a person or a scene is 0 or above, not {seed}")
    return np.random.default_rng([seed, *stage.encode()])


def _pick(rng: np.random.Generator, colours: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
    return _varied(rng, colours[rng.integers(len(colours))])


def _varied(rng: np.random.Generator, srgb: tuple[int, int, int]) -> tuple[int, int, int]:
    r, g, b = np.clip(np.array(srgb) * rng.uniform(0.88, 1.12) + rng.normal(0, 3, 3), 4, 250).astype(int).tolist()
    return r, g, b


def _hair_style(rng: np.random.Generator, male: bool, age: float, african: float) -> str:
    if male:
        chances = {"bald": 0.02 + 0.08 * (age > 45), "crop": 0.3, "short": 0.32, "swept": 0.24, "curly": 0.1, "afro": 0.0, "long": 0.04}
    else:
        chances = {"crop": 0.03, "short": 0.1, "swept": 0.06, "curly": 0.12, "bob": 0.26, "long": 0.28, "tied": 0.22}
    if african > 0.5:
        chances = (
            {"bald": 0.06, "crop": 0.44, "afro": 0.22, "curly": 0.16}
            if male
            else {"crop": 0.16, "afro": 0.2, "curly": 0.18, "tied": 0.34, "bob": 0.12}
        )
    styles, weights = zip(*chances.items(), strict=True)
    return str(rng.choice(styles, p=np.array(weights) / sum(weights)))


def _hair_srgb(rng: np.random.Generator, age: float, tone: float, ancestry: np.ndarray) -> tuple[int, int, int]:
    light = tone < 3.6 and ancestry[2] > 0.55
    if light:
        chances = {"black": 0.08, "dark brown": 0.22, "brown": 0.28, "light brown": 0.18, "blond": 0.17, "red": 0.07}
    else:
        chances = {"black": 0.62, "dark brown": 0.38}
    name = str(rng.choice(list(chances), p=list(chances.values())))
    srgb = np.array(_varied(rng, _HAIR_SRGB[name]), float)
    grey = np.array(_varied(rng, _HAIR_SRGB["white" if age > 66 else "grey"]), float)
    share = np.clip((age - 42) / 26 + rng.normal(0, 0.28), 0, 1) if age > 38 else 0.0
    r, g, b = (srgb + (grey - srgb) * share).astype(int).tolist()
    return r, g, b


def _eye_srgb(rng: np.random.Generator, tone: float, ancestry: np.ndarray) -> tuple[int, int, int]:
    if tone < 3.6 and ancestry[2] > 0.55:
        chances = {"brown": 0.26, "hazel": 0.2, "green": 0.14, "blue": 0.28, "grey": 0.12}
    elif tone < 5:
        chances = {"dark brown": 0.5, "brown": 0.4, "hazel": 0.1}
    else:
        chances = {"dark brown": 0.75, "brown": 0.25}
    return _varied(rng, _EYE_SRGB[str(rng.choice(list(chances), p=list(chances.values())))])
