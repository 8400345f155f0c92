"""Small video files, good and damaged, made on the spot: what `curation` must turn into exactly one row each.

Every picture carries its number, so that a test can tell which frame it was given: `numbered_picture` writes it, `picture_number` reads it
back after lossy coding.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

N_BITS = 12
# Run by root, SVT-AV1 gives its caller real-time priority (SCHED_FIFO 99) and leaves it there: two threads that spin while they wait for a
# third would then hold both cores for ever. It encodes in a process of its own.
REALTIME_ENCODER = "libsvtav1"
SCORED = "scored"
DAMAGED = frozenset({SCORED, "truncated", "decode_error", "not_a_video", "no_video_stream", "no_frames", "too_large"})


class Fault(NamedTuple):
    """A file and what may become of it: `scored`, or kinds of error."""

    path: str
    expected: frozenset[str]


@dataclass(frozen=True)
class Recipe:
    """How to write one clip.

    Attributes:
        times: presentation time of each frame, in units of 1 / `ticks_hz`.
        codec, pix_fmt, options, size_px (width, height): of the video; `codec = ""` leaves it out.
        sound: (N,) int16 mono, or None; begins at `sound_start_s` on the clock of `times`.
        rotation_deg: clockwise turn that the container asks for.
        container_options: muxer options such as movflags.
    """

    times: Sequence[int] = tuple(range(50))
    ticks_hz: int = 25
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    size_px: tuple[int, int] = (160, 128)
    sound: np.ndarray | None = None
    sound_codec: str = "aac"
    sound_rate_hz: int = 16000
    sound_start_s: float = 0.0
    rotation_deg: int = 0
    pixel_aspect: Fraction | None = None
    container_options: dict[str, str] = field(default_factory=dict)
    bright: frozenset[int] = frozenset()


def numbered_picture(number: int, width_px: int, height_px: int, bright: bool = False) -> np.ndarray:
    """(H, W, 3) uint8: number in binary over the upper half, highest bit left; red at the lower left, blue at the lower right."""
    picture = np.full((height_px, width_px, 3), 250 if bright else 96, np.uint8)
    edges = np.linspace(0, width_px, N_BITS + 1).astype(int)
    for bit, (a, b) in enumerate(itertools.pairwise(edges)):
        picture[: height_px // 2, a:b] = 230 if number >> (N_BITS - 1 - bit) & 1 else 20
    picture[3 * height_px // 4 :, : width_px // 4] = (220, 30, 30)
    picture[3 * height_px // 4 :, -(width_px // 4) :] = (30, 30, 220)
    return picture


def picture_number(rgb: np.ndarray) -> int:
    """The number that `numbered_picture` wrote."""
    height, width, _ = rgb.shape
    edges = np.linspace(0, width, N_BITS + 1)
    centres = ((edges[:-1] + edges[1:]) / 2).astype(int)
    bits = rgb[height // 4, centres].mean(axis=1) > 125
    return int(sum(1 << (N_BITS - 1 - i) for i, bit in enumerate(bits) if bit))


def tone(n_samples: int, rate_hz: int = 16000) -> np.ndarray:
    """(N,) int16, 220 Hz."""
    return (8000 * np.sin(2 * np.pi * 220 * np.arange(n_samples) / rate_hz)).astype(np.int16)


def write_clip(path: Path, recipe: Recipe) -> Path:
    """Writes the clip, packets interleaved by time; the container follows from the file's suffix. Returns `path`."""
    if recipe.codec != REALTIME_ENCODER:
        return _write_clip(path, recipe)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_write_clip, path, recipe).result()


def _write_clip(path: Path, recipe: Recipe) -> Path:
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"} | recipe.container_options) as container:
        packets = []
        streams = [_add_video(container, recipe)] if recipe.codec else []
        if recipe.sound is not None:
            streams.append(container.add_stream(recipe.sound_codec, rate=recipe.sound_rate_hz, layout="mono"))
        if recipe.codec:
            packets += _video_packets(streams[0], recipe)
        if recipe.sound is not None:
            packets += _sound_packets(streams[-1], recipe)
        container.start_encoding()
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return path


def _add_video(container, recipe: Recipe):
    threads = {"svtav1-params": "lp=1"} if recipe.codec == REALTIME_ENCODER else {}
    rate = Fraction(recipe.ticks_hz) if recipe.ticks_hz < 1000 else Fraction(25)
    video = container.add_stream(recipe.codec, rate=rate, options=threads | recipe.options)
    video.width, video.height = recipe.size_px
    video.pix_fmt = recipe.pix_fmt
    video.codec_context.time_base = Fraction(1, recipe.ticks_hz)
    video.codec_context.thread_count = 1
    if recipe.pixel_aspect:
        video.codec_context.sample_aspect_ratio = recipe.pixel_aspect
    if recipe.rotation_deg:
        video.set_display_rotation(-recipe.rotation_deg)
    return video


def _video_packets(video, recipe: Recipe) -> Iterable:
    for number, time in enumerate(recipe.times):
        frame = av.VideoFrame.from_ndarray(numbered_picture(number, *recipe.size_px, number in recipe.bright), format="rgb24")
        if recipe.pix_fmt != "rgb24":
            frame = frame.reformat(format=recipe.pix_fmt)
        frame.pts, frame.time_base = time, Fraction(1, recipe.ticks_hz)
        yield from video.encode(frame)
    yield from video.encode(None)


def _sound_packets(stream, recipe: Recipe) -> Iterable:
    rate = recipe.sound_rate_hz
    frame_samples = stream.codec_context.frame_size or 1024
    start = round(recipe.sound_start_s * rate)
    for at in range(0, len(recipe.sound), frame_samples):
        chunk = recipe.sound[at : at + frame_samples]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(chunk)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start + at, Fraction(1, rate)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def make_faults(directory: Path | str) -> list[Fault]:
    """Writes the whole collection below `directory` (about 1 MB, a few seconds) and names what may become of each file.

    A file without read permission is among them; root reads it all the same, and then it is expected to be scored.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    sound = tone(32000)
    good = write_clip(directory / "good.mp4", Recipe(sound=sound))
    faults = [Fault(str(good), frozenset({SCORED}))]
    for make in (_formats, _truncations, _bit_flips, _not_videos, _names):
        faults += [Fault(str(path), frozenset(expected)) for path, expected in make(directory, good, sound)]
    return faults


def _formats(directory: Path, good: Path, sound: np.ndarray):
    recipes = {
        "no_audio.mp4": Recipe(),
        "one_frame.mp4": Recipe(times=(0,)),
        "vp9.webm": Recipe(codec="libvpx-vp9", sound=sound, sound_codec="libopus", options={"deadline": "realtime", "cpu-used": "8"}),
        "av1.mp4": Recipe(codec=REALTIME_ENCODER, sound=sound, options={"preset": "12"}),
        "hevc.mp4": Recipe(codec="libx265", sound=sound, options={"preset": "ultrafast", "x265-params": "pools=none:log-level=none"}),
        "ten_bit.mkv": Recipe(codec="libx264", pix_fmt="yuv420p10le", sound=sound),
        "gray.mp4": Recipe(pix_fmt="gray"),
        "yuv444_odd_size.mp4": Recipe(pix_fmt="yuv444p", size_px=(161, 127)),
        "yuv422.mov": Recipe(codec="prores_ks", pix_fmt="yuv422p10le", times=range(10)),
        "palette.mov": Recipe(codec="qtrle", pix_fmt="rgb24", times=range(10)),
        "mjpeg.avi": Recipe(codec="mjpeg", pix_fmt="yuvj420p", sound=sound, sound_codec="pcm_s16le"),
        "mpeg1.mpg": Recipe(codec="mpeg1video", sound=sound, sound_codec="mp2"),
        "h264.ts": Recipe(sound=sound),
        "h264.flv": Recipe(sound=sound),
        "variable_frame_rate.mp4": Recipe(times=uneven_times(50), ticks_hz=90000, sound=sound),
        "rotated_phone.mp4": Recipe(rotation_deg=90, sound=sound),
        "8k.mp4": Recipe(size_px=(7680, 4320), times=(0, 1, 2), options={"preset": "ultrafast", "crf": "40"}),
        "screen_still_long.mp4": Recipe(times=(0, 25, 75), sound=sound),
    }
    for name, recipe in recipes.items():
        yield write_clip(directory / name, recipe), {SCORED}
    yield write_clip(directory / "audio_only.mp4", Recipe(codec="", sound=sound)), {"no_video_stream"}
    yield write_clip(directory / "audio_only.wav", Recipe(codec="", sound=sound, sound_codec="pcm_s16le")), {"no_video_stream"}


def uneven_times(n_frames: int) -> list[int]:
    """90 kHz ticks, 10 to 75 ms apart."""
    gaps = np.random.default_rng(3).integers(900, 6750, n_frames - 1)
    return [0, *np.cumsum(gaps).tolist()]


def _truncations(directory: Path, good: Path, sound: np.ndarray):
    first = write_clip(directory / "index_first.mp4", Recipe(sound=sound, container_options={"movflags": "+faststart"}))
    yield first, {SCORED}
    for layout, whole in (("index_last", good.read_bytes()), ("index_first", first.read_bytes())):
        data_at = whole.index(b"mdat")
        for i in range(20):
            cut = round(len(whole) * (i + 0.5) / 20)
            path = directory / f"truncated_{layout}_{i:02d}.mp4"
            path.write_bytes(whole[:cut])
            share = max(0.0, (cut - data_at) / (len(whole) - data_at))  # of the media data, if the index was read
            if layout == "index_last" or share < 0.8:
                yield path, {"truncated"}
            else:
                yield path, {"truncated", SCORED}


def _bit_flips(directory: Path, good: Path, sound: np.ndarray):
    whole = np.frombuffer(good.read_bytes(), np.uint8)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        damaged = whole.copy()
        at = rng.integers(0, len(whole), 1 + 3 * seed)
        damaged[at] ^= (1 << rng.integers(0, 8, len(at))).astype(np.uint8)
        path = directory / f"bit_flips_{seed:02d}.mp4"
        path.write_bytes(damaged.tobytes())
        yield path, DAMAGED


def _not_videos(directory: Path, good: Path, sound: np.ndarray):
    texts = {
        "text.mp4": "This is a letter, not a video.\n" * 40,
        "playlist.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{good.name}\n#EXT-X-ENDLIST\n",
        "script.mp4": f"ffconcat version 1.0\nfile {good.name}\n",
        "session.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "page.mp4": "<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
        yield directory / name, {"not_a_video"}
    (directory / "empty.mp4").write_bytes(b"")
    yield directory / "empty.mp4", {"empty_file"}
    (directory / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    yield directory / "noise.mp4", {"not_a_video", "no_video_stream", "decode_error"}
    (directory / "zeros.mp4").write_bytes(bytes(20_000))
    yield directory / "zeros.mp4", {"not_a_video"}

    forbidden = directory / "no_permission.mp4"
    forbidden.write_bytes(good.read_bytes())
    forbidden.chmod(0)
    yield forbidden, {SCORED} if os.geteuid() == 0 else {"unreadable"}
    for name, target, expected in (
        ("loop.mp4", "loop.mp4", {"unreadable", "missing_file"}),
        ("dangling.mp4", "nowhere.mp4", {"missing_file"}),
        ("link.mp4", good.name, {SCORED}),
    ):
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(target)
        yield link, expected


def _names(directory: Path, good: Path, sound: np.ndarray):
    names = ["with space.mp4", "quo'te\".mp4", "new\nline.mp4", "-dash.mp4", "a:colon.mp4", "per%03d.mp4", "st*r?[x].mp4", "pipe|;$(x).mp4"]
    for name in [*names, "nämé.mp4", os.fsdecode(b"not-utf8-\xff.mp4")]:
        path = directory / name
        path.write_bytes(good.read_bytes())
        yield path, {SCORED}
