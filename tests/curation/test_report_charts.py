"""Bins, ticks and threshold intervals of the report's charts, against their definitions."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import manifests
from curation import svg
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


def line_points(drawn, series=0):
    path = re.search(rf'<path class="line s{series}" d="M([^"]+)"><title>', drawn)[1]
    return [tuple(float(part) for part in point.split()) for point in path.split("L")]


def test_lines_go_through_their_points_on_straight_and_logarithmic_axes():
    points = [svg.Point(0, 1.0), svg.Point(5, 10.0), svg.Point(10, 100.0), svg.Point(10, math.nan)]
    left, right = svg.LEFT, svg.WIDTH - svg.RIGHT
    straight = line_points(svg.lines([("a", points)], x_label="x", y_label="y", from_zero=True))
    assert [x for x, _ in straight] == pytest.approx([left, (left + right) / 2, right], abs=0.1)
    below = [svg.HEIGHT - svg.BOTTOM - y for _, y in straight]
    assert below[1] / below[2] == pytest.approx(0.1, abs=0.01)
    by_log = [y for _, y in line_points(svg.lines([("a", points)], x_label="x", y_label="y", log=True))]
    assert by_log[0] - by_log[1] == pytest.approx(by_log[1] - by_log[2], abs=0.2)
    assert svg.lines([("a", [svg.Point(0, -1.0)])], x_label="x", y_label="y", log=True) == ""


def test_a_long_line_is_thinned_to_the_means_of_neighbours():
    points = [svg.Point(i, 1.0 + (-1) ** i) for i in range(4000)]
    drawn = line_points(svg.lines([("a", points)], x_label="x", y_label="y", from_zero=True))
    assert len(drawn) == 400
    assert len({y for _, y in drawn}) == 1  # of ten neighbours, up and down, the mean is 1


def test_few_values_of_x_get_labels_dots_and_intervals():
    series = [("ours", [svg.Point(0.5, 1.0, 0.8, 1.2), svg.Point(1.5, 2.0)]), ("<b>", [svg.Point(0.5, 3.0)])]
    drawn = svg.lines(series, x_label="gain", y_label="motion", x_ticks=[0.5, 1.5])
    assert drawn.count("<circle") == 3
    assert len(re.findall(r'<path class="line s0" d="M[\d.]+ [\d.]+V[\d.]+"/>', drawn)) == 1
    assert "&lt;b&gt;: 3 at 0.5" in drawn
    assert ">0.5</text>" in drawn


def test_intervals_lie_where_their_values_say_and_rows_without_a_value_are_left_out():
    rows = [
        svg.Interval("a", 0.0, -1.0, 1.0, 0, "a: 0"),
        svg.Interval("none", math.nan, math.nan, math.nan, 0, ""),
        svg.Interval("b", 1.0, math.nan, math.nan, 6, "b: 1"),
    ]
    drawn = svg.intervals(rows, "loss")
    low, high = re.search(r'<path class="line s0" d="M([\d.]+) 14H([\d.]+)"', drawn).groups()
    dots = [float(x) for x in re.findall(r'<circle class="s\d" cx="([\d.]+)"', drawn)]
    assert dots[0] == pytest.approx((float(low) + float(high)) / 2, abs=0.1)
    assert dots[1] == pytest.approx(float(high), abs=0.1)
    assert "none" not in drawn
    assert svg.intervals(rows[1:2], "loss") == ""
