"""Source `people`: talking people that the project renders itself (`curation.people`), with planted truth a frame beside every clip."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curation.contracts import Clip, IndexReport, Source


@dataclass
class People(Source):
    """The clips of the set in `root`, in its own settings; what it lacks is rendered, as is the whole set where there is none.

    Args:
        count, clips_per_person, seconds, size_px, seed, camera_faults: of a set that is not there yet; see `people.settings`.
    """

    name = "people"
    licence = "CC0-1.0 (MakeHuman shape data), rendered by this project"

    root: str
    count: int = 60
    clips_per_person: int = 1
    seconds: float = 3.0
    size_px: int = 256
    seed: int = 0
    camera_faults: bool = True

    def clips(self) -> Iterator[Clip]:
        from curation.people.job import LICENCE, read_settings, render_people
        from curation.people.settings import PeopleSettings
        from manifests import configuration

        names = ("count", "clips_per_person", "seconds", "size_px", "seed", "camera_faults")
        asked = {name: getattr(self, name) for name in names}
        settings = read_settings(self.root) or configuration.build(PeopleSettings, asked, "source_settings")
        for file in render_people(self.root, settings, say=lambda line: print(line, file=sys.stderr)):
            key = file.video.relative_to(Path(self.root)).as_posix()
            yield Clip(self.name, key, file.take.identity, str(file.video), licence=LICENCE)

    def report(self) -> IndexReport:
        return IndexReport()
