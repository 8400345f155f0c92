"""Live animation: a file that is fed at its own rate, what is dropped counted, windows that carry on, nothing that looks ahead."""

import json
import time
import urllib.request
from fractions import Fraction

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from curation.contracts import Clip
from curation.landmarks import make_backend
from curation.media import MediaReader
from inference.cli import cli
from inference.driving import open_driver
from inference.driving.driving import DrivingOptions
from inference.driving.live import LiveDriver
from inference.live.animation import LiveAnimation, LiveSettings
from inference.live.feed import FileFeed
from inference.live.output import Held
from inference.live.run import run_live
from inference.live.viewer import Viewer
from inference.pipeline.inputs import model_picture
from inference.sampling.carried import CarriedSampler
from inference.sampling.samplers import make_scheduler
from inference.sampling.settings import SamplingSettings
from manifests import UserError
from tests.inference.animation_parts import make_driving, make_reference, tiny_pipeline
from tests.inference.moving_portrait import write_moving_portrait

N_FRAMES = 20


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[str, str]:
    return write_moving_portrait(tmp_path_factory.mktemp("live"), N_FRAMES)


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline(landmarks=make_backend("facemesh"))


class SlowAnimation:
    """Takes as long as it is told and shows which frames it was given."""

    def __init__(self, settings: LiveSettings, seconds: float):
        self.settings, self._seconds = settings, seconds

    def make(self, frames):
        time.sleep(self._seconds)
        return list(frames)


class NumberedFeed:
    fps = Fraction(100)

    def __init__(self, count: int):
        self._count = count

    def frames(self):
        for number in range(self._count):
            time.sleep(0.01)
            yield np.full((2, 2, 3), number, np.uint8)


def sampler(pipe, context: int, seed: int = 3, steps: int = 3) -> CarriedSampler:
    latents = pipe.encode_images(make_reference()[None])[0]
    return CarriedSampler(pipe.transformer, make_scheduler("dpmsolver++"), latents, num_steps=steps, context=context, seed=seed)


def test_one_window_is_what_the_clips_sampler_makes(pipe) -> None:
    """The wave over windows and steps knows another way to the same frames."""
    driven = make_driving(16).frames
    ours = pipe.decode_latents(sampler(pipe, 0).next(torch.from_numpy(driven).float() / 255))
    settings = SamplingSettings(num_inference_steps=3, guidance_scale=1.0, window_overlap=0, sampler="dpmsolver++")
    reference = torch.from_numpy(make_reference()).permute(2, 0, 1)[None]
    theirs = pipe.generate(reference, torch.from_numpy(driven)[None], None, settings, seeds=[3])[0].permute(0, 2, 3, 1).numpy()
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_window_begins_with_the_last_frames_of_the_one_before(pipe) -> None:
    first, other, then = (torch.from_numpy(make_driving(6, seed=seed).frames).float() / 255 for seed in (0, 1, 2))
    made = {}
    for context in (0, 2):
        for name, before in (("first", first), ("other", other)):
            carried = sampler(pipe, context)
            carried.next(before)
            made[context, name] = carried.next(then)
            assert made[context, name].shape[0] == 6
    torch.testing.assert_close(made[0, "first"], made[0, "other"], rtol=0, atol=0)  # nothing carried: what was does not matter
    assert (made[2, "first"] - made[2, "other"]).abs().max() > 1e-3
    again = sampler(pipe, 2)
    again.next(first)
    torch.testing.assert_close(again.next(then), made[2, "first"], rtol=0, atol=0)


def test_a_model_that_is_shown_the_moved_portrait_gets_it(files) -> None:
    """As the clips' sampler shows it: a window of a file's frames, and their places, carried on into the next."""
    moving = tiny_pipeline(landmarks=make_backend("facemesh"), copied_reference="moved", prediction="sample")
    portrait, driver = files
    with MediaReader() as reader, reader.read(Clip("", "", "", driver), sample_hz=25.0, audio=False) as stream:
        frames = [frame.rgb.copy() for frame in stream.frames()]
    animation = LiveAnimation(moving, portrait, LiveSettings(window=6, context=2, steps=2))
    made = [rgb for start in (0, 4, 8) for rgb in animation.make(frames[start : start + 4])]
    assert len(made) == 12
    assert np.isfinite(animation.driver.points_px).all()
    latents = moving.encode_images(make_reference()[None])[0]
    still, moved = (CarriedSampler(moving.transformer, make_scheduler("ddim"), latents, num_steps=2, context=0) for _ in range(2))
    driven = torch.zeros(4, 3, 32, 32)
    assert (still.next(driven) - moved.next(driven, torch.randn(4, *latents.shape))).abs().max() > 1e-3


def test_live_patches_lie_where_the_files_do(files, pipe) -> None:
    portrait, driver = files
    picture = model_picture(pipe.settings, lambda: pipe.landmarks, 128)
    with open_driver(portrait, driver, DrivingOptions(), picture) as driving:
        whole = driving.driven_frames(0, N_FRAMES)
        frames = [rgb.copy() for rgb in driving.footage.frames()]
    live = LiveDriver(picture.open_portrait(portrait), DrivingOptions(crop_scale=picture.crop_scale), pipe.landmarks)
    grey = np.full_like(frames[0], 128)
    assert live.patches([grey, grey]) is None
    found = live.patches(frames)  # all at once: cut about the same places as the file's
    ours, theirs = found.any(axis=1), whole.any(axis=1)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.75
    held = live.patches([grey])
    np.testing.assert_array_equal(held[0], found[-1])
    assert live.num_missing == 3


def test_a_file_is_fed_at_its_own_rate_and_every_frame_is_made_or_counted(files, pipe) -> None:
    portrait, driver = files
    shown: list[int] = []
    animation = LiveAnimation(pipe, portrait, LiveSettings(window=4, context=1, steps=1))
    began = time.monotonic()
    report = run_live(animation, FileFeed(driver), lambda index, rgb: shown.append(index))
    assert time.monotonic() - began >= (N_FRAMES - 1) / 25
    assert report.frames_in == N_FRAMES == report.frames_out + report.dropped + report.without_face
    assert shown == sorted(set(shown))
    assert len(shown) == report.frames_out > 0


def test_a_model_that_is_too_slow_drops_frames_and_keeps_its_latency() -> None:
    shown: list[int] = []
    report = run_live(SlowAnimation(LiveSettings(window=4, context=0), 0.2), NumberedFeed(150), lambda index, rgb: shown.append(index))
    assert report.frames_in == 150 == report.frames_out + report.dropped
    assert report.dropped > 60  # 20 of every 24 or so
    assert shown == sorted(set(shown))
    assert report.latency_p95_ms < 1500  # a window that waits and one that is made, not the whole backlog


def test_a_report_counts_no_latency_that_was_not_there() -> None:
    report = run_live(SlowAnimation(LiveSettings(window=4, context=0), 0.0), NumberedFeed(40), lambda index, rgb: None)
    assert (report.frames_out, report.dropped) == (40, 0)
    assert 10 <= report.latency_ms < 300  # of four frames 10 ms apart


def test_what_was_dropped_shows_the_frame_before() -> None:
    class Writer(list):
        write = list.append

    writer = Writer()
    held = Held(writer)
    for index in (1, 2, 5):
        held.show(index, np.full(1, index))
    assert [int(frame[0]) for frame in writer] == [1, 1, 2, 2, 2, 5]


def test_the_page_shows_the_newest_picture() -> None:
    with Viewer(0) as viewer:
        assert b'src="/stream"' in urllib.request.urlopen(viewer.address, timeout=10).read()
        viewer.show(np.full((16, 16, 3), 200, np.uint8))
        with urllib.request.urlopen(f"{viewer.address}/stream", timeout=10) as stream:
            assert "multipart/x-mixed-replace" in stream.headers["Content-Type"]
            assert stream.readline() == b"--frame\r\n"
            assert stream.readline() == b"Content-Type: image/jpeg\r\n"
        with pytest.raises(UserError, match="cannot listen"), Viewer(int(viewer.address.rsplit(":", 1)[1])):
            pass


def test_the_command(files, pipe, tmp_path) -> None:
    pipe.save_pretrained(tmp_path / "tiny")
    start = [
        "live",
        "-r",
        files[0],
        "--model",
        str(tmp_path / "tiny"),
        "--device",
        "cpu",
        "--window",
        "4",
        "--context",
        "1",
        "--steps",
        "1",
    ]
    out, report = tmp_path / "out.mp4", tmp_path / "report.json"
    result = CliRunner().invoke(cli, [*start, "--file", files[1], "-o", str(out), "--report", str(report)])
    assert result.exit_code == 0, result.output
    assert json.loads(report.read_text())["frames_in"] == N_FRAMES
    with MediaReader() as reader:
        assert N_FRAMES - 8 <= reader.probe(str(out)).n_frames <= N_FRAMES  # as long as the driver up to the last frame that was made
    for options, message in {
        ("--file", files[1]): "nowhere to show it",
        ("-o", str(out)): "one of --camera, --url and --file",
        ("-o", str(out), "--file", "gone.mp4"): "gone.mp4",
        ("-o", str(out), "--file", files[1], "--window", "17"): "window is 17",
        ("-o", str(out), "--file", files[1], "--context", "4"): "context is 4",
        ("-o", str(out), "--url", str(tmp_path / "gone.sdp")): "cannot be opened",
    }.items():
        failed = CliRunner().invoke(cli, [*start, *options])
        assert isinstance(failed.exception, UserError), options
        assert message in str(failed.exception)
        assert "\n" not in str(failed.exception)
