"""Every real clip at its own rate: as many frames as lie on its grid, all of the file's pictures shown, or one clear line."""

import csv

import pytest

from curation.contracts import Clip, ClipError
from curation.media import MediaReader

TRUNCATED = {"mead_sad_crop.mp4"}
# frames a second by their time stamps, where the header's average says another
RATES = {"psd_goldeneye_vfr_drop3.mp4": 24000 / 1001, "retalking_1.mp4": 30, "pyfeat_face_noface.mov": 30, "pyfeat_noface_face.mov": 30}
# frames that a player shows, where the header counts some that its edit list leaves out
SHOWN = {"hdtf_RD_Radio10_0_clip_0.mp4": 61, "pyfeat_no_face.mp4": 95, "personalive_driving_61s.mp4": 1531}


@pytest.mark.corpus
@pytest.mark.slow
def test_every_clip_is_read_at_its_own_rate(corpus):
    with (corpus / "clips.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    wrong = []
    with MediaReader() as reader:
        for entry in index:
            path = corpus / entry["file"]
            try:
                info = reader.probe(str(path))
                n_shown = n_points = 0
                with reader.read(Clip("c", path.name, "i", str(path)), sample_hz=info.fps, audio=False) as stream:
                    last = None
                    for frame in stream.frames():
                        n_points += 1
                        n_shown += frame.rgb is not last
                        last = frame.rgb
            except ClipError as error:
                if path.name not in TRUNCATED or error.kind != "truncated":
                    wrong.append((path.name, error.kind, error.message))
                continue
            fps = RATES.get(path.name, float(entry["fps"]))
            length_s = info.duration_ms / 1000
            if (
                n_shown < SHOWN.get(path.name, int(entry["n_frames"]))
                or abs(n_points - length_s * info.fps) > 1.01
                or abs(info.fps / fps - 1) > 0.02
            ):
                wrong.append((path.name, info.fps, entry["fps"], n_shown, entry["n_frames"], n_points, length_s))
    assert not wrong
    assert len(index) > 100
