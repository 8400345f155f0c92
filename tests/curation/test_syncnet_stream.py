"""Tracks, crops and shots against literal readings of the published rules; the stream against doing it all at once; its memory."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.signal import medfilt
from syncnet_planted import brightness_syncnet

from curation.syncnet.crop import crop_face
from curation.syncnet.network import EMBEDDING, Embedder
from curation.syncnet.shots import ShotDetector
from curation.syncnet.stream import LipStream
from curation.syncnet.tracks import FaceTracks, overlap


class Meter:
    """Stands in for `Embedder`: a window's embedding is the mean colour of its five crops, so that chunks and order show."""

    windows_at_once = 8

    def lips(self, crops: np.ndarray) -> np.ndarray:
        means = crops.reshape(len(crops), -1, 3).mean(axis=1)
        found = np.zeros((max(0, len(crops) - 4), EMBEDDING), np.float32)
        for i in range(len(found)):
            found[i, :15] = means[i : i + 5].ravel()
        return found


def walked_tracks(frames: list[list[np.ndarray]], max_gap: int) -> list[tuple[list[int], list[np.ndarray]]]:
    """The published way: walk through all frames once for each track, taking boxes out."""
    left, tracks = [list(boxes) for boxes in frames], []
    while True:
        numbers, taken = [], []
        for index, boxes in enumerate(left):
            if numbers and index - numbers[-1] > max_gap:
                break
            chosen = next((i for i, box in enumerate(boxes) if not taken or overlap(taken[-1], box) > 0.5), None)
            if chosen is not None:
                numbers.append(index)
                taken.append(boxes.pop(chosen))
        if not numbers:
            return tracks
        tracks.append((numbers, taken))


@given(seed=st.integers(0, 10_000), n=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_tracks_are_those_of_the_published_walk(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 900, (3, 2)).round()
    frames = []
    for _ in range(n):
        places += rng.normal(0, 6, places.shape)
        boxes = [np.array([x, y, x + 100, y + 100]) for x, y in places]
        boxes = [box for i, box in enumerate(boxes) if rng.random() > 0.2 and all(overlap(box, other) <= 0.1 for other in boxes[:i])]
        frames.append([boxes[i] for i in rng.permutation(len(boxes))])
        if rng.random() < 0.03:
            frames += [[]] * int(rng.integers(20, 30))
    follower, ended = FaceTracks(), []
    for index, boxes in enumerate(frames):
        ended += follower.push(index, np.array(boxes).reshape(-1, 4))
    ended += follower.end()
    expected = walked_tracks(frames, 25)
    assert sorted((t.first, t.last, t.n_detected) for t in ended) == sorted((k[0], k[-1], len(k)) for k, _ in expected)
    for track in ended:
        numbers, boxes = next((k, b) for k, b in expected if k[0] == track.first and np.array_equal(b[0], track.boxes_px()[0]))
        filled = interp1d(numbers, np.array(boxes), axis=0)(np.arange(numbers[0], numbers[-1] + 1)) if len(numbers) > 1 else boxes
        np.testing.assert_allclose(track.boxes_px(), filled, atol=1e-9)


@given(x=st.floats(-20, 220), y=st.floats(-20, 170), s=st.floats(2, 150), height=st.integers(40, 160), width=st.integers(40, 200))
@settings(max_examples=40, deadline=None)
def test_the_crop_is_cut_from_the_padded_picture(x: float, y: float, s: float, height: int, width: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    x, y = np.clip(x, -s / 2, width + s / 2), np.clip(y, -s / 2, height + s / 2)  # some of the face is in the picture
    pad = int(s * 1.8)
    padded = np.pad(rgb[:, :, ::-1], ((pad, pad), (pad, pad), (0, 0)), constant_values=110)
    face = padded[max(0, int(y + pad - s)) : int(y + pad + s * 1.8), max(0, int(x + pad - s * 1.4)) : int(x + pad + s * 1.4)]
    if face.size:
        np.testing.assert_array_equal(crop_face(rgb, np.array([x, y, s])), cv2.resize(face, (224, 224)))


def test_shots_are_pyscenedetects() -> None:
    from scenedetect import ContentDetector, FrameTimecode

    rng = np.random.default_rng(2)
    scenes = [rng.integers(0, 256, 3).astype(np.uint8) for _ in range(6)]
    lengths = [20, 30, 3, 4, 40, 25]
    pictures = [np.broadcast_to(colour, (90, 120, 3)).copy() for colour, n in zip(scenes, lengths, strict=True) for _ in range(n)]
    detector, cuts = ContentDetector(), set()
    for i, picture in enumerate(pictures):
        cuts |= {cut.frame_num for cut in detector.process_frame(FrameTimecode(i, fps=25.0), picture[:, :, ::-1])}
    shots, known_at = ShotDetector(), {}
    for i, picture in enumerate(pictures):
        shots.push(picture)
        known_at.update({c: i for c in range(len(pictures)) if shots.begins_shot(c) and c not in known_at})
    assert set(known_at) == cuts
    assert cuts
    assert all(when - cut <= shots.delay for cut, when in known_at.items())


def moving_faces(n: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures of a texture that drifts, and boxes of two faces, with holes."""
    rng = np.random.default_rng(seed)
    texture = cv2.resize(rng.integers(60, 200, (30, 60, 3)).astype(np.uint8), (600, 300))
    pictures = [np.ascontiguousarray(texture[30:270, i : i + 320]) for i in range(n)]
    boxes = []
    for i in range(n):
        sway = 5 * np.sin(i / 9)
        here = np.array([[40 + i * 0.3, 50, 140 + i * 0.3, 160], [190, 60 + sway, 300, 170 + sway]]) + rng.normal(0, 1, (2, 4))
        boxes.append(here[[(i + 7 * k) % 19 not in (3, 4, 5) for k in range(2)]])
    return pictures, boxes


def at_once(pictures: list[np.ndarray], boxes: list[np.ndarray]) -> list[tuple[int, np.ndarray]]:
    """First frame and lip embeddings of each track of one shot, with everything in memory."""
    found = []
    for numbers, taken in walked_tracks([list(b) for b in boxes], 25):
        filled = interp1d(numbers, np.array(taken), axis=0)(np.arange(numbers[0], numbers[-1] + 1))
        half = np.maximum(filled[:, 3] - filled[:, 1], filled[:, 2] - filled[:, 0]) / 2
        squares = [medfilt(v, 13) for v in ((filled[:, 0] + filled[:, 2]) / 2, (filled[:, 1] + filled[:, 3]) / 2, half)]
        crops = [crop_face(pictures[numbers[0] + i], np.array(square)) for i, square in enumerate(zip(*squares, strict=True))]
        found.append((numbers[0], Meter().lips(np.stack(crops))))
    return found


@pytest.mark.parametrize("late", [0, 21])
def test_the_stream_equals_doing_it_all_at_once_and_holds_few_frames(late: int) -> None:
    pictures, boxes = moving_faces(120, seed=1)
    stream = LipStream(Meter(), min_track_frames=50, min_face_size_px=100)
    for i, picture in enumerate(pictures):
        stream.add_frame(picture)
        if i >= late:
            stream.add_boxes(boxes[i - late])
    for waiting in boxes[len(boxes) - late :] if late else []:
        stream.add_boxes(waiting)
    tracks, expected = stream.finish(), at_once(pictures, boxes)
    assert [track.first for track in tracks] == [first for first, _ in expected]
    for track, (_, lips) in zip(tracks, expected, strict=True):
        np.testing.assert_allclose(track.lips, lips, atol=1e-4)
    assert stream.most_frames_held <= 30 + late


def test_a_cut_ends_tracks_and_short_or_small_ones_are_dropped() -> None:
    pictures = [np.full((120, 160, 3), 30, np.uint8)] * 70 + [np.full((120, 160, 3), 220, np.uint8)] * 80
    stream = LipStream(Meter(), min_track_frames=50, min_face_size_px=60)
    for i, picture in enumerate(pictures):
        stream.add_frame(picture)
        large, small = [20, 20, 90, 95], [100, 20, 150, 70]
        stream.add_boxes(np.array([large, small] if i < 100 else [large] if i > 104 else [], float).reshape(-1, 4))
    tracks = stream.finish()
    assert [(track.first, track.n_frames) for track in tracks] == [(0, 70), (70, 80)]


def test_a_face_that_is_gone_for_a_second_is_another_track() -> None:
    stream = LipStream(Meter(), min_track_frames=10, min_face_size_px=50)
    picture = np.full((120, 160, 3), 90, np.uint8)
    for i in range(80):
        stream.add_frame(picture)
        stream.add_boxes(np.array([[20, 20, 90, 95]], float) if i < 20 or i >= 46 else np.zeros((0, 4)))
    assert [(track.first, track.n_frames) for track in stream.finish()] == [(0, 20), (46, 34)]
    stream = LipStream(Meter(), min_track_frames=10, min_face_size_px=50)
    for i in range(80):
        stream.add_frame(picture)
        stream.add_boxes(np.array([[20, 20, 90, 95]], float) if i < 20 or i >= 44 else np.zeros((0, 4)))
    assert [(track.first, track.n_frames) for track in stream.finish()] == [(0, 80)]
    assert stream.most_frames_held <= 25 + 15 + 8


def test_the_network_takes_what_the_stream_hands_it() -> None:
    stream = LipStream(Embedder(brightness_syncnet(), windows_at_once=4), min_track_frames=5, min_face_size_px=10)
    for i in range(16):
        stream.add_frame(np.full((64, 64, 3), 10 * i, np.uint8))
        stream.add_boxes(np.array([[24, 26, 40, 42]], float))
    (track,) = stream.finish()
    np.testing.assert_allclose(np.asarray(track.lips)[:, 0], np.arange(2, 14) * 40 / 255, atol=1e-3)
