"""Training of the towers on made-up speakers with a planted truth, and the towers in NumPy against torch. Needs torch."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lipsync_footage import delayed, speaker

from curation.lipsync.augment import augment_mel, augment_mouth, draw_span
from curation.lipsync.curve import clip_curve, read_curve
from curation.lipsync.evaluate import evaluate, summarise
from curation.lipsync.features import MEL_BANDS, N_MOUTH
from curation.lipsync.footage import make_footage, shifted
from curation.lipsync.towers import Towers, load_towers, save_towers

torch = pytest.importorskip("torch")

OWN_OFFSETS = (0, 0, 0, 0, 2, 0, -2, 0, 0, 3)  # frames by which the sound of each training clip is late


@pytest.fixture(scope="module")
def trained() -> Towers:
    from curation.lipsync.fit import Recipe, fit

    clips = []
    for seed, late in enumerate(OWN_OFFSETS):
        points, audio = speaker(seed)
        clips.append(make_footage(str(seed), str(seed), str(seed), points, delayed(audio, late)))
    torch.set_num_threads(1)
    return fit(clips, Recipe(steps=60, batch=8, span_frames=48, width=24, embedding=16, dropout=0.0), seed=1, name="tiny")


@pytest.mark.parametrize("late", [-7, -1, 0, 5])
def test_planted_offsets_of_unseen_speakers_are_found_with_the_right_sign(trained: Towers, late: int) -> None:
    for seed in (100, 101):
        points, audio = speaker(seed)
        curve, windows = clip_curve(trained, points, delayed(audio, late))
        offset, confidence = read_curve(curve)
        assert abs(offset - (-late)) <= 1  # early sound is positive
        assert confidence > 0.05
        assert windows == len(points) - (trained.mouth.field - 1)


def test_confidence_tells_sound_that_fits_from_sound_that_does_not(trained: Towers) -> None:
    clips = [make_footage(str(seed), str(seed), str(seed), *speaker(seed)) for seed in range(100, 106)]
    summary = summarise(evaluate(trained, clips))
    assert summary["auc"] > 0.9
    assert summary["within_1"] == 1.0
    assert json.loads(json.dumps(summary)) == summary


def test_numpy_towers_equal_torch() -> None:
    from curation.lipsync.network import SyncNetwork

    torch.manual_seed(0)
    network = SyncNetwork(width=20, embedding=12, dropout=0.3)
    network.train()
    for _ in range(3):  # statistics for the batch norm
        network.mouth(3 * torch.randn(4, N_MOUTH, 30))
        network.sound(2 + torch.randn(4, MEL_BANDS, 120))
    network.eval()
    towers = network.export("x")
    rng = np.random.default_rng(0)
    for tower, module, rows, channels in ((towers.mouth, network.mouth, 30, N_MOUTH), (towers.sound, network.sound, 120, MEL_BANDS)):
        x = rng.standard_normal((rows, channels)).astype(np.float32)
        expected = module(torch.from_numpy(x.T[None]))[0].T.detach().numpy()
        np.testing.assert_allclose(tower(x), expected, atol=1e-5)


def test_same_seed_same_towers_and_global_randomness_is_left_alone() -> None:
    from curation.lipsync.fit import Recipe, fit

    clips = [make_footage(str(seed), str(seed), str(seed), *speaker(seed, 80)) for seed in range(3)]
    recipe = Recipe(steps=3, batch=2, span_frames=40, width=8, embedding=4)
    before = torch.random.get_rng_state()
    one, two, other = (fit(clips, recipe, seed, "x") for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(one.mouth.convs[0].weight, two.mouth.convs[0].weight)
    assert np.abs(one.mouth.convs[0].weight - other.mouth.convs[0].weight).max() > 0


def test_weights_survive_the_file(trained: Towers, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_towers(path, replace(trained, name="mine"), {"note": "x"})
    back = load_towers(path)
    assert back.name == "mine"
    x = np.random.default_rng(0).standard_normal((40, MEL_BANDS)).astype(np.float32)
    np.testing.assert_array_equal(back.sound(x), trained.sound(x))


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(-40, 40))
def test_shifted_footage_meets_its_sound_where_it_says(rows: int) -> None:
    frames = 30
    mouth = np.repeat(np.arange(frames, dtype=np.float32)[:, None], N_MOUTH, 1)
    mel = np.repeat(np.arange(4 * frames, dtype=np.float32)[:, None], MEL_BANDS, 1)
    footage = replace(make_footage("a", "a", "a", np.zeros((0, 68, 2)), np.zeros(0, np.int16)), mouth=mouth, mel=mel)
    moved = shifted(replace(footage, known=np.ones(frames, bool)), rows)
    assert len(moved.mel) == 4 * moved.n_frames == 4 * len(moved.known)
    np.testing.assert_array_equal(moved.mel[::4, 0], 4 * moved.mouth[:, 0] + rows)
    assert moved.n_frames >= frames - abs(rows) // 4 - 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(30, 70))
def test_augmented_spans_keep_their_shape_and_stay_finite(seed: int, length: int) -> None:
    footage = make_footage("a", "a", "a", *speaker(1, 60))
    rng = np.random.default_rng(seed)
    mouth, mel, usable = draw_span(footage, length, rng)
    assert mouth.shape == (length, N_MOUTH)
    assert mel.shape == (4 * length, MEL_BANDS)
    assert usable.shape == (length,)
    assert usable.any()
    for before, after in ((mouth, augment_mouth(mouth, rng)), (mel, augment_mel(mel, rng))):
        assert after.shape == before.shape
        assert np.isfinite(after).all()
        assert after.dtype == np.float32
