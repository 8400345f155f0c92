"""A whole evaluation on small clips: rows for everything, failures included; resumed without measuring anything twice."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_metrics import MeanColour

from inference.evaluation.benchmark import find_pairs, pairs_of_folder
from inference.evaluation.controls import CONTROLS
from inference.evaluation.feature_store import FeatureStore
from inference.evaluation.judge import Settings
from inference.evaluation.metrics.registry import METRICS, load_metrics
from inference.evaluation.run import NO_VALUE, evaluate, read_run
from manifests import UserError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "curation"))
from clip_files import write_face_clip

SETTINGS = Settings(metrics=("face_motion", "stability", "colour", "weightless"), size_px=128)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluation")
    for name in ("real", "ours"):
        (root / name).mkdir()
    for seed, stem in enumerate(["RD_A1", "RD_A2", "WDA_B", "WRA_C"]):
        write_face_clip(root / "real" / f"{stem}.mp4", seed=seed, size_px=128)
        write_face_clip(root / "ours" / f"{stem}.mp4", seed=seed, size_px=96)
    (root / "ours" / "WRA_C.mp4").unlink()
    (root / "ours" / "WDA_B.mp4").write_bytes(b"")
    write_face_clip(root / "ours" / "extra.mp4", seed=9, size_px=96)
    (root / "ours" / "method.yaml").write_text("name: Ours\nsignal: video+audio\nparameters_b: 1.4\n")
    return root


@pytest.fixture(autouse=True)
def _made_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "colour", ("made_metrics", "MeanColour"))
    monkeypatch.setitem(METRICS, "weightless", ("made_metrics", "NoWeights"))


def test_every_pair_has_a_row_and_failures_say_why(folders: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    found = evaluate([folders / "ours"], pairs_of_folder(folders / "real"), tmp_path / "eval", SETTINGS, say=lines.append)
    rows = {(row["method"], row["pair_id"]): row for row in found.rows}
    assert len(rows) == 4 * (len(CONTROLS) + 1)
    assert {key: row["error_kind"] for key, row in rows.items() if row["status"] == "failed"} == {
        ("Ours", "WDA_B"): "empty_file",
        ("Ours", "WRA_C"): "missing_file",
    }
    truth = rows["ground truth", "RD_A1"]
    assert truth["lmd_mouth"] == pytest.approx(0, abs=1e-5)
    assert truth["flicker_ratio"] == 1
    assert rows["static frame", "RD_A1"]["flicker_ratio"] == 0
    assert rows["re-encoded real", "RD_A1"]["flicker_ratio"] == pytest.approx(1, abs=0.3)
    assert 1e-4 < rows["re-encoded real", "RD_A1"]["lmd_mouth"] < 0.1  # landmarks are sought anew: their noise is in every answer
    assert rows["Ours", "RD_A1"]["lmd_mouth"] < 0.1
    assert {rows["Ours", stem]["identity"] for stem in ("RD_A1", "RD_A2")} == {"RD_A"}
    assert any("extra.mp4" in line for line in lines)
    assert any("1 of 4 pairs have no video" in line for line in lines)
    assert any("weightless stays empty: weights of weightless are missing" in line for line in lines)
    run = read_run(tmp_path / "eval")
    assert run["unavailable"] == {"weightless": "weights of weightless are missing; `make models` gets them", "seam_ratio": NO_VALUE}
    assert run["methods"]["Ours"]["parameters_b"] == 1.4
    json.dumps(found.rows, allow_nan=False)


def test_resuming_measures_only_what_is_missing_or_changed(folders: Path, tmp_path: Path) -> None:
    ours = shutil.copytree(folders / "ours", tmp_path / "ours")
    out = tmp_path / "eval"
    MeanColour.calls = 0
    whole = evaluate([ours], pairs_of_folder(folders / "real"), out, SETTINGS)
    # a real clip's features serve ground truth, shuffled audio and all methods; re-encoded, static and Ours have their own
    assert MeanColour.calls <= 4 * 4 + 2
    store = FeatureStore(out / "features")
    features = next(row["features"]["colour"] for row in whole.rows if row["method"] == "Ours" and row["status"] == "scored")
    assert store.load(features["store"], features["real"]).shape == (5, 3)

    (out / "rows" / "Ours" / "RD_A1.json").write_text("{half a r")
    shutil.rmtree(out / "rows" / "ground_truth")
    MeanColour.calls = 0
    assert evaluate([ours], pairs_of_folder(folders / "real"), out, SETTINGS).rows == whole.rows
    assert MeanColour.calls == 0

    for file in (out / "features").rglob("*.safetensors"):  # rows are whole, what they name is not
        file.write_bytes(file.read_bytes()[:40])
    MeanColour.calls = 0
    assert evaluate([ours], pairs_of_folder(folders / "real"), out, SETTINGS).rows == whole.rows
    assert MeanColour.calls > 0

    MeanColour.calls = 0
    write_face_clip(ours / "WRA_C.mp4", seed=3, size_px=96)
    again = evaluate([ours], pairs_of_folder(folders / "real"), out, SETTINGS)
    assert MeanColour.calls == 1
    assert sum(row["status"] == "failed" for row in again.rows) == 1


def test_mistakes_are_one_line(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="makes a pair list"):
        find_pairs(tmp_path / "empty", tmp_path)
    with pytest.raises(UserError, match="neither a pair list"):
        find_pairs(tmp_path / "none", tmp_path)
    with pytest.raises(UserError, match="holds no evaluation"):
        read_run(tmp_path)
    with pytest.raises(UserError, match="did you mean 'stability'"):
        load_metrics(["stabilty"])
    with pytest.raises(UserError, match="multiple of 8"):
        evaluate([folders / "ours"], pairs_of_folder(folders / "real"), tmp_path, Settings(size_px=100))
    with pytest.raises(UserError, match="already"):
        evaluate([folders / "ours", folders / "ours"], pairs_of_folder(folders / "real"), tmp_path, SETTINGS)


@pytest.mark.slow
def test_on_ray_the_rows_are_the_same(folders: Path, tmp_path: Path) -> None:
    settings = Settings(metrics=("face_motion", "stability"), size_px=128)
    alone = evaluate([folders / "ours"], pairs_of_folder(folders / "real"), tmp_path / "alone", settings)
    lines: list[str] = []
    several = evaluate(
        [folders / "ours"], pairs_of_folder(folders / "real"), tmp_path / "several", replace(settings, workers=2), say=lines.append
    )
    for one, other in zip(several.rows, alone.rows, strict=True):  # processes may sum in another order
        assert {k: v for k, v in one.items() if not isinstance(v, float)} == {k: v for k, v in other.items() if not isinstance(v, float)}
        assert [v for v in one.values() if isinstance(v, float)] == pytest.approx(
            [v for v in other.values() if isinstance(v, float)], abs=1e-6
        )
    assert any("20 of 20 rows" in line for line in lines)
