"""Source `samples`: the sample clips that the project renders itself (`curation.samples`), with what is planted in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curation.contracts import Clip, IndexReport, Source


@dataclass
class Samples(Source):
    """The rendered clips in `root`; renders them if they are not there or not whole."""

    name = "samples"
    licence = "public domain (NASA portrait by way of scikit-image), rendered by this project"

    root: str
    seed: int = 0

    def clips(self) -> Iterator[Clip]:
        from curation.samples import render_samples

        for truth in render_samples(Path(self.root), seed=self.seed, progress=lambda line: print(line, file=sys.stderr)):
            yield Clip(self.name, truth.file, truth.identity, str(Path(self.root) / truth.file), licence=self.licence)

    def report(self) -> IndexReport:
        return IndexReport()
