"""Every source file is opened once and every packet of its video decoded once, as the decoding child itself counts."""

from __future__ import annotations

import av
import pytest
from dot_networks import write_models

from curation.config import load_config
from curation.contracts import Clip
from curation.job.clip_scorer import ClipScorer
from tests.curation.clip_files import write_face_clip

FRAMES = (25, 40, 10)


def n_packets(path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))


@pytest.mark.parametrize("profile", ["embedded", "paper"])
def test_all_scorers_share_one_decode(tmp_path, profile):
    files = [tmp_path / f"{n}.mp4" for n in FRAMES]
    for seed, (file, n) in enumerate(zip(files, FRAMES, strict=True)):
        write_face_clip(file, seed=seed, n_frames=n)
    assert [n_packets(file) for file in files] == list(FRAMES)
    overrides = ()
    if profile == "paper":  # networks of the same inputs and outputs as the published ones
        runtime = write_models(tmp_path, 1, 4) | {"detector_batch": 1, "pose_batch": 4}
        overrides = tuple(f"landmark_settings.runtime.{name}={value}" for name, value in runtime.items())
    with ClipScorer(load_config(profile, None, overrides), "test") as scorer:
        assert len(scorer.scorers) >= 6
        for file in files:
            assert scorer.score(Clip("folder", file.name, "p", str(file))).row["status"] == "scored"
        counts = scorer._reader.counts
    assert (counts.n_opened, counts.n_packets) == (len(files), sum(FRAMES))


def test_spans_of_a_file_share_one_opening(tmp_path):
    file = tmp_path / "long.mp4"
    write_face_clip(file, seed=0, n_frames=50)
    with ClipScorer(load_config(), "test") as scorer:
        for span in ((0, 1000), (1000, 2000)):
            scorer.score(Clip("folder", file.name, "p", str(file), *span))
        counts = scorer._reader.counts
    assert counts.n_opened == 1
    assert counts.n_packets <= 50 + 2  # a decoder that reads ahead may see a frame of the next span
