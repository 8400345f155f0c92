"""The ablations' rows from planted figures: means, differences by person, the page; and that every recipe is a configuration."""

import json

import numpy as np
import pytest

pytest.importorskip("numba", reason="people are rendered by numba: install the [people] extra")
pytest.importorskip("torch", reason="the benchmark needs torch: install the [train] extra")

from benchmarks.truth.ablations import CONFIG, Plan, _to_docs, about_of, main, run
from benchmarks.truth.conditions import UNGUIDED
from benchmarks.truth.measure import response_name
from benchmarks.truth.recipes import RECIPES, SIZES, START, first_stage
from benchmarks.truth.response import Moments
from benchmarks.truth.rows import COLUMNS, table
from benchmarks.truth.sections import ablation_lines
from manifests import UserError
from training.config import load_training_config
from training.run import inference_config

PEOPLE, FRAMES = 8, 120
LEAK = "eyes alone: lids leak into lips, %"


def plan(**settings) -> Plan:
    known = {
        "init": "weights/embedded", "steps": (250,), "lr": 1e-3, "people": 40, "correlation": 0.8, "tested": PEOPLE, "seconds": 3.0,
        "batch_size": 8, "conditions": ("eyes", "both"),
    }  # fmt: skip
    return Plan(**(known | settings))


def plant(folder, leaks: list[float], seed: int) -> None:
    """A finished model whose lips, the eyes alone shown, follow the lids by a share that each person has of their own."""
    rng = np.random.default_rng(seed)
    figures = {}
    for k, leak in enumerate(leaks):
        signals = np.random.default_rng(k).standard_normal((FRAMES, 10))
        for name in (f"reader/{k}", response_name("both", UNGUIDED, k), response_name("eyes", UNGUIDED, k)):
            tracks = signals[:, :9] + 1e-3 * rng.standard_normal((FRAMES, 9))
            if name.startswith("eyes"):
                tracks[:, 0] = leak * signals[:, 1] + 1e-3 * rng.standard_normal(FRAMES)
            figures[name] = {"found": 1.0, "moments": Moments.of(signals, tracks).to_tree()}
    folder.mkdir(parents=True)
    (folder / "figures.json").write_text(json.dumps(figures))
    (folder / "done").write_bytes(b"")


@pytest.fixture
def found(tmp_path) -> dict:
    own = np.linspace(-0.3, 0.3, PEOPLE)  # people differ far more than recipes do
    plant(tmp_path / "full-0", list(own), 1)
    plant(tmp_path / "full-1", list(own), 2)
    plant(tmp_path / "no-cures-0", list(own - 0.12), 3)
    plant(tmp_path / f"{START}-0", [0.0] * PEOPLE, 4)
    (tmp_path / "no-masks-0").mkdir()  # not finished
    return table(tmp_path, about_of(plan()))


def test_differences_by_person_see_what_means_do_not(found) -> None:
    rows = found["rows"]
    assert list(rows) == [START, "full", "no-cures"]
    assert rows["full"]["seeds"] == [0, 1]
    assert rows["full"]["figures"][LEAK]["people"] == PEOPLE
    assert "differences" not in rows[START]
    assert rows["full"]["against"] == START  # the row that others are held against is held against what it began as
    assert rows["full"]["differences"][LEAK]["mean"] == pytest.approx(0, abs=0.1)  # of both seeds, from the one start
    assert rows["full"]["differences"][LEAK]["people"] == PEOPLE
    mean = rows["no-cures"]["figures"][LEAK]
    assert mean["low"] < 0 < mean["high"]
    less = rows["no-cures"]["differences"][LEAK]
    assert less["mean"] == pytest.approx(-12, abs=1)
    assert less["high"] < -8
    assert rows["no-cures"]["differences"]["lips follow the mouth, r"]["mean"] == pytest.approx(0, abs=1e-3)


def test_columns_of_conditions_that_were_not_measured_are_left_out(found) -> None:
    assert LEAK in found["rows"]["full"]["figures"]
    assert not any("sound" in column for column in found["rows"]["full"]["figures"])
    assert {condition for condition, *_ in COLUMNS.values()} == {"both", "eyes", "mouth", "sound", "sound+eyes"}


def test_page_of_the_ablations_is_what_the_json_says(found) -> None:
    from_nothing = {**found, "about": about_of(plan(init=None, steps=(10, 20), lr=None)), "picture": ["no-cures", "full"]}
    lines = ablation_lines(json.loads(json.dumps([found, from_nothing])))
    text = "\n".join(lines)
    assert "--init embedded --steps 250 --batch-size 8 --lr 0.001 …" in text
    assert "(correlation 0.8)" in text
    assert "250 steps of 8 at a peak learning rate of 0.001." in text
    assert "10 + 20 steps of 8.\n" in text
    assert f"| `{START}`" in text
    difference = next(line for line in lines if line.startswith("| `no-cures` | `full` |"))
    assert "**-1" in difference
    assert text.count("truth_ablations.jpg") == 1
    assert "what `no-cures` makes of the portrait" in text


def test_every_ablation_is_a_configuration_that_training_takes() -> None:
    small = load_training_config(CONFIG, 1, RECIPES["tight-patches"].overrides(SIZES["small"]))
    sizes = inference_config(small).model
    assert (sizes.num_layers, sizes.temporal_heads, inference_config(small).patch_rule) == (4, 4, "frame")
    configs = {name: load_training_config(CONFIG, 2, recipe.overrides()) for name, recipe in RECIPES.items()}
    assert configs["full"].data.modality.mixed_share == 0.7
    assert configs["no-cures"].data.modality.both_share == 1
    assert configs["no-cures"].data.modality.masked_stages == ()
    assert configs["video-no-eq2"].data.modality.mask_visual_loss
    assert not configs["video-no-eq2"].data.modality.mask_visual_attention
    assert configs["tight-patches"].inference_overrides == ("most_steps=2", "patch_rule=frame")
    assert len({repr(config) for config in configs.values()}) == len(RECIPES)
    assert all(set(recipe.against) <= RECIPES.keys() for recipe in RECIPES.values())


def test_rows_share_a_first_stage_that_is_the_same() -> None:
    shared = {name: first_stage(name) for name in RECIPES}
    assert {name for name, first in shared.items() if first == "video"} == {"video", "full", "mixed-attention", "33-33-33", "80-10-10"}
    assert shared["no-masks"] == "video-no-masks"
    assert shared["no-dropout"] == "video-no-dropout"
    assert shared["rerendered"] == "video-rerendered"
    for name, first in shared.items():
        stage_1 = [load_training_config(CONFIG, 1, RECIPES[one].overrides(stage=1)) for one in (name, first)]
        assert stage_1[0] == stage_1[1]
    assert RECIPES["full"].overrides() != RECIPES["video"].overrides()


def test_what_does_not_fit_is_one_line(tmp_path, capsys) -> None:
    with pytest.raises(UserError, match="or two"):
        plan(init=None, steps=(1, 2, 3))
    with pytest.raises(UserError, match="sound is learnt in stage 2"):
        plan(init=None).require_trains(["video", "full"])
    plan(init=None).require_trains(["video", "eyes-no-masks"])
    with pytest.raises(UserError, match="hides every token"):
        plan(init=None, size="64px").require_trains(["video", "video-no-eq2"])
    plan(init=None, size="64px").require_trains(["video-no-eq2", "video-no-masks", "video-no-dropout"])
    assert plan(init=None, size="64px").hours(1) < plan(init=None).hours(1)
    with pytest.raises(UserError, match="--known"):
        plan(init=None, known=True, people=4)
    with pytest.raises(UserError, match="one number"):
        plan(steps=(1, 2))
    with pytest.raises(UserError, match="audio-norm"):
        run(plan(), tmp_path, ["full", "audio-norm"], [0])
    assert main(["--out", str(tmp_path), "--init", "w", "--size", "small"]) == 2
    assert "--size small" in capsys.readouterr().err
    assert main(["--plan", "--init", "weights/embedded", "--recipes", "full", "--seeds", "0"]) == 0
    assert "1 models, 400 steps each" in capsys.readouterr().out


def test_a_folder_keeps_to_its_plan(tmp_path, capsys) -> None:
    arguments = ["--out", str(tmp_path), "--init", "w", "--report", "--steps"]
    assert main([*arguments, "5"]) == 0
    assert main([*arguments, "6"]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_a_table_without_a_leak_says_that_it_says_nothing(found) -> None:
    found["rows"] = {"full": found["rows"]["full"]}
    assert "no row learnt" in "\n".join(ablation_lines([found]))
    found["rows"]["full"]["figures"][LEAK] = {"mean": -30.0, "low": -40.0, "high": -20.0, "people": PEOPLE}
    text = "\n".join(ablation_lines([found]))
    assert "no row learnt" not in text
    assert "Leaks whose interval excludes 0: `full`, eyes alone: lids leak into lips: -30.0 (-40.0 to -20.0) %." in text


def test_docs_keep_one_table_a_plan(found, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.truth.ablations.DOCS", tmp_path)
    monkeypatch.setattr("benchmarks.truth.ablations.write_page", lambda docs: None)
    other = {**found, "about": about_of(plan(steps=(99,)))}
    for one in (found, other, found):
        _to_docs(one, tmp_path, plan())
    kept = json.loads((tmp_path / "truth_ablations.json").read_text())
    assert [one["about"]["steps"] for one in kept] == [[99], [250]]
