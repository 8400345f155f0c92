"""Our own model answers a benchmark, by every modality, and is scored as any other method."""

import json
import math
from pathlib import Path

import pytest

from curation.samples.portrait import load_picture
from inference.evaluation.answer import answer, given_to, parameters_b
from inference.evaluation.cli import main
from inference.evaluation.methods import read_method
from inference.evaluation.pairs import Pair, read_pairs, write_pairs
from inference.studio.batch import read_tasks
from inference.studio.loading import LoadOptions
from manifests import UserError
from tests.inference.moving_portrait import write_moving_portrait

N_FRAMES = 20


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import wave

    import cv2
    import numpy as np

    root = tmp_path_factory.mktemp("bench")
    write_moving_portrait(root, N_FRAMES)
    cv2.imwrite(str(root / "portrait.png"), load_picture()[:256, 98:354, ::-1])
    with wave.open(str(root / "voice.wav"), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(16_000)
        stream.writeframes((3000 * np.random.default_rng(0).standard_normal(N_FRAMES * 640)).astype(np.int16).tobytes())
    files = {"reference": "portrait.png", "driver": "driver.mp4", "real": "driver.mp4"}
    who = {"identity": "a", "reference_identity": "a", "protocol": "paper-like"}
    write_pairs([Pair(pair_id="spoken", audio="voice.wav", **files, **who), Pair(pair_id="mute", signal="video", **files, **who)], root)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    from tests.inference.animation_parts import tiny_pipeline

    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


def test_what_a_modality_is_given(bench: Path) -> None:
    spoken, mute = read_pairs(bench)
    assert set(given_to(spoken, bench)) == {"reference", "driving", "audio"}
    assert set(given_to(spoken, bench, "A")) == {"reference", "audio"}
    assert set(given_to(spoken, bench, "V")) == {"reference", "driving"}
    assert given_to(mute, bench, "A") is None
    assert given_to(mute, bench, "A+V") is None
    assert all(Path(path).is_file() for path in given_to(spoken, bench).values())


def test_answers_are_a_method_folder(bench: Path, model: Path, tmp_path: Path, capsys) -> None:
    lines: list[str] = []
    options = LoadOptions(model=str(model), device="cpu")
    defaults = {"preset": "fast", "num_inference_steps": 1, "window_shift": 0}
    for modality, signal in (("A", "audio"), ("V", "video")):
        out = tmp_path / modality
        count = answer(read_pairs(bench), modality, out, options, defaults, name=f"tiny {modality}", say=lines.append)
        assert (count.done, count.failed) == (1 if modality == "A" else 2, 0)
        method = read_method(out, ["spoken", "mute"])
        assert (method.method.name, method.method.signal) == (f"tiny {modality}", signal)
        assert method.method.notes["window_stride"] == 12
        assert method.missing == (("mute",) if modality == "A" else ())
        assert not math.isnan(method.method.parameters_b)
        assert parameters_b(model) > 0
        assert answer(read_pairs(bench), modality, out, options, defaults, name=f"tiny {modality}").kept == count.done
    assert any("mute" in line for line in lines)
    modes = {json.loads(line)["mode"] for m in ("A", "V") for line in (tmp_path / m / "results.jsonl").read_text().splitlines()}
    assert modes == {"A", "V"}

    options = ["--size", "128", "--resamples", "100", "--metric", "stability", "--metric", "amplitude"]
    main(["run", str(tmp_path / "A"), str(tmp_path / "V"), "--real", str(bench), "--out", str(tmp_path / "eval"), *options])
    captured = capsys.readouterr().out
    assert "| tiny A | audio | 50% |" in captured
    assert "| tiny V | video | 100% |" in captured
    assert "given different things are ranked together (audio: tiny A; video: tiny V)" in captured
    main(["table", str(tmp_path / "eval"), "--resamples", "100"])
    third = capsys.readouterr().out.split("Table 3")[1]
    order = [third.index(name) for name in ("MegActor-Σ A |", "tiny A, eval", "MegActor-Σ V |", "tiny V, eval", "MegActor-Σ A+V |")]
    assert order == sorted(order)


def test_mistakes(bench: Path, tmp_path: Path, model: Path) -> None:
    options = LoadOptions(model=str(model), device="cpu")
    with pytest.raises(UserError, match="must be one of A, V, A"):
        answer(read_pairs(bench), "B", tmp_path, options, {})
    mute = type(read_pairs(bench))(bench, read_pairs(bench).pairs[1:])
    with pytest.raises(UserError, match="no pair gives"):
        answer(mute, "A", tmp_path, options, {})


def test_an_answer_replaces_no_file_of_the_benchmark(tmp_path: Path) -> None:
    for name in ("one.mp4", "voice.wav", "me.png"):
        (tmp_path / name).write_bytes(b"mine")
    who = {"identity": "a", "reference_identity": "a", "protocol": "strict"}
    write_pairs([Pair(pair_id="one", reference="me.png", audio="voice.wav", real="one.mp4", signal="audio", **who)], tmp_path)
    with pytest.raises(UserError, match="is one of the sources"):
        answer(read_pairs(tmp_path), None, tmp_path, LoadOptions(), {})
    with pytest.raises(UserError, match="is one of the sources"):
        read_tasks(next(tmp_path.glob("pairs*")), tmp_path, {}, "")
    assert (tmp_path / "one.mp4").read_bytes() == b"mine"
