"""Damaged, odd and hostile files: each gives its frames or one clear error, and the reader goes on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import manifests
from curation.contracts import Clip, ClipError
from curation.media import MediaLimits, MediaReader
from tests.faults import Fault, Recipe, make_faults, tone, write_clip

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def faults(tmp_path_factory) -> list[Fault]:
    return make_faults(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def reader():
    with MediaReader() as reader:
        yield reader


def outcome(reader: MediaReader, path: Path | str) -> tuple[str, str]:
    """("scored", "") or (kind, message)."""
    try:
        with reader.read(Clip("s", "k", "i", str(path))) as stream:
            n_frames = sum(1 for _ in stream.frames())
            assert n_frames
            if stream.info.has_audio:
                assert len(stream.audio) == n_frames * 640
    except ClipError as error:
        return error.kind, error.message
    return "scored", ""


def test_every_fault_ends_as_expected_and_none_costs_the_child(reader, faults):
    assert len({fault.path for fault in faults}) == len(faults) > 100
    wrong, children = [], set()
    for fault in faults:
        kind, message = outcome(reader, fault.path)
        children.add(reader.child_pid)
        if kind not in fault.expected:
            wrong.append((fault.path, kind, message, fault.expected))
        assert kind == "scored" or kind in manifests.ERROR_KINDS
        assert "\n" not in message
        message.encode()  # a name that is no text must not get into the message
    assert not wrong
    assert len(children) == 1


@pytest.mark.slow
def test_the_collection_is_deterministic(faults, tmp_path):
    again = {Path(fault.path).name: Path(fault.path) for fault in make_faults(tmp_path)}
    differing = [
        fault.path
        for fault in faults
        if Path(fault.path).is_file() and Path(fault.path).read_bytes() != again[Path(fault.path).name].read_bytes()
    ]
    assert not differing


def test_paths_that_are_no_files(reader, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mp4"))
    expected = {
        "pipe.mp4": "a named pipe",
        "folder.mp4": "a directory",
        "socket.mp4": "a socket",
        "/dev/zero": "a character device",
    }
    for name, text in expected.items():
        kind, message = outcome(reader, tmp_path / name)
        assert (kind, text in message) == ("unreadable", True)
    assert outcome(reader, tmp_path / "folder.mp4" / "x.mp4")[0] == "missing_file"
    assert outcome(reader, tmp_path / "pipe.mp4" / "x.mp4")[0] == "missing_file"
    assert outcome(reader, tmp_path / ("x" * 300 + ".mp4"))[0] == "unreadable"
    assert outcome(reader, "nul\0byte.mp4")[0] == "missing_file"


@pytest.mark.skipif(os.geteuid() != 0, reason="root reads everything; other users meet the file in the collection of faults")
def test_no_permission():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        forbidden = write_clip(Path(folder) / "secret.mp4", Recipe(times=(0,)))
        forbidden.chmod(0)
        script = (
            "import os, sys\n"
            "from curation.media.opening import open_descriptor\n"
            "from curation.media.errors import DecodeError\n"
            "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
            "try: open_descriptor(sys.argv[1]); print('opened')\n"
            "except DecodeError as error: print(error.kind, '|', error.message)"
        )
        done = subprocess.run([sys.executable, "-c", script, forbidden], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "unreadable | no permission to read the file"


def test_a_playlist_opens_nothing(reader, tmp_path):
    """Neither a play list nor a script that names other files, and no reference from within an MP4 file."""
    good = write_clip(tmp_path / "good.ts", Recipe(sound=tone(32000)))
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    for name, text in {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:2.0,\n{good}\n#EXT-X-ENDLIST\n",
        "script.ffconcat": f"ffconcat version 1.0\nfile '{good}'\n",
        "manifest.mpd": f'<?xml version="1.0"?><MPD><Period><BaseURL>file://{good}</BaseURL></Period></MPD>',
    }.items():
        (tmp_path / name).write_text(text)
        assert outcome(reader, tmp_path / name)[0] == "not_a_video"
    assert outcome(reader, good)[0] == "scored"


def test_cover_picture_is_no_video(reader, tmp_path):
    import av

    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("libmp3lame", rate=16000, layout="mono")
        cover = container.add_stream("png")
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 64, "rgb24", av.stream.Disposition.attached_pic
        packets = cover.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")) + cover.encode(None)
        for packet in packets:
            container.mux(packet)
        frame = av.AudioFrame.from_ndarray(tone(1152)[None], format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame) + sound.encode(None))
    assert outcome(reader, path) == ("no_video_stream", "the file has no video stream")


def test_time_stamps_that_jump(reader, tmp_path):
    path = write_clip(tmp_path / "jump.mp4", Recipe(times=(0, 1, 2, 500, 501)))
    kind, message = outcome(reader, path)
    assert (kind, message) == ("decode_error", "the time stamps jump from 0.1 s to 20.0 s")


def test_limits(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", Recipe(times=range(50), size_px=(640, 480)))
    with MediaReader(MediaLimits(max_frame_px=640 * 479)) as reader:
        assert outcome(reader, clip) == ("too_large", "frames of 640x480 px; at most 0.3 megapixels are decoded")
    with MediaReader(MediaLimits(max_span_ms=1500)) as reader:
        assert outcome(reader, clip)[0] == "too_large"
        with reader.read(Clip("s", "k", "i", str(clip), 0, 1000)) as stream:
            assert len(list(stream.frames())) == 25
    large = write_clip(tmp_path / "large.mp4", Recipe(times=(0,), size_px=(1280, 960)))
    with MediaReader(MediaLimits(frame_budget_mib=2)) as reader:
        assert outcome(reader, large) == ("too_large", "frames of 1280x960 px take 4 MiB; the frame budget is 2 MiB")
        assert outcome(reader, clip)[0] == "scored"


def test_memory_limit_is_a_row_and_the_reader_goes_on(faults, tmp_path):
    eight_k = next(fault.path for fault in faults if fault.path.endswith("8k.mp4"))
    small = write_clip(tmp_path / "small.mp4", Recipe())
    with MediaReader(MediaLimits(child_memory_mib=300)) as reader:
        assert outcome(reader, small)[0] == "scored"
        assert outcome(reader, eight_k) == ("too_large", "decoding needs more memory than the decoder may use")
        assert outcome(reader, small)[0] == "scored"


@pytest.mark.parametrize("name", ["stall_s", "max_frame_px", "frame_budget_mib"])
def test_limits_must_be_positive(name):
    with pytest.raises(ValueError, match=f"{name} is 0; it must be above 0"):
        MediaLimits(**{name: 0})
