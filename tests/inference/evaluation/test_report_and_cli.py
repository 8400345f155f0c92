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
    main(["pairs", str(run_directory), "--out", str(bench), "--size", "128"])
    assert "left out" in said(capsys)
    pairs = read_pairs(bench)
    assert len(pairs) == 3
    for pair in pairs:
        assert all((bench / name).is_file() for name in (pair.reference, pair.driver, pair.audio, pair.real))
    before = {file: file.stat().st_mtime_ns for file in bench.rglob("*.mp4")}
    main(["pairs", str(run_directory), "--out", str(bench), "--size", "128"])
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
            "128",
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
    # outputs/eval/* where outputs/eval is an evaluation itself, and where it holds one beside something else
    main(["table", *map(str, sorted(out.iterdir())), str(ours), "--resamples", "200"])
    captured = said(capsys)
    assert captured.count("Table 2, eval") == 1
    assert f"{ours} is no evaluation" in captured
    main(["report", str(out), "--resamples", "200"])
    said(capsys)

    # the curation run itself as the real side: the same benchmark is cut below OUT
    options = ["--size", "128", "--resamples", "200", "--metric", "stability"]
    main(["run", str(ours), "--real", str(run_directory), "--out", str(tmp_path / "again"), *options])
    assert "| ours |  | 67% |" in said(capsys)
    assert read_pairs(tmp_path / "again" / "bench").version == pairs.version
    with pytest.raises(SystemExit):
        main(["pairs", str(run_directory), "--out", str(bench), "--size", "256"])
    assert "cut otherwise" in said(capsys)


def test_an_amplitude_sweep_becomes_curves(run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A method whose head moves with alpha: its curve rises, and the table takes the pairs at amplitude 1 alone."""
    bench, out, ours = tmp_path / "bench", tmp_path / "eval", tmp_path / "ours"
    main(
        [
            "pairs",
            str(run_directory),
            "--out",
            str(bench),
            "--size",
            "128",
            "--protocol",
            "amplitude-sweep",
            "--where",
            "source_key != '3.mp4'",
        ]
    )
    pairs = list(read_pairs(bench))
    assert len(pairs) == 3 * 7
    assert len(list((bench / "clips").glob("*.mp4"))) == 3  # one file for all settings of a clip
    ours.mkdir()
    for pair in pairs:
        write_face_clip(ours / f"{pair.pair_id}.mp4", seed=1, n_frames=30, size_px=96, step_px=1.5 * pair.parameters.get("motion", 1.0))
    main(["run", str(ours), "--real", str(bench), "--out", str(out), "--size", "128", "--resamples", "200", "--metric", "amplitude"])
    text = said(capsys)
    assert "3 pairs of 3 identities" in text
    table = json.loads((out / "table.json").read_text())
    curves = {(curve["parameter"], curve["column"]): curve for curve in table["curves"]}
    shift = [point["mean"] for point in curves["motion", "head_shift_range"]["points"]]
    assert [point["value"] for point in curves["motion", "head_shift_range"]["points"]] == [0, 0.5, 1, 1.5]
    assert shift == sorted(shift)
    assert shift[0] < 0.2 * shift[-1]
    assert [point["value"] for point in curves["audio_scale", "mouth_range"]["points"]] == [0, 0.5, 1, 2]
    assert {curve["n_clips"] for curve in table["curves"]} == {3}
    assert "head_shift_range against motion" in (out / "report.html").read_text()


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


def test_tables_do_not_lie_among_what_they_are_made_from(tmp_path: Path, capsys) -> None:
    for name in ("ours", "real"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("real")
    for arguments in (
        ["run", str(tmp_path / "ours"), "--real", str(tmp_path / "real"), "--out", str(tmp_path / "ours")],
        ["run", str(tmp_path / "ours"), "--real", str(tmp_path / "real"), "--out", str(tmp_path / "link")],
        ["pairs", str(tmp_path / "real"), "--out", str(tmp_path / "ours" / ".." / "real")],
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "is one of the sources" in said(capsys)
    assert not list((tmp_path / "real").iterdir())


def test_a_bad_query_is_named(run_directory: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["pairs", str(run_directory), "--out", str(tmp_path), "--where", "no such column > 3"])
    assert "no query that pandas understands" in said(capsys)
