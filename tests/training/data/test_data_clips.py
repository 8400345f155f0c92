"""Which frames and squares a clip gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manifests
from curation import face_crop
from manifests import LandmarkIndex, UserError
from tests.training.data_material import clip_points, write_manifest
from training.data.clips import ClipOrder, choose_frames, clip_geometry


def allowed(usable, num_frames, stride, gap):
    """Every (reference, first target) that may be chosen, by trying all."""
    pairs = set()
    for start in range(len(usable)):
        targets = [start + k * stride for k in range(num_frames)]
        if targets[-1] < len(usable) and all(usable[k] for k in targets):
            span = range(targets[0], targets[-1] + 1)
            pairs |= {(r, start) for r in range(len(usable)) if usable[r] and min(abs(r - k) for k in span) >= gap}
    return pairs


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 4), st.integers(1, 3), st.integers(1, 12), st.integers(0, 1000))
@settings(max_examples=200, deadline=None)
def test_frames_are_among_those_allowed(usable, num_frames, stride, gap, seed) -> None:
    chosen = choose_frames(np.array(usable, bool), num_frames, stride, gap, np.random.default_rng(seed))
    pairs = allowed(usable, num_frames, stride, gap)
    if chosen is None:
        assert not pairs
    else:
        reference, targets = chosen
        assert (reference, targets[0]) in pairs
        assert list(targets) == [targets[0] + k * stride for k in range(num_frames)]


def test_every_allowed_frame_comes_up() -> None:
    usable = np.ones(12, bool)
    usable[5] = False
    rng = np.random.default_rng(0)
    found = {(r, t[0]) for r, t in (choose_frames(usable, 2, 1, 3, rng) for _ in range(3000))}
    assert found == allowed(usable, 2, 1, 3)


def test_orders_are_permutations_of_their_own_epoch() -> None:
    order = ClipOrder(50, seed=0, stage=1)
    epochs = [[order.clip_of(epoch * 50 + k) for k in range(50)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert order.clip_of(3) == epochs[0][3]  # in any order of asking
    assert len({order.clip_of(7, attempt) for attempt in range(1, 40)}) > 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_manifest(tmp_path_factory.mktemp("data") / "run", 3, video=False)


def test_the_index_of_landmarks_gives_what_the_loader_gives(run) -> None:
    index = LandmarkIndex(run)
    assert len(index) == 3
    for clip_id in manifests.load(run).clip_id:
        assert clip_id in index
        for mine, theirs in zip(index.load(clip_id), manifests.load_landmarks(run, clip_id), strict=True):
            assert np.array_equal(mine, theirs)
    with pytest.raises(UserError, match="no landmarks of clip nobody"):
        index.load("nobody")
    with pytest.raises(UserError, match="no landmarks in"):
        LandmarkIndex(run / "videos")


def test_squares_are_few_and_always_the_same(run) -> None:
    index = LandmarkIndex(run)
    clip_id = manifests.load(run).clip_id[0]
    one = clip_geometry(index, clip_id, 2.0, 1, 0.1)
    four = clip_geometry(index, clip_id, 2.0, 4, 0.1)
    again = clip_geometry(LandmarkIndex(run), clip_id, 2.0, 4, 0.1)
    assert np.array_equal(four.squares, again.squares)
    assert np.array_equal(one.squares[0], four.squares[0])
    assert np.array_equal(one.squares[0], face_crop.clip_square(one.points_px))
    assert len(np.unique(four.squares, axis=0)) == 4
    moved = np.abs(four.squares[1:] - four.squares[0]) / four.squares[0][2]
    assert moved.max() <= 0.1
    assert one.points_px.shape == clip_points(0).shape
    assert clip_geometry(index, clip_id, 3.0, 1, 0.1).squares[0][2] > one.squares[0][2]
