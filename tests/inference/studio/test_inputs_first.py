"""What is wrong with an animation's files is said before a model is loaded."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from click.testing import CliRunner
from PIL import Image

from inference.cli import cli
from manifests import UserError
from tests.faults import Recipe, write_clip


@pytest.fixture
def files(tmp_path: Path) -> Path:
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "me.png")
    whole = write_clip(tmp_path / "you.mp4", Recipe(times=range(10))).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "bad.safetensors").write_bytes(b"\x10" * 64)
    (tmp_path / "bad.wav").write_bytes(b"RIFF....WAVE")
    (tmp_path / "folder").mkdir()
    (tmp_path / "frames").mkdir()  # as an animation writes it
    for name in ("provenance.json", "sound.wav"):
        (tmp_path / "frames" / name).write_text("{}")
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "frames" / "000000.png")
    (tmp_path / "linked").symlink_to("frames")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"-r": "text.png"}, "text.png"),
        ({"-r": "nothing.png"}, "the file is not there"),
        ({"-r": "folder"}, "the file is not there"),
        ({"-d": "nothing.mp4"}, "the file is not there"),
        ({"-d": 300 * "x" + ".mp4"}, "the file is not there"),
        ({"-d": "cut.mp4"}, "cut off before the end"),
        ({"-d": "bad.safetensors"}, "the motion template is damaged"),
        ({"-d": "folder"}, "no pictures in this folder"),
        ({"-a": "bad.wav"}, "bad.wav"),
        ({"--report": "nowhere/report.json"}, "nowhere is not there"),
        ({"--report": 300 * "x"}, "no file can have this name"),
        ({"--save-template": "nowhere/t.safetensors"}, "nowhere is not there"),
        ({"--report": "folder"}, "it is a folder"),
        ({"--report": "me.png"}, "is one of the sources"),
        ({"--report": "you.mp4"}, "is one of the sources"),
        ({"--report": "out.mp4"}, "another output has this name"),
        ({"--report": "folder/../out.mp4"}, "another output has this name"),
        ({"-d": "frames/000000.png", "-o": "frames"}, "holds one of the sources"),
        ({"-a": "frames/sound.wav", "-o": "frames"}, "holds one of the sources"),
        ({"-d": "frames", "-o": "frames"}, "is one of the sources"),
        ({"-d": "linked/000000.png", "-o": "frames"}, "holds one of the sources"),
    ],
)
def test_before_the_model(files: Path, changed: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
    import inference.studio.loading

    def never(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(inference.studio.loading, "load", never)
    before = (files / "me.png").read_bytes()
    named = {"-r": "me.png", "-d": "you.mp4", "-o": "out.mp4"} | changed
    arguments = [part for option, name in named.items() for part in (option, str(files / name))]
    found = CliRunner().invoke(cli, ["animate", *arguments])
    assert isinstance(found.exception, UserError), found.exception
    assert message in str(found.exception)
    assert "\n" not in str(found.exception)
    assert not (files / "out.mp4").exists()
    assert (files / "me.png").read_bytes() == before


@pytest.mark.parametrize(
    ("option", "name"), [("-o", "you.mp4"), ("-o", "link.mp4"), ("-o", "me.png"), ("--report", "you.mp4"), ("--report", "me.png")]
)
def test_live_replaces_no_source(files: Path, option: str, name: str) -> None:
    pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
    (files / "link.mp4").symlink_to(files / "you.mp4")
    before = {file: (files / file).read_bytes() for file in ("me.png", "you.mp4")}
    named = {"-r": "me.png", "--file": "you.mp4", "-o": "out.mp4"} | {option: name}
    found = CliRunner().invoke(cli, ["live", *(part for key, file in named.items() for part in (key, str(files / file)))])
    assert isinstance(found.exception, UserError), found.exception
    assert "is one of the sources" in str(found.exception)
    assert before == {file: (files / file).read_bytes() for file in before}


@pytest.mark.parametrize("option", ["--report", "--save-template"])
def test_the_model_that_animates_is_no_output(files: Path, option: str) -> None:
    pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
    pytest.importorskip("diffusers", reason="the pipeline needs diffusers: install the [train] extra")
    (files / "model" / "transformer").mkdir(parents=True)
    weights = files / "model" / "transformer" / "diffusion_pytorch_model.safetensors"
    for file in (files / "model" / "pipeline.json", weights):
        file.write_text("{}")
    named = {"-r": "me.png", "-d": "you.mp4", "-o": "out.mp4", "--model": "model", option: "model/transformer/" + weights.name}
    found = CliRunner().invoke(cli, ["animate", *(part for key, name in named.items() for part in (key, str(files / name)))])
    assert isinstance(found.exception, UserError)
    assert "is one of the sources" in str(found.exception)
    assert weights.read_text() == "{}"
