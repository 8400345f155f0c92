"""What the app does, without a browser: previews follow the settings, nothing is looked for twice, mistakes are one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.face_crop import warp
from curation.landmarks import make_backend
from inference.driving import ModelPicture, open_driver, open_footage
from inference.driving.reference import load_reference
from inference.models.components import load_inference_config
from inference.pipeline.folder import CLASS_NAME, FORMAT, PIPELINE_FILE
from inference.pipeline.inputs import model_picture
from inference.studio.app import examples
from inference.studio.loading import PACKAGED_MODEL, LoadOptions, find_model, line_of, settings_of
from inference.studio.preview import crop_overlay, preview_file
from inference.studio.request import Request
from inference.studio.session import PREVIEW_PX, Studio
from manifests import UserError
from tests.inference.moving_portrait import write_moving_portrait

N_FRAMES = 12


def test_examples_are_people_whom_the_pipeline_can_read():
    backend = make_backend("facemesh")
    for portrait, driver in examples():
        assert load_reference(portrait, backend, 128).points_px.shape[0] >= 68
        assert open_footage(driver, backend).n_frames == 75


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("app")
    return write_moving_portrait(folder, N_FRAMES)


def model_folder(folder: Path, crop_scale: float) -> str:
    """What a preview reads of a model: its settings, no weights."""
    config = load_inference_config("embedded", (f"crop_scale={crop_scale}",)).to_tree()
    document = {"_class_name": CLASS_NAME, "format": FORMAT, "config": config, "training": {}}
    folder.mkdir(exist_ok=True)
    (folder / PIPELINE_FILE).write_text(json.dumps(document))
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return model_folder(tmp_path_factory.mktemp("model"), 2.0)


@pytest.fixture(scope="module")
def studio(model) -> Studio:
    return Studio(LoadOptions(model))


def wanted(portrait: str, driver: str, **settings) -> Request:
    return Request.from_tree({"reference": portrait, "driving": driver, "out": "preview", **settings})


def parts(picture: np.ndarray) -> tuple[np.ndarray, ...]:
    assert picture.shape == (PREVIEW_PX, 4 * PREVIEW_PX, 3)
    return tuple(np.split(picture, 4, axis=1))


def test_the_preview_follows_the_amplitude(files, studio):
    portrait, driver = files

    def shown(frame: int, **settings):
        return parts(studio.preview(wanted(portrait, driver, **settings), frame).picture)

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


def test_landmarks_are_sought_once_a_file(files, model):
    portrait, driver = files
    studio = Studio(LoadOptions(model))
    calls = []
    for motion in (0.0, 0.5, 1.0):
        studio.preview(wanted(portrait, driver, motion=motion), 3, lambda n, total: calls.append(n))
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
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            studio.preview(request, 0)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"^motion roll is 3\.0; it must lie in 0\.\.2") as caught:
        wanted(portrait, driver, roll=3.0)
    assert "\n" not in str(caught.value)


def test_the_preview_shows_the_models_crop(files, tmp_path):
    """The same pixels as the animation will be made from, whichever model makes it."""
    request = wanted(*files, retarget="none")
    sizes = []
    for crop_scale in (1.4, 2.4):
        options = LoadOptions(model_folder(tmp_path / str(crop_scale), crop_scale))
        shown = parts(Studio(options).preview(request, 0).picture)
        with open_driver(files[0], files[1], request.options, picture_of(options)) as driving:
            np.testing.assert_array_equal(shown[1], warp(driving.footage.frame(0), driving.own_matrix, PREVIEW_PX))
            np.testing.assert_array_equal(shown[3], driving.driven_frames(0, 1)[0].transpose(1, 2, 0))
            sizes.append(np.ptp(driving.reference.crop_points_px[:, 1]))
    assert sizes[0] > 1.5 * sizes[1]


def picture_of(options: LoadOptions) -> ModelPicture:
    return model_picture(settings_of(options), lambda: make_backend("facemesh"), PREVIEW_PX)


def test_a_preview_needs_no_model_yet(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("inference.studio.loading.PACKAGED_MODEL", tmp_path / "installed without it")
    assert settings_of(LoadOptions()) == load_inference_config("embedded")
    assert settings_of(LoadOptions(overrides=("crop_scale=3",))).crop_scale == 3
    assert line_of(LoadOptions()) == "no model"
    with pytest.raises(UserError, match="holds no pipeline"):
        settings_of(LoadOptions(str(tmp_path)))


def test_the_packaged_model_is_taken_where_nothing_was_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_model(None)
    assert Path(found) == PACKAGED_MODEL
    assert settings_of(LoadOptions()).model.copied_reference == "moved"
    assert line_of(LoadOptions()).startswith("the model that comes with the package: stage 2, ")
    assert "rendered people" in line_of(LoadOptions())
    (tmp_path / "runs" / "s1" / "pipeline").mkdir(parents=True)
    trained = model_folder(tmp_path / "runs" / "s1" / "pipeline", 2.0)
    assert find_model(None) == str(Path(trained).relative_to(tmp_path))


def test_a_saved_setting_that_no_longer_serves_can_be_overridden(tmp_path):
    file = Path(model_folder(tmp_path, 2.0)) / PIPELINE_FILE
    document = json.loads(file.read_text())
    document["config"]["crop_scale"] = None  # what pipelines saved until November 2026
    file.write_text(json.dumps(document))
    with pytest.raises(UserError, match="crop_scale needs float"):
        settings_of(LoadOptions(str(tmp_path)))
    assert settings_of(LoadOptions(str(tmp_path), overrides=("crop_scale=2",))).crop_scale == 2
    file.write_text(json.dumps(document | {"config": []}))
    with pytest.raises(UserError, match="is damaged"):
        settings_of(LoadOptions(str(tmp_path)))


def test_the_command_writes_a_sheet(files, model, tmp_path):
    out = tmp_path / "preview.png"
    assert preview_file(*files, out, n_frames=3, size_px=64, model=model, motion=0.5) == ()
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
