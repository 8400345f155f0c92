"""`python -m benchmarks.decode`: PyAV against decord, in order and at random, each beside its floor.

The floor of every line is bare decoding by PyAV, from the same place in the file, without conversion to RGB. All run in one thread;
frames a second are counted by processor time, because the wall clock of a shared machine tells little.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.rows import Row, print_rows
from curation.contracts import Clip
from curation.media import MediaReader

N_FRAMES = 300
N_RANDOM = 12
SIZES_PX = ((256, 256), (512, 512), (1280, 720))


def synthesise(path: Path, size_px: tuple[int, int], key_every: int) -> Path:
    """Twelve seconds of H.264 at 25 fps: blurred noise that drifts, about as hard to decode as a face before a wall."""
    width, height = size_px
    rng = np.random.default_rng(0)
    scene = cv2.GaussianBlur(rng.integers(0, 256, (height + 64, width + 64, 3), np.uint8).astype(np.float32), (0, 0), width / 80)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"g": str(key_every), "preset": "veryfast", "crf": "23", "threads": "1"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for i in range(N_FRAMES):
            x, y = round(32 + 31 * np.sin(i / 9)), round(32 + 31 * np.cos(i / 13))
            grain = rng.integers(0, 6, (height, width, 1), np.uint8)
            picture = cv2.add(np.ascontiguousarray(scene[y : y + height, x : x + width]), np.repeat(grain, 3, axis=2))
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
    return path


def open_video(path: Path):
    container = av.open(str(path))
    video = container.streams.video[0]
    video.codec_context.thread_count, video.codec_context.thread_type = 1, "NONE"
    return container, video


def pyav_in_order(path: Path, convert: bool) -> int:
    container, video = open_video(path)
    with container:
        n = 0
        for frame in container.decode(video):
            if convert:
                frame.to_ndarray(format="rgb24", threads=1)
            n += 1
    return n


def pyav_at_random(path: Path, indices: Sequence[int], convert: bool) -> int:
    """Seek to the key frame before each index, decode up to it."""
    container, video = open_video(path)
    tick = round(1 / (25 * video.time_base))
    with container:
        for index in indices:
            container.seek(index * tick, stream=video)
            frame = next(f for f in container.decode(video) if f.pts >= index * tick)
            if convert:
                frame.to_ndarray(format="rgb24", threads=1)
    return len(indices)


def pyav_ascending(path: Path, indices: Sequence[int], convert: bool) -> int:
    """The same in ascending order: decodes on when no key frame lies between one index and the next."""
    container, video = open_video(path)
    tick = round(1 / (25 * video.time_base))
    with container:
        frames, at = container.decode(video), 0
        for index in sorted(indices):
            entries = video.index_entries
            if (key := entries.search_timestamp(index * tick)) >= 0 and entries[key].timestamp > at * tick:
                container.seek(index * tick, stream=video)
                frames = container.decode(video)
            frame = next(f for f in frames if f.pts >= index * tick)
            at = index + 1
            if convert:
                frame.to_ndarray(format="rgb24", threads=1)
    return len(indices)


def decord_in_order(path: Path) -> int:
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    for i in range(len(reader)):
        reader[i].asnumpy()
    return len(reader)


def decord_at_random(path: Path, indices: Sequence[int]) -> int:
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    for index in indices:
        reader[index].asnumpy()
    return len(indices)


def decord_batch(path: Path, indices: Sequence[int]) -> int:
    import decord

    return len(decord.VideoReader(str(path), num_threads=1).get_batch(sorted(indices)).asnumpy())


def per_second(work: Callable[[], int], child_pid: int) -> float:
    """Frames a second of processor time, of this process and the child."""
    began = time.process_time() + cpu_s(child_pid)
    n = work()
    return n / (time.process_time() + cpu_s(child_pid) - began)


def cpu_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def through_the_child(reader: MediaReader, path: Path) -> int:
    with reader.read(Clip("bench", path.name, "bench", str(path)), sample_hz=25.0) as stream:
        return sum(1 for _ in stream.frames())


def measure(path: Path, name: str, repeats: int) -> list[Row]:
    """The table's lines for one file."""
    rng = np.random.default_rng(1)
    n_frames = pyav_in_order(path, convert=False)
    indices = [int(i) for i in rng.choice(n_frames, N_RANDOM, replace=False)]
    times_ms = [40.0 * i for i in indices]
    with MediaReader() as reader:
        reader.probe(str(path))  # starts the child, which should not count
        work = {
            "in order: bare": lambda: pyav_in_order(path, convert=False),
            "in order: PyAV": lambda: pyav_in_order(path, convert=True),
            "in order: PyAV in the child": lambda: through_the_child(reader, path),
            "in order: decord": lambda: decord_in_order(path),
            "at random: bare": lambda: pyav_at_random(path, indices, convert=False),
            "at random: PyAV": lambda: pyav_at_random(path, indices, convert=True),
            "at random: decord": lambda: decord_at_random(path, indices),
            "ascending: bare": lambda: pyav_ascending(path, indices, convert=False),
            "ascending: PyAV": lambda: pyav_ascending(path, indices, convert=True),
            "ascending: PyAV in the child": lambda: len(reader.pictures_at(str(path), times_ms)),
            "ascending: decord batch": lambda: decord_batch(path, indices),
        }
        if importlib.util.find_spec("decord") is None:  # it decides nothing any more, see docs/media.md
            work = {what: do for what, do in work.items() if "decord" not in what}
        best = dict.fromkeys(work, 0.0)
        for _ in range(repeats):  # in turns, so that a busy moment of the machine does not hit one of them alone
            for what, do in work.items():
                best[what] = max(best[what], per_second(do, reader.child_pid))
    measured = [what for what in work if not what.endswith(": bare")]
    return [Row(f"{name}, {what}", best[what], best[what.partition(":")[0] + ": bare"], "frames/s") for what in measured]


def rows() -> list[Row]:
    """512 px with a key frame every 250 frames, as x264 has it by default."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(synthesise(Path(folder) / "clip.mp4", (512, 512), 250), "decode 512x512 px", repeats=3)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="videos of a constant 25 fps to measure instead of synthetic ones")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many runs counts")
    parser.add_argument("--quick", action="store_true", help="512 px only, once")
    arguments = parser.parse_args(argv)
    repeats = 1 if arguments.quick else arguments.repeats
    table: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for file in arguments.files:
            table += measure(file, file.name, repeats)
        if not arguments.files:
            for size_px in SIZES_PX[1:2] if arguments.quick else SIZES_PX:
                for key_every in (250, 12, 1):
                    name = f"{size_px[0]}x{size_px[1]} px, key frame every {key_every}"
                    table += measure(synthesise(Path(folder) / "clip.mp4", size_px, key_every), name, repeats)
    print_rows(table)
    return table


if __name__ == "__main__":
    main()
