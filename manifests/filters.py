"""Verdicts from scores: `accepted`, `reject_reasons`, and how many clips survive each rule."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from manifests.errors import UserError, did_you_mean
from manifests.presets import Preset, Rule
from manifests.presets import preset as preset_by_name
from manifests.schema import COLUMNS, column

_PASSES, _FAILS, _MISSING = 0, 1, 2
_COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne}
ALL_SOURCES = "(all)"
_ROWS_AT_ONCE = 1 << 17  # judged; what is needed besides the verdicts of a million rows at once is a tenth of their frame
_SCHEMA_COLUMNS = frozenset(known.name for known in COLUMNS)


def apply(
    df: pd.DataFrame,
    preset: str | Preset,
    presets_file: str | os.PathLike | None = None,
    thresholds: Mapping[str, Any] | None = None,
    *,
    warn: bool = True,
) -> pd.DataFrame:
    """A copy of `df` with `accepted` (NumPy bool) and `reject_reasons` (list of text) under `preset`. Nothing is decoded.

    A rejected clip says every rule that it fails, in the preset's order; `<reason>:missing` where the rule's column is null. A clip that
    was not scored says `failed:<error_kind>` alone.

    Args:
        df: a manifest with `status`, `error_kind` and the columns that the preset looks at.
        preset: a name, or a `Preset`.
        presets_file: a YAML file with presets of one's own.
        thresholds: other values for some rules: reason -> value.
        warn: say by a `UserWarning` where the preset can accept nothing, because columns that it needs were measured on no clip.

    Raises:
        UserError: unknown preset, reason or column; a column of the wrong type.
    """
    chosen = _chosen(preset, presets_file, thresholds)
    looked_at = _looked_at(df, chosen)
    accepted, listed, n_scored, n_missing = [], [], 0, np.zeros(len(chosen.rules), np.int64)
    for first in range(0, max(1, len(df)), _ROWS_AT_ONCE):
        states, scored = _states([series.iloc[first : first + _ROWS_AT_ONCE] for series in looked_at], chosen)
        n_scored += int(scored.sum())
        n_missing += [int((state == _MISSING)[scored].sum()) for state in states]
        passes, reasons = _verdicts(states, scored, looked_at[1].iloc[first : first + _ROWS_AT_ONCE], chosen)
        accepted.append(passes)
        listed.append(reasons)
    if warn and n_scored:
        empty = {rule.column for rule, n in zip(chosen.rules, n_missing, strict=True) if n == n_scored}
        if needed := columns_that_bar(chosen, empty):
            told = f"preset {chosen.name} accepts none of these clips: they have no {', '.join(needed)}"
            warnings.warn(f"{told}; score them by a profile that measures it, or judge by another preset", stacklevel=2)
    kind = column("reject_reasons").type
    return df.assign(
        accepted=np.concatenate(accepted),
        reject_reasons=pd.Series(pa.chunked_array(listed, kind), index=df.index, dtype=pd.ArrowDtype(kind)),
    )


def _verdicts(states: list[np.ndarray], scored: np.ndarray, error_kind: pd.Series, chosen: Preset) -> tuple[np.ndarray, pa.Array]:
    """Of some rows: accepted, (n,) bool, and the reasons why not, lists of text."""
    code = np.zeros(len(scored), np.int64)
    for state in states:
        code *= 3
        code += state
    kinds, kind_names = pd.factorize(error_kind[~scored].astype(object).fillna("unknown"))
    code[~scored] = -1 - kinds
    row_verdict, verdicts = pd.factorize(code)
    reasons = [_reasons(int(verdict), chosen.rules, kind_names) for verdict in verdicts]
    return code == 0, pa.array(reasons, column("reject_reasons").type).take(pa.array(row_verdict))


def columns_that_bar(preset: Preset, unmeasured: Collection[str]) -> tuple[str, ...]:
    """Those of the columns that nothing measured without which the preset accepts no clip."""
    return tuple(dict.fromkeys(rule.column for rule in preset.rules if rule.missing == "reject" and rule.column in unmeasured))


def survival(
    df: pd.DataFrame,
    preset: str | Preset,
    presets_file: str | os.PathLike | None = None,
    thresholds: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """How many clips pass each rule alone, and all rules up to it, for every source and for `(all)`.

    Returns:
        One row a source and step, steps in the preset's order after step 0 (`failed`: the clip could be scored): `source`, `step`,
        `reason`, `rule` (text), `clips` (of the source), `passing` (this rule alone, of the scored clips), `surviving` (this rule and all
        before it), `surviving_hours` (NaN without `duration_ms`).
    """
    chosen = _chosen(preset, presets_file, thresholds)
    states, scored = _states(_looked_at(df, chosen), chosen)
    source, names = pd.factorize(_needed(df, "source", "survival"), sort=True)
    hours = df["duration_ms"].astype("float64").fillna(0).to_numpy() / 3.6e6 if "duration_ms" in df else np.full(len(df), np.nan)
    steps = [("failed", "status == scored", scored)]
    steps += [(rule.reason, rule.text, scored & (state == _PASSES)) for rule, state in zip(chosen.rules, states, strict=True)]
    rows, alive = [], np.ones(len(df), bool)
    for step, (reason, text, passing) in enumerate(steps):
        alive = alive & passing
        for group, name in [*enumerate(names), (None, ALL_SOURCES)]:
            member = np.ones(len(df), bool) if group is None else source == group
            survivors = member & alive
            counts = (int(member.sum()), int((member & passing).sum()), int(survivors.sum()), float(hours[survivors].sum()))
            rows.append((str(name), step, reason, text, *counts))
    names_of = ["source", "step", "reason", "rule", "clips", "passing", "surviving", "surviving_hours"]
    table = pd.DataFrame(rows, columns=names_of)
    return table.sort_values(["source", "step"], key=lambda s: s.mask(s == ALL_SOURCES, "") if s.name == "source" else s, ignore_index=True)


def _chosen(preset: str | Preset, presets_file: str | os.PathLike | None, thresholds: Mapping[str, Any] | None) -> Preset:
    chosen = preset if isinstance(preset, Preset) else preset_by_name(preset, presets_file)
    return chosen.with_thresholds(thresholds) if thresholds else chosen


def _looked_at(df: pd.DataFrame, chosen: Preset) -> list[pd.Series]:
    """The columns `status` and `error_kind`, then the one of each rule."""
    of_all = [_needed(df, name, chosen.name) for name in ("status", "error_kind")]
    return of_all + [_of_rule(df, rule, chosen.name) for rule in chosen.rules]


def _states(looked_at: list[pd.Series], chosen: Preset) -> tuple[list[np.ndarray], np.ndarray]:
    """A rule's state on every row, (n,) int8 of passes, fails, missing, for each rule; and which rows are scored, (n,) bool."""
    status, _, *of_rules = looked_at
    scored = (status == "scored").fillna(False).to_numpy(bool)
    return [_rule_state(series, rule) for series, rule in zip(of_rules, chosen.rules, strict=True)], scored


def _of_rule(df: pd.DataFrame, rule: Rule, preset_name: str) -> pd.Series:
    """The column that a rule looks at; all null where the manifest is older than a column whose nulls the rule lets pass."""
    if rule.missing == "ignore" and rule.column not in df.columns and rule.column in _SCHEMA_COLUMNS:
        return pd.Series(np.nan, index=df.index)
    return _needed(df, rule.column, preset_name)


def _needed(df: pd.DataFrame, name: str, preset_name: str) -> pd.Series:
    if name not in df.columns:
        raise UserError(f"preset {preset_name} needs column {name!r}, which the manifest lacks{did_you_mean(name, map(str, df.columns))}")
    return df[name]


def _rule_state(series: pd.Series, rule: Rule) -> np.ndarray:
    missing = series.isna().to_numpy()
    try:
        holds = _holds(series, rule)
    except (TypeError, ValueError) as error:
        raise UserError(f"rule {rule.reason}: {rule.text} does not suit a column of type {series.dtype}") from error
    state = np.where(holds, _PASSES, _FAILS).astype(np.int8)
    state[missing] = _MISSING if rule.missing == "reject" else _PASSES
    return state


def _holds(series: pd.Series, rule: Rule) -> np.ndarray:
    """(n,) bool; meaningless where the value is null. float32 columns compare in float32: a stored 0.9 is >= 0.9."""
    if rule.op == "in":
        return series.isin(list(rule.value)).to_numpy(bool)
    if rule.op == "is_true":
        if not pd.api.types.is_bool_dtype(series.dtype):
            raise TypeError
        return series.fillna(False).to_numpy(bool)
    if isinstance(rule.value, str):
        if not (pd.api.types.is_string_dtype(series.dtype) or series.dtype == object):
            raise TypeError
        return _COMPARE[rule.op](series, rule.value).fillna(False).to_numpy(bool)
    if not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype):
        if not series.isna().all():
            raise TypeError
        return np.zeros(len(series), bool)
    values = (
        series.to_numpy() if series.dtype.kind == "f" and isinstance(series.dtype, np.dtype) else series.to_numpy(float, na_value=np.nan)
    )
    return _COMPARE[rule.op](np.abs(values) if rule.abs else values, float(rule.value))


def _reasons(verdict: int, rules: tuple[Rule, ...], kind_names: Any) -> list[str]:
    """The reasons that a verdict stands for: a base-3 digit a rule, or minus one minus the number of the error kind."""
    if verdict < 0:
        return [f"failed:{kind_names[-1 - verdict]}"]
    found = []
    for rule in reversed(rules):
        verdict, state = divmod(verdict, 3)
        if state != _PASSES:
            found.append(rule.reason if state == _FAILS else f"{rule.reason}:missing")
    return list(dict.fromkeys(reversed(found)))
