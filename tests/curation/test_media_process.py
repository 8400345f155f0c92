"""The decoding child: hangs, deaths, deadlines, memory, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from curation.contracts import Clip, ClipError
from curation.media import MediaLimits, MediaReader
from curation.media.process import DecodeChild
from tests.faults import Recipe, picture_number, tone, write_clip

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Clip:
    """Two seconds, 50 frames, in blocks of eight (512 x 341 px, 4 MiB)."""
    path = write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", Recipe(size_px=(512, 342), sound=tone(32000)))
    return Clip("s", "k", "i", str(path))


def frame_numbers(reader: MediaReader, clip: Clip, **options) -> list[int]:
    with reader.read(clip, **options) as stream:
        return [picture_number(frame.rgb) for frame in stream.frames()]


def small_blocks(**limits) -> MediaLimits:
    return MediaLimits(**({"block_mib": 4} | limits))


def status_mib(pid: int, field: str) -> float:
    """A field of /proc/PID/status, such as VmHWM, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no {field}")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, timeout_s: float = 10.0) -> bool:
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.02)
    return True


def test_a_killed_child_costs_one_clip(clip):
    with MediaReader(small_blocks()) as reader:
        with reader.read(clip) as stream:
            frames = stream.frames()
            next(frames)
            first_child = reader.child_pid
            os.kill(first_child, signal.SIGKILL)
            with pytest.raises(ClipError, match="the decoder died with SIGKILL") as caught:
                list(frames)
            assert caught.value.kind == "crash"
        assert frame_numbers(reader, clip) == list(range(50))
        assert reader.child_pid != first_child


def test_a_native_crash_is_named(clip):
    with MediaReader(small_blocks()) as reader, reader.read(clip) as stream:
        frames = stream.frames()
        next(frames)
        os.kill(reader.child_pid, signal.SIGSEGV)
        with pytest.raises(ClipError, match="SIGSEGV"):
            list(frames)


def test_a_child_that_died_between_two_clips_costs_nothing(clip):
    with MediaReader() as reader:
        assert frame_numbers(reader, clip) == list(range(50))
        os.kill(reader.child_pid, signal.SIGKILL)
        assert wait_until(lambda: not is_running(reader.child_pid))
        assert frame_numbers(reader, clip) == list(range(50))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"stall_s": 0.3}, "the decoder did not answer for 0.3 s"),
        ({"deadline_base_s": 0.3, "deadline_per_media_s": 0.1}, "decoding took more than 0.5 s"),
    ],
)
def test_a_hang_is_a_timeout_and_costs_one_clip(clip, limits, message):
    with MediaReader(small_blocks()) as warm:  # the limits below would not do for a cold start of the file cache
        frame_numbers(warm, clip)
    with MediaReader(small_blocks(**limits)) as reader:
        with reader.read(clip) as stream:
            frames = stream.frames()
            next(frames)
            hung = reader.child_pid
            os.kill(hung, signal.SIGSTOP)
            began = time.monotonic()
            with pytest.raises(ClipError, match=message) as caught:
                list(frames)
            assert caught.value.kind == "timeout"
            assert time.monotonic() - began < 5
        assert not is_running(hung)
    with MediaReader(small_blocks()) as reader:
        assert frame_numbers(reader, clip) == list(range(50))


def test_a_hang_while_opening(clip):
    with MediaReader(MediaLimits(stall_s=0.3)) as reader:
        frame_numbers(reader, clip)
        os.kill(reader.child_pid, signal.SIGSTOP)
        with pytest.raises(ClipError) as caught:
            reader.probe(clip.video_path)
        assert caught.value.kind == "timeout"


@pytest.fixture
def crowd() -> Iterator[Callable[[int], None]]:
    """Lets another program keep a process from its processor: it gets a tenth."""
    others = []

    def around(pid: int) -> None:
        others.append(subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]))
        for each in (pid, others[0].pid):
            os.sched_setaffinity(each, {min(os.sched_getaffinity(0))})
        os.setpriority(os.PRIO_PROCESS, pid, 10)

    yield around
    for other in others:
        other.kill()
        other.wait()


def decode(child: DecodeChild, clip: Clip, limit_s: float) -> None:
    """The whole clip; each answer within the limit left of all."""
    left_s = child.countdown(limit_s)
    request = {
        "do": "start",
        "path": clip.video_path,
        "start_ms": 0,
        "end_ms": None,
        "time_zero": "",
        "sample_hz": 25,
        "frames": True,
        "audio": True,
    }
    child.send(request | {"id": 0})
    reply, _ = child.receive(left_s)
    while not reply.get("done"):
        child.send({"do": "block", "block": 0, "id": 1})
        reply, _ = child.receive(left_s)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the system does not say how long a process was kept waiting")
def test_other_programs_time_does_not_count(clip, crowd):
    child = DecodeChild(small_blocks())
    decode(child, clip, 60.0)  # loads its modules
    crowd(child.pid)
    began_s, began = child.clock_s(), time.monotonic()
    decode(child, clip, 60.0)
    assert child.clock_s() - began_s < 0.5 * (time.monotonic() - began)
    child.kill()


def test_the_callers_time_does_not_count(clip):
    with MediaReader(small_blocks(deadline_base_s=1.0, deadline_per_media_s=0.01)) as reader, reader.read(clip) as stream:
        n_frames = 0
        for frame in stream.frames():
            if frame.index % 20 == 0:
                time.sleep(0.5)
            n_frames += 1
        assert n_frames == 50


@pytest.mark.parametrize("prefetch_blocks", [0, 1, 3])
def test_prefetching_changes_nothing(clip, prefetch_blocks):
    with MediaReader(small_blocks(prefetch_blocks=prefetch_blocks)) as reader:
        for _ in range(2):
            with reader.read(clip) as stream:
                numbers = []
                for frame in stream.frames():
                    time.sleep(0.001)  # lets the child run ahead into the block that is being read, if it did so
                    numbers.append(picture_number(frame.rgb))
                assert numbers == list(range(50))
                assert len(stream.audio) == 32000


@pytest.mark.parametrize("prefetch_blocks", [0, 2])
def test_a_stream_may_be_left_early(clip, prefetch_blocks):
    with MediaReader(small_blocks(prefetch_blocks=prefetch_blocks)) as reader:
        for n_wanted in (0, 1, 9, 30):
            with reader.read(clip) as stream:
                for frame in stream.frames():
                    if frame.index >= n_wanted:
                        break
                with pytest.raises(RuntimeError, match="after the last frame"):
                    stream.audio  # noqa: B018
        assert frame_numbers(reader, clip) == list(range(50))


def test_an_older_stream_is_refused(clip):
    with MediaReader(small_blocks()) as reader:
        older = reader.read(clip).frames()
        next(older)
        assert frame_numbers(reader, clip) == list(range(50))
        with pytest.raises(RuntimeError, match="another clip"):
            list(older)


def test_decode_ms_is_measured(clip):
    with MediaReader() as reader, reader.read(clip) as stream:
        opened_ms = stream.decode_ms
        list(stream.frames())
        assert 0 < opened_ms < stream.decode_ms < 60_000


def test_the_child_is_recycled_but_not_between_two_spans_of_a_file(clip, tmp_path):
    copies = [write_clip(tmp_path / f"{i}.mp4", Recipe(times=range(2))) for i in range(5)]

    def children(paths) -> list[int]:
        with MediaReader(MediaLimits(recycle_after_clips=3)) as reader:
            return [reader.child_pid for path in paths if reader.probe(str(path))]

    seen = children(copies)
    assert seen[0] == seen[1] == seen[2] != seen[3] == seen[4]
    assert len(set(children([copies[0]] * 5))) == 1


def test_descriptors_do_not_leak(clip):
    def n_open(pid: int | str = "self") -> int:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    missing = Clip("s", "k", "i", clip.video_path + ".mp4")
    text = Path(clip.video_path).with_name("text.mp4")
    text.write_text("no video")
    broken = Clip("s", "k", "i", str(text))
    before = n_open()
    with MediaReader() as reader:
        frame_numbers(reader, clip)
        in_child = n_open(reader.child_pid)
        for _ in range(10):
            for bad in (missing, broken):
                with pytest.raises(ClipError):
                    reader.read(bad)
            frame_numbers(reader, clip)
        assert n_open(reader.child_pid) == in_child
        for _ in range(3):
            os.kill(reader.child_pid, signal.SIGKILL)
            wait_until(lambda: not is_running(reader.child_pid))
            frame_numbers(reader, clip)
    assert n_open() == before


PARENT = """
import sys, time
from curation.contracts import Clip
from curation.media import MediaReader
reader = MediaReader()
stream = reader.read(Clip("s", "k", "i", sys.argv[1]))
next(stream.frames())
print(reader.child_pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_nothing_outlives_a_killed_parent(clip, stopped):
    shared_before = set(os.listdir("/dev/shm"))  # noqa: PTH208
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, clip.video_path], stdout=subprocess.PIPE, text=True, env=environment)
    child = int(parent.stdout.readline())
    assert is_running(child)
    mapped = Path(f"/proc/{child}/maps").read_text()
    assert "/memfd:decoder (deleted)" in mapped
    assert "/dev/shm" not in mapped
    if stopped:
        os.kill(child, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not is_running(child))
    assert {name for name in os.listdir("/dev/shm") if "decoder" in name} <= shared_before  # noqa: PTH208


def test_a_reader_that_is_forgotten_takes_its_child_along(clip):
    reader = MediaReader()
    frame_numbers(reader, clip)
    child = reader.child_pid
    del reader
    assert wait_until(lambda: not is_running(child))


def test_a_fork_of_the_parent_leaves_the_child_alone(clip):
    with MediaReader() as reader:
        frame_numbers(reader, clip)
        fork = os.fork()
        if not fork:
            reader.close()
            os._exit(0)
        os.waitpid(fork, 0)
        child = reader.child_pid
        assert frame_numbers(reader, clip) == list(range(50))
        assert reader.child_pid == child


def test_the_child_survives_the_thread_that_started_it(clip):
    with MediaReader() as reader:
        results = []
        for _ in range(2):
            thread = threading.Thread(target=lambda: results.append((frame_numbers(reader, clip), reader.child_pid)))
            thread.start()
            thread.join()
        assert [numbers for numbers, _ in results] == [list(range(50))] * 2
        assert results[0][1] == results[1][1]


def test_memory_is_bounded_and_given_back(clip, tmp_path):
    big = write_clip(tmp_path / "8k.mp4", Recipe(size_px=(7680, 4320), times=range(2), options={"preset": "ultrafast", "crf": "40"}))
    with MediaReader(MediaLimits()) as reader:
        frame_numbers(reader, clip)
        ours = status_mib(os.getpid(), "RssAnon")
        assert frame_numbers(reader, Clip("s", "k", "i", str(big))) == [0, 1]
        child = reader.child_pid
        assert status_mib(child, "VmHWM") < 600
        assert status_mib(os.getpid(), "RssAnon") - ours < 50
        assert 90 < status_mib(child, "RssShmem") < 110
        frame_numbers(reader, clip)
        assert status_mib(child, "RssShmem") < 20
        assert status_mib(child, "RssAnon") < 100


def test_the_child_cannot_write_files():
    child = DecodeChild(MediaLimits())
    limits = Path(f"/proc/{child.pid}/limits").read_text()
    assert "Max file size             1048576" in limits
    assert "Max core file size        0" in limits
    child.kill()
    child.kill()


def test_a_child_that_cannot_start_is_no_clips_fault(clip):
    with pytest.raises(RuntimeError, match="the decoding process does not start"), MediaReader(MediaLimits(child_memory_mib=1)) as reader:
        reader.read(clip)


def test_starting_is_cheap():
    heavy = "{'av', 'pandas', 'pyarrow', 'manifests', 'decord'}"
    code = f"import sys, curation.media, curation.media.child; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_frames_are_views_that_outlive_the_reader(clip):
    with MediaReader() as reader, reader.read(clip) as stream:
        frames = list(stream.frames())
    assert frames[-1].rgb.shape == (342, 512, 3)
    assert picture_number(np.array(frames[-1].rgb)) == 49
