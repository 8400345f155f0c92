"""describe, summary, the documentation page and the command line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import manifests
from manifests.__main__ import main
from manifests.document import refreshed
from manifests.tables import to_frame, to_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "manifest.md"


def test_describe_lists_the_schema():
    described = manifests.describe()
    assert list(described.columns) == ["name", "type", "unit", "meaning", "since"]
    assert described.name.tolist() == [column.name for column in manifests.COLUMNS]
    by_name = described.set_index("name")
    assert by_name.loc["reject_reasons", "type"] == "list<string>"
    assert by_name.loc["fps", ["type", "unit"]].tolist() == ["float64", "Hz"]
    assert by_name.loc["sync_c", "type"] == "float32"


def test_describe_is_the_same_for_schema_file_and_frame(tmp_path, rows):
    manifests.write(rows, tmp_path / "m.parquet")
    pd.testing.assert_frame_equal(manifests.describe(tmp_path / "m.parquet"), manifests.describe())
    pd.testing.assert_frame_equal(manifests.describe(manifests.load(tmp_path / "m.parquet")), manifests.describe())


def test_summary_counts_by_source(tmp_path, rows):
    manifests.write(rows, tmp_path / "manifest.parquet")
    for table in (manifests.summary(tmp_path), manifests.summary(to_frame(to_table(rows)))):
        assert table.index.tolist() == ["folder", "hdtf", "(all)"]
        counts = table[["clips", "identities", "scored", "failed", "accepted"]]
        assert counts.loc["folder"].tolist() == [3, 3, 2, 1, 1]
        assert counts.loc["hdtf"].tolist() == [1, 1, 1, 0, 1]
        assert counts.loc["(all)"].tolist() == [4, 3, 3, 1, 2]
        assert table.loc["(all)", ["hours", "accepted_hours"]].tolist() == pytest.approx([18 / 3600, 12 / 3600])
        assert table.loc["folder", "mean_lipsync_conf"] == 0.5  # the null of the second clip does not count
        assert table.loc["(all)", "mean_speech_ratio"] == 0.75


def test_the_page_is_what_the_code_says():
    text = PAGE.read_text(encoding="utf-8")
    assert refreshed(text) == text, "docs/manifest.md is out of date: run `python -m manifests document-page docs/manifest.md`"
    for part in ("| `head_rotation_deg` | float32 | deg |", "| `timeout` |", "`sync_d < 8.5`, else `lip_sync_far`", "| `points` |"):
        assert part in text


def run(*arguments: str):
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def manifest(tmp_path, rows):
    directory = tmp_path / "run"
    directory.mkdir()
    manifests.write(rows, directory / "manifest.parquet", {"preset": "embedded"})
    return directory


def test_describe_command(manifest):
    assert "head_rotation_deg" in run("describe").output
    assert "reject_reasons" in run("describe", manifest).output
    assert run("describe", "--markdown").output.strip() in PAGE.read_text(encoding="utf-8")


def test_validate_command(manifest, rows, tmp_path):
    assert run("validate", manifest).output == "no problem found\n"
    manifests.write([*rows, rows[0]], tmp_path / "bad.parquet")
    result = run("validate", tmp_path / "bad.parquet")
    assert result.exit_code == 1
    assert "more than once" in result.output


def test_diff_command(manifest, rows, tmp_path):
    assert (run("diff", manifest, manifest).exit_code, run("diff", manifest, manifest).output) == (0, "no difference\n")
    manifests.write([rows[0] | {"fps": 24.0, "attempts": 5}, *rows[1:]], tmp_path / "other.parquet")
    result = run("diff", manifest, tmp_path / "other.parquet")
    assert result.exit_code == 1
    assert "fps: 25 -> 24" in result.output
    assert "attempts" not in result.output
    assert run("diff", manifest, tmp_path / "other.parquet", "--ignore", "fps").exit_code == 0


def test_summary_and_presets_commands(manifest):
    assert "hdtf" in run("summary", manifest).output
    output = run("presets").output
    assert "lip_sync_far: sync_d < 8.5" in output
    assert "talkvid" in output


def test_apply_command_writes_new_verdicts(manifest, tmp_path):
    out = tmp_path / "strict.parquet"
    result = run("apply", manifest, "--preset", "paper", "--set", "head_turned=5", "--out", out)
    assert result.exit_code == 0, result.output
    assert "head_rotation_deg <= 5" in result.output
    df = manifests.load(out)
    assert df.reject_reasons.tolist() == [["head_turned"], ["head_turned"], ["failed:truncated"], ["head_turned"]]
    assert manifests.run_config(out) == {"preset": "paper", "thresholds": {"head_turned": 5}}
    assert manifests.load(manifest).accepted.tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["summary", "{tmp}/none"], "nothing there"),
        (["apply", "{run}", "--preset", "papre"], "did you mean 'paper'"),
        (["apply", "{run}", "--preset", "paper", "--set", "head_turnd=3"], "did you mean 'head_turned'"),
        (["apply", "{run}", "--preset", "paper", "--set", "head_turned"], "REASON=VALUE"),
        (["apply", "{run}", "--preset", "paper", "--set", "head_turned=[3"], "head_turned"),
        (["apply", "{run}", "--preset", "paper", "--presets-file", "{tmp}/none.yaml"], "cannot read the configuration"),
        (["apply", "{run}", "--preset", "paper", "--out", "{tmp}/no/where.parquet"], "cannot write"),
        (["diff", "{run}", "{tmp}"], "no manifest in"),
    ],
)
def test_mistakes_end_in_one_line_and_code_2(manifest, tmp_path, arguments, message):
    result = run(*(argument.format(run=manifest, tmp=tmp_path) for argument in arguments))
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert result.output.splitlines()[-1].startswith("error: ")
