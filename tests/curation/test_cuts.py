from pathlib import Path

import numpy as np
import pytest

from curation.contracts import Clip, Evidence, Faces, Frame, MediaInfo
from curation.media import MediaReader
from curation.scorers.cuts import Cuts

INFO = MediaInfo(320, 240, 25.0, None, 0.0, "h264", False, None)


def scenes(*lengths: int, pan_px: int = 2, seed: int = 0) -> list[np.ndarray]:
    """Frames of several scenes: smooth random pictures, each panned slowly and with a little noise."""
    import cv2

    rng = np.random.default_rng(seed)
    frames = []
    for length in lengths:
        picture = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (320 + pan_px * length, 240), interpolation=cv2.INTER_CUBIC)
        for i in range(length):
            noisy = picture[:, i * pan_px : i * pan_px + 320].astype(np.int16) + rng.integers(-3, 4, (240, 320, 3))
            frames.append(noisy.clip(0, 255).astype(np.uint8))
    return frames


def count(frames: list[np.ndarray], **settings) -> int:
    scorer = Cuts(**settings)
    scorer.begin(INFO)
    for i, rgb in enumerate(frames):
        scorer.on_frame(Frame(i, i * 40.0, rgb))
    empty = Faces(np.zeros(0), np.zeros(0, np.int16), np.zeros((0, 68, 2), np.float32), np.zeros((0, 68), np.float32))
    return scorer.finish(Evidence(None, INFO, 25.0, empty, None))["n_cuts"]


@pytest.mark.parametrize("lengths", [(40,), (20, 20), (13, 31, 22), (9, 9, 9, 9)])
def test_counts_hard_cuts_and_nothing_else(lengths):
    assert count(scenes(*lengths)) == len(lengths) - 1


def test_a_pan_and_a_flicker_of_light_are_no_cuts():
    panned = scenes(50, pan_px=8)
    flickering = [np.clip(rgb.astype(np.float32) * (1 + 0.08 * np.sin(i)), 0, 255).astype(np.uint8) for i, rgb in enumerate(scenes(50))]
    assert count(panned) == 0
    assert count(flickering) == 0


@pytest.mark.parametrize("size", [(2, 2), (97, 1), (1, 500), (161, 333)])
def test_odd_sizes(size):
    rng = np.random.default_rng(0)
    assert count([rng.integers(0, 9, (*size, 3), dtype=np.uint8) for _ in range(8)]) == 0


def test_a_second_clip_starts_afresh():
    scorer = Cuts()
    for _ in range(2):
        scorer.begin(INFO)
        for i, rgb in enumerate(scenes(20, 20)):
            scorer.on_frame(Frame(i, i * 40.0, rgb))
        assert scorer.finish(None) == {"n_cuts": 1}


def planted(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    return [frame[::4, ::4] for frame in scenes(*lengths, pan_px=1, seed=seed)]


@pytest.mark.parametrize("at", range(1, 30))
def test_a_cut_is_found_wherever_it_lies(at):
    """The first and the last frame of a clip included: a span by whole seconds leaves such frames of the next shot."""
    assert count(planted(at, 30 - at, seed=at)) == 1


def lit(frame: np.ndarray, gain: float, offset: float = 0.0) -> np.ndarray:
    return (frame * gain + offset).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("at", [1, 2, 12, 27])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("light", [(1.0, 70.0), (1.8, 40.0), (0.0, 255.0), (0.0, 0.0)])
def test_flashes_and_blanks_are_no_cuts(at, length, light):
    frames = planted(34)
    assert count([lit(f, *light) if at <= i < at + length else f for i, f in enumerate(frames)]) == 0


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_few_frames_of_another_shot_are_no_flash(length):
    """As an editor's slip leaves them; nearer to each other than the shortest scene, the two cuts count once."""
    frames, other = planted(34, seed=1), planted(34, seed=2)
    assert count([other[i] if 12 <= i < 12 + length else f for i, f in enumerate(frames)]) == 1


@pytest.mark.parametrize("at", [1, 2, 15, 29])
@pytest.mark.parametrize("light", [(1.5, 0.0), (0.6, 0.0), (1.0, 40.0), (1.2, -40.0)])
def test_a_step_of_exposure_is_no_cut(at, light):
    assert count([lit(f, *light) if i >= at else f for i, f in enumerate(planted(30))]) == 0


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("light", [(0.0, 0.0), (0.0, 128.0), (0.0, 255.0)])
@pytest.mark.parametrize("at", [3, 15, 24])
def test_a_cut_behind_a_blank_is_one(at, length, light):
    """A dip to black or white, or a photo's flash, between two shots."""
    frames = planted(at, 34 - at, seed=at + length)
    assert count([lit(f, *light) if at <= i < at + length else f for i, f in enumerate(frames)]) == 1


@pytest.mark.parametrize("at", [12, 13, 14, 15, 16, 17])
def test_a_flash_beside_a_cut_hides_and_adds_none(at):
    frames = planted(15, 19, seed=at)
    assert count([lit(f, 1.8, 40.0) if i == at else f for i, f in enumerate(frames)]) == 1


def test_fades_and_whip_pans_are_no_cuts():
    frames = planted(60)
    assert count([lit(f, min(1.0, abs(i - 30) / 12)) for i, f in enumerate(frames)]) == 0  # to black and back
    assert count(scenes(30, pan_px=24)) == 0


@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("light", [(1.0, 70.0), (1.8, 40.0), (0.0, 0.0), (0.0, 128.0), (0.0, 255.0)])
@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_flash_or_blank_at_the_very_edge_is_no_cut(length, light, at_the_end):
    """Nothing of another shot is in the clip: as little a cut as the same frames in its middle."""
    frames = planted(30, seed=length)[:: -1 if at_the_end else 1]
    film = [lit(f, *light) if i < length else f for i, f in enumerate(frames)]
    assert count(film[:: -1 if at_the_end else 1]) == 0


def test_a_black_screen_of_more_frames_is_a_shot_of_its_own():
    frames = planted(30)
    assert count([lit(f, 0.0) if i < 8 else f for i, f in enumerate(frames)]) == 1


@pytest.mark.parametrize("length", [2, 3, 4, 6, 12, 25])
@pytest.mark.parametrize("n_blank", [1, 6, 10])
@pytest.mark.parametrize("colour", [0.0, 255.0])
@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_fade_at_an_end_is_no_cut(length, n_blank, colour, at_the_end):
    """Almost black or almost white, a picture has hues and saturations, but nobody sees them."""
    if length == 2 and n_blank > 5:
        pytest.skip("two steps after a black screen are nearly a hard edge")
    shares = [min(1.0, max(0, i + 1 - n_blank) / length) for i in range(45)]
    film = [lit(f, share, colour * (1 - share)) for f, share in zip(planted(45, seed=length), shares, strict=True)]
    assert count(film[:: -1 if at_the_end else 1]) == 0


@pytest.mark.parametrize("seed", range(4))
def test_noise_of_hues_in_the_dark_is_no_cut(seed):
    """A key frame gives a dark scene other hues, which nobody sees."""
    rng = np.random.default_rng(seed)
    before, after = (rng.integers(4, 12, (60, 80, 3)) for _ in range(2))
    frames = [lit(before if i < 15 else after, 1.0) for i in range(30)]
    assert count([lit(f + rng.integers(0, 2, f.shape), 1.0) for f in frames]) == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_soft_cut_is_found(seed):
    """Of low contrast: a mean HSV difference between 12 and 15."""
    a, b = ([f.mean(axis=2, keepdims=True).repeat(3, axis=2) for f in planted(15, seed=s)] for s in (seed, seed + 50))
    gain = 13.5 * 3 / np.abs(a[-1] - b[0]).mean()
    assert count([lit(f, gain, 30) for f in a + b]) == 1


def jerks(seed: int) -> list[np.ndarray]:
    """A head that moves evenly while the camera repeats a frame now and then, and then jumps: as webcams record it."""
    rng = np.random.default_rng(seed)
    wall, head = scenes(1, seed=seed)[0], scenes(1, seed=seed + 90)[0][:150, :120]
    frames, x = [], 0
    for i in range(40):
        x += {5: 0, 6: 14}.get(i % 10, 3)
        picture = wall.copy()
        picture[60:210, x : x + 120] = head
        frames.append((picture.astype(np.int16) + rng.integers(-2, 3, picture.shape)).clip(0, 255).astype(np.uint8)[::2, ::2])
    return frames


def test_jerks_of_a_head_are_no_cuts():
    films = [jerks(seed) for seed in range(6)]
    assert sum(count(film, hard_difference=0.0) for film in films) > 0  # they stand out from their neighbours three times and more
    assert [count(film) for film in films] == [0] * 6


@pytest.mark.parametrize("repeats", [2, 3, 5])
def test_frames_that_are_shown_again_say_nothing_of_how_much_moves(repeats):
    """Footage of 12 or 8 frames a second on the grid of 25: its pictures differ more from each other, and stand beside repeated ones."""
    assert count([frame for frame in scenes(16, pan_px=8) for _ in range(repeats)]) == 0
    assert count([frame for frame in scenes(8, 8) for _ in range(repeats)]) == 1


MEDIA = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "curation" / "media"


@pytest.mark.parametrize(
    ("name", "n_cuts"),
    [("foreign_head_02", 1), ("foreign_head_04", 1), ("foreign_head_06_control", 1), ("flash_1", 0), ("exposure", 0)],
)
def test_the_cases_of_cuts(name, n_cuts):
    path = MEDIA / f"{name}.mp4"
    if not path.exists():
        pytest.skip("../shared/cases is absent")
    with MediaReader() as reader, reader.read(Clip("s", "k", "i", str(path)), audio=False) as stream:
        assert count([frame.rgb[::3, ::3].copy() for frame in stream.frames()]) == n_cuts
