"""Whatever is wrong with an answer becomes a row with its reason and never a wrong average; killed and resumed, the table is the same."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from curation.samples.encode import write_mp4
from inference.evaluation.benchmark import pairs_of_folder
from inference.evaluation.cli import cli
from inference.evaluation.judge import Settings
from inference.evaluation.metrics.registry import load_metrics
from inference.evaluation.outputs import markdown
from inference.evaluation.run import evaluate
from inference.evaluation.table import make_table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "curation"))
from clip_files import astronaut, write_face_clip

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = Settings(metrics=("face_motion", "amplitude", "stability", "lipsync"), size_px=128)
N_FRAMES = 50


def write_spoken(path: Path, audio: np.ndarray | None) -> None:
    """A face that sways, with this sound."""
    face = astronaut(128)
    moves = [np.float32([[1, 0, 3 * np.sin(i / 4)], [0, 1, 2 * np.sin(i / 3)]]) for i in range(N_FRAMES)]
    write_mp4(path, [cv2.warpAffine(face, move, (128, 128), borderMode=cv2.BORDER_REPLICATE) for move in moves], audio)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of one person: with noise for a voice, silent, without a track; a method that answers at other frame rates."""
    root = tmp_path_factory.mktemp("faults")
    noise = (6000 * np.random.default_rng(0).standard_normal(N_FRAMES * 640)).astype(np.int16)
    for name in ("real", "other_rates", "broken"):
        (root / name).mkdir()
    for stem, audio in (("ann_1", noise), ("ann_2", np.zeros_like(noise)), ("ann_3", None)):
        write_spoken(root / "real" / f"{stem}.mp4", audio)
    write_face_clip(root / "other_rates" / "ann_1.mp4", seed=0, n_frames=60, size_px=128, fps=30)  # as long as the real clip
    write_face_clip(root / "other_rates" / "ann_2.mp4", seed=0, n_frames=60, size_px=128, fps=25)  # too slow
    write_face_clip(root / "other_rates" / "ann_3.mp4", seed=0, n_frames=50, size_px=128, fps=30)  # too fast
    (root / "broken" / "ann_1.mp4").write_bytes(b"\0" * 5000)
    return root


def test_other_rates_silence_and_one_person(folders: Path, tmp_path: Path) -> None:
    found = evaluate([folders / "other_rates", folders / "broken"], pairs_of_folder(folders / "real"), tmp_path, SETTINGS)
    rows = {(row["method"], row["pair_id"]): row for row in found.rows}
    assert rows["other_rates", "ann_1"]["status"] == "scored"
    assert rows["other_rates", "ann_1"]["did_source_fps"] == pytest.approx(30)
    assert abs(rows["other_rates", "ann_1"]["did_frames_off"]) <= 2
    assert {rows["other_rates", stem]["error_kind"] for stem in ("ann_2", "ann_3")} == {"length_mismatch"}
    assert "60 frames at 25 fps where the real clip has 50" in rows["other_rates", "ann_2"]["error_message"]
    assert rows["ground truth", "ann_1"].get("lipsync_conf") is not None
    for stem in ("ann_2", "ann_3"):
        assert rows["ground truth", stem]["status"] == "scored"
        assert rows["ground truth", stem].get("lipsync_conf") is None
    table = make_table(tmp_path, resamples=100)
    assert (table.n_pairs, table.n_identities) == (1, 1)
    cell = table.cells["other_rates"]["lmd_mouth"]
    assert cell.mean == pytest.approx(rows["other_rates", "ann_1"]["lmd_mouth"])
    assert np.isnan(cell.low)
    assert table.coverage == pytest.approx({**dict.fromkeys(table.controls, 1.0), "other_rates": 1 / 3, "broken": 0.0})
    assert any("broken has no answer" in line for line in table.warnings)
    text = markdown(table)
    assert "nan" not in text
    assert "Fewer than 6 identities (1): no intervals" in text


def test_one_clip_alone_lends_itself_no_sound(folders: Path, tmp_path: Path) -> None:
    """`shuffled audio` with the clip's own sound would be another ground truth; without another clip the row is left out."""
    (tmp_path / "real").mkdir()
    write_spoken(tmp_path / "real" / "ann_1.mp4", None)
    found = evaluate([folders / "other_rates"], pairs_of_folder(tmp_path / "real"), tmp_path / "eval", SETTINGS)
    assert {row["method"] for row in found.rows} == {"ground truth", "re-encoded real", "static frame", "other_rates"}


def test_rows_of_an_earlier_pair_list_do_not_count(folders: Path, tmp_path: Path) -> None:
    everything, quick = pairs_of_folder(folders / "real"), Settings(metrics=("stability",), size_px=128)
    evaluate([folders / "other_rates"], everything, tmp_path, quick)
    one = type(everything)(everything.root, everything.pairs[:1])
    found = evaluate([folders / "other_rates"], one, tmp_path, quick)
    assert {row["pair_id"] for row in found.rows} == {"ann_1"}
    assert make_table(tmp_path, resamples=100).coverage["other_rates"] == 1


@pytest.mark.parametrize("kind", ["one frame", "no face"])
def test_a_column_is_a_number_or_has_a_reason(tmp_path: Path, kind: str) -> None:
    """Also where nothing can be said of motion: the table would pass over the metric in silence."""
    picture = astronaut(128) if kind == "one frame" else np.zeros((128, 128, 3), np.uint8)
    for name in ("real", "same"):
        (tmp_path / name).mkdir()
        write_mp4(tmp_path / name / "ann_1.mp4", [picture] * (1 if kind == "one frame" else 12), None)
    found = evaluate([tmp_path / "same"], pairs_of_folder(tmp_path / "real"), tmp_path / "eval", SETTINGS)
    columns = {column.name for metric in load_metrics(SETTINGS.metrics).clip for column in metric.columns}
    valued = {name for row in found.rows for name in columns if row.get(name) is not None}
    assert columns == valued | found.unavailable.keys()
    assert not valued & found.unavailable.keys()
    assert found.unavailable["mouth_correlation"].startswith("no clip gave a value: too short, without a face")
    assert "- `mouth_correlation`: no clip gave" in markdown(make_table(tmp_path / "eval", resamples=100))


@pytest.mark.parametrize(("real", "code"), [(b"", 1), (None, 0)])
def test_where_nothing_could_be_judged_the_command_fails(folders: Path, tmp_path: Path, real: bytes | None, code: int) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "ann_1.mp4").write_bytes((folders / "real" / "ann_1.mp4").read_bytes() if real is None else real)
    arguments = ["run", str(folders / "broken"), "--real", str(tmp_path / "real"), "--out", str(tmp_path / "eval")]
    found = CliRunner().invoke(cli, [*arguments, "--size", "128", "--metric", "stability"])
    assert found.exit_code == code, found.output


@pytest.mark.slow
def test_killed_and_resumed_the_table_is_the_same(folders: Path, tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        options = ["--real", str(folders / "real"), "--out", str(out), "--size", "128", "--resamples", "200"]
        metrics = [part for name in SETTINGS.metrics for part in ("--metric", name)]
        return [sys.executable, "-m", "inference.evaluation", "run", str(folders / "other_rates"), *options, *metrics]

    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command(tmp_path / "whole"), cwd=ROOT, env=environment, check=True, capture_output=True, timeout=240)
    out = tmp_path / "killed"
    for rows_before in (1, 5):
        with subprocess.Popen(
            command(out), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            end = time.monotonic() + 200
            while len(list(out.glob("rows/*/*.json"))) < rows_before and process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
        assert len(list(out.glob("rows/*/*.json"))) >= rows_before
    subprocess.run(command(out), cwd=ROOT, env=environment, check=True, capture_output=True, timeout=240)
    for name in ("table.json", "summary.csv", "table.md"):
        assert (out / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert json.loads((out / "run.json").read_text()) == json.loads((tmp_path / "whole" / "run.json").read_text())
