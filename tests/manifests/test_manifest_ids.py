"""Ids, splits and shards: pinned values, because a change would orphan every manifest, and the properties that they are for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import manifests

spans = st.tuples(st.text(), st.text(), st.integers(0, 2**40), st.none() | st.integers(0, 2**40))


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (("folder", "a.mp4", 0, None), "bc9ed6b2fca382468345"),
        (("hdtf", "RD_Radio31_000", 1500, 62000), "56daeb65cd8859549c28"),
        (("folder", "näh 'quotes'\n.mp4", 0, 1), "32eee638b801fcc37b97"),
        (("folder", "not-utf8-\udcff.mp4", 0, None), "01c6298ddebf74f48f1c"),
    ],
)
def test_clip_ids_are_pinned(span, expected):
    assert manifests.clip_id(*span) == expected


def test_splits_and_shards_are_pinned():
    assert [manifests.split(f"person {i}") for i in range(12)] == [
        "train",
        "test",
        "train",
        "train",
        "test",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
    ]
    assert [manifests.shard_of(f"clip {i}.mp4", 64) for i in range(8)] == [30, 7, 60, 27, 44, 42, 5, 46]


@given(spans, spans)
def test_ids_are_equal_only_for_equal_spans(one, other):
    assert (manifests.clip_id(*one) == manifests.clip_id(*other)) == (one == other)


@given(st.text(), st.text(), st.text())
def test_ids_do_not_run_parts_together(a, b, c):
    if b:
        assert manifests.clip_id(a + b, c, 0, None) != manifests.clip_id(a, b + c, 0, None)


def test_id_of_numpy_integers_is_that_of_integers():
    assert manifests.clip_id("s", "k", np.int64(5), np.int32(9)) == manifests.clip_id("s", "k", 5, 9)


def test_one_identity_in_ten_is_for_testing():
    n = 50_000
    share = sum(manifests.split(f"id{i:05d}") == "test" for i in range(n)) / n
    assert share == pytest.approx(0.1, abs=5 * (0.1 * 0.9 / n) ** 0.5)


@given(st.text(), st.integers(1, 10_000))
def test_shards_are_in_range_and_stable(key, n_shards):
    shard = manifests.shard_of(key, n_shards)
    assert 0 <= shard < n_shards
    assert manifests.shard_of(key, n_shards) == shard


def test_shards_are_even_and_independent_of_the_split():
    keys = [f"{i}.mp4" for i in range(20_000)]
    counts = np.bincount([manifests.shard_of(key, 16) for key in keys], minlength=16)
    expected = len(keys) / 16
    assert ((counts - expected) ** 2 / expected).sum() < 50  # chi-square, 15 degrees of freedom: p < 1e-5
    of_test = np.bincount([manifests.shard_of(key, 16) for key in keys if manifests.split(key) == "test"], minlength=16)
    assert ((of_test - of_test.mean()) ** 2 / of_test.mean()).sum() < 50


def test_no_shards_is_an_error():
    with pytest.raises(ValueError, match="at least 1"):
        manifests.shard_of("a", 0)
