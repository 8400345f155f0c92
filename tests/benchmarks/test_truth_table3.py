"""Table 3 in small: its distances on planted features, its table from the evaluation's, its section."""

import json
import math

import numpy as np
import pytest

pytest.importorskip("numba", reason="people are rendered by numba: install the [people] extra")
pytest.importorskip("torch", reason="the benchmark needs torch: install the [train] extra")

from benchmarks.truth.sections import table3_lines
from benchmarks.truth.table3 import COLUMNS, DISTANCES, METHODS, distance, motion_windows, tree
from inference.evaluation.metrics.base import MetricColumn
from inference.evaluation.table import Cell, Comparison, Table


def test_distance_of_equal_sets_is_0_of_a_still_answer_1_and_grows_with_a_shift() -> None:
    rng = np.random.default_rng(0)
    real = rng.standard_normal((60, 5)) * [1, 2, 3, 1, 1]
    people = [str(k // 6) for k in range(60)]
    assert distance(real, real, people)["mean"] == pytest.approx(0, abs=1e-3)
    still = distance(np.repeat(real.mean(0)[None], 60, axis=0), real, people)
    assert still["mean"] == pytest.approx(1, abs=1e-3)
    shifted = distance(real + np.array([0, 0, 3, 0, 0]), real, people)
    assert shifted["mean"] == pytest.approx(9 / real.var(0, ddof=1).sum(), rel=1e-2)
    assert shifted["low"] <= shifted["mean"] <= shifted["high"]
    assert shifted["rows"] == 60
    assert distance(real, real, ["one"] * 60)["low"] is None
    assert distance(real[:1], real[:1], ["one"]) == {"mean": None, "low": None, "high": None, "rows": 1}


def test_windows_of_motion_hold_lips_and_roll_and_lose_frames_without_a_face() -> None:
    rng = np.random.default_rng(1)
    face = rng.uniform(20, 100, (68, 2))
    face[36:48] = [[30 + 3 * (k % 6) + 40 * (k // 6), 40 + (k % 2)] for k in range(12)]
    points = np.repeat(face[None], 40, axis=0)
    windows = motion_windows(points)
    assert windows.shape == (2, 64)
    assert windows.std(0) == pytest.approx(np.zeros(64), abs=1e-9)
    opened = points.copy()
    opened[20, 65:68, 1] += 10
    changed = np.abs(motion_windows(opened) - windows)
    assert changed[0].max() < 1e-9
    assert changed[1].argmax() == 4  # lips come first; frame 20 is the second window's fifth
    points[3] = np.nan
    assert np.isfinite(motion_windows(points)).all(1).tolist() == [False, True]
    assert motion_windows(np.full((20, 68, 2), np.nan)).shape == (0, 64)


def planted_table() -> Table:
    columns = [MetricColumn(name, "higher", "", "", "") for name in ("lipsync_conf", "lmd_mouth", "flicker_ratio", "fid")]
    others = {"lmd_mouth": Cell(0.2), "flicker_ratio": Cell(1.0), "fid": Cell(math.nan)}
    cells = {
        name: {"lipsync_conf": Cell(value, value - 0.1, value + 0.1), **others}
        for name, value in (("ground truth", 0.9), ("A", 0.3), ("V", 0.6), ("A+V", 0.7), ("somebody", 0.1))
    }  # fmt: skip
    comparisons = [Comparison("A", "V", "lipsync_conf", -0.3, -0.4, -0.2, 0.01, 0.03), Comparison("A", "V", "flicker_ratio", 0, 0, 0)]
    return Table(columns, cells, {}, ["ground truth"], 8, 7, comparisons, {})


def test_table_keeps_the_columns_asked_for_and_names_those_that_are_not_here() -> None:
    found = tree(planted_table())
    assert list(found["rows"]) == ["ground truth", "A", "V", "A+V"]
    assert found["rows"]["A"]["lipsync_conf"] == {"mean": 0.3, "low": 0.2, "high": 0.4}
    assert found["comparisons"] == [
        {"first": "A", "second": "V", "metric": "lipsync_conf", "mean": -0.3, "low": -0.4, "high": -0.2, "p": 0.03}
    ]
    assert "fid" in found["not here"]
    assert "lipsync_conf" not in found["not here"]
    assert set(found["not here"]) <= set(COLUMNS)


def test_section_says_what_the_json_says() -> None:
    about = {"model": "embedded", "people": 7, "seconds": 2.5, "preset": "fast"}
    cell = {"mean": 0.123, "low": 0.1, "high": 0.2, "rows": 40}
    found = {"about": about, **tree(planted_table()), "distances": {name: dict.fromkeys(METHODS, cell) for name in DISTANCES}}
    text = "\n".join(table3_lines(json.loads(json.dumps(found))))
    assert "| A | 0.30 (0.20 to 0.40) | 0.20 | 0.12 (0.10 to 0.20) | 0.12 (0.10 to 0.20) |" in text
    assert "| ground truth | 0.90 (0.80 to 1.00) | 0.20 | – | – |" in text
    assert "A less V: -0.30 (-0.40 to -0.20), p 0.030" in text
    assert "`fid`" in text
