"""The schema: what the columns are, and that importing the package stays cheap."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pyarrow as pa
import pytest

import manifests
from manifests.schema import NEVER_NULL, column_of, with_extra

PROMISED = """
clip_id source source_key identity licence video_path start_ms end_ms split width_px height_px rotation_deg fps n_frames
duration_ms video_codec has_audio audio_rate_hz status error_kind error_message attempts landmark_hz n_faces_max valid_frame_ratio
face_x0_px face_y0_px face_x1_px face_y1_px face_width_px face_height_px face_size_px_p5 interocular_px_p5 n_cuts
head_rotation_deg yaw_deg_mean_abs yaw_deg_p95 pitch_deg_mean_abs pitch_deg_p95 roll_deg_mean_abs roll_deg_p95 pose_residual_px
sync_c sync_d av_offset_frames sync_windows lipsync_conf lipsync_offset_frames lipsync_windows speech_ratio landmark_model
sync_model profile code_version config_hash decode_ms landmarks_ms sync_ms accepted reject_reasons
"""


def test_every_promised_column_is_there_once_and_flat():
    names = [column.name for column in manifests.COLUMNS]
    assert set(PROMISED.split()) <= set(names)
    assert len(names) == len(set(names))
    nested = [column.name for column in manifests.COLUMNS if pa.types.is_nested(column.type)]
    assert nested == ["reject_reasons"]
    assert set(names) >= NEVER_NULL


def test_units_agree_with_names():
    for column in manifests.COLUMNS:
        parts = column.name.split("_")
        for suffix, unit in (("px", "px"), ("deg", "deg"), ("ms", "ms"), ("hz", "Hz"), ("ratio", "0..1")):
            if suffix in parts:
                assert column.unit == unit, column.name
        assert column.meaning
        assert 1 <= column.since <= manifests.SCHEMA_VERSION


def test_looking_up_a_column():
    assert manifests.column("speech_ratio").unit == "0..1"
    with pytest.raises(manifests.UserError, match=r"'speach_ratio'.*did you mean 'speech_ratio'"):
        manifests.column("speach_ratio")


def test_a_column_survives_parquet_metadata_and_pickling():
    for column in manifests.COLUMNS:
        assert column_of(column.field()) == column
        assert pickle.loads(pickle.dumps(column)) == column


def test_further_columns_follow_the_schema_and_may_not_contradict_it():
    blur = manifests.Column("blur", pa.float32(), "", "sharpness")
    assert with_extra([blur, manifests.column("fps")]) == (*manifests.COLUMNS, blur)
    with pytest.raises(manifests.UserError, match="'fps'"):
        with_extra([manifests.Column("fps", pa.string(), "", "")])


def test_import_loads_pandas_and_pyarrow_alone():
    heavy = ["torch", "ray", "cv2", "av", "decord", "fsspec", "yaml", "click", "scipy", "matplotlib", "curation"]
    code = f"import sys, manifests; print([name for name in {heavy!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
