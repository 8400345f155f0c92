"""Cuts of real footage against those found by eye: precision and recall over the corpus."""

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from curation.contracts import Clip, ClipError
from curation.media import MediaReader
from curation.scorers.cuts import Cuts

# Every frame of the corpus was looked at whose HSV difference is above 9.5 and twice its neighbours', and the corpus' own list.
BY_EYE = Path(__file__).with_name("cuts_by_eye.csv")
WITHIN_FRAMES = 1


def by_eye() -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Frames on the grid of 25 Hz by clip: the first ones of new shots, and what is neither a cut nor none."""
    cuts, neither = defaultdict(list), defaultdict(list)
    with BY_EYE.open(newline="") as file:
        for line in csv.DictReader(file):
            (cuts if line["kind"].endswith("cut") else neither)[line["clip"]].append(int(line["frame_at_25_hz"]))
    return cuts, neither


def near(frame: int, others: list[int]) -> bool:
    return any(abs(frame - other) <= WITHIN_FRAMES for other in others)


@pytest.mark.corpus
@pytest.mark.slow
def test_cuts_of_real_clips(corpus):
    cuts, neither = by_eye()
    scorer, found, false, n_clips = Cuts(), [], [], 0
    with MediaReader() as reader:
        for path in sorted((corpus / "clips").iterdir()):
            try:
                with reader.read(Clip("c", path.name, "i", str(path)), audio=False) as stream:
                    scorer.begin(stream.info)
                    for frame in stream.frames():
                        scorer.on_frame(frame)
            except ClipError:
                continue
            n_clips += 1
            at = scorer.cut_frames()
            found += [(path.name, cut) for cut in cuts[path.name] if near(cut, at)]
            false += [(path.name, frame) for frame in at if not near(frame, cuts[path.name] + neither[path.name])]
    n_cuts = sum(map(len, cuts.values()))
    print(f"\n{n_clips} clips: {len(found)} of {n_cuts} cuts found; false alarms: {false}")
    assert n_clips > 100
    assert len(found) >= n_cuts - 1
    assert len(false) <= 2
