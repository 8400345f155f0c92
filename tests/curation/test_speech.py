import numpy as np
import pytest

from curation.contracts import Evidence
from curation.scorers.speech import Speech


def ratio(scorer: Speech, audio: np.ndarray | None) -> float | None:
    return scorer.finish(Evidence(None, None, 25.0, None, audio)).get("speech_ratio")


@pytest.fixture(scope="module")
def scorer() -> Speech:
    return Speech()


def test_no_stream_is_null_and_silence_noise_and_a_tone_are_no_speech(scorer):
    rng = np.random.default_rng(0)
    t = np.arange(3 * 16000) / 16000
    assert ratio(scorer, None) is None
    assert ratio(scorer, np.zeros(48000, np.int16)) == 0
    assert ratio(scorer, rng.normal(0, 2000, 48000).astype(np.int16)) < 0.05
    assert ratio(scorer, (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)) < 0.05
    assert ratio(scorer, np.zeros(100, np.int16)) == 0


@pytest.mark.corpus
def test_real_speech_is_speech_and_earlier_clips_leave_no_trace(scorer, corpus):
    import av

    with av.open(str(corpus / "speech" / "sadtalker_RD_Radio31_000.wav")) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16000)
        parts = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    audio = np.concatenate(parts)
    fresh, used = Speech(), scorer
    assert ratio(fresh, audio) > 0.9
    ratio(used, audio[::-1].copy())
    np.testing.assert_array_equal(used.probability(audio), fresh.probability(audio))
