"""Table 1: closed-form figures on manifests made for it, what is missing and why, and every recording counted once."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import manifests
from curation.table1.figures import ALL, measure
from curation.table1.paper import contradictions, load_paper
from curation.table1.show import render
from manifests.errors import UserError

CONFIG = {"source": "folder", "config": {"preset": "paper"}}


def row(source: str, number: int, **values) -> dict:
    key = f"{source}-{number}"
    known = {
        "source": source,
        "source_key": key,
        "identity": key,
        "video_path": f"/videos/{key}.mp4",
        "start_ms": 0,
        "split": manifests.split(key),
        "status": "scored",
        "duration_ms": 36_000.0,
        "face_width_px": 700.0,
        "face_height_px": 800.0,
        "sync_c": 7.0,
        "sync_d": 8.0,
        "head_rotation_deg": 10.0,
        "reject_reasons": ["not_judged"],
    }
    return known | {"clip_id": manifests.clip_id(source, key, 0, None)} | values


def write(folder: Path, rows: list[dict], config: dict | None = None, columns=()) -> Path:
    folder.mkdir()
    manifests.write(rows, folder / "manifest.parquet", CONFIG if config is None else config, columns)
    return folder


@pytest.fixture
def two_sources(tmp_path) -> Path:
    """HDTF: ten clips of 0.01 h, of which six pass. VoxCeleb2: one that passes, one that failed."""
    hdtf = [row("hdtf", i, sync_c=4.0 + i, face_width_px=595.0 + i) for i in range(10)]  # > 6: i of 3..9; > 600: i of 6..9
    hdtf[9]["head_rotation_deg"] = 31.0
    failed = row("voxceleb2", 1, status="failed", error_kind="truncated", duration_ms=None, sync_c=None, face_width_px=None)
    return write(tmp_path / "run", [*hdtf, row("voxceleb2", 0, duration_ms=72_000.0), failed])


def test_figures_in_closed_form(two_sources):
    ours = measure([two_sources])
    hdtf, vox, everything = ours.of("hdtf"), ours.of("voxceleb2"), ours.of(ALL)
    assert (hdtf.before.clips, hdtf.failed, hdtf.after.clips) == (10, 0, 3)  # i of 6, 7, 8: above 600 px, above 6, below 30 degrees
    assert hdtf.before.hours == pytest.approx(0.1)
    assert hdtf.after.hours == pytest.approx(0.03)
    assert hdtf.before.sync_c == pytest.approx(8.5)
    assert hdtf.after.sync_c == pytest.approx(11.0)
    assert hdtf.before.face_width_px == pytest.approx(599.5)
    assert hdtf.after.face_width_px == pytest.approx(602.0)
    assert hdtf.before.head_rotation_deg == pytest.approx((9 * 10 + 31) / 10)
    assert hdtf.after.head_rotation_deg == pytest.approx(10.0)
    assert (vox.before.clips, vox.failed, vox.after.clips) == (1, 1, 1)
    assert (everything.before.clips, everything.failed, everything.after.clips) == (11, 1, 4)
    assert everything.before.hours == pytest.approx(0.12)
    assert everything.after.sync_d == pytest.approx(8.0)


def test_survival_per_threshold(two_sources):
    steps = measure([two_sources]).survival.query("source == 'hdtf'").set_index("rule")
    assert steps.loc["face_width_px > 600", ["passing", "surviving"]].tolist() == [4, 4]
    assert steps.loc["sync_c > 6", ["passing", "surviving"]].tolist() == [7, 4]
    assert steps.loc["head_rotation_deg <= 30", ["passing", "surviving"]].tolist() == [9, 3]


def test_another_preset_judges_again(two_sources):
    assert measure([two_sources], preset="latentsync").of("hdtf").after.clips == 0  # no offset was measured
    assert measure([two_sources], preset="syncnet-track").of("hdtf").after.clips == 0  # cuts were not counted


def test_columns_that_were_not_measured_say_why(tmp_path):
    rows = [row("folder", i, sync_c=None, sync_d=None, lipsync_conf=0.2, head_rotation_deg=None if i else 12.0) for i in range(3)]
    ours = measure([write(tmp_path / "run", rows)])
    before = ours.of("folder").before
    assert np.isnan(before.sync_c)
    assert "no SyncNet run" in before.why["sync_c"]
    assert "make models" in before.why["sync_d"]
    assert ours.of("folder").after.why["face_width_px"] == "no clip passed the filter"
    assert "head_rotation_deg is known of 1 of 3 scored clips; the means are over those." in ours.notes
    assert any(note.startswith("No clip can pass the rules on sync_c: no SyncNet run") for note in ours.notes)
    text = render(ours, load_paper(), "text")
    assert "no SyncNet run" in text
    assert "nan" not in text.lower()


def test_every_recording_counts_once(two_sources, tmp_path):
    again = write(tmp_path / "again", [row("hdtf", 0, sync_c=4.0, face_width_px=595.0), row("hdtf", 77)])
    cut = row("hdtf", 0, source_key="hdtf-0#crop", parent_clip_id=row("hdtf", 0)["clip_id"], crop_zoom=0.5)
    cut["clip_id"] = manifests.clip_id("hdtf", "hdtf-0#crop", 0, None)
    extra = (manifests.Column("parent_clip_id", pa.string(), "", "", 1), manifests.Column("crop_zoom", pa.float32(), "", "", 1))
    crops = write(tmp_path / "crops", [cut], columns=extra)
    ours = measure([two_sources, again, crops])
    assert ours.of("hdtf").before.clips == 11
    assert any("2 clips are in several manifests" in note for note in ours.notes)
    alone = measure([crops]).of("hdtf").before
    assert (alone.face_width_px, alone.face_height_px) == (1400.0, 1600.0), "in pixels of the file that was cut"


def test_marked_duplicates_count_once(tmp_path):
    rows = [row("hdtf", 0), row("talkinghead1kh", 0, duplicate_of=row("hdtf", 0)["clip_id"]), row("hdtf", 1, duplicate_of="elsewhere")]
    extra = (manifests.Column("duplicate_of", pa.string(), "", "", 1),)
    ours = measure([write(tmp_path / "run", rows, columns=extra)])
    assert ours.of(ALL).before.clips == 2


def test_what_is_no_manifest_is_passed_over(two_sources, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "notes.txt").write_text("nothing")
    ours = measure(sorted(path for path in tmp_path.iterdir()))
    assert ours.of("hdtf").before.clips == 10
    assert "2 paths hold no manifest and were passed over: notes.txt, videos." in ours.notes
    with pytest.raises(manifests.UserError, match="none of the 1 paths holds a manifest"):
        measure([tmp_path / "videos"])


def test_runs_of_different_presets_need_one_named(two_sources, tmp_path):
    other = write(tmp_path / "other", [row("folder", 0)], {"config": {"preset": "embedded"}})
    with pytest.raises(UserError, match="--preset"):
        measure([two_sources, other])
    assert measure([two_sources, other], preset="paper").of(ALL).after.clips == 5
    materialised = write(tmp_path / "cut", [row("folder", 1)], {"config": {"size_px": 512}, "parent": {"run_config": CONFIG}})
    assert measure([materialised]).preset.name == "paper"


def test_the_papers_contradictions_follow_from_its_figures():
    paper = load_paper()
    notes = contradictions(paper)
    sync_c, sync_d = notes[0], notes[1]
    assert "sync_c > 6" in sync_c
    assert "CCv2 4.345, TalkingHead-1KH 4.956" in sync_c
    assert "HDTF" not in sync_c + sync_d
    assert "VoxCeleb 8.5" in sync_d, "8.5 itself does not pass < 8.5"
    assert any("6.7%" in note for note in notes)
    assert any("313" in note and "100 h" in note for note in notes)
    consistent = replace(paper, rows=tuple(replace(row, sync_c=7.0, sync_d=8.0) for row in paper.rows))
    assert not any("Table 1 gives means" in note for note in contradictions(consistent))


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_documents_hold_both_sides(two_sources, form):
    text = render(measure([two_sources]), load_paper(), form)
    for part in ("600×800", "7.957", "4,670", "313", "TalkingHead-1KH", "voxceleb2", "8.500"):
        assert part in text, part


def test_names_cannot_break_the_documents(tmp_path):
    ours = measure([write(tmp_path / "run", [row("<b>|evil\n", 0)])])
    assert "<b>" not in render(ours, load_paper(), "html")
    assert "\\|evil" in render(ours, load_paper(), "markdown")
    assert "evil\n" not in render(ours, load_paper(), "text")


def test_csv_reads_back(two_sources):
    table = pd.read_csv(io.StringIO(render(measure([two_sources]), load_paper(), "csv"))).set_index(["source", "stage"])
    assert table.loc[("hdtf", "after"), "sync_c"] == pytest.approx(11.0)
    assert table.loc[("HDTF", "paper"), "sync_d"] == pytest.approx(7.33)
    assert np.isnan(table.loc[("HDTF", "paper"), "hours"])
