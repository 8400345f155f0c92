"""The sign of the offset, pinned by moving the sound, and that curves move with it exactly."""

import numpy as np
import pytest
from syncnet_planted import brightness_syncnet, flashing, later, random_syncnet, talking_crops

from curation.syncnet.clip import score_crops
from curation.syncnet.mfcc import mfcc
from curation.syncnet.network import Embedder
from curation.syncnet.score import MAX_SHIFT, distances, n_windows, read


@pytest.fixture(scope="module")
def planted() -> tuple[Embedder, np.ndarray, np.ndarray]:
    """Embedder, lip embeddings and sound of crops that flash when it is loud."""
    level, audio = flashing(70)
    crops = np.broadcast_to(level[:, None, None, None], (70, 224, 224, 3))
    embedder = Embedder(brightness_syncnet())
    return embedder, embedder.lips(crops), audio


def test_the_offset_moves_with_the_sound_and_is_positive_where_it_is_early(planted) -> None:
    embedder, lips, audio = planted
    n = n_windows(70, len(audio))
    for late in range(-10, 11):
        score = read(distances(lips[:n], embedder.sound(mfcc(later(audio, late)), n)))
        assert score.offset_frames == -late
        assert score.sync_c > 0.4


def test_distance_curves_move_exactly_with_the_sound() -> None:
    embedder = Embedder(random_syncnet())
    crops, audio = talking_crops(20, seed=4)
    lips = embedder.lips(crops)
    n = n_windows(20, len(audio))
    before = distances(lips[:n], embedder.sound(mfcc(audio), n))
    for late in (-4, 1, 6):
        moved = distances(lips[:n], embedder.sound(mfcc(later(audio, late)), n))
        for i in range(n):
            for k in range(-MAX_SHIFT, MAX_SHIFT + 1):
                if 1 <= i + k < n and 1 <= i + k + late < n:  # the very first row of cepstra knows no sample before it
                    assert moved[i, k + late + MAX_SHIFT] == pytest.approx(before[i, k + MAX_SHIFT], abs=1e-3) or abs(k + late) > MAX_SHIFT


def test_a_planted_offset_of_a_whole_curve_is_read_with_its_confidence() -> None:
    distance = np.full((40, 31), 9.0, np.float32)
    distance[:, MAX_SHIFT - 4] = 6.5
    distance[7, MAX_SHIFT - 4] = 8.0
    score = read(distance)
    assert (score.offset_frames, score.n_windows) == (4, 40)
    assert score.sync_d == pytest.approx((6.5 * 39 + 8) / 40)
    assert score.sync_c == pytest.approx(9 - score.sync_d)
    assert score.framewise[7] == pytest.approx(2.5)  # one window among nine does not show in the median
    assert len(score.curve) == 31


def test_too_little_for_one_window_is_no_score() -> None:
    embedder = Embedder(brightness_syncnet())
    crops = np.zeros((5, 224, 224, 3), np.uint8)
    assert score_crops(embedder, crops, np.zeros(5 * 640, np.int16)) is None
    assert score_crops(embedder, crops, np.zeros(0, np.int16)) is None
