"""The side table of landmarks: precision, repeatability, and reading one clip."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import manifests

# Faces up to so many px across keep their points to within so many px (the module's and docs/manifest.md's statement).
BOUNDS_PX = ((128, 1 / 64), (512, 1 / 16), (1024, 1 / 8), (2048, 1 / 4))

frames = st.integers(0, 5)
anything = st.floats(width=32) | st.floats(-5000, 5000, width=32)


def _points(seed: int, size_px: float, corner_px: tuple[float, float], n_frames: int = 3) -> np.ndarray:
    """(T, 68, 2) points at random in a square of `size_px`, its corners included."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, size_px, (n_frames, 68, 2))
    points[:, 0], points[:, 1] = 0, size_px
    return points + corner_px


@given(st.integers(0, 2**32 - 1), st.floats(1, 2048), st.tuples(st.floats(-200, 3840), st.floats(-200, 2160)))
@settings(max_examples=200, deadline=None)
@example(0, 2048.0, (1792.0, 112.0))
@example(0, 512.0, (3328.0, 1648.0))
def test_points_on_a_4k_frame_keep_the_stated_precision(seed, size_px, corner_px):
    points = _points(seed, size_px, corner_px)
    rounded, _ = manifests.quantise(points, np.ones((3, 68)))
    # Snapping may widen the box by half a grid step and the middle is a whole pixel: allow one pixel at the borders of the statement.
    bound = next((bound for size, bound in BOUNDS_PX if size_px <= size - 2), 1 / 2)
    assert np.abs(rounded - points).max() <= bound + 1e-9


def test_plain_float16_would_be_worse():
    points = _points(1, 500, (3300, 1600))
    rounded, _ = manifests.quantise(points, np.ones((3, 68)))
    assert np.abs(points.astype(np.float16).astype(float) - points).max() > 8 * np.abs(rounded - points).max()


@given(
    frames.flatmap(
        lambda n: st.tuples(hnp.arrays(np.float32, (n, 68, 2), elements=anything), hnp.arrays(np.float32, (n, 68), elements=anything))
    )
)
@settings(max_examples=60, deadline=None)
def test_rounding_anything_is_repeatable_and_never_infinite(arrays):
    points, confidence = manifests.quantise(*arrays)
    assert points.dtype == confidence.dtype == np.float32
    again = manifests.quantise(points, confidence)
    np.testing.assert_array_equal(again[0], points)
    np.testing.assert_array_equal(again[1], confidence)
    seen = np.isfinite(points).all(axis=(1, 2))
    assert np.isnan(points[~seen]).all()
    assert (confidence[~seen] == 0).all()
    assert ((confidence >= 0) & (confidence <= 1)).all()
    possible = (np.abs(arrays[0].astype(float)) <= 65_536 / 2).all(axis=(1, 2))
    assert (seen >= possible).all()  # every face that a picture can hold is kept


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 4000), st.floats(-3000, 8000), st.floats(-3000, 8000))
@settings(max_examples=200, deadline=None)
def test_rounding_is_repeatable_for_faces(seed, size_px, x, y):
    once = manifests.quantise(_points(seed, size_px, (x, y)), np.random.default_rng(seed).random((3, 68)))
    again = manifests.quantise(*once)
    np.testing.assert_array_equal(again[0], once[0])
    np.testing.assert_array_equal(again[1], once[1])


def _clip(seed: int, n_frames: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    points = _points(seed, rng.uniform(20, 2000), (rng.uniform(0, 2000), rng.uniform(0, 1000)), n_frames)
    points[rng.random(n_frames) < 0.2] = np.nan
    times_ms = np.sort(rng.uniform(0, 1e7, n_frames))  # variable frame rate, hours into a file
    return times_ms, rng.integers(0, 4, n_frames), points.astype(np.float32), rng.random((n_frames, 68)).astype(np.float32)


@pytest.fixture
def run(tmp_path):
    """A run's directory with two shards, and the clips in it."""
    (tmp_path / "landmarks").mkdir()
    clips = {f"{seed * 7919 % 1000:020x}": _clip(seed, 5 + seed) for seed in range(20)}
    names = sorted(clips)
    manifests.write_landmarks(tmp_path / "landmarks" / "00000.parquet", {name: clips[name] for name in names[::2]})
    manifests.write_landmarks(tmp_path / "landmarks" / "00001.parquet", {name: clips[name] for name in names[1::2]})
    (tmp_path / "landmarks" / ".00002.parquet.9.tmp").write_bytes(b"half")
    return tmp_path, clips


def test_clips_come_back_exactly_as_quantise_says(run):
    directory, clips = run
    for clip_id, (times_ms, n_faces, points_px, confidence) in clips.items():
        expected = manifests.quantise(points_px, confidence)
        back = manifests.load_landmarks(directory, clip_id)
        np.testing.assert_array_equal(back.times_ms, times_ms)
        np.testing.assert_array_equal(back.n_faces, n_faces)
        np.testing.assert_array_equal(back.points_px, expected[0])
        np.testing.assert_array_equal(back.confidence, expected[1])
        assert [array.dtype for array in back] == [np.float64, np.int16, np.float32, np.float32]
        assert all(array.flags.writeable for array in back)


def test_all_clips_of_a_run_or_a_shard_can_be_walked_through(run):
    directory, clips = run
    assert {clip_id: len(clip.times_ms) for clip_id, clip in manifests.iter_landmarks(directory)} == {
        clip_id: len(clip[0]) for clip_id, clip in clips.items()
    }
    in_shard = [clip_id for clip_id, _ in manifests.iter_landmarks(directory / "landmarks" / "00001.parquet")]
    assert in_shard == sorted(clips)[1::2]


def test_reading_a_clip_touches_no_other(run):
    directory, _ = run
    file = directory / "landmarks" / "00000.parquet"
    names = [clip_id for clip_id, _ in manifests.iter_landmarks(file)]
    metadata = pq.read_metadata(file)
    content = bytearray(file.read_bytes())
    for group in range(metadata.num_row_groups):
        if group != 3:
            chunks = [metadata.row_group(group).column(i) for i in range(metadata.num_columns)]
            start = min(chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks)
            end = start + sum(chunk.total_compressed_size for chunk in chunks)
            content[start:end] = bytes(end - start)
    file.write_bytes(content)
    assert np.isfinite(manifests.load_landmarks(file, names[3]).times_ms).all()
    with pytest.raises(manifests.UserError, match="damaged"):
        manifests.load_landmarks(file, names[4])


def test_the_same_clips_give_the_same_bytes(tmp_path):
    clips = {f"{seed:020x}": _clip(seed) for seed in range(5)}
    manifests.write_landmarks(tmp_path / "one", clips)
    rounded = {name: (t, n, *manifests.quantise(p, c)) for name, (t, n, p, c) in reversed(clips.items())}
    manifests.write_landmarks(tmp_path / "other", rounded)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_the_table_is_what_the_schema_says(run):
    table = pq.read_table(run[0] / "landmarks" / "00000.parquet")
    assert table.schema.field("points").type == pa.list_(pa.float16(), 204)
    first = table.slice(0, table["clip_id"].to_pylist().count(table["clip_id"][0].as_py()))
    assert first["frame_index"].to_pylist() == list(range(len(first)))
    unseen = [centre is None for centre in table["centre_x_px"].to_pylist()]
    assert [not any(points) for points in table["points"].to_pylist()] == unseen
    assert any(unseen)


def test_landmarks_are_read_from_urls(run):
    import fsspec

    directory, clips = run
    memory = fsspec.filesystem("memory")
    memory.pipe("/lm/landmarks/00000.parquet", (directory / "landmarks" / "00000.parquet").read_bytes())
    try:
        clip_id = min(clips)
        np.testing.assert_array_equal(manifests.load_landmarks("memory://lm", clip_id).times_ms, clips[clip_id][0])
    finally:
        memory.rm("/lm", recursive=True)


def test_a_shard_without_landmarks_is_a_file_without_rows(tmp_path):
    manifests.write_landmarks(tmp_path / "empty.parquet", {})
    nothing = (np.zeros(0), np.zeros(0), np.zeros((0, 68, 2)), np.zeros((0, 68)))
    manifests.write_landmarks(tmp_path / "none.parquet", {"a": nothing})
    assert list(manifests.iter_landmarks(tmp_path / "empty.parquet")) == list(manifests.iter_landmarks(tmp_path / "none.parquet")) == []


def test_a_face_that_is_never_seen(tmp_path):
    clip = (np.arange(4) * 40.0, np.zeros(4), np.full((4, 68, 2), np.nan), np.full((4, 68), np.nan))
    manifests.write_landmarks(tmp_path / "a.parquet", {"a": clip})
    back = manifests.load_landmarks(tmp_path / "a.parquet", "a")
    assert np.isnan(back.points_px).all()
    assert (back.confidence == 0).all()
    assert back.points_px.shape == (4, 68, 2)


def test_confidence_is_held_within_0_and_1_and_unknown_is_none():
    given = np.tile(np.array([np.nan, -1, 0.5, 7], np.float32), 17)[None]
    _, confidence = manifests.quantise(_points(0, 100, (0, 0), 1), given)
    assert confidence[0, :4].tolist() == [0, 0, 0.5, 1]


def test_mistakes_are_named(run, tmp_path):
    directory, clips = run
    with pytest.raises(manifests.UserError, match="no landmarks of clip unknown"):
        manifests.load_landmarks(directory, "unknown")
    with pytest.raises(manifests.UserError, match="no landmarks in"):
        manifests.load_landmarks(tmp_path / "nowhere", "a")
    manifests.write([], tmp_path / "manifest.parquet")
    with pytest.raises(manifests.UserError, match="no table of landmarks"):
        manifests.load_landmarks(tmp_path / "manifest.parquet", "a")
    with pytest.raises(manifests.UserError, match="cannot write"):
        manifests.write_landmarks(tmp_path / "nowhere" / "x.parquet", clips)
    times_ms, n_faces, points_px, confidence = _clip(0)
    for wrong in ((times_ms[1:], n_faces, points_px, confidence), (times_ms, n_faces, points_px, confidence[:, 1:])):
        with pytest.raises(ValueError, match=r"shape|frames"):
            manifests.write_landmarks(tmp_path / "x.parquet", {"a": wrong})
    with pytest.raises(ValueError, match="shape"):
        manifests.quantise(points_px[:, :5], confidence)
    assert not list(tmp_path.glob("*x.parquet*"))


def test_a_long_clip_in_several_row_groups_comes_back_as_in_one(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    clips = {}
    for name, n in (("a", 7), ("b", 25), ("c", 0), ("d", 10)):
        arrays = manifests.quantise(rng.normal(size=(n, 68, 2)) * 40 + 300, rng.random((n, 68)))
        clips[name] = (np.arange(n) * 40.0, rng.integers(0, 3, n).astype(np.int16), *arrays)
    manifests.write_landmarks(tmp_path / "one.parquet", clips)
    monkeypatch.setattr("manifests.landmarks._GROUP_FRAMES", 10)
    several = tmp_path / "several.parquet"
    manifests.write_landmarks(several, clips)
    assert pq.ParquetFile(several).num_row_groups == 1 + 3 + 1
    assert pq.read_table(several).equals(pq.read_table(tmp_path / "one.parquet"))
    index = manifests.LandmarkIndex(several)
    assert len(index) == 3
    for clip_id, whole in manifests.iter_landmarks(tmp_path / "one.parquet"):
        stretches = list(manifests.landmark_stretches(several, clip_id))
        assert [len(stretch.times_ms) for stretch in stretches] == {"a": [7], "b": [10, 10, 5], "d": [10]}[clip_id]
        for found in (index.load(clip_id), manifests.load_landmarks(several, clip_id), dict(manifests.iter_landmarks(several))[clip_id]):
            for one, other in zip(found, whole, strict=True):
                np.testing.assert_array_equal(one, other)
