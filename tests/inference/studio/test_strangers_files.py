"""What people hand over by mistake, or damaged: one line, and nothing of theirs is lost."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
pytest.importorskip("diffusers", reason="the pipeline needs diffusers: install the [train] extra")

import torch
from click.testing import CliRunner
from PIL import Image

from inference.cli import cli, main
from inference.pipeline import MegActorSigmaPipeline
from inference.studio.batch import read_tasks
from inference.studio.request import Request
from manifests import UserError
from manifests.command_line import fail
from tests.inference.animation_parts import make_speech, tiny_pipeline


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "me.png")
    (tmp_path / "you.mp4").write_bytes(b"footage")
    (tmp_path / "speech.wav").write_bytes(b"sound")
    return tmp_path


@pytest.mark.parametrize("way", ["itself", "dots", "symbolic link", "hard link"])
@pytest.mark.parametrize("key", ["driving", "audio", "reference"])
def test_no_output_replaces_a_source(sources: Path, way: str, key: str) -> None:
    named = {"driving": "you.mp4", "audio": "speech.wav", "reference": "me.png"}
    paths = {name: str(sources / file) for name, file in named.items()}
    source, out = Path(paths[key]), sources / f"link{Path(paths[key]).suffix}"
    if way == "symbolic link":
        out.symlink_to(source)
    elif way == "hard link":
        os.link(source, out)
    else:
        out = source if way == "itself" else sources / "." / ".." / sources.name / source.name
    with pytest.raises(UserError, match="is one of the sources"):
        Request.from_tree({**paths, "out": str(out)})
    assert source.exists()


def test_a_template_does_not_replace_its_driver(sources: Path) -> None:
    (sources / "motion.safetensors").write_bytes(b"a template")
    tree = {"reference": str(sources / "me.png"), "driving": str(sources / "motion.safetensors"), "out": str(sources / "o.mp4")}
    with pytest.raises(UserError, match="is one of the sources"):
        Request.from_tree({**tree, "save_template": str(sources / "motion.safetensors")})
    found = CliRunner().invoke(cli, ["template", str(sources / "motion.safetensors"), str(sources / "motion.safetensors")])
    assert isinstance(found.exception, UserError)
    assert (sources / "motion.safetensors").read_bytes() == b"a template"


@pytest.mark.parametrize("seed", [-1, 2**63, 10**40])
def test_seeds_beyond_what_noise_takes(seed: int) -> None:
    with pytest.raises(UserError, match="2\\^63"):
        Request.from_tree({"reference": "a.png", "driving": "b.mp4", "out": "c.mp4", "seed": seed})


@pytest.mark.parametrize("name", ["window_overlap", "window_shift"])
def test_windows_are_looked_at_before_the_driver(name: str) -> None:
    with pytest.raises(UserError, match=f"^{name} is 16; it must lie in 0…15"):
        Request.from_tree({"reference": "a.png", "driving": "b.mp4", "out": "c.mp4", name: 16})


def test_weights_that_are_no_numbers_end_the_animation() -> None:
    pipe = tiny_pipeline()
    with torch.no_grad():
        next(pipe.transformer.denoiser.proj_out.parameters()).fill_(float("nan"))
    portrait = np.full((pipe.settings.size_px,) * 2 + (3,), 90, np.uint8)
    with pytest.raises(UserError, match="frame 0: the model gives numbers that are none"):
        pipe(portrait, audio=make_speech(0.2), num_inference_steps=1)


@pytest.mark.parametrize("damage", ["cut", "absent", "empty", "other shapes", "no configuration"])
def test_damaged_weights_are_one_line(tmp_path: Path, damage: str) -> None:
    from safetensors.torch import load_file, save_file

    tiny_pipeline().save_pretrained(tmp_path / "model")
    (file,) = (tmp_path / "model" / "transformer").glob("*.safetensors")
    if damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif damage == "absent":
        file.unlink()
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "other shapes":
        save_file({name: tensor.flatten()[:1].clone() for name, tensor in load_file(file).items()}, file)
    else:
        (tmp_path / "model" / "transformer" / "config.json").write_text("{")
    with pytest.raises(UserError) as caught:
        MegActorSigmaPipeline.from_pretrained(tmp_path / "model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "index", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {', 100_000 * "[", "NaN", "outside", "absolute", "number", "absent"]
)
def test_an_index_that_names_no_files_of_its_folder(tmp_path: Path, index: str) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "model")
    (file,) = (tmp_path / "model" / "transformer").glob("*.safetensors")
    file.rename(tmp_path / "outside.safetensors")
    named = {
        "outside": "../../outside.safetensors",
        "absolute": str(tmp_path / "outside.safetensors"),
        "number": 5,
        "absent": "a.safetensors",
    }
    text = json.dumps({"weight_map": {"denoiser.x": named[index]}}) if index in named else index
    file.with_name("diffusion_pytorch_model.safetensors.index.json").write_text(text)
    with pytest.raises(UserError, match=r"index\.json (is not an index of shards|names .* which is not a file of that folder)$"):
        MegActorSigmaPipeline.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("num_layers", 10**9, "num_layers is 1000000000; it must be at most 1024"),
        ("num_layers", 1000, "asks for 4,096,000 weights or more, its files hold"),
        ("sample_size", 10**8, "sample_size is 100000000; it must be at most 1024"),
    ],
)
def test_models_larger_than_their_files_are_not_built(tmp_path: Path, name: str, value: int, said: str) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "model")
    file = tmp_path / "model" / "transformer" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    with pytest.raises(UserError, match=said):
        MegActorSigmaPipeline.from_pretrained(tmp_path / "model")


def test_pictures_larger_than_portraits_are_not_made(tmp_path: Path) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="size_px is 1280000000; it must be at most 4096"):
        MegActorSigmaPipeline.from_pretrained(tmp_path / "model", overrides=["size_px=1280000000"])


def test_lists_break_at_line_feeds_alone(sources: Path) -> None:
    """JSON allows the separators U+2028, U+2029 and U+0085 within a string."""
    lines = [
        {"id": "a", "reference": "me.png", "driving": "you\u2028\u2029\u0085.mp4"},
        {"id": "b", "reference": "me.png", "driving": "you.mp4"},
    ]
    (sources / "list.jsonl").write_text("\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    tasks = read_tasks(sources / "list.jsonl", sources / "out", {}, "")
    assert [task.id for task in tasks] == ["a", "b"]
    assert tasks[0].request.driving == str(sources / "you\u2028\u2029\u0085.mp4")


def test_lists_may_begin_with_a_byte_order_mark(sources: Path) -> None:
    """As editors on Windows write them."""
    line = json.dumps({"id": "a", "reference": "me.png", "driving": "you.mp4"})
    (sources / "list.jsonl").write_text(line + "\r\n", encoding="utf-8-sig")
    assert [task.id for task in read_tasks(sources / "list.jsonl", sources / "out", {}, "")] == ["a"]


def test_a_lists_templates_lie_beside_it(sources: Path) -> None:
    line = {"id": "a", "reference": "me.png", "driving": "you.mp4", "save_template": "kept.safetensors"}
    (sources / "list.jsonl").write_text(json.dumps(line))
    (task,) = read_tasks(sources / "list.jsonl", sources / "out", {}, "")
    assert task.request.save_template == str(sources / "kept.safetensors")


@pytest.mark.parametrize("decoder", [5000 * "9", "nowhere.safetensors", "a\0b.safetensors", "."])
def test_a_decoder_that_no_file_can_hold_is_one_line(tmp_path: Path, decoder: str) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "model")
    file = tmp_path / "model" / "pipeline.json"
    tree = json.loads(file.read_text())
    tree["config"]["codec"] = {"kind": "block_dct", "decoder": decoder, "path": None}
    file.write_text(json.dumps(tree))
    with pytest.raises(UserError, match="no weights at") as caught:
        MegActorSigmaPipeline.from_pretrained(tmp_path / "model")
    assert len(str(caught.value)) < 500


def test_a_path_that_no_file_can_have_and_a_value_without_end_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["animate", "-r", "me.png", "-d", "you.mp4", "-o", "a\0b.mp4"])
    assert ended.value.code == 2
    assert "no file's name holds a NUL" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        fail(f"a.json: width is {5000 * 'x'}; it needs an integer")
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("error: a.json: width is xxx")
    assert line.endswith("it needs an integer\n")
    assert len(line) < 1100
