"""Portraits with colour profiles, damaged notes about themselves, and transparency in every mode: the colours that other programs show."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.driving.opening import ModelPicture
from inference.driving.picture import read_picture

# Primaries of Display P3 and sRGB adapted to D50 (columns red, green, blue), as their published profiles hold them.
P3_TO_XYZ = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
SRGB_TO_XYZ = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
GAMMA = 2.2
D50 = (0.9642, 1.0, 0.8249)


def profile(colours: bytes, kinds: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2: a header and its tags."""
    tags = {b"desc": b"desc" + struct.pack(">4xI", 2) + b"p\0" + bytes(78), b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(*D50), **kinds}
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4xI4s4s4s12x4s28x3i", start + len(body), 0x02400000, b"mntr", colours, b"XYZ ", b"acsp", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in values))


def curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * gamma))


def display_p3() -> bytes:
    primaries = {name: xyz(*P3_TO_XYZ[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return profile(b"RGB ", primaries | {name: curve(GAMMA) for name in (b"rTRC", b"gTRC", b"bTRC")})


def encoded(linear: np.ndarray) -> np.ndarray:
    """0..255 of linear light by the sRGB curve (IEC 61966-2-1)."""
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


COLOURS = np.array([[200, 120, 100], [90, 140, 90], [128, 128, 128], [230, 190, 170]], np.uint8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("alpha", [False, True])
def test_display_p3_is_shown_as_srgb(tmp_path: Path, suffix: str, alpha: bool) -> None:
    if alpha and suffix == "jpg":
        pytest.skip("JPEG has no transparency")
    rgb = np.repeat(np.repeat(COLOURS[None], 16, axis=0), 16, axis=1)
    wide = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]) if alpha else rgb
    options = {"png": {}, "tif": {}, "jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}[suffix]
    Image.fromarray(wide).save(tmp_path / f"me.{suffix}", icc_profile=display_p3(), **options)
    expected = encoded((COLOURS / 255) ** GAMMA @ (np.linalg.inv(SRGB_TO_XYZ) @ P3_TO_XYZ).T)
    assert np.abs(expected - COLOURS).max() > 10  # the test sees a difference
    np.testing.assert_allclose(read_picture(tmp_path / f"me.{suffix}")[8, 8::16], expected, atol=2)


def test_grey_with_a_curve_of_its_own(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 128).save(tmp_path / "me.png", icc_profile=profile(b"GRAY", {b"kTRC": curve(1.0)}))
    np.testing.assert_allclose(read_picture(tmp_path / "me.png"), encoded(np.array(128 / 255)), atol=2)


@pytest.mark.parametrize("damage", [b"no profile", display_p3()[:150], profile(b"GRAY", {b"kTRC": curve(1.0)}), profile(b"CMYK", {})])
def test_a_profile_that_does_not_fit_is_passed_over(tmp_path: Path, damage: bytes) -> None:
    Image.new("RGB", (8, 8), (200, 120, 100)).save(tmp_path / "me.png", icc_profile=damage)
    assert (read_picture(tmp_path / "me.png") == (200, 120, 100)).all()


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0junkjunkjunk", b"Exif\0\0II*\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0" + 20 * b"\xff"]
)
def test_a_damaged_orientation_leaves_the_picture_as_it_is(tmp_path: Path, suffix: str, exif: bytes) -> None:
    Image.new("RGB", (8, 8), (200, 120, 100)).save(tmp_path / f"me.{suffix}", exif=exif)
    np.testing.assert_allclose(read_picture(tmp_path / f"me.{suffix}"), np.broadcast_to((200, 120, 100), (8, 8, 3)), atol=3)


def test_one_value_of_sixteen_bits_may_be_transparent(tmp_path: Path) -> None:
    grey = np.full((8, 8), 100 * 257, np.uint16)
    grey[:, 4:] = 7
    Image.fromarray(grey).save(tmp_path / "me.png", transparency=7)
    result = read_picture(tmp_path / "me.png")
    assert (result[:, :4] == 100).all()
    assert (result[:, 4:] == 255).all()


def test_a_picture_that_is_open_already_lies_over_white_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the same picture read from its file."""
    seen = []
    monkeypatch.setattr("inference.driving.opening.load_reference", lambda portrait, *_: seen.append(portrait))
    picture = ModelPicture(64, 1.6, "clip", False, 25, lambda: None)  # type: ignore[arg-type]
    picture.open_portrait(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))
    assert (seen[0] == 255).all()
