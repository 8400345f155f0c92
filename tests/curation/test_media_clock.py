"""Spans that count by the container's time 0, where video or sound begins late: pictures, sound, and whoever reads rows."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manifests
from curation.contracts import Clip, ClipError
from curation.materialise.run import materialise
from curation.materialise.settings import MaterialiseSettings
from curation.media import MediaReader, span_of
from curation.sources.folder import Folder
from tests.curation.parent_manifests import Planted, head_points, write_parent
from tests.faults import Recipe, picture_number, write_clip

ROOT = Path(__file__).resolve().parents[2]
CASE = ROOT.parent / "shared/cases/curation/csv/video_starts_at_2300ms.mp4"
N_FRAMES, CLICKS_S = 100, (0.9, 2.5, 4.1)
# (first frame of the video at 25 Hz, first sample in s), before the muxer moves both
STARTS = {"video late": (31, 0.0), "sound late": (0, 1.3), "both late": (50, 0.76), "together": (0, 0.0)}
KINDS = ("aac.mp4", "flac.mkv", "aac.ts", "mpeg2.mpg")


def late_clip(folder, kind: str, video_start: int, sound_start_s: float):
    """Numbered pictures, and clicks at `CLICKS_S` after the sound's first sample."""
    sound = np.zeros(round(5.5 * 48000), np.int16)
    for at_s in CLICKS_S:
        sound[round(at_s * 48000) :][:192] = 20000
    codec = {"codec": "mpeg2video", "sound_codec": "mp2"} if kind.endswith(".mpg") else {}
    codec |= {"sound_codec": "flac"} if kind.startswith("flac") else {}
    fast = {} if kind.endswith(".mpg") else {"preset": "ultrafast"}
    times = range(video_start, video_start + N_FRAMES)
    path = folder / f"{video_start}-{sound_start_s}-{kind}"
    options = {"g": "12", "bf": "2"} | fast
    return write_clip(
        path,
        Recipe(times=times, sound=sound, sound_start_s=sound_start_s, sound_rate_hz=48000, options=options, **codec),
    )


def by_the_container(path) -> tuple[list[float], list[float]]:
    """When each picture is shown and each click sounds, ms after time 0 as ffmpeg's -ss counts it; by PyAV alone."""
    with av.open(str(path)) as container:
        zero_s = container.start_time / 1e6
        shown = [1000 * (frame.time - zero_s) for frame in container.decode(video=0)]
    heard = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray().astype(float)).max(axis=0)
            loud = np.flatnonzero(samples > 0.3 * (1 if frame.format.name.startswith("flt") else 32768))
            heard += [1000 * (frame.time - zero_s) + i / 48 for i in loud]
    return shown, [t for i, t in enumerate(heard) if not i or t - heard[i - 1] > 100]


def clicks_ms(sound: np.ndarray) -> list[float]:
    loud = np.flatnonzero(np.abs(sound.astype(int)) > 6000) / 16
    return [t for i, t in enumerate(loud) if not i or t - loud[i - 1] > 100]


@pytest.fixture(scope="module")
def reader():
    with MediaReader() as reader:
        yield reader


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(start, kind) -> (path, pictures' times, clicks' times)"""
    folder = tmp_path_factory.mktemp("late")
    made = {}
    for name, start in STARTS.items():
        for kind in KINDS:
            path = late_clip(folder, kind, *start)
            made[name, kind] = (path, *by_the_container(path))
    return made


def test_the_files_begin_late_as_planted(files, reader):
    for (name, kind), (path, shown, heard) in files.items():
        video_start, sound_start_s = STARTS[name]
        late_ms = 40 * video_start - 1000 * sound_start_s
        assert shown[0] == pytest.approx(max(0, late_ms), abs=80), (name, kind)  # encoders' delays shift the sound by some tens of ms
        assert heard[0] - shown[0] == pytest.approx(1000 * CLICKS_S[0] - late_ms, abs=80), (name, kind)
        assert reader.probe(str(path)).video_start_ms == pytest.approx(shown[0], abs=0.1)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([(name, kind) for name in STARTS for kind in KINDS]), st.integers(0, 5000), st.integers(60, 3000))
def test_a_span_by_the_container_is_what_ffmpeg_cuts(files, reader, which, start_ms, length_ms):
    path, shown, heard = files[which]
    end_ms = start_ms + length_ms
    clip = Clip("s", "k", "i", str(path), start_ms, min(end_ms, round(shown[-1]) + 40), time_zero="container")
    if clip.end_ms <= max(start_ms, shown[0]) + 1 or start_ms > shown[-1]:
        with pytest.raises(ClipError) as error, reader.read(clip) as stream:
            list(stream.frames())
        assert error.value.kind in ("no_frames", "truncated")
        return
    with reader.read(clip) as stream:
        numbers = [picture_number(frame.rgb) for frame in stream.frames()]
        sound = stream.audio
    begin_ms = max(start_ms, shown[0])  # nothing is shown before the first frame
    for k, number in enumerate(numbers):
        at_ms = begin_ms + 40 * k
        assert number in {bisect_right(shown, at_ms + d) - 1 for d in (-1.1, 0.1, 1.1)}, (k, at_ms)
    expected = [t - begin_ms for t in heard if begin_ms + 10 < t < begin_ms + len(sound) / 16 - 10]
    found = [t for t in clicks_ms(sound) if 10 < t < len(sound) / 16 - 10]
    assert found == pytest.approx(expected, abs=2.5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_file_begins_with_its_first_frame_on_either_clock(files, reader, kind):
    path = str(files["video late", kind][0])
    read = []
    for time_zero in ("container", "first_frame"):
        with reader.read(Clip("s", "k", "i", path, time_zero=time_zero)) as stream:
            read.append(([picture_number(frame.rgb) for frame in stream.frames()], stream.audio))
    assert read[0][0] == read[1][0] == list(range(N_FRAMES))
    np.testing.assert_array_equal(read[0][1], read[1][1])


def test_a_span_before_the_video_has_no_frames(files, reader):
    path = str(files["video late", "aac.mp4"][0])
    with pytest.raises(ClipError, match="before the first frame") as error:
        reader.read(Clip("s", "k", "i", path, 0, 1000, time_zero="container"))
    assert error.value.kind == "no_frames"


@pytest.mark.parametrize("missing", [{}, {"video_start_ms": None}, {"video_start_ms": float("nan")}, {"video_start_ms": pd.NA}])
def test_rows_of_before_count_from_the_first_frame(missing):
    span = span_of({"video_path": "a", "start_ms": np.int64(4000), "end_ms": pd.NA, **missing})
    assert (span.start_ms, span.end_ms, span.time_zero) == (4000, None, "first_frame")
    assert isinstance(span.start_ms, int)


def test_whoever_reads_the_row_sees_what_was_scored(files, reader, tmp_path):
    """A file whose video is 1.24 s late; span 2000..3600 ms of the container begins at its frame 19."""
    path, shown, heard = files["video late", "flac.mkv"]
    row = {"start_ms": 2000, "end_ms": 3600, "video_start_ms": shown[0], "duration_ms": 1600.0}
    with reader.read(Clip("s", "k", "i", str(path), 2000, 3600, time_zero="container")) as stream:
        scored = [picture_number(frame.rgb) for frame in stream.frames()]
        sound = stream.audio
    assert scored == list(range(19, 59))
    span = span_of(row | {"video_path": str(path)})
    with reader.read(span) as stream:
        assert [picture_number(frame.rgb) for frame in stream.frames()] == scored
        np.testing.assert_array_equal(stream.audio[400:], sound[400:])
    assert [picture_number(rgb) for rgb in reader.pictures_at(str(path), [span.start_ms, span.start_ms + 400])] == [19, 29]

    points = head_points(np.full((40, 2), [80.0, 64.0]), 8.0)
    parent = write_parent(tmp_path / "run", [Planted(path, points, row=row)])
    settings = MaterialiseSettings(size_px=128, audio_codec="flac")
    materialise(str(parent), str(tmp_path / "out"), settings, say=lambda line: None, executor="inprocess")
    new = manifests.load(tmp_path / "out").iloc[0]
    assert (new["start_ms"], new["video_start_ms"], new["parent_start_ms"], new["duration_ms"]) == (0, 0.0, 2000, 1600.0)
    click_ms = next(t for t in heard if t > 2000) - 2000
    with reader.read(Clip("s", "k", "i", new["video_path"])) as stream:
        assert len(list(stream.frames())) == 40
        assert clicks_ms(stream.audio) == pytest.approx([click_ms], abs=2.5)


def test_training_reads_the_same_span(files, tmp_path):
    from training.data.clips import OpenManifest

    path, shown, _ = files["video late", "flac.mkv"]
    points = head_points(np.full((40, 2), [80.0, 64.0]), 8.0)
    row = {"start_ms": 2000, "end_ms": 3600, "video_start_ms": shown[0], "has_audio": True, "split": "train"}
    parent = write_parent(tmp_path / "run", [Planted(path, points, row=row)])
    clip = OpenManifest.read(parent).clips("", "all", 25.0, needs_audio=True).clips[0]
    assert clip.start_ms == pytest.approx(2000 - shown[0])
    assert clip.end_ms == pytest.approx(3600 - shown[0])
    assert clip.span == span_of(row | {"video_path": str(path)})


@pytest.mark.parametrize("source", ["folder", "hdtf", "multitalk", "voxceleb1", "talkinghead1kh"])
def test_every_adapter_with_spans_says_what_time_0_is(source):
    page = (ROOT / "docs/datasets.md").read_text()
    table = page.split("| time 0 |")[1].split("\n\n")[0]
    assert f"`{source}`" in table


def test_a_csv_counts_by_the_container(tmp_path, files):
    path = files["video late", "aac.mp4"][0]
    (path.parent / "index.csv").write_text(f"path,start_ms,end_ms\n{path.name},2000,3600\n")
    clip = next(Folder(str(path.parent / "index.csv")).clips())
    assert (clip.start_ms, clip.time_zero) == (2000, "container")


@pytest.mark.skipif(not CASE.exists(), reason="needs ../shared/cases")
def test_the_case_of_a_video_2300_ms_late(reader):
    with reader.read(Clip("s", "k", "i", str(CASE), 4000, 6000, time_zero="container")) as stream:
        brightness = [frame.rgb.mean() for frame in stream.frames()]
    assert 40 * int(np.argmax(brightness)) == pytest.approx(780, abs=20)  # the grid of 40 ms against the video's, which begins at 2300
