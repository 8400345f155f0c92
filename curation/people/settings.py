"""What a set of people's clips is determined by, and what its clips are called."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

FPS = 25
MAX_PEOPLE, MAX_CLIPS = 1_000_000, 1000


@dataclass(frozen=True)
class PeopleSettings:
    """A set of clips. More people or more clips of each may be added later; everything else decides the bytes of every clip.

    Attributes:
        count: people.
        clips_per_person: each in another scene, with other words and another motion.
        seconds: length of a clip.
        size_px: side of the square picture; even.
        seed: another seed gives other people.
        camera_faults: pass the pictures through a camera with faults; without, they are as clean as they were rendered.
        lid_mouth_correlation: 0 = all factors independent; see `motion.draw_motion`.
    """

    count: int = 60
    clips_per_person: int = 1
    seconds: float = 3.0
    size_px: int = 256
    seed: int = 0
    camera_faults: bool = True
    lid_mouth_correlation: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("count", 1, MAX_PEOPLE), ("clips_per_person", 1, MAX_CLIPS), ("seconds", 0.2, 600), ("size_px", 64, 2048),
            ("seed", 0, 1_000_000), ("lid_mouth_correlation", 0, 0.99),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in {low}..{high}")
        if self.size_px % 2:
            raise ValueError(f"size_px is {self.size_px}; it must be even")

    @property
    def n_frames(self) -> int:
        return round(self.seconds * FPS)

    def lasting(self) -> dict[str, Any]:
        """What decides a clip's bytes."""
        return {name: value for name, value in asdict(self).items() if name not in ("count", "clips_per_person")}

    def takes(self) -> list[Take]:
        """Every clip of the set: person after person."""
        return [Take(self.seed, person, clip) for person in range(self.count) for clip in range(self.clips_per_person)]


@dataclass(frozen=True, order=True)
class Take:
    """One clip of a set: which person of it, and which of the person's clips."""

    seed: int
    person: int
    clip: int

    @property
    def person_seed(self) -> int:
        """Of `Person.from_seed`: no two sets share a person."""
        return self.seed * MAX_PEOPLE + self.person

    @property
    def scene_seed(self) -> int:
        """Of `Scene.from_seed`."""
        return self.person_seed * MAX_CLIPS + self.clip

    @property
    def identity(self) -> str:
        return f"rendered-{self.person_seed:06d}"

    @property
    def name(self) -> str:
        """Of the clip's files, without suffix."""
        return f"p{self.person_seed:06d}-{self.clip:02d}"


SETTINGS_FILE = "people.json"
SETTING_NAMES = tuple(field.name for field in fields(PeopleSettings))
