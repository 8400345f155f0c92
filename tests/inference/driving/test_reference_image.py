"""Portraits of every format, and what is wrong with one in a single clear line."""

import struct
import zlib
from functools import partial

import numpy as np
import pytest
from PIL import Image

from curation.face_crop import crop_matrix, transform_points, warp
from curation.samples.portrait import load_picture
from inference.driving.opening import open_footage
from inference.driving.picture import is_picture, read_picture
from inference.driving.reference import load_reference, read_portrait
from inference.driving.sound import open_sound
from manifests import UserError
from tests.inference.driver_footage import PlantedBackend, face_points


def gradient(width=96, height=64) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([2 * x, 3 * y, 255 - x - y], axis=-1).clip(0, 255).astype(np.uint8)


RGB = gradient()


def saved(tmp_path, image: Image.Image, name: str, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.png", {}), ("a.bmp", {}), ("a.tif", {}), ("a.webp", {"lossless": True}), ("a.ppm", {})],
)
def test_lossless_formats_keep_every_pixel(tmp_path, name, options):
    path = saved(tmp_path, Image.fromarray(RGB), name, **options)
    assert is_picture(path)
    np.testing.assert_array_equal(read_picture(path), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    """The file stores the picture turned and says so; what is read is upright."""
    to_stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(to_stored[orientation](RGB))), "a.png", exif=exif)
    np.testing.assert_array_equal(read_picture(path), RGB)


def test_transparency_lies_over_white(tmp_path):
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[:, :48], alpha[:, 48:60] = 0, 128
    rgba = saved(tmp_path, Image.fromarray(np.dstack([RGB, alpha])), "a.png")
    result = read_picture(rgba)
    assert (result[:, :48] == 255).all()
    np.testing.assert_allclose(result[:, 48:60], (RGB[:, 48:60].astype(float) + 255) / 2, atol=2)
    np.testing.assert_array_equal(result[:, 60:], RGB[:, 60:])
    grey_alpha = saved(tmp_path, Image.fromarray(np.dstack([RGB[..., 0], alpha])), "b.png")
    np.testing.assert_array_equal(read_picture(grey_alpha)[:, 60:], np.repeat(RGB[:, 60:, :1], 3, axis=2))
    palette = Image.fromarray(RGB).quantize(16)
    palette.info["transparency"] = int(np.asarray(palette)[0, 0])
    result = read_picture(saved(tmp_path, palette, "c.png", transparency=palette.info["transparency"]))
    assert (result[0, 0] == 255).all()


def test_grey_sixteen_bits_and_one_bit(tmp_path):
    grey = RGB[..., 1]
    expected = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_picture(saved(tmp_path, Image.fromarray(grey), "a.png")), expected)
    for name in ("b.png", "b.tif"):
        deep = Image.fromarray(grey.astype(np.uint16) * 257)
        np.testing.assert_array_equal(read_picture(saved(tmp_path, deep, name)), expected)
    import cv2

    assert cv2.imwrite(str(tmp_path / "colour16.png"), RGB[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_picture(tmp_path / "colour16.png"), RGB)
    bits = read_picture(saved(tmp_path, Image.fromarray(grey > 90), "c.png"))
    assert set(np.unique(bits)) == {0, 255}
    floats = read_picture(saved(tmp_path, Image.fromarray(grey.astype(np.float32) / 255), "d.tif"))
    np.testing.assert_allclose(floats, expected, atol=1)


def test_cmyk(tmp_path):
    path = saved(tmp_path, Image.fromarray(RGB).convert("CMYK"), "a.jpg", quality=100)
    assert np.abs(read_picture(path).astype(int) - RGB).mean() < 6


def test_huge_pictures_are_reduced_or_refused(tmp_path):
    wide = saved(tmp_path, Image.new("RGB", (9000, 40), "red"), "wide.png")
    result = read_picture(wide)
    assert max(result.shape) <= 4096
    assert (result == (255, 0, 0)).all()
    jpeg = saved(tmp_path, Image.new("L", (9000, 64), 100), "wide.jpg")
    assert max(read_picture(jpeg).shape) <= 4096
    header = saved(tmp_path, Image.new("1", (8, 8)), "small.png").read_bytes()
    claim = b"IHDR" + struct.pack(">II", 60_000, 60_000) + header[24:29]
    (tmp_path / "bomb.png").write_bytes(header[:12] + claim + struct.pack(">I", zlib.crc32(claim)) + header[33:])
    with pytest.raises(UserError, match="at most 100 megapixels are read"):
        read_picture(tmp_path / "bomb.png")


def test_files_that_are_no_portrait_are_one_clear_line(tmp_path):
    whole = saved(tmp_path, Image.fromarray(RGB), "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "moving.gif", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
    expected = {
        "nothing.png": "the file is not there",
        ".": "the file is not there",
        "cut.png": "the picture is damaged",
        "empty.png": "the file has no bytes",
        "text.png": "not a picture that can be read",
        "moving.gif": "an animated picture",
    }
    for name, message in expected.items():
        with pytest.raises(UserError, match=message) as caught:
            read_picture(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nothing.png", "folder", "loop.png", "gone.mp4", 300 * "x" + ".png"])
def test_a_path_without_a_file_is_one_clear_line_wherever_it_is_read(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    path = str(tmp_path / name)
    as_driver = partial(open_footage, backend=PlantedBackend())
    for read in (read_portrait, read_picture, open_sound, *((as_driver,) if name != "folder" else ())):
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value).startswith(path)
        assert "\n" not in str(caught.value)


def test_faces_none_several_or_too_small(tmp_path):
    path = saved(tmp_path, Image.fromarray(gradient(200, 200)), "a.png")
    with pytest.raises(UserError, match=r"a\.png: no face found"):
        load_reference(path, PlantedBackend(missing=[0]), 64)
    two = PlantedBackend(n_faces=2)
    assert load_reference(path, two, 64).notes == (f"{path}: 2 faces, the largest is animated",)
    with pytest.raises(UserError, match=r"a\.png: 2 faces; cut the picture to one"):
        load_reference(path, two, 64, several="error")
    with pytest.raises(UserError, match=r"the face is 17 px large; at least 32 px are needed"):
        load_reference(path, PlantedBackend(face_points((64, 64), 10)), 64)
    with pytest.raises(UserError, match="uint8 RGB array"):
        load_reference(np.zeros((64, 64), np.uint8), two, 64)


def test_the_crop_is_the_square_about_the_face():
    rgb = gradient(200, 180)
    reference = load_reference(rgb, PlantedBackend(face_points((90, 90), 30)), 64)
    np.testing.assert_array_equal(reference.crop, warp(rgb, crop_matrix(reference.square, 64), 64))
    np.testing.assert_allclose(reference.crop_points_px, transform_points(reference.points_px, reference.matrix))
    assert (reference.crop_points_px > 0).all()
    assert (reference.crop_points_px < 64).all()


def test_a_real_portrait_in_any_mode_gives_the_same_face(tmp_path):
    """The public-domain astronaut through the real network: upright, turned by EXIF, in grey, as CMYK and with a hole of transparency."""
    from curation.landmarks import make_backend

    backend = make_backend("facemesh")
    rgb = load_picture()
    plain = load_reference(rgb, backend, 128)
    assert plain.notes == ()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(tmp_path, Image.fromarray(np.ascontiguousarray(np.rot90(rgb, 1))), "turned.png", exif=exif)
    np.testing.assert_array_equal(load_reference(turned, backend, 128).points_px, plain.points_px)
    for name, image in {"grey.png": Image.fromarray(rgb).convert("L"), "cmyk.jpg": Image.fromarray(rgb).convert("CMYK")}.items():
        other = load_reference(saved(tmp_path, image, name), backend, 128)
        assert np.abs(other.points_px - plain.points_px).max() < 8
    twice = np.concatenate([rgb, np.pad(rgb[::2, ::2], ((0, 256), (0, 0), (0, 0)))], axis=1)
    both = load_reference(twice, backend, 128)
    assert "2 faces, the largest is animated" in both.notes[0]
    assert np.abs(both.points_px - plain.points_px).max() < 3
    with pytest.raises(UserError, match="no face found"):
        load_reference(rgb[300:], backend, 128)
