"""Presets as data."""

from __future__ import annotations

import pytest

import manifests
from manifests.presets import PRESETS_FILE


def test_the_papers_thresholds():
    assert [rule.text for rule in manifests.preset("paper").rules] == [
        "face_width_px > 600",
        "face_height_px > 600",
        "sync_c > 6",
        "sync_d < 8.5",
        "head_rotation_deg <= 30",
        "sync_track_ratio >= 0.5",
    ]


def test_the_papers_preset_and_others_are_shipped_with_their_sources():
    presets = manifests.load_presets()
    assert {"paper", "embedded", "latentsync", "megactor-release", "omniavatar", "wav2lip-288", "talkvid"} <= set(presets)
    for preset in presets.values():
        assert preset.description
        assert preset.source
        for rule in preset.rules:
            manifests.column(rule.column)


def test_the_embedded_preset_needs_no_column_of_the_paper_profile():
    assert not {rule.column for rule in manifests.preset("embedded").rules} & {"sync_c", "sync_d", "av_offset_frames", "sync_windows"}


def test_an_unknown_preset_is_answered_with_the_nearest():
    with pytest.raises(manifests.UserError, match=r"unknown preset 'papre'; did you mean 'paper'\?$"):
        manifests.preset("papre")


def test_a_file_of_ones_own_adds_and_replaces(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "mine:\n  rules:\n    - {reason: far, column: sync_d, op: '<', value: 9}\n"
        "paper:\n  description: mine\n  rules:\n    - {reason: quiet, column: has_audio, op: is_true, missing: ignore}\n"
    )
    presets = manifests.load_presets(mine)
    assert presets["mine"].rules == (manifests.Rule("far", "sync_d", "<", 9),)
    assert presets["paper"].description == "mine"
    assert presets["latentsync"] == manifests.load_presets()["latentsync"]
    assert manifests.preset("paper").description != "mine"


RULE = "- {reason: a, column: fps, op: '>', value: 1}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "must hold a mapping of keys"),
        ("a: [", "is not valid YAML"),
        ("!!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("p: 3", "preset p needs a mapping"),
        ("p: {description: x}", "lacks 'rules'"),
        ("p: {rules: []}", "needs 1 to 36 rules, has 0"),
        ("p:\n  rules:\n" + f"    {RULE}\n" * 37, "needs 1 to 36 rules, has 37"),
        (f"p:\n  ruels: 3\n  rules:\n    {RULE}", r"unknown configuration key 'preset p\.ruels'; did you mean 'rules'\?"),
        ("p: {rules: [{reason: a, column: fps}]}", r"rules\[0\] lacks 'op'"),
        ("p: {rules: [{reason: a, column: fps, op: '>', valeu: 3}]}", "did you mean 'value'"),
        ("p: {rules: [{reason: a, column: fps, op: '=>', value: 3}]}", r"rules\[0\]\.op is '=>'; it must be one of >, >="),
        ("p: {rules: [{reason: a, column: fps, op: '>', value: '3'}]}", "needs a number, not '3'"),
        ("p: {rules: [{reason: a, column: fps, op: '>', value: true}]}", "needs a number, not True"),
        ("p: {rules: [{reason: a, column: fps, op: '>', value: .nan}]}", "needs a number, not nan"),
        ("p: {rules: [{reason: a, column: fps, op: in, value: 3}]}", "needs a list"),
        ("p: {rules: [{reason: a, column: fps, op: is_true, value: 3}]}", "takes no value"),
        (
            "p: {rules: [{reason: a, column: fps, op: '>', value: 3, missing: maybe}]}",
            "missing is 'maybe'; it must be one of",
        ),
        ("p: {rules: [{reason: 'a:b', column: fps, op: '>', value: 3}]}", "must be a word"),
        ("p: {rules: [{reason: a, column: fps, op: '==', value: x, abs: true}]}", "needs a number"),
    ],
)
def test_a_faulty_file_is_answered_in_one_line_that_names_it(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(manifests.UserError, match=message) as caught:
        manifests.load_presets(file)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(manifests.UserError, match=r"cannot read the configuration .*none\.yaml"):
        manifests.load_presets(tmp_path / "none.yaml")


def test_other_thresholds():
    preset = manifests.preset("paper").with_thresholds({"face_too_small": 300, "head_turned": 15.5})
    assert [rule.value for rule in preset.rules] == [300, 300, 6, 8.5, 15.5, 0.5]
    with pytest.raises(manifests.UserError, match=r"no rule 'head_turnd'; did you mean 'head_turned'\?"):
        manifests.preset("paper").with_thresholds({"head_turnd": 3})
    with pytest.raises(manifests.UserError, match="needs a number"):
        manifests.preset("paper").with_thresholds({"head_turned": "a lot"})


def test_presets_lie_where_the_package_looks_for_them():
    assert PRESETS_FILE.parts[-3:] == ("configs", "curation", "presets.yaml")
    assert PRESETS_FILE.is_file()
