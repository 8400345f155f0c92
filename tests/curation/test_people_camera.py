"""The camera's faults: a layer that can be left out, and does what it says."""

from dataclasses import replace

import numpy as np
import pytest

from curation.people.camera import NO_FAULTS, Faults, draw_faults, through_camera

STILL = np.zeros(2)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    y, x = np.mgrid[:128, :128]
    return np.stack([40 + x, 60 + y, 128 + 60 * np.sin(x / 3)], axis=-1).astype(np.uint8)


def seen(picture, faults, way=STILL, seed=0):
    return through_camera(picture, faults, np.asarray(way), np.random.default_rng(seed))


def test_without_faults_nothing_changes(picture):
    for crf in (18, 33):
        assert seen(picture, replace(NO_FAULTS, crf=crf), way=(7, 3)) is picture


@pytest.mark.parametrize("faults", [Faults(noise=0.02), Faults(blur_px=1), Faults(gamma=1.2), Faults(resolution=0.5), Faults(shutter=0.5)])
def test_faults_change_the_picture_and_not_the_input(picture, faults):
    before = picture.copy()
    after = seen(picture, faults, way=(6, 0))
    assert after.shape == picture.shape
    assert after.dtype == np.uint8
    assert not np.array_equal(after, picture)
    np.testing.assert_array_equal(picture, before)


def test_white_balance_is_a_gain_on_each_channel():
    grey = np.full((16, 16, 3), 100, np.uint8)
    np.testing.assert_array_equal(seen(grey, Faults(white_balance=(1.1, 1.0, 0.9)))[8, 8], [110, 100, 90])


def test_gamma_is_a_power_of_the_value():
    grey = np.full((16, 16, 3), 100, np.uint8)
    assert seen(grey, Faults(gamma=1.3))[8, 8, 0] == round(255 * (100 / 255) ** 1.3)


def test_noise_has_the_planted_strength():
    grey = np.full((256, 256, 3), 128, np.uint8)
    assert seen(grey, Faults(noise=0.03)).std() == pytest.approx(0.03 * 255, rel=0.03)


def test_motion_blur_smears_along_the_way_only():
    line = np.zeros((65, 65, 3), np.uint8)
    line[:, 32] = 255  # an upright line
    along = seen(line, Faults(shutter=1.0), way=(0, 8))
    across = seen(line, Faults(shutter=1.0), way=(8, 0))
    np.testing.assert_array_equal(along[20:45], line[20:45])
    profile = across[32, :, 0].astype(float)
    assert profile.sum() == pytest.approx(255, rel=0.05)  # light is kept
    assert 7 <= (profile > 10).sum() <= 10  # and spread over eight pixels
    assert (profile * np.arange(65)).sum() / profile.sum() == pytest.approx(32, abs=0.1)


def test_faults_are_drawn_from_seed_person_and_clip():
    assert draw_faults(0, 1) == draw_faults(0, 1)
    assert len({draw_faults(seed, person, clip) for seed in (0, 1) for person in range(5) for clip in (0, 1)}) == 20
    drawn = [draw_faults(0, person) for person in range(300)]
    assert all(18 <= faults.crf <= 30 and 0 <= faults.shutter <= 0.6 and 0.55 <= faults.resolution <= 1 for faults in drawn)
    assert 0.3 < np.mean([faults.resolution < 1 for faults in drawn]) < 0.5
