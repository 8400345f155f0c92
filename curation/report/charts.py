"""The report's charts: which metrics are drawn, in which bins, and where a preset's thresholds lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation import svg
from curation.report.rundata import RunData, fold_sources
from curation.wording import clean, number, percent
from manifests import Rule

N_BINS = 30  # of about 11 px each
MAX_SERIES = 7  # as many as the page has colours; further sources are folded into one
MAX_DOTS = 2_000  # beyond, dots hide each other and the page grows
TAIL = 0.002  # share of the values at either end that may lie in an open bin, so that one outlier does not squash the chart


@dataclass(frozen=True)
class Metric:
    """A column and how to draw it.

    Attributes:
        span: fixed range of the chart; None takes it from the values.
        whole: the values are whole numbers: one bin each.
        scale: factor from the column's unit to the one that is shown.
    """

    column: str
    title: str
    unit: str = ""
    span: tuple[float, float] | None = None
    whole: bool = False
    scale: float = 1.0

    @property
    def label(self) -> str:
        return f"{self.title}, {self.unit}" if self.unit else self.title


METRICS = (
    Metric("face_size_px_p5", "face size (5th percentile)", "px"),
    Metric("head_rotation_deg", "head rotation (mean)", "degrees"),
    Metric("lipsync_conf", "lip-sync confidence"),
    Metric("lipsync_offset_frames", "lip-sync offset", "frames", (-15.5, 15.5), whole=True),
    Metric("sync_c", "Sync-C"),
    Metric("sync_d", "Sync-D"),
    Metric("av_offset_frames", "SyncNet offset", "frames", (-15.5, 15.5), whole=True),
    Metric("speech_ratio", "speech ratio", "", (0.0, 1.0)),
    Metric("valid_frame_ratio", "frames with one valid face", "", (0.0, 1.0)),
    Metric("duration_ms", "duration", "s", scale=1e-3),
    Metric("n_faces_max", "most faces at once", whole=True),
    Metric("n_cuts", "hard cuts", whole=True),
)
PAIRS = (
    ("lipsync_offset_frames", "lipsync_conf"),
    ("face_size_px_p5", "head_rotation_deg"),
    ("speech_ratio", "lipsync_conf"),
    ("sync_d", "sync_c"),
    ("av_offset_frames", "sync_c"),
    ("lipsync_conf", "sync_c"),
)
COLUMNS = tuple(metric.column for metric in METRICS)


@dataclass(frozen=True)
class Chart:
    """A drawing and the sentences below it."""

    title: str
    column: str
    svg: str
    notes: tuple[str, ...] = ()


def histograms(data: RunData, reason_counts: dict[str, int]) -> tuple[list[Chart], list[str]]:
    """One chart for each metric that has a value, and the names of the series (sources) in the order of their colours."""
    frame = data.frame[data.scored]
    source = fold_sources(frame["source"], MAX_SERIES)
    series = list(source.value_counts().index)
    charts = []
    for metric in _metrics(data):
        values = _values(frame, metric)
        known = np.isfinite(values)
        if not known.any():
            continue
        rules = [rule for rule in data.preset.rules if rule.column == metric.column]
        edges = bin_edges(values[known], metric, [at for rule in rules for at in thresholds(rule, metric)])
        inside = np.clip(values, edges[0], edges[-1])
        counts = [(clean(name, 40), np.histogram(inside[known & (source == name).to_numpy(bool)], edges)[0]) for name in series]
        notes = [f"{known.sum():,} of {len(data.frame):,} clips have a value"]
        for rule in rules:
            n_beyond = reason_counts.get(rule.reason, 0)
            notes.append(f"{rule.text}: {n_beyond:,} beyond ({percent(n_beyond, known.sum())})")
        drawn = svg.histogram(
            edges,
            counts,
            label=metric.label,
            limits=[(at, number(_shown_limit(rule, at, metric))) for rule in rules for at in thresholds(rule, metric)],
            beyond=[interval for rule in rules for interval in rejected(rule, metric)],
            open_ends=(bool(values[known].min() < edges[0]), bool(values[known].max() > edges[-1])),
            whole=metric.whole,
        )
        charts.append(Chart(metric.title, metric.column, drawn, tuple(notes)))
    return charts, [clean(name, 40) for name in series]


def scatters(data: RunData) -> list[Chart]:
    """One chart for each pair of metrics that some clips have both of."""
    by_column = {metric.column: metric for metric in _metrics(data)}
    frame = data.frame[data.scored]
    charts = []
    for x_name, y_name in PAIRS:
        across, up = by_column[x_name], by_column[y_name]
        x, y = _values(frame, across), _values(frame, up)
        known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        if not known.size:
            continue
        notes = [f"{known.size:,} clips"]
        drawn = known
        if known.size > MAX_DOTS:
            drawn = np.sort(np.random.default_rng(0).choice(known, MAX_DOTS, replace=False))
            notes = [f"a random sample of {MAX_DOTS:,} of {known.size:,} clips"]
        chosen = frame.iloc[drawn]
        x_limits, y_limits = (
            [at for rule in data.preset.rules if rule.column == metric.column for at in thresholds(rule, metric)] for metric in (across, up)
        )
        dots = [
            (px, py, "accepted" if accepted else "rejected", f"{clip_id} {clean(key, 60)}: {number(px)}, {number(py)}")
            for px, py, accepted, clip_id, key in zip(
                x[drawn], y[drawn], chosen["accepted"], chosen["clip_id"], chosen["source_key"], strict=True
            )
        ]
        y_edges, x_edges = bin_edges(y[known], up, y_limits), bin_edges(x[known], across, x_limits)
        room = 0.04 * (y_edges[-1] - y_edges[0])
        charts.append(
            Chart(
                f"{up.title} against {across.title}",
                f"{x_name} {y_name}",
                svg.scatter(
                    dots,
                    x_range=(x_edges[0], x_edges[-1]),
                    y_range=(y_edges[0] - room, y_edges[-1] + room),
                    x_label=across.label,
                    y_label=up.label,
                    x_limits=x_limits,
                    y_limits=y_limits,
                ),
                tuple(notes),
            )
        )
    return charts


def bin_edges(values: np.ndarray, metric: Metric, limits: Sequence[float] = ()) -> np.ndarray:
    """(B+1,) edges for finite `values`: the metric's own span, or one that holds all but the tails, and every limit."""
    if metric.span is not None:
        low, high = metric.span
        return np.arange(low, high + 0.5) if metric.whole else np.linspace(low, high, N_BINS + 1)
    low, high = (float(at) for at in np.quantile(values, (TAIL, 1 - TAIL), method="inverted_cdf"))
    if metric.whole:
        low, high = min(0.0, low), max([1.0, high, *limits])
        step = max(1, int(np.ceil((high - low + 1) / (2 * N_BINS))))
        return np.arange(np.floor(low) - 0.5, np.ceil(high) + step, step)
    if limits:
        room = 0.05 * (max(high, *limits) - min(low, *limits))
        low, high = min([low, *(at - room for at in limits)]), max([high, *(at + room for at in limits)])
    if min(values.min(), *limits, np.inf) >= 0 and low < 0.5 * high:
        low = 0.0
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, N_BINS + 1)


def thresholds(rule: Rule, metric: Metric) -> list[float]:
    """Where on the metric's axis the rule's threshold lies; between two bins for whole numbers. Empty where the rule has no order."""
    if isinstance(rule.value, bool) or not isinstance(rule.value, int | float) or rule.op not in (">", ">=", "<", "<="):
        return []
    at = float(rule.value) * metric.scale
    if metric.whole:
        at += 0.5 if rule.op in (">", "<=") else -0.5
    return [-at, at] if rule.abs else [at]


def rejected(rule: Rule, metric: Metric) -> list[tuple[float, float]]:
    """Intervals of the metric's axis that the rule rejects."""
    if rule.op == "==" and isinstance(rule.value, int | float) and not rule.abs:
        at, half = float(rule.value) * metric.scale, 0.5 if metric.whole else 0.0
        return [(-np.inf, at - half), (at + half, np.inf)]
    limits = thresholds(rule, metric)
    if not limits:
        return []
    if rule.op in (">", ">="):
        return [(limits[0], limits[1])] if rule.abs else [(-np.inf, limits[0])]
    return [(-np.inf, limits[0]), (limits[1], np.inf)] if rule.abs else [(limits[0], np.inf)]


def _shown_limit(rule: Rule, at: float, metric: Metric) -> float:
    return float(np.copysign(rule.value * metric.scale, at)) if rule.abs else float(rule.value) * metric.scale


def _metrics(data: RunData) -> list[Metric]:
    """The standing metrics, and the numeric columns of the preset's rules that are not among them."""
    found = {metric.column: metric for metric in METRICS}
    for rule in data.preset.rules:
        kind = data.frame[rule.column].dtype
        if rule.column not in found and pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
            found[rule.column] = Metric(rule.column, rule.column)
    return list(found.values())


def _values(frame: pd.DataFrame, metric: Metric) -> np.ndarray:
    """(n,) float64 in the metric's shown unit; NaN where null."""
    if metric.column not in frame:
        return np.full(len(frame), np.nan)
    return frame[metric.column].to_numpy(np.float64, na_value=np.nan) * metric.scale
