"""The report's tables: the head's figures, survival, failures, time per stage, empty columns."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

import manifests
from curation.contracts import Scorer
from curation.discovery import parts
from curation.report.rundata import RunData, fold_sources
from curation.wording import clean, duration, number, percent
from manifests.filters import ALL_SOURCES
from manifests.tables import records

MOST_SOURCES = 30  # rows that are still read
MOST_FAILURES = 50  # rows that are still read; the manifest has all
STAGES = (("decode_ms", "decode"), ("landmarks_ms", "landmarks"), ("sync_ms", "lip sync"))
COLUMNS = ("duration_ms", *(column for column, _ in STAGES))
# Null for other reasons than a scorer that did not run.
_BY_NATURE = {
    "end_ms": "every clip runs to the end of its file",
    "licence": "the source names none",
    "error_kind": "no clip failed",
    "error_message": "no clip failed",
}


@dataclass(frozen=True)
class Figure:
    """One number of the head."""

    value: str
    label: str
    detail: str = ""


def figures(data: RunData) -> list[Figure]:
    """Clips, hours, accepted, failed, throughput."""
    frame = data.frame
    seconds = frame["duration_ms"].fillna(0).to_numpy(np.float64) / 1000
    accepted = frame["accepted"].to_numpy(bool)
    n_failed = int((~data.scored).sum())
    found = [
        Figure(f"{len(frame):,}", "clips", f"{duration(seconds.sum())} of footage"),
        Figure(percent(accepted.sum(), len(frame)), "accepted", f"{accepted.sum():,} clips, {duration(seconds[accepted].sum())}"),
        Figure(f"{n_failed:,}", "failed", f"{percent(n_failed, len(frame))} of the clips"),
    ]
    session = data.run.get("last_session") or {}
    if session.get("elapsed_s") and session.get("clips"):
        elapsed_s = session["elapsed_s"]
        speed = f"{number(session.get('media_s', 0) / elapsed_s, 2)}× real time"
        found.append(
            Figure(
                number(session["clips"] / elapsed_s, 2), "clips a second", f"{speed}; {session['clips']:,} clips in {duration(elapsed_s)}"
            )
        )
    elif (worked_s := sum(frame[column].fillna(0).sum() for column, _ in STAGES) / 1000) > 0:
        measured_s = seconds[data.scored].sum()
        found.append(Figure(f"{number(measured_s / worked_s, 2)}×", "real time a worker", "decoding, landmarks and lip sync together"))
    return found


def about(data: RunData) -> list[tuple[str, str]]:
    """What the run was made with, as (name, value)."""
    rows = [("run", str(data.run_dir.absolute())), ("source", f"{data.run.get('source', '')}: {data.run.get('root', '')}".strip(": "))]
    rows.append(("left out", _left_out(data.run.get("index") or {})))
    stamps = ("profile", "code_version", "config_hash", "landmark_model", "sync_model")
    rows += [(name.replace("_", " "), _listed(data.stamp(name))) for name in stamps]
    return [(name, clean(value, 300)) for name, value in rows if value]


def _left_out(index: dict[str, Any]) -> str:
    """What the source named or held and no row stands for."""
    lines = index.get("malformed") or 0
    others = [f"{n} {suffix}" for suffix, n in (index.get("passed_over") or {}).items()]
    return _listed([*([f"{lines} lines of the index that could not be read"] if lines else []), *others])


def _listed(values: list[str]) -> str:
    return ", ".join(values[:4]) + (f" and {len(values) - 4} more" if len(values) > 4 else "")


@dataclass(frozen=True)
class Step:
    """One threshold, over all clips: shares in percent of all clips."""

    reason: str
    rule: str
    n_passing: int
    n_surviving: int
    passing_percent: float
    surviving_percent: float


@dataclass(frozen=True)
class SourceRow:
    """One source: for each step (passing alone, surviving so far) as texts and the surviving share in percent."""

    name: str
    n_clips: int
    cells: tuple[tuple[str, str, float], ...]
    hours: str


def survival(data: RunData) -> tuple[list[Step], list[SourceRow]]:
    """Clips that pass each rule alone, and all rules up to it; over all clips, and by source (the largest 30)."""
    folded = data.frame.assign(source=fold_sources(data.frame["source"], MOST_SOURCES))
    table = manifests.survival(folded, data.preset)
    steps = [
        Step(
            "scored" if row["step"] == 0 else row["reason"],
            row["rule"],
            row["passing"],
            row["surviving"],
            100 * row["passing"] / max(1, row["clips"]),
            100 * row["surviving"] / max(1, row["clips"]),
        )
        for row in records(table[table["source"] == ALL_SOURCES])
    ]
    rows = []
    for name, group in table.groupby("source", sort=False):
        cells = tuple(
            (
                percent(row["passing"], row["clips"]),
                percent(row["surviving"], row["clips"]),
                100 * row["surviving"] / max(1, row["clips"]),
            )
            for row in records(group)
        )
        last = group.iloc[-1]
        rows.append(SourceRow(clean(name, 40), int(last["clips"]), cells, duration(3600 * last["surviving_hours"])))
    return steps, sorted(rows, key=lambda row: (row.name != ALL_SOURCES, -row.n_clips, row.name))


@dataclass(frozen=True)
class Failures:
    """Failed clips: (kind, meaning, clips) by kind, and the first ones as (source, key, kind, message, attempts)."""

    kinds: tuple[tuple[str, str, int], ...]
    first: tuple[tuple[str, str, str, str], ...]
    n_failed: int


def failures(data: RunData) -> Failures:
    """Failures by kind with their messages; at least one of each kind is among the first."""
    failed = data.frame[~data.scored]
    kind = failed["error_kind"].astype(object).fillna("unknown")
    counts = kind.value_counts()
    kinds = tuple((clean(name), manifests.ERROR_KINDS.get(str(name), ""), int(n)) for name, n in counts.items())
    rank = kind.groupby(kind).cumcount()
    first = failed.assign(kind=kind, rank=rank).sort_values("rank", kind="stable").head(MOST_FAILURES).sort_values("kind", kind="stable")
    rows = tuple(
        (clean(row.source, 40), clean(row.source_key, 120), clean(row.kind), clean(row.error_message, 240)) for row in first.itertuples()
    )
    return Failures(kinds, rows, len(failed))


@dataclass(frozen=True)
class Stage:
    """Time that one stage took."""

    name: str
    total: str
    per_media_second: str
    share: str
    share_percent: float


def stages(data: RunData) -> list[Stage]:
    """Time of decoding, landmarks and lip sync, those that took any."""
    frame = data.frame[data.scored]
    totals = {name: frame[column].fillna(0).to_numpy(np.float64).sum() for column, name in STAGES}
    whole, media_s = sum(totals.values()), frame["duration_ms"].fillna(0).sum() / 1000
    if not whole:
        return []
    return [
        Stage(name, duration(ms / 1000), f"{number(ms / media_s, 3)} ms" if media_s else "–", percent(ms, whole), 100 * ms / whole)
        for name, ms in totals.items()
        if ms
    ]


def empty_columns(data: RunData) -> list[tuple[str, list[tuple[str, str]]]]:
    """Columns that are null on every row as (why, [(column, meaning)])."""
    filled_by = {column.name: name for name, scorer in parts("curation.scorers", Scorer).items() for column in scorer.columns}
    meanings = {column.name: column.meaning for column in manifests.COLUMNS}
    profile = data.config.get("profile") or ", ".join(data.stamp("profile")) or "unknown"
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in data.null_columns:
        groups[_why_empty(name, data, filled_by.get(name), profile)].append((name, meanings.get(name, "")))
    return list(groups.items())


def _why_empty(name: str, data: RunData, scorer: str | None, profile: Any) -> str:
    if name in _BY_NATURE:
        return _BY_NATURE[name]
    if not data.scored.any():
        return "no clip could be scored"
    if scorer is None and name.startswith(("sync_c", "sync_d", "sync_windows", "av_offset")):
        return f"no SyncNet ran in the {profile} profile"
    if name in ("sync_model", "sync_ms"):
        return f"no lip-sync scorer ran in the {profile} profile"
    if scorer is None:
        return "nothing in this version fills it"
    if scorer not in (data.config.get("scorers") or {scorer: None}):
        return f"scorer {scorer} did not run in the {profile} profile"
    return f"scorer {scorer} ran and found nothing to measure: no sound, or no face"
