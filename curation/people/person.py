"""Who is rendered: the traits of a person, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass


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
        hair_style: bald | crop | short | swept | curly | afro | bob | long | tied.
        hair_srgb: 0..255.
        eye_srgb: of the iris, 0..255.
        beard: none | shadow | stubble | moustache | goatee | full.
        glasses: none | round | square | half.
        clothes: crew | v | scoop | high, the cut of the collar.
        clothes_srgb, stripes_srgb: 0..255; the second is None for plain cloth.
        lips: none | light | strong, the lipstick.
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
        raise NotImplementedError
