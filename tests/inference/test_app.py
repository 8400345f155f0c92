"""What the app does, without a browser: previews follow the settings, nothing is looked for twice, mistakes are one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.loading import LoadOptions
from inference.preview import crop_overlay, preview_file
from inference.request import Request
from inference.studio import PREVIEW_PX, Studio
from manifests import UserError
from tests.inference.moving_portrait import write_moving_portrait

N_FRAMES = 12


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("app")
    return write_moving_portrait(folder, N_FRAMES)


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(LoadOptions())


def parts(picture: np.ndarray) -> tuple[np.ndarray, ...]:
    assert picture.shape == (PREVIEW_PX, 4 * PREVIEW_PX, 3)
    return tuple(np.split(picture, 4, axis=1))


def test_the_preview_follows_the_amplitude(files, studio):
    portrait, driver = files

    def shown(frame: int, **settings):
        return parts(studio.preview(Request(reference=portrait, driving=driver, out="preview", **settings), frame).picture)

    last = N_FRAMES - 1
    own, stilled = shown(last), shown(last, motion=0.0)
    first, first_stilled = shown(0), shown(0, motion=0.0)
    np.testing.assert_array_equal(own[0], first[0])  # portrait: one crop for the whole driver
    np.testing.assert_array_equal(stilled[0], first_stilled[0])
    assert (own[0] != stilled[0]).any()  # a head that stays needs no room to move
    np.testing.assert_array_equal(own[1], stilled[1])  # driver
    middle = np.s_[64:192, 64:192]
    moved, back = (np.abs(a[2].astype(int) - b[2])[middle].mean() for a, b in ((own, first), (stilled, first_stilled)))
    assert moved > 15  # the head rolls and moves
    assert back < moved / 2  # and is back where it was, as well as the landmarks tell
    assert (own[3] != stilled[3]).any()
    assert 0.02 < (own[3] > 0).any(axis=-1).mean() < 0.4
    assert not shown(last, regions="none")[3].any()
    eyes = shown(last, regions="eyes")[3]
    assert eyes.any()
    assert not eyes[PREVIEW_PX // 2 + 30 :].any()


def test_landmarks_are_sought_once_a_file(files):
    portrait, driver = files
    studio = Studio(LoadOptions())
    calls = []
    for motion in (0.0, 0.5, 1.0):
        studio.preview(Request(reference=portrait, driving=driver, out="preview", motion=motion), 3, lambda n, total: calls.append(n))
    assert calls == list(range(1, N_FRAMES + 1))


def test_a_frame_beyond_the_end_is_the_last_one(files, studio):
    request = Request(reference=files[0], driving=files[1], out="preview")
    np.testing.assert_array_equal(studio.preview(request, 10_000).picture, studio.preview(request, N_FRAMES - 1).picture)


def test_mistakes_are_one_line(files, studio, tmp_path):
    portrait, driver = files
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "grey.png")
    for request, message in {
        Request(reference=str(tmp_path / "grey.png"), driving=driver, out="p"): r"grey\.png: no face found",
        Request(reference=portrait, driving=str(tmp_path / "grey.png"), out="p"): "no face found in the driver",
        Request(reference=portrait, driving=str(tmp_path / "gone.mp4"), out="p"): "cannot be read",
        Request(reference=portrait, audio="speech.wav", out="p"): "no driver",
        Request(reference=portrait, driving=driver, out="p", roll=3.0): r"motion roll is 3\.0; it must lie in 0\.\.2",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            studio.preview(request, 0)
        assert "\n" not in str(caught.value)


def test_the_command_writes_a_sheet(files, tmp_path):
    out = tmp_path / "preview.png"
    assert preview_file(*files, out, n_frames=3, size_px=64, motion=0.5) == ()
    with Image.open(out) as image:
        assert image.size == (4 * 64, 3 * 64)
    assert [p.name for p in tmp_path.iterdir()] == ["preview.png"]


def test_the_crop_is_drawn_on_the_whole_portrait(files):
    from curation.landmarks import make_backend
    from inference.driving.reference import load_reference

    reference = load_reference(Path(files[0]), make_backend("facemesh"), 64)
    drawn = crop_overlay(reference)
    assert drawn.shape == reference.rgb.shape
    assert 0 < (drawn != reference.rgb).any(axis=-1).mean() < 0.05
