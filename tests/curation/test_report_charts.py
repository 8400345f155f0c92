"""Bins, ticks and threshold intervals of the report's charts, against their definitions."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import manifests
from curation.report import svg
from curation.report.charts import METRICS, Metric, bin_edges, rejected, thresholds
from curation.wording import clean, duration, number, percent, shown
from manifests import Preset, Rule

FINITE = st.floats(-1e6, 1e6)


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5), st.integers(2, 8), st.booleans())
def test_ticks_are_round_even_and_few(low, width, about, whole):
    found = svg.ticks(low, low + width, about, whole=whole)
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)
    assert len(found) <= about + 1
    if len(found) > 1:
        steps = np.diff(found)
        assert np.allclose(steps, steps[0], rtol=1e-6)
        mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
        assert any(abs(mantissa - round_one) < 1e-6 for round_one in (1, 2, 5))
    if whole:
        assert all(tick == round(tick) for tick in found)


@given(st.lists(FINITE, min_size=1, max_size=50), st.lists(FINITE, max_size=2), st.booleans())
def test_bins_hold_every_value_and_every_limit(values, limits, whole):
    values = np.round(values) if whole else np.array(values)
    edges = bin_edges(values, Metric("x", "x", whole=whole), limits)
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= 70
    assert np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].sum() == len(values)
    if limits and not whole:
        assert edges[0] <= min(limits)
        assert max(limits) <= edges[-1]


def test_one_outlier_does_not_squash_the_chart():
    values = np.append(np.random.default_rng(0).normal(100, 10, 5_000), 1e9)
    assert bin_edges(values, Metric("x", "x"))[-1] < 200


@given(
    st.sampled_from([">", ">=", "<", "<="]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 12),
    st.lists(st.integers(-15, 15), min_size=1, max_size=40),
)
def test_shade_covers_exactly_what_the_rule_rejects(op, absolute, whole, value, values):
    rule = Rule("r", "lipsync_offset_frames", op, value, abs=absolute)
    metric = Metric("lipsync_offset_frames", "x", whole=whole)
    frame = pd.DataFrame({"status": "scored", "error_kind": None, "lipsync_offset_frames": pd.array(values, "Int32")})
    passed = manifests.apply(frame, Preset("p", "", "", (rule,)))["accepted"].to_numpy(bool)
    shades = rejected(rule, metric)
    for number_, accepted in zip(values, passed, strict=True):
        inside = any(low < number_ < high for low, high in shades)
        on_edge = any(number_ in interval for interval in shades)
        if (whole and not (absolute and value == 0)) or not on_edge:
            assert inside == (not accepted)
    assert len(thresholds(rule, metric)) == (2 if absolute else 1)


def test_rules_without_an_order_have_no_line():
    for rule in (Rule("r", "has_audio", "is_true"), Rule("r", "source", "in", ["a"]), Rule("r", "source", "!=", "a")):
        assert thresholds(rule, METRICS[0]) == []
        assert rejected(rule, METRICS[0]) == []


def test_bars_have_the_height_of_their_counts():
    drawn = svg.histogram(np.arange(4.0), [("a", np.array([4, 0, 2])), ("b", np.array([0, 1, 2]))], label="x")
    bars = re.findall(r'<rect class="(s\d)" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', drawn)
    unit = (svg.HEIGHT - svg.BOTTOM - svg.TOP) / 4
    assert [(kind, float(height)) for kind, _, _, height in bars] == [
        ("s0", pytest.approx(4 * unit, abs=0.1)),
        ("s1", pytest.approx(unit, abs=0.1)),
        ("s0", pytest.approx(2 * unit, abs=0.1)),
        ("s1", pytest.approx(2 * unit, abs=0.1)),
    ]
    assert float(bars[3][2]) == pytest.approx(svg.TOP, abs=0.1)  # stacked on the bar before, up to the top


def test_dots_lie_where_their_values_say():
    drawn = svg.scatter(
        [(0.0, 0.0, "accepted", "low"), (10.0, 1.0, "rejected", "high"), (5.0, 99.0, "rejected", "outside")],
        x_range=(0, 10),
        y_range=(0, 1),
        x_label="x",
        y_label="y",
    )
    dots = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="[\d.]+"><title>(\w+)', drawn)
    left, right, top, bottom = svg.LEFT, svg.WIDTH - svg.RIGHT, svg.TOP, svg.HEIGHT - svg.BOTTOM
    expected = [(left, bottom, "low"), (right, top, "high"), ((left + right) / 2, top, "outside")]
    assert [(float(x), float(y), name) for x, y, name in dots] == expected


class TestWording:
    def test_percent_is_never_all_or_nothing_by_rounding(self):
        assert [percent(n, 10_000) for n in (0, 1, 9_999, 10_000)] == ["0 %", "< 0.1 %", "> 99.9 %", "100 %"]
        assert percent(1, 0) == "–"
        assert percent(1, 8) == "12 %"
        assert percent(1, 16) == "6.2 %"

    def test_numbers(self):
        assert [number(x) for x in (0, -0.0, 3.14159, 12345.6, -0.5, math.nan)] == ["0", "0", "3.142", "12,346", "−0.5", "–"]

    def test_cells(self):
        assert [shown(x, 1) for x in (0.84, -0.04, -3, 12345, float("nan"), None, pd.NA)] == [
            "0.8",
            "0.0",
            "−3.0",
            "12,345.0",
            None,
            None,
            None,
        ]
        assert shown(np.float32(0.25)) == "0.25"

    def test_durations(self):
        assert [duration(s) for s in (0, 42.04, 59.96, 200, 7500, 360_000)] == [
            "0 s",
            "42 s",
            "60 s",
            "3 min 20 s",
            "2 h 5 min",
            "100 h 0 min",
        ]

    @given(st.text(max_size=400))
    def test_clean_text_is_one_printable_line(self, text):
        assert clean(text).isprintable()
        assert len(clean(text, 20)) <= 10 * 23
