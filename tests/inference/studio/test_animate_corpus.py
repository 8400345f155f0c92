"""Real portraits and clips through `animate`: they become a video with the driver's frames and its sound in place, or one clear line."""

import csv
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")
pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
pytest.importorskip("diffusers", reason="the pipeline needs diffusers: install the [train] extra")

from curation.landmarks import make_backend  # noqa: E402
from inference.studio.animate import animate  # noqa: E402
from inference.studio.request import Request  # noqa: E402
from manifests import UserError  # noqa: E402
from tests.inference.animation_parts import tiny_pipeline  # noqa: E402
from tests.inference.driver_footage import PlantedBackend  # noqa: E402

RATE_HZ = 16_000
SOUND_IN_PLACE_S = 0.010
QUICK = {"preset": "fast", "num_inference_steps": 1, "guidance_scale": 1.0}
TRUNCATED = {"mead_sad_crop.mp4"}  # of the corpus' clips
CUT_BY_EDIT_LIST = {"hdtf_RD_Radio10_0_clip_0.mp4": 61, "pyfeat_no_face.mp4": 95, "personalive_driving_61s.mp4": 1531}  # frames shown


def shown(path: Path) -> tuple[int, float, Fraction]:
    """Frames of a video, when the last one is shown, seconds after the first, and the stream's average rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [float(frame.pts * stream.time_base) for frame in container.decode(stream)]
    return len(times), times[-1] - times[0], stream.average_rate


def heard(path: Path) -> np.ndarray | None:
    """Mono sound at 16 kHz from the first picture on, placed by the time stamps alone; None without a track or in silence."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        first_s = next(frame.time for frame in container.decode(container.streams.video[0]))
    with av.open(str(path)) as container:
        resampler, begin_s, parts = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ), None, []
        for frame in container.decode(container.streams.audio[0]):
            begin_s = frame.time if begin_s is None else begin_s
            parts += [out.to_ndarray()[0] for out in resampler.resample(frame)]
    sound = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    lead = round(((begin_s or 0.0) - first_s) * RATE_HZ)
    sound = np.pad(sound, (lead, 0)) if lead > 0 else sound[-lead:]
    return sound if np.abs(sound).max(initial=0) > 1e-3 else None


def offset_s(ours: np.ndarray, theirs: np.ndarray) -> float:
    """How much later `ours` is, by cross-correlation within 0.1 s."""
    n = min(len(ours), len(theirs))
    size = 1 << (2 * n - 1).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(ours[:n], size) * np.conj(np.fft.rfft(theirs[:n], size)), size)
    lags = np.arange(-RATE_HZ // 10, RATE_HZ // 10 + 1)
    return float(lags[np.argmax(likeness[lags])]) / RATE_HZ


def problem_of(pipe, clip: Path, portrait: Path, out: Path, n_listed: int) -> str | None:
    """What is wrong with the animation of a clip by its own sound and pictures; None if nothing is."""
    try:
        report = animate(pipe, Request.from_tree({"reference": str(portrait), "driving": str(clip), "out": str(out), **QUICK}))
    except UserError as error:
        one_clear_line = str(error).startswith(str(clip)) and "\n" not in str(error)
        return None if clip.name in TRUNCATED and one_clear_line else f"refused: {error}"
    n_frames, last_s, fps = shown(out)
    n_source, source_s, _ = shown(clip)
    n_source = min(CUT_BY_EDIT_LIST.get(clip.name, n_source), n_source)
    if n_frames != report.num_frames or n_frames < n_source or abs(last_s - source_s) > 1.5 / float(fps):
        return f"{n_frames} frames at {fps}, the last at {last_s:.3f} s; the clip has {n_source} ({n_listed}), the last at {source_s:.3f} s"
    theirs, ours = heard(clip), heard(out)
    if theirs is not None and ours is None:
        return "its sound is gone"
    if theirs is not None and ours is not None and abs(late := offset_s(ours, theirs)) > SOUND_IN_PLACE_S:
        return f"its sound is {1000 * late:.1f} ms late"
    return None


def index_of(corpus: Path, name: str) -> list[dict[str, str]]:
    with (corpus / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.corpus
@pytest.mark.slow
def test_every_portrait_is_animated_or_said_to_have_no_face(corpus: Path, tmp_path: Path) -> None:
    pipe = tiny_pipeline(landmarks=make_backend("facemesh"))
    refused = {}
    entries = index_of(corpus, "portraits.csv")
    for entry in entries:
        out = tmp_path / "out.mp4"
        portrait = corpus / entry["file"]
        try:
            animate(
                pipe, Request.from_tree({"reference": str(portrait), "driving": str(portrait), "still_s": 0.32, "out": str(out), **QUICK})
            )
        except UserError as error:
            refused[portrait.name] = str(error).removeprefix(str(portrait))
        else:
            assert shown(out)[0] == 8
    assert all(line.startswith(": no face found") for line in refused.values()), refused
    assert {name for name in refused if int(next(e for e in entries if e["file"].endswith(name))["faces_yunet"])} <= DRAWN, refused


DRAWN: set[str] = set()


@pytest.mark.corpus
@pytest.mark.slow
@pytest.mark.timeout(3600)  # a hundred clips, decoded whole
def test_every_clip_drives_for_as_long_as_it_is_with_its_sound_in_place(corpus: Path, tmp_path: Path) -> None:
    """The face is planted: reading, timing, sampling and writing are what is tried here."""
    pipe = tiny_pipeline(landmarks=PlantedBackend())
    entries = index_of(corpus, "clips.csv")
    portrait = corpus / "portraits" / "lp_s1.jpg"
    wrong = {}
    for entry in entries:
        clip = corpus / entry["file"]
        problem = problem_of(pipe, clip, portrait, tmp_path / "out.mp4", int(entry["n_frames"]))
        if problem is not None:
            wrong[clip.name] = problem
    assert not wrong
    assert len(entries) > 100
