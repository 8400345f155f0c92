"""Many animations: resumed, failures as rows, the evaluation's pair lists."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
pytest.importorskip("diffusers", reason="the pipeline needs diffusers: install the [train] extra")

import inference.studio.batch as batch
from inference.driving import Amplitude
from inference.output.video_writer import open_output
from inference.studio.loading import LoadOptions
from manifests import UserError
from tests.inference.animation_parts import make_speech, tiny_pipeline
from tests.inference.driver_footage import PlantedBackend

FAST = {"num_inference_steps": 1, "guidance_scale": 1.0}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from PIL import Image

    from inference.driving.sound import ArraySound

    pipe = tiny_pipeline(landmarks=PlantedBackend())
    pipe.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(batch, "load", lambda options, say: pipe)
    Image.fromarray(np.full((128, 128, 3), 90, np.uint8)).save(tmp_path / "me.png")
    with open_output(tmp_path / "you.mp4", Fraction(25), 3, ArraySound(make_speech(0.12))) as writer:
        for grey in (10, 20, 30):
            writer.write(np.full((128, 128, 3), grey, np.uint8))
    return tmp_path


def write_list(place: Path, *lines: dict) -> Path:
    (place / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place / "pairs.jsonl"


def run(place: Path, file: Path, **defaults) -> batch.BatchCount:
    return batch.run_batch(file, place / "out", LoadOptions(model=str(place / "model")), {**FAST, **defaults})


def results(place: Path) -> list[dict]:
    return [json.loads(line) for line in (place / "out" / "results.jsonl").read_text().splitlines()]


def test_failures_are_rows_and_a_second_call_does_only_what_is_left(place: Path) -> None:
    file = write_list(
        place,
        {"id": "a", "reference": "me.png", "driving": "you.mp4", "seed": 1},
        {"id": "b", "reference": "gone.png", "driving": "you.mp4"},
        {"reference": "me.png", "audio": "you.mp4", "audio_scale": 0.5},
    )
    assert run(place, file) == batch.BatchCount(done=2, failed=1, kept=0)
    rows = results(place)
    assert [row["id"] for row in rows] == ["a", "b", "00003"]
    assert rows[1]["error"].endswith("gone.png: the file is not there")
    assert (rows[2]["mode"], rows[2]["settings"]["audio_scale"]) == ("A", 0.5)
    assert sorted(path.name for path in (place / "out").glob("*.mp4")) == ["00003.mp4", "a.mp4"]
    before = (place / "out" / "a.mp4").stat().st_mtime_ns
    assert run(place, file) == batch.BatchCount(done=0, failed=1, kept=2)
    (place / "me.png").rename(place / "gone.png")
    (place / "gone.png").with_name("me.png").write_bytes((place / "gone.png").read_bytes())
    run(place, file)
    assert results(place)[1]["error"] is None
    assert (place / "out" / "a.mp4").stat().st_mtime_ns > before  # its portrait was written anew


def test_a_killed_batch_continues(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_list(place, *({"id": str(i), "reference": "me.png", "driving": "you.mp4", "seed": i} for i in range(4)))
    real, calls = batch.run_task, []

    def dying(pipe, task, out):
        calls.append(task.id)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(pipe, task, out)

    monkeypatch.setattr(batch, "run_task", dying)
    with pytest.raises(KeyboardInterrupt):
        run(place, file)
    assert [row["id"] for row in results(place)] == ["0", "1"]
    assert run(place, file) == batch.BatchCount(done=2, failed=0, kept=2)
    assert calls == ["0", "1", "2", "2", "3"]


@pytest.mark.slow
def test_a_line_changes_only_its_own_result(place: Path) -> None:
    lines = [{"id": name, "reference": "me.png", "driving": "you.mp4"} for name in "ab"]
    run(place, write_list(place, *lines))
    lines[1]["seed"] = 5
    assert run(place, write_list(place, *lines)) == batch.BatchCount(done=1, failed=0, kept=1)


def test_pair_lists_of_the_evaluation_are_taken_as_they_are(place: Path) -> None:
    pair = {
        "protocol": "p",
        "identity": "x",
        "reference_identity": "x",
        "reference": "me.png",
        "driver": "you.mp4",
        "audio": "you.mp4",
        "real": "",
    }
    file = write_list(
        place,
        {**pair, "pair_id": "v", "signal": "video", "parameters": {"motion": 0.5}},
        {**pair, "pair_id": "a", "signal": "audio", "parameters": {"audio_scale": 2.0}},
        {**pair, "pair_id": "av", "signal": "video+audio"},
    )
    tasks = {task.id: task.request for task in batch.read_tasks(file, place / "out", {}, "")}
    assert (tasks["v"].options.amplitude, tasks["v"].audio) == (Amplitude.of(0.5), None)
    assert (tasks["a"].driving, tasks["a"].sampling.audio_scale) == (None, 2.0)
    assert run(place, file).done == 3
    assert [row["mode"] for row in results(place)] == ["V", "A", "A+V"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "has no lines"),
        (["{"], "line 1"),
        (["[]"], "not a JSON object"),
        (['{"reference": "me.png"}'], "nothing drives"),
        (['{"driving": "you.mp4"}'], "reference is missing"),
        (['{"reference": "me.png", "drivng": "you.mp4"}'], "did you mean 'driving'"),
        (['{"id": "../x", "reference": "me.png", "driving": "you.mp4"}'], "no file name"),
        (['{"reference": "me.png", "driving": "you.mp4", "out": "/etc/x.mp4"}'], "named by id"),
        (['{"id": "a", "reference": "me.png", "driving": "you.mp4"}'] * 2, "line 2.*twice"),
        (['{"reference": "me.png", "driving": "you.mp4", "seed": "x"}'], "seed needs int"),
        (
            [
                '{"reference": "me.png", "driving": "you.mp4", "save_template": "t.safetensors"}',
                '{"reference": "me.png", "driving": "you.mp4", "save_template": "./t.safetensors"}',
            ],
            "line 2: save_template .* is line 1's too",
        ),
    ],
)
def test_a_wrong_line_is_named_before_any_work(place: Path, lines: list[str], said: str) -> None:
    (place / "pairs.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError, match=said):
        run(place, place / "pairs.jsonl")
    assert not (place / "out").exists()


@pytest.mark.slow
def test_ray_actors_make_the_same(place: Path) -> None:
    """Failures only: an actor's pipeline has real landmarks, which find no face here."""
    pytest.importorskip("ray")
    file = write_list(place, *({"id": str(i), "reference": "me.png", "audio": "you.mp4"} for i in range(2)))
    count = batch.run_batch(file, place / "out", LoadOptions(model=str(place / "model"), device="cpu"), FAST, workers=1)
    assert (count.done, count.failed) == (0, 2)
    assert all("no face" in row["error"] for row in results(place))


def test_no_line_replaces_the_list_or_what_another_line_is_made_from(place: Path) -> None:
    (place / "out").mkdir()
    (place / "you.mp4").rename(place / "out" / "a.mp4")
    before = (place / "out" / "a.mp4").read_bytes()
    lines = ({"id": "a", "reference": "me.png", "audio": "out/b.wav"}, {"id": "b", "reference": "me.png", "driving": "out/a.mp4"})
    with pytest.raises(UserError, match=r"a: .*a\.mp4 is one of the sources"):
        run(place, write_list(place, *lines))
    (place / "kept.safetensors").hardlink_to(place / "model" / "transformer" / "diffusion_pytorch_model.safetensors")
    keeps = {"id": "c", "reference": "me.png", "driving": "out/a.mp4", "save_template": "kept.safetensors"}
    with pytest.raises(UserError, match=r"kept\.safetensors is one of the sources"):
        run(place, write_list(place, keeps))
    write_list(place, {"id": "c", "reference": "me.png", "driving": "a.mp4"}).rename(place / "out" / "results.jsonl")
    with pytest.raises(UserError, match=r"results.jsonl: is one of the sources"):
        run(place, place / "out" / "results.jsonl")
    assert (place / "out" / "a.mp4").read_bytes() == before


def test_a_line_may_take_what_another_made(place: Path) -> None:
    lines = ({"id": "a", "reference": "me.png", "driving": "you.mp4"}, {"id": "b", "reference": "me.png", "driving": "out/a.mp4"})
    assert run(place, write_list(place, *lines)).done == 2
    assert run(place, write_list(place, *lines), seed=1).done == 2
