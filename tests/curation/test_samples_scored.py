"""The whole of curation on the sample clips: every fault is rejected for what is planted, and the scores are the planted numbers."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import manifests
from curation.samples import TRUTH_FILE, SampleTruth, read_truth

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> tuple[list[SampleTruth], pd.DataFrame]:
    base = tmp_path_factory.mktemp("scored")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "curation", "run", "--source", "samples", "--root", str(base / "clips"), "--out", str(base / "out")]
    subprocess.run(command, cwd=root, check=True, timeout=800)
    return read_truth(base / "clips" / TRUTH_FILE), manifests.load(str(base / "out")).set_index("source_key")


def test_one_row_a_file(scored):
    truths, rows = scored
    assert sorted(rows.index) == sorted(truth.file for truth in truths)


def test_faults_are_rejected_for_what_is_planted_and_clean_clips_accepted(scored):
    truths, rows = scored
    for truth in truths:
        row = rows.loc[truth.file]
        if truth.is_clean:
            assert row.accepted, (truth.file, list(row.reject_reasons))
        else:
            assert not row.accepted
            assert truth.expected_reason in list(row.reject_reasons), truth.file
        assert row.status == truth.expected_status
        assert (row.error_kind if truth.expected_error_kind else "") == truth.expected_error_kind


def test_scores_are_the_planted_numbers(scored):
    truths, rows = scored
    for truth in (t for t in truths if t.frames_file):
        row = rows.loc[truth.file]
        assert row.roll_deg_mean_abs == pytest.approx(truth.roll_deg_mean, abs=2), truth.file
        assert row.yaw_deg_mean_abs == pytest.approx(truth.yaw_deg_mean, abs=5), truth.file
        assert row.head_rotation_deg == pytest.approx(truth.head_rotation_deg, abs=5), truth.file
        assert row.face_width_px == pytest.approx(truth.face_width_px, rel=0.05), truth.file
        # The landmarks of a head turned by 35 degrees put the chin too high.
        height_tolerance = 0.05 if truth.yaw_deg_mean < 30 else 0.09
        assert row.face_height_px == pytest.approx(truth.face_height_px, rel=height_tolerance), truth.file
        assert row.n_cuts == truth.n_cuts
        assert row.n_faces_max == truth.n_faces


def test_planted_offset_is_found(scored):
    truths, rows = scored
    for truth in (t for t in truths if t.offset_frames is not None and t.frames_file):
        assert abs(rows.loc[truth.file].lipsync_offset_frames - truth.offset_frames) <= 1, truth.file
