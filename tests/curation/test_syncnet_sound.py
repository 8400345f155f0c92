"""MFCC against python_speech_features, the median against SciPy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import medfilt

from curation.syncnet import mfcc as ours
from curation.syncnet.filters import median_filter

psf = pytest.importorskip("python_speech_features")


@given(n=st.integers(1, 3000), scale=st.sampled_from([0, 1, 300, 30000]), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_mfcc_equals_python_speech_features(n: int, scale: int, seed: int) -> None:
    audio = np.random.default_rng(seed).uniform(-scale, scale, n).astype(np.int16)
    np.testing.assert_allclose(ours.mfcc(audio), psf.mfcc(audio, 16000), rtol=0, atol=1e-8)


def test_long_sound_is_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = (np.random.default_rng(0).normal(size=16000) * 3000).astype(np.int16)
    whole = ours.mfcc(audio)
    monkeypatch.setattr(ours, "_FRAMES_AT_ONCE", 7)
    np.testing.assert_allclose(ours.mfcc(audio), whole, rtol=0, atol=1e-9)


def test_no_sound_has_no_rows() -> None:
    assert ours.mfcc(np.zeros(0, np.int16)).shape == (0, 13)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.sampled_from([9, 13]))
def test_median_equals_scipys(values: list[float], taps: int) -> None:
    values = np.array(values)
    np.testing.assert_array_equal(median_filter(values, taps), medfilt(np.pad(values, taps), taps)[taps:-taps])
