"""Against decoders that share no code with ours: OpenCV's and decord's own FFmpeg builds, and what the corpus' index says of its files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from curation.contracts import Clip, ClipError
from curation.media import MediaReader
from tests.faults import Recipe, tone, uneven_times, write_clip

RECIPES = {
    "plain.mp4": {},
    "b_frames.mkv": {"options": {"bf": "3", "g": "12"}},
    "rotated.mp4": {"rotation_deg": 90},
    "hevc.mp4": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "pools=none:log-level=none"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "odd.mp4": {"pix_fmt": "yuv444p", "size_px": (161, 127)},
    "uneven.mp4": {"times": uneven_times(50), "ticks_hz": 90000},
}


@pytest.fixture(scope="module")
def reader():
    with MediaReader() as reader:
        yield reader


def decoded(path: Path, reader: MediaReader, sample_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """(times_ms, pictures)"""
    with reader.read(Clip("s", "k", "i", str(path)), sample_hz=sample_hz) as stream:
        frames = [(frame.time_ms, frame.rgb.copy()) for frame in stream.frames()]
    return np.array([t for t, _ in frames]), np.stack([rgb for _, rgb in frames])


@pytest.mark.parametrize("name", RECIPES)
def test_pictures_equal_opencvs(reader, tmp_path, name):
    import cv2

    path = write_clip(tmp_path / name, Recipe(**RECIPES[name]))
    capture = cv2.VideoCapture(str(path))
    theirs, stamps_ms = [], []
    while (read := capture.read())[0]:
        theirs.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
        stamps_ms.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    capture.release()
    times_ms, ours = decoded(path, reader, sample_hz=250.0)
    stamps_ms = np.array(stamps_ms) - stamps_ms[0]
    shown = np.searchsorted(stamps_ms, times_ms + 0.02, side="right") - 1
    assert set(shown) == set(range(len(theirs)))  # at 250 Hz no frame is skipped
    assert ours.shape[1:] == theirs[0].shape
    for picture, index in zip(ours, shown, strict=True):
        assert np.abs(picture.astype(int) - theirs[index]).mean() < 2


@pytest.mark.parametrize("name", ["plain.mp4", "b_frames.mkv", "rotated.mp4", "uneven.mp4"])
def test_single_pictures_equal_decords(reader, tmp_path, name):
    decord = pytest.importorskip("decord")
    path = write_clip(tmp_path / name, Recipe(**RECIPES[name]))
    theirs = decord.VideoReader(str(path), num_threads=1)
    indices = [40, 3, 17, 0, 49]
    begins_ms = [1000 * (theirs.get_frame_timestamp(i)[0] - theirs.get_frame_timestamp(0)[0]) for i in indices]
    ours = reader.pictures_at(str(path), [float(t) + 2 for t in begins_ms])
    for picture, index in zip(ours, indices, strict=True):
        assert np.abs(picture.astype(int) - theirs[index].asnumpy()).mean() < 2


@pytest.mark.corpus
@pytest.mark.slow
def test_the_corpus_index_agrees(reader, corpus):
    with (corpus / "clips.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    wrong = []
    for entry in index:
        path = corpus / entry["file"]
        try:
            info = reader.probe(str(path))
            with reader.read(Clip("corpus", path.name, "i", str(path), 0, None), frames=False) as stream:
                sound = stream.audio
            outcome = "scored"
        except ClipError as error:
            outcome = error.kind
        if path.name.startswith("mead_sad_crop"):
            assert outcome == "truncated"
            continue
        size = {info.width_px, info.height_px} == {int(entry["width"]), int(entry["height"])}
        lengths_s = (float(entry["duration_s"]), int(entry["n_frames"]) / float(entry["fps"]))  # sound and video; video alone
        length = any(abs(info.duration_ms / 1000 - length_s) < 0.1 for length_s in lengths_s)
        if outcome != "scored" or not size or not length or (sound is None) != (entry["has_audio"] != "True"):
            wrong.append((path.name, outcome, info, entry))
    assert not wrong
    assert len(index) > 100


def test_reading_again_gives_the_same_sound_and_so_does_sound_alone(reader, tmp_path):
    path = write_clip(tmp_path / "sound.mp4", Recipe(sound=tone(30000)))
    clip = Clip("s", "k", "i", str(path))
    with reader.read(clip) as stream:
        list(stream.frames())
        first = stream.audio
    for frames in (True, False, True):
        with reader.read(clip, frames=frames) as stream:
            list(stream.frames())
            assert (stream.audio == first).all()
