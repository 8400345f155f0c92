"""From a manifest to a page, by the command line."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import manifests
from inference.evaluation.cli import main
from inference.evaluation.pairs import read_pairs

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "curation"))
from clip_files import write_face_clip


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of three square clips of three people, one of which is gone."""
    root = tmp_path_factory.mktemp("manifest")
    rows = []
    for number in range(4):
        path = root / f"{number}.mp4"
        write_face_clip(path, seed=number, n_frames=30, size_px=128)
        rows.append(
            {
                "clip_id": manifests.clip_id("folder", f"{number}.mp4", 0, None), "source": "folder", "source_key": f"{number}.mp4",
                "identity": f"<b>person {number}</b>", "video_path": str(path), "start_ms": 0, "end_ms": None, "split": "test",
                "status": "scored",
                "width_px": 128, "height_px": 128, "duration_ms": 1200.0, "has_audio": True, "accepted": True, "reject_reasons": [],
            }
        )  # fmt: skip
    (root / "3.mp4").unlink()
    manifests.write(rows, root / "manifest.parquet")
    return root


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_from_a_manifest_to_a_page(run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench, out = tmp_path / "bench", tmp_path / "eval"
    main(["pairs", str(run_directory), "--out", str(bench), "--size", "96"])
    assert "left out" in said(capsys)
    pairs = read_pairs(bench)
    assert len(pairs) == 3
    for pair in pairs:
        assert all((bench / name).is_file() for name in (pair.reference, pair.driver, pair.audio, pair.real))
    before = {file: file.stat().st_mtime_ns for file in bench.rglob("*.mp4")}
    main(["pairs", str(run_directory), "--out", str(bench), "--size", "96"])
    assert {file: file.stat().st_mtime_ns for file in bench.rglob("*.mp4")} == before
    said(capsys)

    ours = tmp_path / "ours"
    ours.mkdir()
    for number, pair in enumerate(list(pairs)[:2]):
        write_face_clip(ours / f"{pair.pair_id}.mp4", seed=number, n_frames=30, size_px=96)
    metrics = ["--metric", "face_motion", "--metric", "stability", "--metric", "fid"]
    main(
        [
            "run",
            str(ours),
            "--real",
            str(bench),
            "--out",
            str(out),
            "--size",
            "96",
            "--resamples",
            "200",
            "--models",
            str(tmp_path),
            *metrics,
        ]
    )
    text = said(capsys)
    assert "fid stays empty" in text
    assert "1 failed" in text
    assert "| ours |  | 67% |" in text
    page = (out / "report.html").read_text()
    assert "<b>person" not in page
    assert page.count("<video") >= 4
    assert "missing_file" in page
    assert "lmd_mouth" in page
    frame = pd.read_parquet(out / "pairs.parquet")
    assert len(frame) == 3 * 5
    assert set(frame["status"]) == {"scored", "failed"}
    summary = pd.read_csv(out / "summary.csv")
    assert np.isfinite(summary.query("method == 'ours' and metric == 'lmd_mouth'")["mean"]).all()
    assert r"\begin{tabular}" in (out / "table.tex").read_text()
    assert json.loads((out / "table.json").read_text())["n_pairs"] == 2

    main(["table", str(out), "--resamples", "200"])
    table = said(capsys)
    assert "| MegActor-Σ A+V | 1.4 | video+audio | paper | 31.497 |" in table
    assert "| ours |  |  | measured |" in table.split("Table 2, eval")[1]
    assert "not comparable" in table
    main(["report", str(out), "--resamples", "200"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pairs", "NOWHERE", "--out", "X"], "NOWHERE"),
        (["run", "NOWHERE", "--real", "NOWHERE"], "NOWHERE"),
        (["table", "NOWHERE"], "NOWHERE"),
        (["run", "X", "--real", "X", "--metric", "fidd"], "X"),
        (["report"], "EVALUATION"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(arguments: list[str], message: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    text = said(capsys)
    assert message in text
    assert "Traceback" not in text
    assert text.count("\n") == 1


def test_a_bad_query_is_named(run_directory: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["pairs", str(run_directory), "--out", str(tmp_path), "--where", "no such column > 3"])
    assert "no query that pandas understands" in said(capsys)
