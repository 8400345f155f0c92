"""Requests carried out: real files in, playable files out, nothing half-written, mistakes in one line."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")
pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
pytest.importorskip("diffusers", reason="the pipeline needs diffusers: install the [train] extra")

from inference.cli import main  # noqa: E402
from inference.driving.sound import FileSound  # noqa: E402
from inference.output.video_writer import open_output, read_provenance  # noqa: E402
from inference.studio.animate import animate  # noqa: E402
from inference.studio.request import Request  # noqa: E402
from manifests import UserError  # noqa: E402
from tests.inference.animation_parts import SIZE_PX, make_speech, tiny_pipeline  # noqa: E402
from tests.inference.driver_footage import PlantedBackend  # noqa: E402

SIDE = 128
CLICK_S = 0.31


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline(landmarks=PlantedBackend())


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    from inference.driving.sound import ArraySound

    folder = tmp_path_factory.mktemp("sources")
    pictures = np.random.default_rng(0).integers(0, 256, (17, SIDE, SIDE, 3), np.uint8)
    Image.fromarray(pictures[0]).save(folder / "me.png")
    click = np.zeros(32_000, np.float32)
    click[round(CLICK_S * 16_000) :][:64] = 0.9
    for fps in (Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50)):
        with open_output(folder / f"you{fps.numerator}.mp4", fps, len(pictures), ArraySound(click)) as writer:
            for picture in pictures:
                writer.write(picture)
    with open_output(folder / "mute.mp4", Fraction(25), 3) as writer:
        for picture in pictures[:3]:
            writer.write(picture)
    with open_output(folder / "frames", Fraction(25), 20, ArraySound(make_speech())) as writer:
        for _ in range(20):
            writer.write(pictures[0])
    (folder / "frames" / "sound.wav").rename(folder / "speech.wav")
    (folder / "broken.mp4").write_bytes((folder / "you25.mp4").read_bytes()[:3000])
    return folder


def request(sources: Path, out: Path, **settings) -> Request:
    paths = {name: str(sources / settings.pop(name)) for name in ("driving", "audio") if name in settings}
    return Request.from_tree({"reference": str(sources / "me.png"), "out": str(out), "num_inference_steps": 1, **paths, **settings})


@pytest.mark.parametrize(
    "fps",
    [
        Fraction(30000, 1001),
        Fraction(50),
        *(pytest.param(Fraction(fps), marks=pytest.mark.slow) for fps in (24, 25, 30)),
    ],
    ids=str,
)
def test_the_result_has_the_drivers_frames_rate_length_and_sound(pipe, sources: Path, tmp_path: Path, fps: Fraction) -> None:
    report = animate(pipe, request(sources, tmp_path / "out.mp4", driving=f"you{fps.numerator}.mp4"))
    assert report.mode == "V"
    with av.open(str(tmp_path / "out.mp4")) as container, av.open(str(sources / f"you{fps.numerator}.mp4")) as driver:
        video, theirs = container.streams.video[0], driver.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert video.average_rate == theirs.average_rate == fps
        assert video.duration * video.time_base == theirs.duration * theirs.time_base
        frames = list(container.decode(video))
        assert len(frames) == 17
        assert (frames[0].height, frames[0].width) == (SIZE_PX, SIZE_PX)
    if 17 / fps > CLICK_S:
        heard = np.argmax(np.abs(FileSound(tmp_path / "out.mp4").waveform()) > 0.3) / 16_000
        assert heard == pytest.approx(CLICK_S, abs=0.01)


def test_sound_alone_and_both(pipe, sources: Path, tmp_path: Path) -> None:
    report = animate(pipe, request(sources, tmp_path / "a.mp4", audio="speech.wav"))
    assert (report.mode, report.num_frames, report.fps) == ("A", 20, "25")
    report = animate(pipe, request(sources, tmp_path / "av.mp4", driving="mute.mp4", audio="speech.wav"))
    assert (report.mode, report.num_frames) == ("A+V", 3)
    assert "what is beyond the driver is left out" in report.warnings[0]
    assert FileSound(tmp_path / "av.mp4").duration_s == pytest.approx(0.12, abs=0.002)


def test_driver_without_sound_gives_a_silent_file(pipe, sources: Path, tmp_path: Path) -> None:
    animate(pipe, request(sources, tmp_path / "out.mp4", driving="mute.mp4"))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_a_single_picture_drives_for_as_long_as_asked_or_as_the_sound_lasts(pipe, sources: Path, tmp_path: Path) -> None:
    assert animate(pipe, request(sources, tmp_path / "p.mp4", driving="me.png", still_s=0.2)).num_frames == 5
    assert animate(pipe, request(sources, tmp_path / "q.mp4", driving="me.png", audio="speech.wav")).num_frames == 20


def test_side_by_side_and_paste_back(pipe, sources: Path, tmp_path: Path) -> None:
    for settings, width, height in (({"side_by_side": True}, 3 * SIZE_PX, SIZE_PX), ({"paste_back": True}, SIDE, SIDE)):
        animate(pipe, request(sources, tmp_path / "out.mp4", driving="mute.mp4", **settings))
        with av.open(str(tmp_path / "out.mp4")) as container:
            frame = next(container.decode(video=0))
            assert (frame.width, frame.height) == (width, height)


def test_provenance_says_synthetic_and_how_but_not_where(pipe, sources: Path, tmp_path: Path) -> None:
    animate(pipe, request(sources, tmp_path / "out.mp4", driving="mute.mp4", seed=4))
    found = read_provenance(tmp_path / "out.mp4")
    assert found["synthetic"] is True
    assert (found["seed"], found["driving"], found["settings"]["num_inference_steps"]) == (4, "mute.mp4", 1)
    assert str(sources) not in json.dumps(found)


def test_an_interruption_leaves_nothing(pipe, sources: Path, tmp_path: Path) -> None:
    def interrupt(progress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(pipe, request(sources, tmp_path / "out.mp4", driving="you25.mp4"), on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_video_may_be_the_portrait(pipe, sources: Path, tmp_path: Path) -> None:
    portrait = str(sources / "you25.mp4")
    animate(pipe, replace(request(sources, tmp_path / "out.mp4", driving="mute.mp4"), reference=portrait))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"driving": "broken.mp4"}, "broken.mp4"),
        ({"audio": "mute.mp4"}, "has no sound"),
        ({"audio": "me.png"}, "me.png"),
        ({"audio": "none.wav"}, "not there"),
        ({"driving": "mute.mp4", "motion": 2.5}, "must lie in 0..2"),
        ({"driving": "mute.mp4", "audio_scale": -1.0}, "audio_scale"),
        ({"driving": "mute.mp4", "regions": "nose"}, "regions"),
        ({"driving": "mute.mp4", "sampler": "dpm"}, "unknown sampler"),
        ({"driving": "mute.mp4", "preset": "quick"}, "unknown preset"),
        ({"driving": "mute.mp4", "paste_back": True, "side_by_side": True}, "choose one"),
        ({"driving": "mute.mp4", "audio_skale": 1.0}, "did you mean 'audio_scale'"),
        ({}, "nothing drives"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(pipe, sources: Path, tmp_path: Path, settings: dict, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        animate(pipe, request(sources, tmp_path / "out.mp4", **settings))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_face_is_one_line(sources: Path, tmp_path: Path) -> None:
    blind = tiny_pipeline(landmarks=PlantedBackend(missing=range(100)))
    with pytest.raises(UserError, match="no face"):
        animate(blind, request(sources, tmp_path / "out.mp4", driving="mute.mp4"))


def run(arguments: list[str], capsys: pytest.CaptureFixture) -> tuple[int, str, str]:
    code = 0
    try:
        main(arguments)
    except SystemExit as error:
        code = error.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_makes_a_video_and_says_how_long_it_takes(pipe, sources: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("inference.studio.loading.load", lambda options, say: pipe)
    files = ["-r", str(sources / "me.png"), "-d", str(sources / "you25.mp4"), "-o", str(tmp_path / "out.mp4")]
    code, out, err = run(["animate", *files, "--preset", "fast", "--steps", "2", "--report", str(tmp_path / "r.json")], capsys)
    assert code == 0, err
    assert out.strip() == str(tmp_path / "out.mp4")
    assert "17 frames at 25 a second (0.68 s), preset fast, 2 steps" in err
    assert err.index("s a frame, about") < err.index("100 %")
    assert json.loads((tmp_path / "r.json").read_text())["settings"]["guidance_scale"] == 1.0


def test_mistakes_on_the_command_line_exit_with_2(sources: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("inference.studio.loading.PACKAGED_MODEL", tmp_path / "installed without it")
    me, driver = str(sources / "me.png"), str(sources / "mute.mp4")
    stage_one = tiny_pipeline(stage=1)
    stage_one.save_pretrained(tmp_path / "one")
    for arguments, said in (
        (["-r", me], "nothing drives"),
        (["-r", me, "-d", driver], "make train"),
        (["-r", me, "-d", driver, "--model", "nowhere"], "no model at nowhere"),
        (["-r", me, "-d", driver, "--model", str(sources)], "holds no pipeline"),
        (["-r", me, "-a", str(sources / "speech.wav"), "--model", "one", "--device", "cpu"], "stage 1 and has no audio layers"),
        (["-r", "no.png", "-d", driver], "not there"),
        (["-r", me, "-d", driver, "-o", "out.avi"], "unknown kind of output"),
        (["-r", me, "-d", driver, "--model", "one", "--device", "gpu"], "device"),
        (["-r", me, "-d", driver, "--model", "one", "--dtype", "int8"], "dtype"),
        (["-r", me, "-d", driver, "--model", "one", "--offload", "all"], "offload"),
    ):
        code, out, err = run(["animate", *arguments], capsys)
        last = err.strip().splitlines()[-1]
        assert (code, out) == (2, ""), err
        assert last.startswith("error: ")
        assert said in last
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one"]


def test_a_damaged_checkpoint_is_one_line(pipe, sources: Path, tmp_path: Path, capsys) -> None:
    from safetensors.torch import load_file, save_file

    pipe.save_pretrained(tmp_path / "model")
    weights = next((tmp_path / "model" / "transformer").glob("*.safetensors"))
    tensors = load_file(weights)
    tensors.pop(next(iter(tensors)))
    save_file(tensors, weights)
    files = ["-r", str(sources / "me.png"), "-d", str(sources / "mute.mp4"), "--model", str(tmp_path / "model")]
    code, _, err = run(["animate", *files], capsys)
    assert code == 2
    assert "missing keys" in err.strip().splitlines()[-1]


def test_finding_the_model_that_was_trained_here(pipe, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(["find-model"], capsys)
    assert (code, Path(out.strip()).name) == (0, "embedded")  # what comes with the package
    monkeypatch.setattr("inference.studio.loading.PACKAGED_MODEL", tmp_path / "installed without it")
    assert run(["find-model"], capsys)[0] == 2
    for stage in (1, 2):
        pipe.save_pretrained(tmp_path / "runs" / f"s{stage}" / "pipeline")
        assert run(["find-model"], capsys)[:2] == (0, f"runs/s{stage}/pipeline\n")
    assert run(["find-model", "--model", "runs/s1"], capsys)[:2] == (0, "runs/s1/pipeline\n")
