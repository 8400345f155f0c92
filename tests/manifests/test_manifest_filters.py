"""Verdicts, checked against a plain reading of the rules row by row."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import manifests
from manifests.tables import to_frame, to_table

RULES = [(preset, rule) for preset in manifests.load_presets().values() for rule in preset.rules]


def frame_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return to_frame(to_table(rows))


def passes(rule: manifests.Rule, value: Any) -> bool:
    """The rule read out, one value at a time."""
    if rule.op == "is_true":
        return value is True
    if rule.op == "in":
        return value in rule.value
    value = abs(value) if rule.abs else value
    return {
        ">": value > rule.value,
        ">=": value >= rule.value,
        "<": value < rule.value,
        "<=": value <= rule.value,
        "==": value == rule.value,
        "!=": value != rule.value,
    }[rule.op]


def reasons_of(row: dict[str, Any], preset: manifests.Preset) -> list[str]:
    if row["status"] != "scored":
        return [f"failed:{row['error_kind'] or 'unknown'}"]
    found = []
    for rule in preset.rules:
        value = row.get(rule.column)
        if value is None:
            if rule.missing == "reject":
                found.append(f"{rule.reason}:missing")
        elif not passes(rule, value):
            found.append(rule.reason)
    return list(dict.fromkeys(found))


def candidates(rule: manifests.Rule, is_integer: bool) -> list[Any]:
    """Values around the rule's threshold."""
    if rule.op == "is_true":
        return [True, False]
    values = [rule.value, rule.value + 1, rule.value - 1, rule.value * 2, rule.value / 2, -rule.value, -rule.value - 1, 0.95]
    return [int(value) for value in values if value == int(value)] if is_integer else values


def is_integer(name: str) -> bool:
    return str(manifests.column(name).type).startswith("int")


def passing_row(make_row, preset: manifests.Preset) -> dict[str, Any]:
    """A row that meets every rule of the preset."""
    row = make_row()
    for name in {rule.column for rule in preset.rules}:
        rules = [rule for rule in preset.rules if rule.column == name]
        values = itertools.chain.from_iterable(candidates(rule, is_integer(name)) for rule in rules)
        row[name] = next(value for value in values if all(passes(rule, value) for rule in rules))
    return row


@pytest.mark.parametrize(
    ("preset", "rule"), RULES, ids=[f"{preset.name}-{number}-{rule.reason}" for number, (preset, rule) in enumerate(RULES)]
)
def test_every_rule_gives_its_reason_and_no_other(make_row, preset, rule):
    good = passing_row(make_row, preset)
    others = [other for other in preset.rules if other.column == rule.column and other is not rule]
    wrong = next(
        value for value in candidates(rule, is_integer(rule.column)) if not passes(rule, value) and all(passes(o, value) for o in others)
    )
    df = manifests.apply(frame_of([good, good | {rule.column: wrong}, good | {rule.column: None}]), preset.name)
    barring = [other.reason for other in preset.rules if other.column == rule.column and other.missing == "reject"]
    assert df.accepted.tolist() == [True, False, not barring]
    assert df.reject_reasons.tolist()[:2] == [[], [rule.reason]]
    assert df.reject_reasons.tolist()[2] == list(dict.fromkeys(f"{reason}:missing" for reason in barring))


@given(st.data(), st.sampled_from(list(manifests.load_presets().values())))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_verdicts_equal_a_plain_reading_of_the_rules(make_row, make_failed_row, data, preset):
    rows = []
    for number in range(data.draw(st.integers(1, 6))):
        row = make_row(f"{number}.mp4")
        for rule in preset.rules:
            row[rule.column] = data.draw(st.none() | st.sampled_from(candidates(rule, is_integer(rule.column))))
        rows.append(row)
    rows.append(make_failed_row("broken.mp4", data.draw(st.sampled_from(list(manifests.ERROR_KINDS)))))
    rows.append(make_failed_row("odd.mp4", "timeout") | {"error_kind": None})
    df = frame_of(rows)
    judged = manifests.apply(df, preset)
    stored = df.astype(object).where(df.notna(), None).to_dict("records")  # float32, as the table holds it
    expected = [reasons_of(row, _as_float32(preset)) for row in stored]
    assert judged.reject_reasons.tolist() == expected
    assert judged.accepted.tolist() == [not reasons for reasons in expected]
    _check_survival(manifests.survival(df, preset), stored, preset)


def _as_float32(preset: manifests.Preset) -> manifests.Preset:
    """Thresholds as float32 has them where the column is float32: 0.9 stored and 0.9 asked for are the same."""
    from dataclasses import replace

    def rounded(rule):
        is_real = str(manifests.column(rule.column).type) == "float"
        return replace(rule, value=float(np.float32(rule.value))) if is_real else rule

    return replace(preset, rules=tuple(rounded(rule) for rule in preset.rules))


def _check_survival(table: pd.DataFrame, rows: list[dict[str, Any]], preset: manifests.Preset) -> None:
    """Counts of `survival` against counting row by row."""
    preset = _as_float32(preset)
    of_all = table[table.source == "(all)"]
    scored = [row for row in rows if row["status"] == "scored"]
    assert of_all.step.tolist() == list(range(len(preset.rules) + 1))
    assert of_all.clips.unique().tolist() == [len(rows)]
    assert of_all.surviving.tolist()[0] == of_all.passing.tolist()[0] == len(scored)
    alive = scored
    for rule, step in zip(preset.rules, of_all.iloc[1:].itertuples(), strict=True):
        alone = manifests.Preset("one", "", "", (rule,))
        assert step.passing == sum(not reasons_of(row, alone) for row in scored)
        alive = [row for row in alive if not reasons_of(row, alone)]
        assert step.surviving == len(alive)
        assert step.surviving_hours == pytest.approx(sum(row["duration_ms"] or 0 for row in alive) / 3.6e6)


def test_survival_is_told_for_every_source(make_row, make_failed_row):
    rows = [make_row("a"), make_row("b", head_rotation_deg=50), make_row("c", source="hdtf"), make_failed_row("d", "timeout")]
    table = manifests.survival(frame_of(rows), "paper").set_index(["source", "reason", "step"])
    assert table.index.get_level_values("source").unique().tolist() == ["(all)", "folder", "hdtf"]
    assert table.loc[("folder", "failed", 0), ["clips", "passing", "surviving"]].tolist() == [3, 2, 2]
    assert table.loc[("folder", "head_turned", 5), ["clips", "passing", "surviving"]].tolist() == [3, 1, 1]
    assert table.loc[("hdtf", "head_turned", 5), "surviving"] == 1
    assert table.loc[("(all)", "head_turned", 5), "surviving_hours"] == pytest.approx(2 * 6 / 3600)
    accepted = manifests.apply(frame_of(rows), "paper").accepted.sum()
    assert table.xs(5, level="step").loc["(all)", "surviving"].iloc[0] == accepted


def test_a_rejected_clip_says_every_reason_in_the_presets_order(make_row):
    row = make_row(face_width_px=10, face_height_px=10, sync_c=1, sync_d=None, head_rotation_deg=31)
    df = manifests.apply(frame_of([row]), "paper")
    assert df.reject_reasons[0] == ["face_too_small", "lip_sync_low", "lip_sync_far:missing", "head_turned"]


def test_a_stored_threshold_meets_its_threshold(make_row):
    mine = manifests.Preset(
        "mine", "", "", (manifests.Rule("few", "valid_frame_ratio", ">=", 0.9), manifests.Rule("low", "sync_c", "==", 0.1))
    )
    df = frame_of([make_row(valid_frame_ratio=9 / 10, sync_c=0.1)])
    assert manifests.apply(df, mine).accepted.tolist() == [True]


def test_rules_on_text_and_lists(make_row):
    rules = (
        manifests.Rule("codec", "video_codec", "in", ["h264", "hevc"]),
        manifests.Rule("held_out", "split", "!=", "test"),
        manifests.Rule("frame_rate", "fps", "in", [25, 30]),
        manifests.Rule("no_audio", "has_audio", "is_true", missing="ignore"),
    )
    rows = [
        make_row("a", split="train"),
        make_row("b", split="test", video_codec="vp9", fps=24.0),
        make_row("c", split="train", video_codec=None, has_audio=None),
    ]
    df = manifests.apply(frame_of(rows), manifests.Preset("mine", "", "", rules))
    assert df.reject_reasons.tolist() == [[], ["codec", "held_out", "frame_rate"], ["codec:missing"]]


def test_absolute_values_are_compared_on_both_sides_of_zero(make_row):
    rules = (manifests.Rule("far", "av_offset_frames", "<=", 3, abs=True), manifests.Rule("tilted", "sync_d", "<", 0.5, abs=True))
    rows = [make_row(str(offset), av_offset_frames=offset, sync_d=d) for offset, d in [(3, 0.4), (-3, -0.4), (4, -0.5), (-4, 0.5)]]
    df = manifests.apply(frame_of(rows), manifests.Preset("mine", "", "", rules))
    assert df.reject_reasons.tolist() == [[], [], ["far", "tilted"], ["far", "tilted"]]


def test_many_rules_do_not_run_into_each_other(make_row):
    rules = tuple(manifests.Rule(f"r{number}", "fps", ">" if number % 2 else "<", 20) for number in range(36))
    df = manifests.apply(frame_of([make_row(), make_row("b", fps=None)]), manifests.Preset("many", "", "", rules))
    assert df.reject_reasons.tolist() == [[f"r{n}" for n in range(0, 36, 2)], [f"r{n}:missing" for n in range(36)]]


def test_apply_leaves_its_input_and_other_columns_alone(make_row, make_failed_row):
    df = frame_of([make_row("a", sync_c=1), make_failed_row("b", "crash")])
    df.index = [10, 7]
    before = df.copy(deep=True)
    judged = manifests.apply(df, "paper", thresholds={"lip_sync_low": 0.5})
    pd.testing.assert_frame_equal(df, before)
    pd.testing.assert_frame_equal(judged.drop(columns=["accepted", "reject_reasons"]), df.drop(columns=["accepted", "reject_reasons"]))
    assert judged.accepted.to_dict() == {10: True, 7: False}
    assert judged.reject_reasons.to_dict() == {10: [], 7: ["failed:crash"]}
    assert judged.accepted.dtype == np.bool_


@pytest.mark.parametrize("preset", ["paper", "megactor-release", "omniavatar"])
@pytest.mark.parametrize(
    ("ratio", "reasons"), [(0.02, ["lip_sync_partial"]), (0.49, ["lip_sync_partial"]), (0.5, []), (1.0, []), (None, [])]
)
def test_one_good_shot_does_not_make_a_long_clip_good(make_row, preset, ratio, reasons):
    """Sync-C is the best track's; null is what rows have that were scored before the share was recorded."""
    row = make_row("a", sync_c=9.0, sync_d=6.0, face_width_px=700, face_height_px=700, head_rotation_deg=5, n_frames=400, duration_ms=16000)
    df = frame_of([row | {"valid_frame_ratio": 1.0, "sync_track_ratio": ratio}])
    assert list(manifests.apply(df, preset).reject_reasons.iloc[0]) == reasons
    assert manifests.apply(df.drop(columns="sync_track_ratio"), preset).accepted.all()  # a manifest of before


def test_columns_that_are_not_there_or_do_not_suit_are_named(make_row):
    df = frame_of([make_row()])
    with pytest.raises(manifests.UserError, match="preset paper needs column 'sync_c'"):
        manifests.apply(df.drop(columns="sync_c"), "paper")
    with pytest.raises(manifests.UserError, match="needs column 'status'"):
        manifests.apply(df.drop(columns="status"), "paper")
    for rule in (
        manifests.Rule("x", "video_codec", ">", 3),
        manifests.Rule("x", "has_audio", ">", 0),
        manifests.Rule("x", "fps", "==", "25"),
        manifests.Rule("x", "fps", "is_true"),
    ):
        with pytest.raises(manifests.UserError, match="does not suit"):
            manifests.apply(df, manifests.Preset("mine", "", "", (rule,)))


def test_a_rule_on_a_column_of_ones_own(make_row):
    df = frame_of([make_row("a"), make_row("b")])
    df["blur"] = [0.5, np.nan]
    preset = manifests.Preset("mine", "", "", (manifests.Rule("blurred", "blur", "<", 1),))
    assert manifests.apply(df, preset).reject_reasons.tolist() == [[], ["blurred:missing"]]
