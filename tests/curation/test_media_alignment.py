"""Which picture and which sound a clip gives: numbered pictures, flashes with clicks, spans against the whole file, in many containers."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from curation.contracts import Clip, ClipError
from curation.media import MediaReader, random_frames
from tests.faults import Recipe, numbered_picture, picture_number, tone, uneven_times, write_clip

FAST_VP9 = {"deadline": "realtime", "cpu-used": "8"}
QUIET_HEVC = {"preset": "ultrafast", "x265-params": "pools=none:log-level=none:keyint=12"}
CONTAINERS = {
    "aac.mp4": {"options": {"g": "12", "bf": "2"}},
    "open_gop.mp4": {"options": {"g": "12", "bf": "3", "x264-params": "open-gop=1"}},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "12"}},
    "aac44.mov": {"sound_rate_hz": 44100, "options": {"g": "12"}},
    "hevc.mp4": {"codec": "libx265", "options": QUIET_HEVC},
    "flac.mkv": {"sound_codec": "flac", "sound_rate_hz": 48000, "options": {"g": "12", "bf": "2"}},
    "opus.webm": {"codec": "libvpx-vp9", "sound_codec": "libopus", "sound_rate_hz": 48000, "options": FAST_VP9 | {"g": "20"}},
    "mpeg1.mpg": {"codec": "mpeg1video", "sound_codec": "mp2", "sound_rate_hz": 44100, "options": {"g": "12"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "sound_codec": "mp2", "sound_rate_hz": 48000, "options": {"g": "12", "bf": "2"}},
    "aac.ts": {"options": {"g": "12", "bf": "2"}},
    "aac.flv": {"sound_rate_hz": 44100, "options": {"g": "12"}},
    "pcm.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "sound_codec": "pcm_s16le", "sound_rate_hz": 22050},
}
CARRIES_STARTS = sorted(set(CONTAINERS) - {"pcm.avi"})


@pytest.fixture(scope="module")
def reader():
    with MediaReader() as reader:
        yield reader


def read(reader: MediaReader, path: Path, start_ms: int = 0, end_ms: int | None = None, **options):
    """(times_ms, pictures, sound, info)"""
    with reader.read(Clip("s", "k", "i", str(path), start_ms, end_ms), **options) as stream:
        frames = [(frame.time_ms, frame.rgb.copy()) for frame in stream.frames()]
        return [t for t, _ in frames], [rgb for _, rgb in frames], stream.audio, stream.info


def numbers(pictures: list[np.ndarray]) -> list[int]:
    return [picture_number(picture) for picture in pictures]


def lag_samples(sound: np.ndarray, reference: np.ndarray, max_lag: int = 32) -> int:
    """By how much `sound` comes later than `reference`, by the best match."""
    a, b = sound.astype(float), reference.astype(float)
    inner = slice(max_lag, len(a) - max_lag)
    match = {lag: np.abs(a[inner] - b[max_lag - lag : len(b) - max_lag - lag]).sum() for lag in range(-max_lag, max_lag + 1)}
    return min(match, key=match.get)


def warble(n_samples: int, rate_hz: int) -> np.ndarray:
    """A tone whose frequency never repeats, so that a shift shows."""
    t = np.arange(n_samples) / rate_hz
    return (8000 * np.sin(2 * np.pi * (150 * t + 40 * t**2))).astype(np.int16)


def onsets_ms(sound: np.ndarray) -> list[float]:
    loud = np.flatnonzero(np.abs(sound.astype(int)) > 6000)
    return [loud[0] / 16, *(b / 16 for a, b in pairwise(loud) if b - a > 1600)]


@pytest.mark.parametrize("name", CONTAINERS)
def test_spans_equal_the_whole_file(reader, tmp_path, name):
    recipe = {"options": {}} | CONTAINERS[name]
    rate = recipe.get("sound_rate_hz", 16000)
    path = write_clip(tmp_path / name, Recipe(times=range(150), sound=warble(6 * rate, rate), **recipe))
    times, pictures, sound, _ = read(reader, path)
    assert numbers(pictures) == list(range(150))
    assert times == [40.0 * k for k in range(150)]
    assert len(sound) == 6 * 16000
    reference = warble(6 * 16000, 16000)
    assert abs(lag_samples(sound[8000:40000], reference[8000:40000])) <= 16
    # forward and adjoining (decoded on), backward (sought), overlapping, up to the end
    for start, end in ((0, 1000), (1000, 2000), (2520, 2560), (4000, None), (3000, 5000), (40, 1040), (0, 80)):
        times, part, heard, _ = read(reader, path, start, end)
        first, stop = start // 40, 150 if end is None else end // 40
        assert numbers(part) == list(range(first, stop))
        assert times[0] == 0.0
        assert all((a == b).all() for a, b in zip(part, pictures[first:stop], strict=True))
        assert len(heard) == 640 * (stop - first)
        assert (sound_alone := read(reader, path, start, end, frames=False)[2]) is not None
        assert len(sound_alone) == len(heard)
        if end != start + 40:
            window = slice(start * 16, start * 16 + len(heard))
            assert abs(lag_samples(heard[800:], sound[window][800:])) <= 16  # a millisecond: what containers round
            assert abs(lag_samples(sound_alone[800:], heard[800:])) <= 16


@pytest.mark.parametrize("name", CARRIES_STARTS)
@pytest.mark.parametrize(("sound_start_s", "video_start"), [(0.5, 0), (0.0, 25)])
def test_flash_and_click_coincide(reader, tmp_path, name, sound_start_s, video_start):
    if name == "fragments.mp4" and not sound_start_s:
        pytest.skip("a fragmented file without edit list cannot say that its video starts late")
    recipe = {"options": {}} | CONTAINERS[name]
    rate = recipe.get("sound_rate_hz", 16000)
    sound = np.zeros(round((3.2 + video_start / 25 - sound_start_s) * rate), np.int16)
    for at_s in (0.8, 2.0):
        at = round((at_s + video_start / 25 - sound_start_s) * rate)
        sound[at : at + round(0.004 * rate)] = 20000
    times = range(video_start, video_start + 75)
    path = write_clip(tmp_path / name, Recipe(times=times, sound=sound, sound_start_s=sound_start_s, bright=frozenset({20, 50}), **recipe))
    times, pictures, heard, _ = read(reader, path)
    flashes = [t for t, picture in zip(times, pictures, strict=True) if picture[-20:, 60:100].mean() > 180]
    assert flashes == [800.0, 2000.0]
    assert onsets_ms(heard) == pytest.approx(flashes, abs=2.0)
    # the same by seeking, with frames numbered from the span's start
    times, pictures, heard, _ = read(reader, path, 1600, 2400)
    assert [t for t, picture in zip(times, pictures, strict=True) if picture[-20:, 60:100].mean() > 180] == [400.0]
    assert onsets_ms(heard) == pytest.approx([400.0], abs=2.0)


def test_sound_is_padded_to_the_pictures_and_cut_with_them(reader, tmp_path):
    short = write_clip(tmp_path / "short.mp4", Recipe(sound=tone(16000)))
    _, pictures, sound, _ = read(reader, short)
    assert len(pictures) == 50
    assert len(sound) == 32000
    assert np.abs(sound[:15000]).max() > 5000
    assert not sound[18000:].any()
    long = write_clip(tmp_path / "long.mkv", Recipe(sound=tone(64000)))
    assert len(read(reader, long)[2]) == 32000
    assert read(reader, long, audio=False)[2] is None


def test_a_hole_in_the_sound_is_silence_and_what_follows_stays_in_place(reader, tmp_path):
    path = tmp_path / "hole.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 128, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        packets = []
        for i in range(75):
            frame = av.VideoFrame.from_ndarray(numbered_picture(i, 160, 128), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            packets += video.encode(frame)
        packets += video.encode(None)
        for start in (0, 32000):
            frame = av.AudioFrame.from_ndarray(tone(16000)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
            packets += sound.encode(frame)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    _, _, heard, _ = read(reader, path)
    assert (heard[:16000] == tone(16000)).all()
    assert not heard[16000:32000].any()
    assert (heard[32000:] == tone(16000)).all()


def test_variable_frame_rate_follows_the_time_stamps(reader, tmp_path):
    ticks = uneven_times(60)
    path = write_clip(tmp_path / "vfr.mp4", Recipe(times=ticks, ticks_hz=90000))
    times, pictures, _, _ = read(reader, path)
    expected = [max(i for i, tick in enumerate(ticks) if tick <= 90 * t + 1) for t in times]
    assert numbers(pictures) == expected


@pytest.mark.parametrize(("fps", "sample_hz"), [(30, 25.0), (8, 25.0), (50, 25.0), (25, 5.0), (24, 24.0)])
def test_other_rates(reader, tmp_path, fps, sample_hz):
    path = write_clip(tmp_path / "rate.mp4", Recipe(times=range(2 * fps), ticks_hz=fps))
    times, pictures, _, info = read(reader, path, sample_hz=sample_hz)
    assert info.fps == pytest.approx(fps)
    assert len(times) == 2 * sample_hz
    assert numbers(pictures) == [int(k * fps / sample_hz + 1e-9) for k in range(len(times))]


def test_repeated_pictures_are_the_same_object(reader, tmp_path):
    path = write_clip(tmp_path / "slow.mp4", Recipe(times=range(8), ticks_hz=8))
    with reader.read(Clip("s", "k", "i", str(path))) as stream:
        seen = [(frame.rgb, picture_number(frame.rgb)) for frame in stream.frames()]
    for (rgb, number), (next_rgb, next_number) in pairwise(seen):
        assert (rgb is next_rgb) == (number == next_number)
        assert not rgb.flags.writeable


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_rotation_is_applied(reader, tmp_path, rotation_deg, suffix):
    path = write_clip(tmp_path / f"turned.{suffix}", Recipe(times=(0, 1), rotation_deg=rotation_deg))
    _, pictures, _, info = read(reader, path)
    expected = np.rot90(numbered_picture(0, 160, 128), -rotation_deg // 90)
    assert (info.height_px, info.width_px, 3) == pictures[0].shape == expected.shape
    assert info.rotation_deg == rotation_deg
    assert np.abs(pictures[0].astype(int) - expected).mean() < 12


def test_mirrored_phone_video(reader, tmp_path):
    path = tmp_path / "selfie.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 128, "yuv420p"
        video.set_display_rotation(0, hflip=True)
        container.mux(video.encode(av.VideoFrame.from_ndarray(numbered_picture(5, 160, 128), format="rgb24")))
        container.mux(video.encode(None))
    _, pictures, _, _ = read(reader, path)
    assert np.abs(pictures[0].astype(int) - numbered_picture(5, 160, 128)[:, ::-1]).mean() < 12


def test_wide_pixels_become_square(reader, tmp_path):
    path = write_clip(tmp_path / "wide.mp4", Recipe(times=range(3), pixel_aspect=Fraction(3, 2)))
    _, pictures, _, info = read(reader, path)
    assert (info.width_px, info.height_px) == (240, 128)
    assert numbers(pictures) == [0, 1, 2]
    near = write_clip(tmp_path / "near.mp4", Recipe(times=range(3), pixel_aspect=Fraction(1215, 1216)))
    assert read(reader, near)[3].width_px == 160


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("libx264", "yuv420p", "mp4"),
        ("libx264", "yuvj420p", "mp4"),
        ("libx264", "yuv422p10le", "mkv"),
        ("libx264", "yuv444p", "mp4"),
        ("libx264rgb", "rgb24", "mkv"),
        ("ffv1", "gbrp10le", "mkv"),
        ("ffv1", "yuva420p", "mkv"),
        ("ffv1", "yuv410p", "mkv"),
        ("png", "rgba", "mov"),
        ("png", "rgb48be", "mov"),
        ("rawvideo", "uyvy422", "mov"),
    ],
)
def test_pixel_formats_keep_colours(reader, tmp_path, codec, pix_fmt, suffix):
    path = write_clip(tmp_path / f"colour.{suffix}", Recipe(times=(0, 1), codec=codec, pix_fmt=pix_fmt, size_px=(162, 126)))
    _, pictures, _, info = read(reader, path)
    assert (info.width_px, info.height_px) == (162, 126)
    assert np.abs(pictures[1].astype(int) - numbered_picture(1, 162, 126)).mean() < 8


def test_palette(reader, tmp_path):
    path = tmp_path / "palette.avi"
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 0], palette[1], palette[2] = 255, (255, 200, 10, 20), (255, 10, 20, 200)
    picture = np.ones((64, 80), np.uint8)
    picture[:, 40:] = 2
    with av.open(str(path), "w") as container:
        video = container.add_stream("zmbv", rate=25)
        video.width, video.height, video.pix_fmt = 80, 64, "pal8"
        for _ in range(3):
            container.mux(video.encode(av.VideoFrame.from_ndarray((picture, palette), format="pal8")))
        container.mux(video.encode(None))
    _, pictures, _, _ = read(reader, path)
    assert pictures[2][30, 10].tolist() == [200, 10, 20]
    assert pictures[2][30, 70].tolist() == [10, 20, 200]


def test_pictures_keep_the_first_ones_size(reader, tmp_path):
    """A stream that changes its size, its sound's rate and its numbering in the middle."""
    first = write_clip(tmp_path / "first.ts", Recipe(times=range(50), sound=tone(32000)))
    larger = Recipe(times=range(50, 100), size_px=(320, 256), sound=tone(96000, 48000), sound_rate_hz=48000, sound_start_s=2.0)
    second = write_clip(tmp_path / "second.ts", larger)
    (tmp_path / "both.ts").write_bytes(first.read_bytes() + second.read_bytes())
    _, pictures, sound, info = read(reader, tmp_path / "both.ts")
    assert (info.width_px, info.height_px) == (160, 128)
    assert {picture.shape for picture in pictures} == {(128, 160, 3)}
    assert numbers(pictures)[:48] == list(range(48))
    assert numbers(pictures)[-40:] == list(range(10, 50))
    assert np.abs(sound[40000:60000]).max() > 5000
    (tmp_path / "swapped.ts").write_bytes(second.read_bytes() + first.read_bytes())
    with pytest.raises(ClipError, match="time stamps go back"):
        read(reader, tmp_path / "swapped.ts")


def test_raw_streams_have_no_length_but_frames(reader, tmp_path):
    path = tmp_path / "raw.h264"
    with av.open(str(path), "w", format="h264") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 128, "yuv420p"
        for i in range(50):
            container.mux(video.encode(av.VideoFrame.from_ndarray(numbered_picture(i, 160, 128), format="rgb24")))
        container.mux(video.encode(None))
    for start, end in ((0, None), (1000, 1520), (40, 80)):
        _, pictures, _, info = read(reader, path, start, end)
        assert numbers(pictures) == list(range(50))[start // 40 : None if end is None else end // 40]
        assert info.duration_ms == 0


@pytest.mark.parametrize(("height", "matrix"), [(1280, "ITU709"), (128, "ITU601")])
def test_unnamed_colour_matrix_is_chosen_by_size(reader, tmp_path, height, matrix):
    path = tmp_path / "colour.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "10"})
        video.width, video.height, video.pix_fmt = 64, height, "yuv420p"
        red = av.VideoFrame.from_ndarray(np.full((height, 64, 3), (200, 40, 40), np.uint8), format="rgb24")
        frame = red.reformat(format="yuv420p", dst_colorspace=matrix)
        frame.colorspace = 2  # unspecified
        container.mux(video.encode(frame))
        container.mux(video.encode(None))
    _, pictures, _, _ = read(reader, path)
    assert np.abs(pictures[0].reshape(-1, 3).mean(0) - (200, 40, 40)).max() < 4


def test_spans_outside_the_file(reader, tmp_path):
    path = write_clip(tmp_path / "short.mp4", Recipe(sound=tone(32000)))
    for start, end, kind in ((2000, 3000, "no_frames"), (9000, None, "no_frames"), (1000, 9000, "truncated"), (500, 500, "no_frames")):
        for frames in (True, False):
            with pytest.raises(ClipError) as caught:
                read(reader, path, start, end, frames=frames)
            assert caught.value.kind == kind
    assert len(read(reader, path, 1000, 2040)[0]) == 25  # a little beyond the end is rounding


def test_the_container_stays_open_between_spans(reader, tmp_path):
    path = write_clip(tmp_path / "one.mp4", Recipe())
    read(reader, path, 0, 400)
    opened = {link.readlink() for link in Path(f"/proc/{reader.child_pid}/fd").iterdir()}
    assert path in opened
    path.unlink()
    write_clip(path, Recipe(times=range(5)))
    assert len(read(reader, path)[0]) == 5  # another file of the same name is opened afresh


def test_probe(reader, tmp_path):
    path = write_clip(tmp_path / "turned.mp4", Recipe(rotation_deg=90, sound=tone(44100, 44100), sound_rate_hz=44100))
    info = reader.probe(str(path))
    assert (info.width_px, info.height_px, info.rotation_deg) == (128, 160, 90)
    assert (info.fps, info.n_frames, info.duration_ms) == (25.0, 50, 2000.0)
    assert (info.video_codec, info.has_audio, info.audio_rate_hz) == ("h264", True, 44100)
    with pytest.raises(ClipError, match="not there") as caught:
        reader.probe(str(tmp_path / "none.mp4"))
    assert caught.value.kind == "missing_file"


@pytest.mark.parametrize("name", CONTAINERS)
def test_single_pictures(reader, tmp_path, name):
    path = write_clip(tmp_path / name, Recipe(times=range(150), sound=None, **CONTAINERS[name]))
    _, pictures, _, _ = read(reader, path)
    wanted = [0, 5960, 40, 78, 80, 81, 2000, 2010, 4400, 4440, 3000, 3000]
    found = reader.pictures_at(str(path), wanted)
    assert numbers(found) == [t // 40 for t in wanted]
    assert all((rgb == pictures[t // 40]).all() for rgb, t in zip(found, wanted, strict=True))
    assert numbers(reader.pictures_at(str(path), [7000, 5990])) == [149, 149]
    assert reader.pictures_at(str(path), []) == []
    assert numbers(read(reader, path, 1000, 2000)[1]) == list(range(25, 50))


def test_random_frames_needs_no_reader(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", Recipe())
    assert numbers(random_frames(str(path), [400, 0])) == [10, 0]
    with pytest.raises(ValueError, match="0 or more"):
        random_frames(str(path), [-1])
    with pytest.raises(ClipError):
        random_frames(str(tmp_path / "none.mp4"), [0])
