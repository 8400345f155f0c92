"""A motion template of a stranger's: whatever its fields hold, it is usable or refused in one line, at once."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from inference.driving.template import FORMAT, TemplateFootage
from manifests import UserError

FRAMES = 3


def fields() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """A whole template without pixels."""
    points = np.linspace(10, 50, FRAMES * 68 * 2, dtype=np.float32).reshape(FRAMES, 68, 2)
    tensors = {
        "points_px": points,
        "n_faces": np.ones(FRAMES, np.int16),
        "boxes_px": np.zeros((FRAMES, 3, 4), np.int32),
        "packed": np.zeros(0, np.uint8),
        "offsets": np.zeros(3 * FRAMES + 1, np.int64),
        "audio": np.zeros(int(16_000 * FRAMES / 25), np.int16),
    }
    return tensors, {"format": FORMAT, "fps": "25", "width_px": "64", "height_px": "64"}


def usable(path: Path, tensors: dict[str, np.ndarray], about: dict[str, str]) -> bool:
    """Opens it and looks at every frame; an error must be a line about this file."""
    save_file(tensors, path, about)
    said = ""
    try:
        footage = TemplateFootage(path)
        for frame in footage.frames():
            assert frame.shape == (footage.height_px, footage.width_px, 3)
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert not said or said.startswith(str(path))
    return not said


def test_the_whole_one_is_usable(tmp_path) -> None:
    assert usable(tmp_path / "t.safetensors", *fields())


@pytest.mark.parametrize("fps", ["1e-999999999", "1/1000", "0", "-25", "25/0", "inf", "nan", "", "1e3", "9" * 5000, "25.0", "１２", "61"])
def test_rates_that_are_none(tmp_path, fps: str) -> None:
    tensors, about = fields()
    assert not usable(tmp_path / "t.safetensors", tensors, about | {"fps": fps})


@pytest.mark.parametrize("name", ["points_px", "n_faces", "boxes_px", "packed", "offsets", "audio"])
def test_tensors_without_dimensions(tmp_path, name: str) -> None:
    tensors, about = fields()
    assert not usable(
        tmp_path / "t.safetensors",
        tensors | {name: tensors[name].reshape(-1)[:1].reshape(()) if tensors[name].size else np.zeros((), np.uint8)},
        about,
    )


_NUMBERS = st.one_of(st.integers(-(2**31), 2**31 - 1), st.sampled_from([0, 1, 64, 65]))
_KINDS = st.sampled_from([np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64])


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_field_may_hold_anything(tmp_path, data: st.DataObject) -> None:
    tensors, about = fields()
    for name in data.draw(st.sets(st.sampled_from(sorted(tensors)), max_size=2)):
        shape = data.draw(st.one_of(st.just(tensors[name].shape), st.lists(st.integers(0, 5), max_size=4).map(tuple)))
        values = data.draw(st.lists(_NUMBERS, min_size=1, max_size=4))
        filled = np.resize(np.array(values, np.float64), shape)
        if data.draw(st.booleans()):
            filled = np.where(filled == values[0], data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e300])), filled)
        with np.errstate(all="ignore"):
            tensors[name] = filled.astype(data.draw(_KINDS))
    for name in data.draw(st.sets(st.sampled_from(sorted(about)), max_size=2)):
        about[name] = data.draw(st.one_of(st.text(max_size=12), st.integers().map(str), st.fractions().map(str), st.floats().map(str)))
    usable(tmp_path / "t.safetensors", tensors, about)
