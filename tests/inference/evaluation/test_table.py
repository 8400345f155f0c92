"""Tables from rows whose numbers are planted."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from inference.evaluation.feature_store import FeatureStore
from inference.evaluation.frechet import frechet_distance
from inference.evaluation.metrics.registry import METRICS
from inference.evaluation.table import make_table, to_json
from manifests import UserError

N_IDENTITIES, CLIPS = 12, 2
PAIRS = [f"p{who}_{clip}" for who in range(N_IDENTITIES) for clip in range(CLIPS)]


@pytest.fixture(autouse=True)
def _made_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "colour", ("made_metrics", "MeanColour"))


def planted(out: Path, methods: dict[str, np.ndarray], failed: dict[str, set[str]] | None = None) -> np.ndarray:
    """An evaluation's directory with these values of lmd_mouth; returns the real features."""
    rng = np.random.default_rng(0)
    store, real = FeatureStore(out / "features"), rng.standard_normal((len(PAIRS), 6, 3))
    for name, values in methods.items():
        for index, (pair_id, value) in enumerate(zip(PAIRS, values, strict=True)):
            row = {"key": "k", "method": name, "pair_id": pair_id, "identity": pair_id.split("_")[0], "status": "scored"}
            if pair_id in (failed or {}).get(name, set()):
                row |= {"status": "failed", "error_kind": "missing_file", "error_message": "none"}
            else:
                store.get("colour-0", f"{name}{index}", lambda i=index, v=value: real[i] + v)
                store.get("colour-0", f"real{index}", lambda i=index: real[i])
                keys = {"store": "colour-0", "answer": f"{name}{index}", "real": f"real{index}"}
                row |= {"lmd_mouth": float(value), "pose_range_ratio": 1.0, "features": {"colour": keys}}
            file = out / "rows" / name / f"{pair_id}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(row))
    run = {"pairs": PAIRS, "methods": {name: {} for name in methods}, "controls": [], "unavailable": {"fid": "no weights"}}
    (out / "run.json").write_text(json.dumps(run))
    return real.reshape(-1, 3)


def test_means_ranks_intervals_and_comparisons(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    hard = rng.uniform(0, 1, len(PAIRS))  # what makes a clip hard for every method
    good, bad = 0.1 + hard, 0.3 + hard + 0.02 * rng.standard_normal(len(PAIRS))
    real = planted(tmp_path, {"good": good, "bad": bad, "copy": bad})
    table = make_table(tmp_path, resamples=500, frechet_resamples=20)
    assert table.frame().loc["good", "lmd_mouth"] == pytest.approx(good.mean())
    cell = table.cells["good"]["lmd_mouth"]
    assert cell.low < good.mean() < cell.high
    assert [table.cells[name]["lmd_mouth"].rank for name in ("good", "bad", "copy")] == [1, 2, 2]
    assert table.cells["good"]["pose_range_ratio"].rank is None
    found = {(one.first, one.second): one for one in table.comparisons if one.metric == "lmd_mouth"}
    assert found["good", "bad"].difference == pytest.approx(-0.2, abs=0.02)
    assert found["good", "bad"].high < 0
    assert found["good", "bad"].p_corrected < 0.05
    assert found["bad", "copy"].p == 1
    assert (table.n_pairs, table.n_identities) == (len(PAIRS), N_IDENTITIES)
    features = np.repeat(good, 6)[:, None] + real
    assert table.cells["good"]["colour"].mean == pytest.approx(
        frechet_distance(features.astype(np.float32), real.astype(np.float32)), rel=1e-4
    )
    assert table.unavailable == {"fid": "no weights"}
    assert json.loads(to_json(table))["cells"]["good"]["lmd_mouth"]["rank"] == 1


def test_all_numbers_rest_on_the_pairs_that_every_method_answered(tmp_path: Path) -> None:
    values = np.arange(len(PAIRS), dtype=float)
    lost = set(PAIRS[-4:])
    planted(tmp_path, {"whole": values, "gappy": values}, {"gappy": lost})
    table = make_table(tmp_path, resamples=100, frechet_resamples=5)
    assert table.n_pairs == len(PAIRS) - 4
    assert table.cells["whole"]["lmd_mouth"].mean == table.cells["gappy"]["lmd_mouth"].mean == pytest.approx(values[:-4].mean())
    assert table.coverage == {"whole": 1.0, "gappy": pytest.approx(1 - 4 / len(PAIRS))}


def test_one_identity_has_means_but_no_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_table.PAIRS", ["p0_0", "p0_1", "p0_2"])
    planted(tmp_path, {"ours": np.array([1.0, 2.0, 3.0])})
    cell = make_table(tmp_path, resamples=100).cells["ours"]["lmd_mouth"]
    assert cell.mean == 2
    assert math.isnan(cell.low)


def test_features_that_are_gone_and_empty_directories_are_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no evaluation"):
        make_table(tmp_path)
    planted(tmp_path, {"ours": np.ones(len(PAIRS))})
    (tmp_path / "features" / "colour-0" / "ours3.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match="run the evaluation again"):
        make_table(tmp_path, resamples=100)


def test_a_column_rests_on_the_clips_that_all_methods_have_it_for(tmp_path: Path) -> None:
    """A method that is not measured on hard clips must not win by that."""
    values = np.arange(len(PAIRS), dtype=float)
    planted(tmp_path, {"whole": values, "blind": values})
    for pair_id in PAIRS[-6:]:
        file = tmp_path / "rows" / "blind" / f"{pair_id}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"lmd_mouth": None}))
    table = make_table(tmp_path, resamples=100, frechet_resamples=5)
    cells = [table.cells[name]["lmd_mouth"] for name in ("whole", "blind")]
    assert {cell.mean for cell in cells} == {values[:-6].mean()}
    assert {cell.n for cell in cells} == {len(PAIRS) - 6}
    assert {cell.rank for cell in cells} == {1}
    assert table.n_pairs == len(PAIRS)


def test_frechet_distances_of_two_methods_are_compared_on_the_same_people(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = 0.2 + 0.05 * rng.standard_normal(len(PAIRS))
    planted(tmp_path, {"near": values, "far": values + 0.3, "copy": values + 0.3})
    table = make_table(tmp_path, resamples=100, frechet_resamples=50)
    found = {(one.first, one.second): one for one in table.comparisons if one.metric == "colour"}
    assert found["near", "far"].high < 0
    assert math.isnan(found["near", "far"].p)
    assert (found["far", "copy"].low, found["far", "copy"].high) == pytest.approx((0, 0), abs=1e-9)
    assert table.cells["near"]["colour"].n == 6 * len(PAIRS)
    assert math.isfinite(table.cells["near"]["colour"].at_infinity)


def test_a_method_without_an_answer_takes_nothing_from_the_others_and_signals_are_named(tmp_path: Path) -> None:
    values = np.ones(len(PAIRS))
    planted(tmp_path, {"ours": values, "dead": values}, {"dead": set(PAIRS)})
    run = json.loads((tmp_path / "run.json").read_text())
    run["methods"] = {"ours": {"signal": "audio"}, "dead": {"signal": "video"}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    table = make_table(tmp_path, resamples=100, frechet_resamples=5)
    assert table.n_pairs == len(PAIRS)
    assert table.comparisons == []
    assert any("audio: ours; video: dead" in line for line in table.warnings)
    assert any("dead has no answer" in line for line in table.warnings)


def test_correlations_of_few_people_stay_correlations_and_of_fewer_have_no_interval(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for people, has_interval in ((6, True), (4, False)):
        out = tmp_path / str(people)
        pair_ids = [pair_id for pair_id in PAIRS if int(pair_id[1:].split("_")[0]) < people]
        planted(out, {"ours": np.ones(len(PAIRS)), "theirs": np.zeros(len(PAIRS))})
        run = json.loads((out / "run.json").read_text())
        (out / "run.json").write_text(json.dumps(run | {"pairs": pair_ids}))
        for name in ("ours", "theirs"):
            for pair_id in pair_ids:
                file = out / "rows" / name / f"{pair_id}.json"
                value = float(np.tanh(2.5 + rng.standard_normal())) if name == "ours" else -0.9
                file.write_text(json.dumps(json.loads(file.read_text()) | {"mouth_correlation": value, "lipsync_offset_frames": 8.0}))
        table = make_table(out, resamples=300, frechet_resamples=5)
        cell = table.cells["ours"]["mouth_correlation"]
        found = next(one for one in table.comparisons if one.metric == "mouth_correlation")
        assert math.isfinite(cell.low) is math.isfinite(found.low) is math.isfinite(table.cells["ours"]["colour"].low) is has_interval
        if has_interval:
            assert -1 <= cell.low <= cell.mean <= cell.high <= 1
            assert -2 <= found.low <= found.high <= 2
        assert any("no intervals" in line for line in table.warnings) is not has_interval
        assert found.needed is not None
        assert found.needed >= 6
        assert any("ours is out of sync by 8.0 frames (lips late" in line for line in table.warnings)
