import numpy as np
import pytest

from curation.contracts import Evidence, Faces, Frame, MediaInfo
from curation.scorers.cuts import Cuts

INFO = MediaInfo(320, 240, 25.0, None, 0.0, "h264", False, None)


def scenes(*lengths: int, pan_px: int = 2, seed: int = 0) -> list[np.ndarray]:
    """Frames of several scenes: smooth random pictures, each panned slowly and with a little noise."""
    import cv2

    rng = np.random.default_rng(seed)
    frames = []
    for length in lengths:
        picture = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (320 + pan_px * length, 240), interpolation=cv2.INTER_CUBIC)
        for i in range(length):
            noisy = picture[:, i * pan_px : i * pan_px + 320].astype(np.int16) + rng.integers(-3, 4, (240, 320, 3))
            frames.append(noisy.clip(0, 255).astype(np.uint8))
    return frames


def count(frames: list[np.ndarray], **settings) -> int:
    scorer = Cuts(**settings)
    scorer.begin(INFO)
    for i, rgb in enumerate(frames):
        scorer.on_frame(Frame(i, i * 40.0, rgb))
    empty = Faces(np.zeros(0), np.zeros(0, np.int16), np.zeros((0, 68, 2), np.float32), np.zeros((0, 68), np.float32))
    return scorer.finish(Evidence(None, INFO, 25.0, empty, None))["n_cuts"]


@pytest.mark.parametrize("lengths", [(40,), (20, 20), (13, 31, 22), (9, 9, 9, 9)])
def test_counts_hard_cuts_and_nothing_else(lengths):
    assert count(scenes(*lengths)) == len(lengths) - 1


def test_a_pan_and_a_flicker_of_light_are_no_cuts():
    panned = scenes(50, pan_px=8)
    flickering = [np.clip(rgb.astype(np.float32) * (1 + 0.08 * np.sin(i)), 0, 255).astype(np.uint8) for i, rgb in enumerate(scenes(50))]
    assert count(panned) == 0
    assert count(flickering) == 0


@pytest.mark.parametrize("size", [(2, 2), (97, 1), (1, 500), (161, 333)])
def test_odd_sizes(size):
    rng = np.random.default_rng(0)
    assert count([rng.integers(0, 9, (*size, 3), dtype=np.uint8) for _ in range(8)]) == 0


def test_a_second_clip_starts_afresh():
    scorer = Cuts()
    for _ in range(2):
        scorer.begin(INFO)
        for i, rgb in enumerate(scenes(20, 20)):
            scorer.on_frame(Frame(i, i * 40.0, rgb))
        assert scorer.finish(None) == {"n_cuts": 1}
