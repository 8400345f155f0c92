"""What newcomers type: the right result, or one line that says what to do and exit code 2."""

from __future__ import annotations

import warnings

import pytest

import manifests
import manifests.tables
from curation import cli
from curation.cli import _source_of
from curation.config import load_config
from curation.job.clip_scorer import unmeasurable
from curation.job.executors import choose
from curation.job.run import preview
from curation.samples import STAMP_FILE, render_samples
from curation.scaling.estimate import counted, worked
from curation.sources.folder import Folder
from manifests.errors import store_trouble


def failure(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of a mistake."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(words))
    assert stopped.value.code == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_a_root_alone_is_a_folder_and_what_we_rendered_is_known(tmp_path):
    assert _source_of(None, None) == ("samples", "outputs/samples")
    assert _source_of("hdtf", None) == ("hdtf", "outputs/hdtf")
    assert _source_of(None, str(tmp_path)) == ("folder", str(tmp_path))
    assert _source_of(None, str(tmp_path / "index.csv"))[0] == "folder"
    (tmp_path / STAMP_FILE).write_text("{}")
    assert _source_of(None, str(tmp_path))[0] == "samples"
    (tmp_path / STAMP_FILE).rename(tmp_path / "people.json")
    assert _source_of(None, str(tmp_path))[0] == "people"


@pytest.mark.parametrize("words", [["run", "--source", "samples", "--root", "MINE", "--out", "OUT"], ["samples", "--out", "MINE"]])
def test_samples_are_not_rendered_among_somebodys_files(tmp_path, capfd, words):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "holiday.mp4").write_bytes(b"x")
    line = failure(capfd, *(word.replace("MINE", str(mine)).replace("OUT", str(tmp_path / "out")) for word in words))
    assert "holds other files (holiday.mp4)" in line
    assert [path.name for path in mine.iterdir()] == ["holiday.mp4"]


def test_what_a_killed_rendering_left_is_no_foreign_file(tmp_path):
    (tmp_path / "truth").mkdir()
    (tmp_path / "clean_frontal.mp4").write_bytes(b"x")
    assert render_samples(tmp_path, only=["zero_bytes"])


def test_presets_that_the_profile_cannot_serve_say_so():
    assert unmeasurable(load_config()) == ""
    for name in ("latentsync", "paper"):
        line = unmeasurable(load_config(overrides=(f"preset={name}",)))
        assert line.startswith(f"preset {name} accepts no clip: the embedded profile does not measure sync_c")
        assert "--profile paper" in line


def test_apply_warns_of_columns_that_nothing_measured():
    row = {"clip_id": "a", "source": "folder", "source_key": "a", "identity": "a", "video_path": "a", "start_ms": 0, "split": "train"}
    frame = manifests.tables.to_frame(manifests.tables.to_table([row | {"status": "scored", "head_rotation_deg": 5.0}]))
    with pytest.warns(UserWarning, match="preset latentsync accepts none of these clips: they have no sync_c, av_offset_frames"):
        manifests.apply(frame, preset="latentsync")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manifests.apply(frame.assign(sync_c=5.0, av_offset_frames=0), preset="latentsync")
        manifests.apply(frame.iloc[:0], preset="latentsync")


@pytest.mark.parametrize(
    ("workers", "n_clips", "chosen"),
    [(2, 2, "ray"), (2, 1, "inprocess"), (1, 5000, "inprocess"), (5, 3, "ray")],
)
def test_workers_that_are_asked_for_work(monkeypatch, workers, n_clips, chosen):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert choose("auto", workers, n_clips, ray_from_clips=200) == chosen


class NoCredentialsError(Exception):
    """As botocore's."""


NoCredentialsError.__module__ = "botocore.exceptions"


def test_an_object_store_that_cannot_be_used_is_one_line():
    line = store_trouble(NoCredentialsError("Unable to locate\ncredentials"))
    assert line.startswith("cannot use the object store: Unable to locate credentials (")
    wrapped = RuntimeError("page of text")
    wrapped.__cause__ = NoCredentialsError("no")
    assert store_trouble(wrapped)
    assert store_trouble(ValueError("ours")) == ""


def test_a_run_on_a_store_without_credentials_is_one_line(capfd, monkeypatch):
    def without_credentials(path):
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr("curation.sources.inference.place", without_credentials)
    assert "Unable to locate credentials" in failure(capfd, "run", "--root", "s3://bucket/videos", "--out", "unused")


def test_a_limit_beyond_all_numbers_is_all_clips(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"x")
    assert len(preview(Folder(str(tmp_path)), 9999999999999999999)) == 2


def test_verify_names_every_model_that_is_missing(tmp_path, capfd):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["models", "verify", "syncnet", "s3fd", "--models", str(tmp_path)])
    assert stopped.value.code == 2
    assert capfd.readouterr().err.splitlines()[-1] == "error: missing or wrong: syncnet, s3fd"


def test_commands_of_the_project_itself_are_not_in_the_help(capsys):
    cli.main(["--help"])
    text = capsys.readouterr().out
    assert "materialise" in text
    assert "people-sheet" not in text
    assert "fit-sync-boxes" not in text


def test_small_plans_are_said_in_small_units():
    assert (counted(1, "core"), counted(2, "core")) == ("1 core", "2 cores")
    assert (worked(0.004, "core"), worked(12.0, "GPU")) == ("0.24 core-minutes", "12.0 GPU-hours")
