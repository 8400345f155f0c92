"""What is written plays: frames, rate, length, sound in its place, and nothing is left of what failed."""

import json
import os
import platform
import re
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from inference.driving.sound import ArraySound, FileSound, open_sound  # noqa: E402
from inference.output.video_writer import check_output, open_output, read_provenance  # noqa: E402
from manifests import UserError  # noqa: E402

RATES = [Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50)]


def click(at_s: float, length_s: float, rate_hz: int = 16_000) -> np.ndarray:
    samples = np.zeros(round(length_s * rate_hz), np.float32)
    samples[round(at_s * rate_hz) :][:64] = 0.9
    return samples


def write(path: Path, fps: Fraction, n_frames: int, sound=None, size=(64, 48), metadata=None) -> Path:
    with open_output(path, fps, n_frames, sound, metadata) as writer:
        for index in range(n_frames):
            writer.write(np.full((*size, 3), 5 * index % 256, np.uint8))
    return path


def click_at_s(path: Path) -> float:
    return float(np.argmax(np.abs(FileSound(path).waveform()) > 0.3)) / 16_000


@pytest.mark.parametrize("fps", RATES, ids=str)
@pytest.mark.parametrize("n_frames", [1, 37])
def test_frames_rate_length_and_sound_are_exact(tmp_path: Path, fps: Fraction, n_frames: int) -> None:
    duration_s = float(n_frames / fps)
    path = write(tmp_path / "out.mp4", fps, n_frames, ArraySound(click(min(0.5, duration_s / 2), 3.0)))
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        frames = list(container.decode(video))
        assert (video.codec_context.name, video.codec_context.pix_fmt, audio.codec_context.name) == ("h264", "yuv420p", "aac")
        assert len(frames) == n_frames
        assert video.average_rate == fps
        assert [frame.pts * frame.time_base for frame in frames] == [index / fps for index in range(n_frames)]
        assert float(video.duration * video.time_base) == pytest.approx(duration_s, abs=1e-6)
        assert container.duration / 1e6 == pytest.approx(duration_s, abs=0.0015)
    assert click_at_s(path) == pytest.approx(min(0.5, duration_s / 2), abs=0.01)


def test_the_index_lies_in_front(tmp_path: Path) -> None:
    data = write(tmp_path / "out.mp4", Fraction(25), 5).read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_rate_and_channels_of_the_sound_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "stereo.wav"
    import wave

    with wave.open(str(source), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes((np.stack([click(0.3, 1, 44_100), 0 * click(0.3, 1, 44_100)], 1) * 32767).astype("<i2").tobytes())
    sound = open_sound(source)
    assert (sound.rate_hz, sound.channels, sound.duration_s) == (44_100, 2, 1.0)
    path = write(tmp_path / "out.mp4", Fraction(25), 20, sound)
    with av.open(str(path)) as container:
        context = container.streams.audio[0].codec_context
        assert (context.sample_rate, context.layout.name) == (44_100, "stereo")
    assert click_at_s(path) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("shift_s", [-0.25, 0.0, 0.4])
def test_sound_keeps_its_offset_from_the_first_frame(tmp_path: Path, shift_s: float) -> None:
    """A driver whose sound starts before or after its picture: the click stays where it was beside the picture."""
    source = tmp_path / "driver.mkv"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        start_s = 0.48  # of the picture
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(start_s * 25) + index, Fraction(1, 25)
            container.mux(video.encode(frame))
        samples = (click(0.7, 1.5) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), round((start_s + shift_s) * 16_000)
        container.mux(audio.encode(frame))
        container.mux(video.encode())
        container.mux(audio.encode())
    assert click_at_s(source) == pytest.approx(0.7 + shift_s, abs=0.002)
    path = write(tmp_path / "out.mp4", Fraction(25), 50, FileSound(source))
    assert click_at_s(path) == pytest.approx(click_at_s(source), abs=0.01)


def test_odd_sides_are_padded_for_the_codec(tmp_path: Path) -> None:
    path = write(tmp_path / "out.mp4", Fraction(25), 2, size=(33, 47))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.height, frame.width) == (34, 48)


def test_gif_has_the_frames_and_their_colours(tmp_path: Path) -> None:
    from PIL import Image

    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:16, :, 0], picture[16:, :, 2] = 200, 100
    with open_output(tmp_path / "out.gif", Fraction(25), 3) as writer:
        for _ in range(3):
            writer.write(picture)
            picture[0, 0] += 1  # PIL merges equal frames
    with Image.open(tmp_path / "out.gif") as gif:
        assert (gif.n_frames, gif.info["duration"]) == (3, 40)
        found = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(found[4:12] - [200, 0, 0]).max() < 16
    assert np.abs(found[20:] - [0, 0, 100]).max() < 16


def test_png_sequence_is_exact_and_replaces_only_its_own_kind(tmp_path: Path) -> None:
    from PIL import Image

    pictures = np.random.default_rng(0).integers(0, 256, (3, 20, 24, 3), np.uint8)
    for _ in range(2):
        with open_output(tmp_path / "frames", Fraction(25), 3, ArraySound(click(0.05, 1)), {"seed": 4}) as writer:
            for picture in pictures:
                writer.write(picture)
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == ["000000.png", "000001.png", "000002.png", "provenance.json", "sound.wav"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "frames" / "000002.png")), pictures[2])
    assert FileSound(tmp_path / "frames" / "sound.wav").duration_s == pytest.approx(0.12)
    assert read_provenance(tmp_path / "frames") == {"fps": "25", "seed": 4}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match="no folder of frames"):
        check_output(tmp_path / "mine")


def test_provenance_is_in_the_file(tmp_path: Path) -> None:
    metadata = {"seed": 7, "settings": {"audio_scale": 1.5}, "note": "ü"}
    assert read_provenance(write(tmp_path / "out.mp4", Fraction(25), 2, metadata=metadata)) == json.loads(json.dumps(metadata))


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "frames"])
@pytest.mark.parametrize("after", [0, 2])
def test_a_failure_leaves_nothing_behind_and_an_old_file_alone(tmp_path: Path, name: str, after: int) -> None:
    def fail() -> None:
        with open_output(tmp_path / name, Fraction(25), 5, ArraySound(click(0, 1))) as writer:
            for _ in range(after):
                writer.write(np.zeros((32, 32, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []
    if name == "out.mp4":
        (tmp_path / name).write_bytes(b"old")
        with pytest.raises(KeyboardInterrupt):
            fail()
        assert (tmp_path / name).read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out.avi", "unknown kind"),
        ("nowhere/out.mp4", "is not there"),
        (300 * "x" + ".mp4", "no file can have this name: File name too long"),
        ("nul\0.mp4", "no file can have this name"),
        (".mp4", "a suffix without a name"),
        ("pipe.mp4", "is a pipe or a device"),
        ("pipe", "is no folder of frames"),
        ("dangling", "is a link to nothing"),
    ],
)
def test_impossible_outputs_are_refused_before_any_work(tmp_path: Path, name: str, said: str) -> None:
    for pipe in ("pipe", "pipe.mp4"):
        os.mkfifo(tmp_path / pipe)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "x")
    with pytest.raises(UserError, match=said):
        check_output(tmp_path / name)


def test_standard_output_is_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder called "-" would be made in its place."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="nothing is written to standard output"):
        check_output(Path("-"))


@pytest.mark.skipif(platform.system() != "Linux", reason="a folder in which nobody can make a file, not even root")
@pytest.mark.parametrize("name", ["/proc/x.mp4", "/proc/x"])
def test_a_folder_that_takes_no_files_is_refused_before_any_work(name: str) -> None:
    with pytest.raises(UserError, match=f"^{name}: no file can be made in /proc"):
        check_output(Path(name))


def test_sounds_that_cannot_be_used_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound" * 1000)
    silent = write(tmp_path / "silent.mp4", Fraction(25), 3)
    for path, said in (("none.wav", "not there"), ("empty.wav", "no bytes"), ("text.wav", "no container"), ("silent.mp4", "has no sound")):
        with pytest.raises(UserError, match=said) as caught:
            open_sound(tmp_path / path)
        assert str(caught.value).startswith(str(tmp_path / path))
    assert silent.exists()
    for wrong in (np.zeros((2, 5), np.float32), np.zeros(0, np.float32), np.zeros(5, np.int16), np.full(5, np.nan, np.float32)):
        with pytest.raises(UserError, match="audio"):
            open_sound(wrong)


def test_waveforms_are_cut_and_filled_to_a_length() -> None:
    sound = ArraySound(np.ones(16_000, np.float32))
    assert sound.waveform(0.5).shape == (8000,)
    assert sound.waveform(2.0).sum() == 16_000
    blocks = np.concatenate(list(sound.blocks(48_000, 1, 0.75)), axis=1)
    assert blocks.shape == (1, 36_000)


@pytest.mark.parametrize("fps", [Fraction(60), Fraction(60000, 1001), Fraction(25)])
def test_a_gif_has_no_delay_that_browsers_stretch(fps: Fraction, tmp_path: Path) -> None:
    from PIL import Image

    with open_output(tmp_path / "a.gif", fps, 24) as writer:
        for value in range(24):
            writer.write(np.full((16, 16, 3), 10 * value, np.uint8))
    delays = []
    with Image.open(tmp_path / "a.gif") as image:
        for index in range(image.n_frames):
            image.seek(index)
            delays.append(image.info["duration"])
    assert min(delays) >= 20
    assert sum(delays) == pytest.approx(1000 * 24 / float(fps), abs=20)


@pytest.mark.parametrize(("out", "next_out"), [("frames", "frames"), ("o.mp4", "o.mp4"), ("o.gif", "o.gif"), ("o.mp4", "frames")])
def test_what_a_killed_writer_left_is_swept(tmp_path, out, next_out):
    """Not what a living one writes at the same time, nor anything else that begins alike."""
    write = (
        "import os, signal, sys; from fractions import Fraction; import numpy as np\n"
        "from inference.output.video_writer import open_output\n"
        "with open_output(sys.argv[1], Fraction(25), 101) as writer:\n"
        "    for _ in range(100):\n"
        "        writer.write(np.zeros((8, 8, 3), np.uint8))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", write, str(tmp_path / out)], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    living = left.with_name(re.sub(r"\.[0-9]+\.(?=\w+\.tmp)", f".{os.getpid()}.", left.name))
    other = tmp_path / ".frames.mine.tmp"
    for folder in (living, other):
        folder.mkdir()
    with open_output(tmp_path / next_out, Fraction(25), 1) as writer:
        writer.write(np.zeros((8, 8, 3), np.uint8))
    assert set(tmp_path.iterdir()) == {tmp_path / next_out, living, other}
