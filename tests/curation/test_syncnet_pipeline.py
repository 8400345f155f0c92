"""`exact` mode from a file to scores, against `syncnet-python`'s whole pipeline (ffmpeg, S3FD, tracks, crops, SyncNet), run for real."""

import copy
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from syncnet_planted import brightness_syncnet, disc_detector, disc_picture, flashing, later, random_syncnet

from benchmarks import syncnet_peer
from curation.contracts import Clip
from curation.media import MediaReader
from curation.syncnet.clip import score_tracks
from curation.syncnet.network import Embedder, SyncNet
from curation.syncnet.pipeline import s3fd_boxes, score_video
from curation.syncnet.s3fd import FaceDetector
from curation.syncnet.stream import LipStream
from tests.curation.test_syncnet_scorer import write_clip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
N_FRAMES = 80
MUXER_LAG = 2  # frames that ffmpeg repeats at the start of the AVI to make room for the MP3 encoder's delay


def _of_published_size(net: SyncNet, factor: float) -> SyncNet:
    net = copy.deepcopy(net)
    with torch.no_grad():
        for head in (net.netfclip, net.netfcaud):
            head[3].weight *= factor
            head[3].bias *= factor
    return net


@pytest.mark.parametrize("weights", ["planted", "random"])
def test_exact_mode_equals_the_pipeline(weights: str, tmp_path: Path) -> None:
    if reason := syncnet_peer.missing():
        pytest.skip(reason)
    net = brightness_syncnet(95, 135) if weights == "planted" else _of_published_size(random_syncnet(), 0.4)
    torch.save(net.state_dict(), tmp_path / "syncnet.model")
    torch.save(disc_detector().state_dict(), tmp_path / "s3fd.pth")
    level, audio = flashing(N_FRAMES, seed=2)
    pictures = [disc_picture(320, 240, 120 + 0.6 * i, 110, value // 2) for i, value in enumerate(level)]
    clip = write_clip(tmp_path / "clip.mkv", pictures, later(audio, 3))
    (theirs,) = syncnet_peer.run(tmp_path / "syncnet.model", tmp_path / "s3fd.pth", [clip.video_path])

    # The pipeline's first step re-encodes the video; from there on, the scores are the same.
    converted = tmp_path / "video.avi"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", clip.video_path, "-q:v", "2", "-r", "25", "-async", "1", converted], check=True)
    embedder, boxes = Embedder(net), s3fd_boxes(FaceDetector(disc_detector()))
    stream = LipStream(embedder, min_track_frames=50, min_face_size_px=100)
    with MediaReader() as reader:
        with reader.read(Clip("test", "x", "x", str(converted))) as source:
            for frame in source.frames():
                stream.add_frame(frame.rgb)
                stream.add_boxes(boxes(frame.rgb))
        with reader.read(clip, frames=False) as source:
            sound = source.audio
    (ours,) = (track.score for track in score_tracks(embedder, stream.finish(), sound))
    assert [ours.offset_frames] == theirs["offsets"]
    np.testing.assert_allclose([[ours.sync_c], [ours.sync_d]], [theirs["sync_c"], theirs["sync_d"]], atol=0.05)

    # Straight from the source nothing is re-encoded, and the offset is the planted one: the pipeline's own is two frames off.
    (direct,) = (track.score for track in score_video(clip.video_path, embedder, boxes))
    np.testing.assert_allclose([[direct.sync_c], [direct.sync_d]], [theirs["sync_c"], theirs["sync_d"]], atol=0.1)
    if weights == "planted":
        assert direct.offset_frames == -3
        assert theirs["offsets"] == [-3 + MUXER_LAG]
