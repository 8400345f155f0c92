"""Sound that leaves the decoder as it comes is the sound in one, and is not held."""

from __future__ import annotations

import av
import numpy as np
import pytest

from curation.media import soundtrack
from curation.media.soundtrack import RATE_HZ, Soundtrack
from curation.spool import Spool


def _frame(samples: np.ndarray) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[None].astype(np.int16), format="s16", layout="mono")
    frame.sample_rate = RATE_HZ
    return frame


def _laid(pieces: list[tuple[int, np.ndarray]]) -> Spool:
    spool = Spool(np.int16)
    for first, samples in pieces:
        spool.write(first, samples)
    return spool


@pytest.mark.parametrize("stretch", [33, 320, 1000, 4096])
@pytest.mark.parametrize("taken_every", [1, 3, 100])
def test_runs_holes_and_overlaps_are_laid_out_whatever_the_pieces(monkeypatch, stretch, taken_every):
    monkeypatch.setattr(soundtrack, "_STRETCH", stretch)
    rng, track = np.random.default_rng(stretch), Soundtrack()
    laid, pieces, n = np.zeros(8000, np.int16), [], 0
    for first, n_frames in ((100, 4), (1700, 3), (1100, 2), (5000, 5)):  # a hole, then a run that goes back over sound, then a hole
        for i in range(n_frames):
            samples, at = rng.integers(-9000, 9000, 320), first + 320 * i
            track.add(_frame(samples), at / RATE_HZ)
            laid[at : at + 320] = samples
            n += 1
            if n % taken_every == 0:
                assert track.n_untaken > 0
                pieces += track.take()
                assert track.n_untaken == 0
    track.end_run()
    pieces += [(first, samples.copy()) for first, samples in track.take()]
    spool = _laid(pieces)
    spool.resize(8000)
    np.testing.assert_array_equal(np.asarray(spool), laid)
    track.begin_span(1700 / RATE_HZ)
    again = _laid(track.take())
    np.testing.assert_array_equal(again[5000:6600], laid[5000:6600])


def test_the_decoder_holds_no_sound_that_it_gave_out(tmp_path):
    """Whatever the length, a few seconds at most wait in the child's place of the file."""
    from curation.media.spans import Span
    from curation.media.videofile import VideoFile

    file = tmp_path / "long.mp4"
    with av.open(str(file), "w") as out:
        video, audio = out.add_stream("mpeg4", rate=5), out.add_stream("aac", rate=RATE_HZ)
        video.width = video.height = 32
        audio.layout = "mono"
        for second in range(120):
            for i in range(5):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), second, np.uint8), format="rgb24")
                frame.pts = 5 * second + i
                out.mux(video.encode(frame))
            sound = _frame(np.random.default_rng(second).integers(-3000, 3000, RATE_HZ))
            sound.pts = second * RATE_HZ
            out.mux(audio.encode(sound))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    for with_pictures in (True, False):
        opened = VideoFile(str(file), 1 << 20)
        span = Span(opened, 0.0, None, 5.0, with_sound=True, max_span_s=1000, max_gap_s=10)
        most_held, n_given = 0, 0
        track = opened.playhead.soundtrack

        def give(last: bool) -> None:
            nonlocal most_held, n_given
            n_given += sum(len(samples) for _, samples in span.sound(last))  # noqa: B023
            most_held = max(most_held, len(track._stretches))  # noqa: B023

        for _ in span.pictures() if with_pictures else ():
            track = opened.playhead.soundtrack
            give(False)
        while not span.hear(give_up_at=0.0):
            track = opened.playhead.soundtrack
            give(False)
        give(True)
        assert n_given == pytest.approx(120 * RATE_HZ, abs=2048)
        assert most_held <= 5, most_held  # of 120 s; before: all of them
        opened.close()
