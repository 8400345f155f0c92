"""CONTRIBUTING.md's promise: a source and a scorer are one new file each, found by their names; nothing else changes."""

import subprocess
import sys
from pathlib import Path

import pytest
from clip_files import astronaut, write_face_clip

import manifests

ROOT = Path(__file__).resolve().parents[2]

SOURCE = '''
from dataclasses import dataclass
from pathlib import Path
from curation.contracts import Clip, IndexReport, Source

@dataclass
class HalfSeconds(Source):
    """Cuts every video of a folder to its first half second."""

    name = "half_seconds"
    root: str

    def clips(self):
        for file in sorted(Path(self.root).glob("*.mp4")):
            yield Clip(self.name, file.name, file.stem, str(file), start_ms=0, end_ms=500)

    def report(self):
        return IndexReport()
'''

SCORER = '''
from dataclasses import dataclass
import pyarrow as pa
from curation.contracts import Scorer
from manifests import Column

@dataclass
class Brightness(Scorer):
    """The mean of all pixels."""

    name = "brightness"
    reads = frozenset({"frames"})
    columns = (Column("brightness", pa.float32(), "", "mean pixel value, 0 to 1"),)
    gain: float = 1.0

    def begin(self, info):
        self._means = []

    def on_frame(self, frame):
        self._means.append(float(frame.rgb.mean()) / 255)

    def finish(self, evidence):
        return {"brightness": self.gain * sum(self._means) / len(self._means)}
'''

RUN = """
import sys
import curation.scorers, curation.sources
curation.sources.__path__.append(sys.argv[1] + "/sources")
curation.scorers.__path__.append(sys.argv[1] + "/scorers")
from curation.cli import main
main(sys.argv[2:])
"""


def test_a_source_and_a_scorer_are_one_file_each(tmp_path: Path) -> None:
    for kind, name, text in (("sources", "half_seconds.py", SOURCE), ("scorers", "brightness.py", SCORER)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).write_text(text)
    (tmp_path / "videos").mkdir()
    write_face_clip(tmp_path / "videos" / "a.mp4", seed=0)
    arguments = ["run", "--source", "half_seconds", "--root", str(tmp_path / "videos"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path), *arguments, "--set", "scorers.brightness.gain=2"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    df = manifests.load(tmp_path / "out")
    assert list(df["source"]) == ["half_seconds"]
    assert df["end_ms"][0] == 500
    assert df["brightness"][0] == pytest.approx(2 * astronaut(192).mean() / 255, rel=0.1)
